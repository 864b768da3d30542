/* oneDNN's C interface as version 3 has it, on version 2 as well.
 *
 * Code that includes this header calls version 3's functions, as its documentation describes them.
 * Where the installed headers are version 2's, dnnl_api.c builds the few that are missing from
 * version 2's own. Two things are spelt differently from the documentation: the types of memory
 * descriptors, which were plain structs in version 2, and the ReLU post-op, whose function kept its
 * name and lost a parameter. */
#ifndef MICROMET_CPU_DNNL_API_H
#define MICROMET_CPU_DNNL_API_H

#include <dnnl.h>

/* A memory descriptor, and one that is only read: handles in either version, made by the
 * …_create_… functions below and freed by dnnl_memory_desc_destroy(). */
#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t memory_desc;
typedef const_dnnl_memory_desc_t const_memory_desc;
#else
typedef dnnl_memory_desc_t *memory_desc;
typedef const dnnl_memory_desc_t *const_memory_desc;

dnnl_status_t dnnl_memory_desc_create_with_strides(memory_desc *desc, int ndims,
                                                   const dnnl_dims_t dims, dnnl_data_type_t type,
                                                   const dnnl_dims_t strides);
dnnl_status_t dnnl_memory_desc_create_with_tag(memory_desc *desc, int ndims, const dnnl_dims_t dims,
                                               dnnl_data_type_t type, dnnl_format_tag_t tag);
dnnl_status_t dnnl_memory_desc_destroy(memory_desc desc);

dnnl_status_t dnnl_convolution_forward_primitive_desc_create(
    dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnnl_prop_kind_t kind,
    dnnl_alg_kind_t algorithm, const_memory_desc x, const_memory_desc weights,
    const_memory_desc bias, const_memory_desc y, const dnnl_dims_t strides,
    const dnnl_dims_t dilates, const dnnl_dims_t pad_low, const dnnl_dims_t pad_high,
    const_dnnl_primitive_attr_t attributes);
dnnl_status_t dnnl_convolution_backward_data_primitive_desc_create(
    dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnnl_alg_kind_t algorithm,
    const_memory_desc dx, const_memory_desc weights, const_memory_desc dy,
    const dnnl_dims_t strides, const dnnl_dims_t dilates, const dnnl_dims_t pad_low,
    const dnnl_dims_t pad_high, const_dnnl_primitive_desc_t forward,
    const_dnnl_primitive_attr_t attributes);
dnnl_status_t dnnl_convolution_backward_weights_primitive_desc_create(
    dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnnl_alg_kind_t algorithm, const_memory_desc x,
    const_memory_desc dweights, const_memory_desc dbias, const_memory_desc dy,
    const dnnl_dims_t strides, const dnnl_dims_t dilates, const dnnl_dims_t pad_low,
    const dnnl_dims_t pad_high, const_dnnl_primitive_desc_t forward,
    const_dnnl_primitive_attr_t attributes);
#endif

/* Let the primitive end in max(0, y). */
static inline dnnl_status_t dnnl_api_append_relu(dnnl_post_ops_t post)
{
#if DNNL_VERSION_MAJOR >= 3
    return dnnl_post_ops_append_eltwise(post, dnnl_eltwise_relu, 0, 0);
#else
    return dnnl_post_ops_append_eltwise(post, 1, dnnl_eltwise_relu, 0, 0);
#endif
}

#endif
