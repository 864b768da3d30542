/* How far bfloat16 may lead from float32, on any processor: what as large a noise does in float32.
 *
 * A network of 94 layers with ReLUs and batch norm enlarges rounding by factors that no formula
 * gives, but they can be measured: by a float32 pass whose weights are each off by their own random
 * share of up to 2^-8, the most that a rounding to bfloat16 is (8 significant bits). Such a pass
 * differs from the plain one as a bfloat16 pass does, for an error of a weight and one of the value
 * that it multiplies are the same to their product.
 *
 * What bfloat16 does besides is known by count. In each layer it rounds the weights (or not, where
 * float32 stands in for it), what the convolution gives and what the batch norm gives, and the same
 * backward: three roundings of either pass to the noise's one. A rounding is uniform within half a
 * unit of the last of 8 bits, on average 0.7 of 2^-8 to a value's size, so its square is half of
 * the noise's, and the root of 3/2 says how much larger bfloat16's errors are than the noise's:
 * 1.22. To that comes chance: NOISE_FACTOR bounds what is measured over many values by the largest
 * of a few draws, and NOISE_FACTOR_OF_FEW what is measured over less than a hundred. */
#ifndef MICROMET_TESTS_WEIGHT_NOISE_H
#define MICROMET_TESTS_WEIGHT_NOISE_H

#include "micromet/nn/model.h"

enum { NOISE_DRAWS = 3 };

#define NOISE_FACTOR        2.0
#define NOISE_FACTOR_OF_FEW 4.0

/* Multiply every weight of the towers' convolutions by 1 + u, u uniform within 2^-8 of 0. The head
 * computes in float32 in any case. */
void weight_noise(struct model *model, uint64_t draw);

#endif
