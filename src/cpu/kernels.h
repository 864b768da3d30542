/* Own fp32 kernels for convolutions where they beat oneDNN: one const table, tried in order.
 *
 * A kernel computes part `part` of `parts` of an op on the calling thread; the parts write disjoint
 * outputs and may run at once, each with its own scratch. Same parts -> the same bits. Weights are
 * packed once and then shared:
 *
 *     const struct kernel *k = kernel_find(&op);         // NULL: nobody here can, use oneDNN
 *     k->pack(&op, weights, packed);                     // packed: k->packed_bytes(&op)
 *     k->run(&op, x, packed, bias, y, scratch, 0, 1);    // scratch: k->scratch_bytes(&op)
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

#include "micromet/nn/backend.h"

struct kernel {
    const char *name;
    bool (*supports)(const struct op *);
    size_t (*packed_bytes)(const struct op *);
    void (*pack)(const struct op *, const float *weights /* (K, R, S, C) */, float *packed);
    size_t (*scratch_bytes)(const struct op *); /* for one part */
    void (*run)(const struct op *, const float *x, const float *packed, const float *bias, float *y,
                void *scratch, int part, int parts);
};

/* All kernels, best first, ended by NULL. */
extern const struct kernel *const kernels[];

/* The first kernel that supports the op on this processor, or NULL. */
const struct kernel *kernel_find(const struct op *op);

/* dbias[k] = sum of dy over the pixels, for the channels of this part; dy has op->y's shape. */
void kernel_dbias(const struct op *op, const float *dy, float *dbias, int part, int parts);

extern const struct kernel kernel_direct, kernel_winograd, kernel_filter;

#endif
