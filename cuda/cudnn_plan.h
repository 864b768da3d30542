/* Execution plans of cuDNN's backend API for one convolution: forward with bias and ReLU, data
 * gradient or filter gradient.
 *
 * The op is turned into an operation graph, cuDNN's heuristics list engines for it, and the first
 * that can be finalized within the workspace limit gives the plan. The target is a real device or
 * only the description of one, so plans can be made for a GPU on a machine without it. */
#ifndef MICROMET_CUDA_CUDNN_PLAN_H
#define MICROMET_CUDA_CUDNN_PLAN_H

#include "cudnn_graph.h"

/* The device that plans are made for. */
struct cudnn_target {
    cudnnBackendDescriptor_t device;
};
bool cudnn_target_handle(struct cudnn_target *target, cudnnHandle_t handle, struct error *err);
bool cudnn_target_json(struct cudnn_target *target, const char *json, struct error *err);
void cudnn_target_release(struct cudnn_target *target);

struct cudnn_plan {
    int64_t engine; /* cuDNN's global index of the engine */
    size_t workspace_bytes;
    cudnnBackendDescriptor_t config, plan;
    cudnnBackendDescriptor_t pack; /* variant pack of the last run, with these pointers */
    void *pointers[CUDNN_TENSORS + 1];
};
void cudnn_plan_release(struct cudnn_plan *plan);

struct cudnn_limits {
    size_t workspace_bytes;
    bool tensor_cores; /* F32 tensors may be computed in TF32 */
};

/* Make at most `most` plans for the whole op, in the order of cuDNN's heuristics. False if there is
 * none; the error gives the reason of the last refusal.
 *
 * x, y and the weights (K, R, S, x.c) have one type, and the bias is F32; a filter gradient
 * computes none. Engines that are not deterministic are skipped, as are those that compute F32 with
 * fewer bits than the limits allow. */
bool cudnn_plan_op(struct cudnn_plan *plans, int most, int *count, const struct op *op,
                   const struct cudnn_target *target, const struct cudnn_limits *limits,
                   struct error *err);

/* Serialize a plan, including its compiled kernels, as malloc'ed JSON. Loading it takes a
 * millisecond, compiling it takes seconds. `engine` is that of the serialized plan. */
bool cudnn_plan_serialize(const struct cudnn_plan *plan, char **json, size_t *size,
                          struct error *err);
bool cudnn_plan_load(struct cudnn_plan *plan, const char *json, size_t size, int64_t engine,
                     const struct cudnn_target *target, const struct cudnn_limits *limits,
                     struct error *err);

/* Enqueue the plan on the handle's stream. Tensors that the graph does not have are NULL. */
bool cudnn_plan_run(struct cudnn_plan *plan, cudnnHandle_t handle,
                    void *const tensors[CUDNN_TENSORS], void *workspace, struct error *err);

#endif
