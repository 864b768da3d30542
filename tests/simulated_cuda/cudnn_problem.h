/* What an operation graph computes, if it has one of the forms that the simulated engines support.
 * A plain copyable struct without references to descriptors. */
#ifndef MICROMET_TESTS_CUDNN_PROBLEM_H
#define MICROMET_TESTS_CUDNN_PROBLEM_H

#include "cudnn_descriptor.h"
#include "simulated_dnn_control.h"
#include "simulated_math.h"

struct problem_tensor {
    cudnnDataType_t type;
    int64_t uid, alignment;
    int64_t dims[4], strides[4]; /* n, c, h, w */
};

struct problem {
    enum simulated_dnn_form form;        /* SIMULATED_FORMS: unsupported */
    struct problem_tensor x, w, y, bias; /* x is dx, w is dw, y is dy in gradients */
    struct convolution_shape shape;
    float alpha, beta;
};

bool problem_has_bias(const struct problem *problem);
bool problem_has_relu(const struct problem *problem);
/* The output tensor. */
const struct problem_tensor *problem_output(const struct problem *problem);
/* Bytes from the first element to the end of the last, gaps included. */
size_t tensor_extent(const struct problem_tensor *tensor);
enum element element_of(cudnnDataType_t type);
/* The problem of a finalised graph. */
const struct problem *graph_problem(const struct node *graph);

#endif
