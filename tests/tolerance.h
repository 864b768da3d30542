/* How far a backend's value may be from the reference's: from the arithmetic of the op, not from
 * what some processor gave. */
#ifndef MICROMET_TESTS_TOLERANCE_H
#define MICROMET_TESTS_TOLERANCE_H

#include "reference.h"

/* Of an element of `role`, which lies in memory as `stored`. 0: the very value. */
double tolerance_of(const struct op *op, enum role role, enum dtype stored,
                    const struct reference_value *value);
/* How far `got` is from the value, or from what it is with weights rounded to bfloat16: an engine
 * does the one or the other. */
double distance_of(double got, const struct reference_value *value);

#endif
