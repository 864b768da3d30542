/* oneDNN 3's functions in terms of oneDNN 2's; with version 3 installed there is nothing to do.
 *
 * Version 2 keeps descriptors as structs and plans in two steps, an operation's descriptor and then
 * the primitive's; version 3 allocates descriptors itself and plans in one. */
#include "dnnl_api.h"

#if DNNL_VERSION_MAJOR < 3
#include <stdlib.h>

/* Give the caller a copy of `filled`, unless filling it failed. */
static dnnl_status_t keep(memory_desc *desc, const dnnl_memory_desc_t *filled, dnnl_status_t status)
{
    *desc = NULL;
    if (status != dnnl_success) return status;
    if (!(*desc = malloc(sizeof *filled))) return dnnl_out_of_memory;
    **desc = *filled;
    return dnnl_success;
}

dnnl_status_t dnnl_memory_desc_create_with_strides(memory_desc *desc, int ndims,
                                                   const dnnl_dims_t dims, dnnl_data_type_t type,
                                                   const dnnl_dims_t strides)
{
    dnnl_memory_desc_t md;
    return keep(desc, &md, dnnl_memory_desc_init_by_strides(&md, ndims, dims, type, strides));
}

dnnl_status_t dnnl_memory_desc_create_with_tag(memory_desc *desc, int ndims, const dnnl_dims_t dims,
                                               dnnl_data_type_t type, dnnl_format_tag_t tag)
{
    dnnl_memory_desc_t md;
    return keep(desc, &md, dnnl_memory_desc_init_by_tag(&md, ndims, dims, type, tag));
}

dnnl_status_t dnnl_memory_desc_destroy(memory_desc desc)
{
    free(desc);
    return dnnl_success;
}

dnnl_status_t dnnl_convolution_forward_primitive_desc_create(
    dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnnl_prop_kind_t kind,
    dnnl_alg_kind_t algorithm, const_memory_desc x, const_memory_desc weights,
    const_memory_desc bias, const_memory_desc y, const dnnl_dims_t strides,
    const dnnl_dims_t dilates, const dnnl_dims_t pad_low, const dnnl_dims_t pad_high,
    const_dnnl_primitive_attr_t attributes)
{
    dnnl_convolution_desc_t desc;
    const dnnl_status_t status = dnnl_dilated_convolution_forward_desc_init(
        &desc, kind, algorithm, x, weights, bias, y, strides, dilates, pad_low, pad_high);
    if (status != dnnl_success) return status;
    return dnnl_primitive_desc_create(pd, &desc, attributes, engine, NULL);
}

dnnl_status_t dnnl_convolution_backward_data_primitive_desc_create(
    dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnnl_alg_kind_t algorithm,
    const_memory_desc dx, const_memory_desc weights, const_memory_desc dy,
    const dnnl_dims_t strides, const dnnl_dims_t dilates, const dnnl_dims_t pad_low,
    const dnnl_dims_t pad_high, const_dnnl_primitive_desc_t forward,
    const_dnnl_primitive_attr_t attributes)
{
    dnnl_convolution_desc_t desc;
    const dnnl_status_t status = dnnl_dilated_convolution_backward_data_desc_init(
        &desc, algorithm, dx, weights, dy, strides, dilates, pad_low, pad_high);
    if (status != dnnl_success) return status;
    return dnnl_primitive_desc_create(pd, &desc, attributes, engine, forward);
}

dnnl_status_t dnnl_convolution_backward_weights_primitive_desc_create(
    dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnnl_alg_kind_t algorithm, const_memory_desc x,
    const_memory_desc dweights, const_memory_desc dbias, const_memory_desc dy,
    const dnnl_dims_t strides, const dnnl_dims_t dilates, const dnnl_dims_t pad_low,
    const dnnl_dims_t pad_high, const_dnnl_primitive_desc_t forward,
    const_dnnl_primitive_attr_t attributes)
{
    dnnl_convolution_desc_t desc;
    const dnnl_status_t status = dnnl_dilated_convolution_backward_weights_desc_init(
        &desc, algorithm, x, dweights, dbias, dy, strides, dilates, pad_low, pad_high);
    if (status != dnnl_success) return status;
    return dnnl_primitive_desc_create(pd, &desc, attributes, engine, forward);
}
#endif
