/* What the environments of launchers say. */
#include <criterion/criterion.h>

#include "world/launch.h"

Test(world, a_process_of_no_launcher_is_alone)
{
    struct launch launch;
    struct error err = { 0 };
    cr_assert(launch_read(&launch, &err), "%s", err.message);
    cr_expect_eq(launch.size, 1);
}
