/* A convolution as an operation graph of cuDNN's backend API: forward with bias and ReLU, data
 * gradient, filter gradient. */
#ifndef MICROMET_CUDA_CUDNN_GRAPH_H
#define MICROMET_CUDA_CUDNN_GRAPH_H

#include "check.h"
#include "micromet/nn/backend.h"

/* What a variant pack calls the tensors. x is dx, y is dy, w is dw in gradients. */
enum cudnn_tensor { CUDNN_X, CUDNN_W, CUDNN_Y, CUDNN_BIAS, CUDNN_TENSORS };

/* Bytes that an address of the view is a multiple of, as plans assume it. */
int64_t cudnn_alignment(const struct tensor *tensor);

enum { CUDNN_DESCRIPTORS_MAX = 16 };

/* An operation graph and all it is made of. Plans keep what they need of it. */
struct cudnn_graph {
    cudnnBackendDescriptor_t descriptors[CUDNN_DESCRIPTORS_MAX]; /* in the order they were made */
    int count;
    cudnnBackendDescriptor_t graph;
};
bool cudnn_graph_init(struct cudnn_graph *graph, const struct op *op, struct error *err);
void cudnn_graph_release(struct cudnn_graph *graph);

#endif
