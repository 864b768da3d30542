/* Adds noise to weights, as large as rounding to bfloat16; see the header. */
#include "weight_noise.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/base/random.h"
#include "step_start.h"

void weight_noise(struct model *model, uint64_t draw)
{
    struct error err = { 0 };
    int changed = 0;
    for (int i = 0; i < model_parameter_count(model); i++) {
        const struct parameter *p = model_parameter(model, i);
        if (!strstr(p->name, ".conv.weight")) continue;
        struct random random = random_init(draw, 0, (uint64_t)i, RANDOM_TEST);
        float *values = step_read(model, i, PART_VALUE);
        for (int64_t k = 0; k < p->count; k++)
            values[k] *= 1 + random_uniform(&random, -0x1p-8f, 0x1p-8f);
        step_write(model, i, PART_VALUE, values);
        free(values);
        changed++;
    }
    cr_assert_gt(changed, 0);
    cr_assert(model_refresh(model, &err), "%s", err.message);
}
