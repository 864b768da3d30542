/* Every op of nn/op.h in double precision, with plain loops: the reference for the backends.
 *
 * It computes one output element at a time, so that a test can compare all of a small op and a
 * sample of a large one. Buffers are host memory. Each value comes with sums that bound the
 * rounding error of any reasonable way to compute it. Augmentation has its own test. */
#ifndef MICROMET_TESTS_REFERENCE_H
#define MICROMET_TESTS_REFERENCE_H

#include "micromet/nn/backend.h"

/* The arrays of struct op_buffers. */
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
    ROLE_SUMS,
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
    double shift;     /* change of the value if weights are rounded to bfloat16 */
    double kept;      /* the old value that the op adds to, part of `value` */
    double magnitude; /* sum of |term| */
};

/* Shared by all elements of one op. */
struct reference {
    const struct op *op;
    const struct op_buffers *b; /* with their content before the op */
    double *channels;           /* batch norm: six rows of C, see reference.c */
};

void reference_init(struct reference *reference, const struct op *op, const struct op_buffers *b);
void reference_release(struct reference *reference);

/* Element (n,y,x,c) of the array `role` after the op. Arrays of C values are (1,1,1,C), two of them
 * (1,1,2,C); filter gradients are (K,R,S,C); logits, labels and probabilities are (N,1,1,1). */
struct reference_value reference_at(const struct reference *reference, enum role role, int n, int y,
                                    int x, int c);
/* Number of terms in the sum of one element of `role`: the cost of reference_at(). */
double reference_terms(const struct op *op, enum role role);

/* An element in host memory as double. */
double reference_load(const struct tensor *t, const void *data, int n, int y, int x, int c);

#endif
