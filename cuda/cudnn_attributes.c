/* Setting typed attributes of cuDNN's backend descriptors; see the header. */
#include "cudnn_attributes.h"

bool cudnn_set(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
               cudnnBackendAttributeType_t type, int64_t count, const void *values,
               struct error *err)
{
    return CUDNN_OK(cudnnBackendSetAttribute(descriptor, name, type, count, values), err);
}

bool cudnn_set_descriptor(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                          cudnnBackendDescriptor_t value, struct error *err)
{
    return cudnn_set(descriptor, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value, err);
}

bool cudnn_set_integer(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                       int64_t value, struct error *err)
{
    return cudnn_set(descriptor, name, CUDNN_TYPE_INT64, 1, &value, err);
}

bool cudnn_set_float(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                     float value, struct error *err)
{
    return cudnn_set(descriptor, name, CUDNN_TYPE_FLOAT, 1, &value, err);
}

bool cudnn_set_type(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                    cudnnDataType_t value, struct error *err)
{
    return cudnn_set(descriptor, name, CUDNN_TYPE_DATA_TYPE, 1, &value, err);
}

bool cudnn_create(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t *descriptor,
                  struct error *err)
{
    return CUDNN_OK(cudnnBackendCreateDescriptor(type, descriptor), err);
}

bool cudnn_finalize(cudnnBackendDescriptor_t descriptor, struct error *err)
{
    return CUDNN_OK(cudnnBackendFinalize(descriptor), err);
}

void cudnn_destroy(cudnnBackendDescriptor_t *descriptor)
{
    if (*descriptor) CUDNN_RELEASE(cudnnBackendDestroyDescriptor(*descriptor));
    *descriptor = NULL;
}
