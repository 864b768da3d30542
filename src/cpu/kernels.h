/* Own fp32 kernels for convolutions where they beat oneDNN: one const table, tried in order.
 *
 * A kernel decides once, when it plans an op, what it needs to know of shapes and instruction set;
 * it then computes part `part` of `parts` of the op on the calling thread. The parts write disjoint
 * outputs and may run at once, each with its own scratch. Same parts -> the same bits. Weights are
 * packed once and then shared:
 *
 *     struct kernel_plan *p;
 *     kernel_plan(&op, isa, &p, &err);                // NULL: nobody here can, use oneDNN
 *     p->kernel->pack(p, weights, packed);            // packed: p->packed_bytes
 *     p->kernel->run(p, x, packed, bias, y, scratch, 0, 1);   // scratch: p->scratch_bytes
 *     free(p);
 *
 * Both are 64-byte aligned. Tensors are F32 with any pixel stride; neither alignment nor channel
 * counts are asked for. What run() takes:
 *
 *     OP_CONVOLUTION                  x, packed, bias (K) or NULL -> y
 *     OP_CONVOLUTION_BACKWARD_DATA    dy as x, packed, NULL -> dx as y
 *     OP_CONVOLUTION_BACKWARD_FILTER  x, dy as packed, NULL -> dw (K, R, S, C) as y;
 *                                     pack does nothing, dbias: kernel_dbias()
 */
#ifndef MICROMET_CPU_KERNELS_H
#define MICROMET_CPU_KERNELS_H

#include "isa.h"

/* One op as a kernel will compute it; what the kernel knows besides follows in the same memory. */
struct kernel_plan {
    const struct kernel *kernel;
    size_t packed_bytes;
    size_t scratch_bytes; /* for one part */
};

struct kernel {
    const char *name;
    /* *plan stays NULL where the kernel does not take the op. False with an error: no memory. */
    bool (*plan)(const struct op *, const struct isa *, struct kernel_plan **plan, struct error *);
    void (*pack)(const struct kernel_plan *, const float *weights /* (K, R, S, C) */,
                 float *packed);
    void (*run)(const struct kernel_plan *, const float *x, const float *packed, const float *bias,
                float *y, void *scratch, int part, int parts);
};

/* All kernels, best first, ended by NULL. */
extern const struct kernel *const kernels[];

/* The plan of the first kernel that takes the op, for free(); NULL if none does. */
bool kernel_plan(const struct op *op, const struct isa *isa, struct kernel_plan **plan,
                 struct error *err);

/* calloc() with an error; the kernel sets all members but the first. */
void *kernel_plan_alloc(const struct kernel *kernel, size_t bytes, struct error *err);

/* dbias[k] = sum of dy over the pixels, for the channels of this part; dy has op->y's shape. */
void kernel_dbias(const struct op *op, const float *dy, float *dbias, int part, int parts);

extern const struct kernel kernel_direct, kernel_winograd, kernel_filter;

#endif
