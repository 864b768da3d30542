/* How much results in bfloat16 may differ from float32, on any processor: as much as
 * equal noise causes in float32.
 *
 * A network of 94 layers with ReLU and batch norm amplifies rounding errors by factors that no
 * formula gives, but they can be measured: by a float32 pass in which each weight has its own
 * random relative error of up to 2^-8, the largest that rounding to bfloat16 causes (8 significant
 * bits). Such a pass differs from the exact one like a bfloat16 pass, since an error in a weight
 * and one in the value that it multiplies have the same effect on their product.
 *
 * The number of roundings in bfloat16 is known. Each layer rounds the weights (except where bf16 is
 * emulated in fp32), the result of the convolution and that of the batch norm, and likewise
 * backward: three roundings against one of the noise. A rounding is uniform within half a unit of
 * the last of 8 bits, on average 0.7 of 2^-8 relative to the value, so its square is half of the
 * noise's, and bfloat16's errors are larger than the noise's by the square root of 3/2, 1.22. The
 * rest is for chance: NOISE_FACTOR bounds results over many values by the largest of a few draws,
 * NOISE_FACTOR_OF_FEW those over fewer than a hundred. */
#ifndef MICROMET_TESTS_WEIGHT_NOISE_H
#define MICROMET_TESTS_WEIGHT_NOISE_H

#include "micromet/nn/model.h"

enum { NOISE_DRAWS = 3 };

#define NOISE_FACTOR        2.0
#define NOISE_FACTOR_OF_FEW 4.0

/* Multiply every weight of the towers' convolutions by 1 + u, u uniform within 2^-8 of 0. The head
 * always computes in float32. */
void weight_noise(struct model *model, uint64_t draw);

#endif
