/* The ways in which the CPU backend can compute a convolution; src/cpu/convolution.c chooses. */
#ifndef MICROMET_CPU_CONVOLUTION_H
#define MICROMET_CPU_CONVOLUTION_H

#include "plan.h"

/* oneDNN: every shape, fp32, and bf16 where the processor computes it natively. */
bool dnnl_convolution_plan(struct plan *plan, struct error *err);

/* Our own fp32 kernels where there is one for the shape and processor; *found says so. */
bool kernel_convolution_plan(struct plan *plan, bool *found, struct error *err);

#endif
