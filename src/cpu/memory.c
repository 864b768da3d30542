/* Allocates the memory of plans, for all files of the CPU backend. */
#include <stdlib.h>

#include "kernels.h"
#include "micromet/base/size.h"
#include "plan.h"

bool cpu_alloc(size_t bytes, void **memory, struct error *err)
{
    *memory = NULL;
    const size_t rounded = round_up(bytes ? bytes : 1, 64);
    *memory = aligned_alloc(64, rounded);
    if (*memory) return true;
    return error_set(err, EXIT_CODE_FAILED,
                     "out of memory: %.1f MiB asked for; a smaller train.batch needs less",
                     mib(bytes));
}

void *kernel_plan_alloc(const struct kernel *kernel, size_t bytes, struct error *err)
{
    struct kernel_plan *plan = calloc(1, bytes);
    if (plan)
        plan->kernel = kernel;
    else
        error_set(err, EXIT_CODE_FAILED, "out of memory for a plan");
    return plan;
}
