/* A convolution as an operation graph of cuDNN's backend API: forward with bias and ReLU, data
 * gradient or filter gradient. */
#ifndef MICROMET_CUDA_CUDNN_GRAPH_H
#define MICROMET_CUDA_CUDNN_GRAPH_H

#include "check.h"
#include "micromet/nn/backend.h"

/* Unique ids of the tensors in a variant pack. In gradients y is dy, and x is dx or w is dw. */
enum cudnn_tensor { CUDNN_X, CUDNN_W, CUDNN_Y, CUDNN_BIAS, CUDNN_TENSORS };

/* The alignment in bytes that plans assume for the view's address. */
int64_t cudnn_alignment(const struct tensor *tensor);

enum { CUDNN_DESCRIPTORS_MAX = 16 };

/* An operation graph and its descriptors. It may be released once plans have been made from it. */
struct cudnn_graph {
    cudnnBackendDescriptor_t descriptors[CUDNN_DESCRIPTORS_MAX]; /* in order of creation */
    int count;
    cudnnBackendDescriptor_t graph;
};
bool cudnn_graph_init(struct cudnn_graph *graph, const struct op *op, struct error *err);
void cudnn_graph_release(struct cudnn_graph *graph);

#endif
