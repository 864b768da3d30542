/* Helpers for tests of the simulated cuDNN: a convolution in one of its three directions as a graph
 * of backend descriptors, the engines that cuDNN offers for it, and plans. The caller destroys
 * every descriptor. */
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

/* A tensor descriptor with NCHW dimensions and NHWC strides, not finalised. */
descriptor raw_tensor_descriptor(cudnnDataType_t type, const int64_t dims[4], int64_t pixel_stride,
                                 int64_t uid, bool virtual);
/* A descriptor of the array; if `virtual`, of a dense F32 tensor. */
descriptor tensor_descriptor(const struct array *a, int64_t uid, bool virtual);
descriptor convolution_descriptor(int64_t stride, int64_t pad);
/* Takes ownership of the four descriptors and destroys them at once, as cuDNN
 * allows. Not finalised. */
descriptor convolution_operation(enum direction direction, descriptor c, descriptor x, descriptor w,
                                 descriptor y, float beta);

/* A convolution with 3×3 filters and stride 2, whose y is a slice of a concatenated tensor. */
struct problem problem_make(enum direction direction, enum dtype dtype, int channels);
void problem_release(struct problem *problem);
descriptor problem_graph(const struct problem *problem);
descriptor problem_pack(const struct problem *problem, void *workspace);

/* List the engine configurations; returns their number. *promised is the number that the heuristic
 * announced. Release all of `configs` with configs_release(). */
int configs_list(descriptor graph, cudnnBackendHeurMode_t mode, descriptor configs[ENGINES_MAX],
                 int64_t *promised);
void configs_release(descriptor configs[ENGINES_MAX]);
/* Destroy *plan whatever the status. */
cudnnStatus_t plan_try(descriptor config, descriptor *plan, int64_t *workspace_bytes);

#endif
