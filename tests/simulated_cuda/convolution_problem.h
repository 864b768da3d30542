/* For tests of the simulated cuDNN: a convolution in one of its three directions as a graph of
 * backend descriptors, the engines that cuDNN offers for it, and plans. Every descriptor is the
 * caller's to destroy. */
#ifndef CONVOLUTION_PROBLEM_H
#define CONVOLUTION_PROBLEM_H

#include <stdbool.h>

#include "device_array.h"

typedef cudnnBackendDescriptor_t descriptor;

enum uid { UID_X, UID_W, UID_Y, UID_BIAS, UID_BETWEEN };
enum direction { FORWARD, BACKWARD_DATA, BACKWARD_FILTER };
enum { ENGINES_MAX = 64 };

struct problem {
    enum direction direction;
    struct array x, w, y, bias;
    int stride, pad;
    bool has_bias, relu, accumulate;
};

descriptor descriptor_create(cudnnBackendDescriptorType_t type);
void descriptor_set(descriptor d, cudnnBackendAttributeName_t name,
                    cudnnBackendAttributeType_t type, int64_t count, const void *values);
void descriptor_set_child(descriptor d, cudnnBackendAttributeName_t name, descriptor child);
void descriptor_destroy(descriptor d);

/* NCHW dimensions of an NHWC tensor; not finalised. */
descriptor raw_tensor_descriptor(cudnnDataType_t type, const int64_t dims[4], int64_t pixel_stride,
                                 int64_t uid, bool virtual);
/* `virtual` ones are dense F32. */
descriptor tensor_descriptor(const struct array *a, int64_t uid, bool virtual);
descriptor convolution_descriptor(int64_t stride, int64_t pad);
/* Takes over the four descriptors, as a caller may who does not need them any more. Not finalised.
 */
descriptor convolution_operation(enum direction direction, descriptor c, descriptor x, descriptor w,
                                 descriptor y, float beta);

/* 3×3 filters with stride 2; y is a slice of a concatenated tensor. */
struct problem problem_make(enum direction direction, enum dtype dtype, int channels);
void problem_release(struct problem *problem);
descriptor problem_graph(const struct problem *problem);
descriptor problem_pack(const struct problem *problem, void *workspace);

/* How many engines there are and, in *promised, how many the heuristic had announced. All of
 * `configs` are to be released. */
int configs_list(descriptor graph, cudnnBackendHeurMode_t mode, descriptor configs[ENGINES_MAX],
                 int64_t *promised);
void configs_release(descriptor configs[ENGINES_MAX]);
/* *plan is to be destroyed whatever the status. */
cudnnStatus_t plan_try(descriptor config, descriptor *plan, int64_t *workspace_bytes);

#endif
