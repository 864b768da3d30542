#include <criterion/criterion.h>

#include "micromet/world/world.h"

Test(world_ranks, a_world_of_one_needs_nobody)
{
    struct world *world;
    struct error err = { 0 };
    cr_assert(world_open(&world, &err), "%s", err.message);
    cr_expect_eq(world_size(world), 1);
    world_close(world);
}
