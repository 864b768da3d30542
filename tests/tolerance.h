/* How much a backend's value may differ from the reference: derived from the arithmetic of the op,
 * not from results of particular hardware. */
#ifndef MICROMET_TESTS_TOLERANCE_H
#define MICROMET_TESTS_TOLERANCE_H

#include "reference.h"

/* The tolerance of an element of `role` that is stored as `stored`. 0: must be equal. */
double tolerance_of(const struct op *op, enum role role, enum dtype stored,
                    const struct reference_value *value);
/* The difference of `got` from the value with exact weights or with weights rounded to bfloat16,
 * whichever is nearer: engines do either. */
double distance_of(double got, const struct reference_value *value);

#endif
