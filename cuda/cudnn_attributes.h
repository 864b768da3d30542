/* Descriptors of cuDNN's backend API: create them, set their attributes and finalize them. If cuDNN
 * refuses any of this, the function returns an error. */
#ifndef MICROMET_CUDA_CUDNN_ATTRIBUTES_H
#define MICROMET_CUDA_CUDNN_ATTRIBUTES_H

#include "check.h"

bool cudnn_create(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t *descriptor,
                  struct error *err);
bool cudnn_finalize(cudnnBackendDescriptor_t descriptor, struct error *err);
/* *descriptor may be NULL, and is NULL afterwards. */
void cudnn_destroy(cudnnBackendDescriptor_t *descriptor);

bool cudnn_set(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
               cudnnBackendAttributeType_t type, int64_t count, const void *values,
               struct error *err);
bool cudnn_set_descriptor(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                          cudnnBackendDescriptor_t value, struct error *err);
bool cudnn_set_integer(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                       int64_t value, struct error *err);
bool cudnn_set_float(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                     float value, struct error *err);
bool cudnn_set_type(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                    cudnnDataType_t value, struct error *err);

#endif
