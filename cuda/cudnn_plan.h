/* Plans of cuDNN's backend API for one convolution: forward with bias and ReLU, data
 * gradient, filter gradient.
 *
 * The idea: an op is turned into an operation graph as it stands, cuDNN's heuristics list
 * engines for it, and the first that finalises within the workspace limit is the plan. The
 * target is a real device or only the description of one, so that the plans for a GPU can be
 * made where there is none. */
#ifndef MICROMET_CUDA_CUDNN_PLAN_H
#define MICROMET_CUDA_CUDNN_PLAN_H

#include "cudnn_graph.h"

/* Whom plans are for. */
struct cudnn_target {
    cudnnBackendDescriptor_t device;
};
bool cudnn_target_handle(struct cudnn_target *target, cudnnHandle_t handle, struct error *err);
bool cudnn_target_json(struct cudnn_target *target, const char *json, struct error *err);
void cudnn_target_release(struct cudnn_target *target);

struct cudnn_plan {
    int64_t engine; /* cuDNN's number */
    size_t workspace_bytes;
    cudnnBackendDescriptor_t config, plan;
    cudnnBackendDescriptor_t pack; /* of the last run, with these pointers */
    void *pointers[CUDNN_TENSORS + 1];
};
void cudnn_plan_release(struct cudnn_plan *plan);

struct cudnn_limits {
    size_t workspace_bytes;
    bool tensor_cores; /* whether F32 tensors may be computed in TF32 */
};

/* Plans for the op as it stands, in cuDNN's order, at most `most`; false if there is none, and the
 * error names the last refusal. x and y are of one type, weights are of that type too, (K, R, S,
 * x.c), the bias is F32; a filter gradient has none. Engines that add in no fixed order are passed
 * over, and so are those that compute F32 in fewer bits than the limits allow. */
bool cudnn_plan_op(struct cudnn_plan *plans, int most, int *count, const struct op *op,
                   const struct cudnn_target *target, const struct cudnn_limits *limits,
                   struct error *err);

/* A plan as text, kernels that were compiled for it included; malloc'ed. Loading it takes a
 * millisecond, where compiling takes seconds. Engine is what the plan said. */
bool cudnn_plan_serialize(const struct cudnn_plan *plan, char **json, size_t *size,
                          struct error *err);
bool cudnn_plan_load(struct cudnn_plan *plan, const char *json, size_t size, int64_t engine,
                     const struct cudnn_target *target, const struct cudnn_limits *limits,
                     struct error *err);

/* Queue the plan on the handle's stream. Tensors that the graph does not have are NULL. */
bool cudnn_plan_run(struct cudnn_plan *plan, cudnnHandle_t handle,
                    void *const tensors[CUDNN_TENSORS], void *workspace, struct error *err);

#endif
