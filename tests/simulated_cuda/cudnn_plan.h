/* An execution plan of the simulated cuDNN: a problem and the engine that computes it. */
#ifndef MICROMET_TESTS_CUDNN_PLAN_H
#define MICROMET_TESTS_CUDNN_PLAN_H

#include "cudnn_problem.h"

struct prepared {
    struct problem problem;
    enum rounding rounding;
    bool nondeterministic;
    size_t workspace_bytes;
    int device_version; /* 0 = the present device */
};

/* The contents of a finalised plan. */
const struct prepared *plan_prepared(const struct node *plan);

#endif
