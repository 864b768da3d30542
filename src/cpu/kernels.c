/* The table of kernels; see kernels.h. */
#include "kernels.h"

const struct kernel *const kernels[] = { &kernel_winograd, &kernel_direct, &kernel_filter, NULL };

bool kernel_plan(const struct op *op, const struct isa *isa, struct kernel_plan **plan,
                 struct error *err)
{
    *plan = NULL;
    for (int i = 0; kernels[i] && !*plan; i++)
        if (!kernels[i]->plan(op, isa, plan, err)) return false;
    return true;
}
