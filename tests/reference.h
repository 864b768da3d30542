/* Every op of nn/op.h in double precision, with plain loops: what the backends are measured
 * against.
 *
 * One output element at a time, so that a test may compare all of a small op and a sample of a
 * large one. Buffers are host memory. With each value come the sums that bound the rounding error
 * of any sane way to compute it. Augmentation is not here; it has its own test. */
#ifndef MICROMET_TESTS_REFERENCE_H
#define MICROMET_TESTS_REFERENCE_H

#include "micromet/nn/backend.h"

/* The arrays of an op_buffers. */
enum role {
    ROLE_X,
    ROLE_Y,
    ROLE_DY,
    ROLE_OUT,
    ROLE_WEIGHTS,
    ROLE_BIAS,
    ROLE_DBIAS,
    ROLE_GAMMA,
    ROLE_BETA,
    ROLE_DGAMMA,
    ROLE_MOVING_MEAN,
    ROLE_MOVING_VARIANCE,
    ROLE_SAVED_MEAN,
    ROLE_SAVED_INVERSE_STD,
    ROLE_LABELS,
    ROLE_LOSS,
    ROLE_PROBABILITIES,
    ROLE_PARAMETERS,
    ROLE_STATE1,
    ROLE_STATE2,
    ROLE_GRADIENTS,
    ROLE_COUNT
};

/* A value as a sum of terms. */
struct reference_value {
    double value;
    double shift;     /* what is added to the value where weights are rounded to bfloat16 */
    double kept;      /* the part of the value that was there before the op and is added to */
    double magnitude; /* sum of |term| */
};

/* What the elements of one op share. */
struct reference {
    const struct op *op;
    const struct op_buffers *b; /* as they were before the op */
    double *channels;           /* batch norm: six rows of C, see reference.c */
};

void reference_init(struct reference *reference, const struct op *op, const struct op_buffers *b);
void reference_release(struct reference *reference);

/* Element (n,y,x,c) of the array `role` after the op. Arrays of C values are (1,1,1,C); filter
 * gradients are (K,R,S,C); logits, labels and probabilities are (N,1,1,1). */
struct reference_value reference_at(const struct reference *reference, enum role role, int n, int y,
                                    int x, int c);
/* Terms in the sum of one element of `role`: what reference_at() costs. */
double reference_terms(const struct op *op, enum role role);

/* Element of host memory as double. */
double reference_load(const struct tensor *t, const void *data, int n, int y, int x, int c);

#endif
