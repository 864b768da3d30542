/* Setting, getting and finalising descriptors, driven by tables; see the header. Errors have the
 * statuses that cuDNN 9.19 returns. In addition, every attribute that its documentation calls
 * required must be set. */
#include "cudnn_descriptor.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/base/size.h"

enum need { OPTIONAL, REQUIRED, COMPUTED };

struct attribute {
    cudnnBackendAttributeName_t name;
    cudnnBackendAttributeType_t type;
    int64_t most;
    enum need need;
    /* if the type is a descriptor; which operations fit is checked by the graph */
    cudnnBackendDescriptorType_t child;
};

struct kind {
    cudnnBackendDescriptorType_t type;
    const char *name;
    /* statuses of finalising if an attribute is missing, or a child is not finalised */
    cudnnStatus_t missing, unfinalised;
    cudnnStatus_t (*finalise)(struct node *);
    struct attribute attributes[ATTRIBUTES_MAX];
};

static const char handle_kind[] = "cuDNN descriptor";
enum { ANY_OPERATION = -1 };

/* clang-format off */
#define INTEGER(name, most, need) { CUDNN_ATTR_##name, CUDNN_TYPE_INT64, most, need, 0 }
#define ONE(name, type, need)     { CUDNN_ATTR_##name, CUDNN_TYPE_##type, 1, need, 0 }
#define CHILD(name, kind, need) \
    { CUDNN_ATTR_##name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, need, CUDNN_BACKEND_##kind##_DESCRIPTOR }
/* clang-format on */
#define CONVOLUTION_OPERATION(prefix, x, w, y)                                                     \
    CHILD(OPERATION_CONVOLUTION_##prefix##_CONV_DESC, CONVOLUTION, REQUIRED),                      \
        CHILD(OPERATION_CONVOLUTION_##prefix##_##x, TENSOR, REQUIRED),                             \
        CHILD(OPERATION_CONVOLUTION_##prefix##_##w, TENSOR, REQUIRED),                             \
        CHILD(OPERATION_CONVOLUTION_##prefix##_##y, TENSOR, REQUIRED),                             \
        ONE(OPERATION_CONVOLUTION_##prefix##_ALPHA, FLOAT, OPTIONAL),                              \
        ONE(OPERATION_CONVOLUTION_##prefix##_BETA, FLOAT, OPTIONAL)

static const struct kind kinds[] = {
    { CUDNN_BACKEND_TENSOR_DESCRIPTOR,
      "tensor",
      CUDNN_STATUS_BAD_PARAM,
      CUDNN_STATUS_BAD_PARAM,
      finalise_tensor,
      { ONE(TENSOR_DATA_TYPE, DATA_TYPE, REQUIRED),
        INTEGER(TENSOR_DIMENSIONS, CUDNN_DIM_MAX, REQUIRED),
        INTEGER(TENSOR_STRIDES, CUDNN_DIM_MAX, REQUIRED), INTEGER(TENSOR_UNIQUE_ID, 1, REQUIRED),
        INTEGER(TENSOR_BYTE_ALIGNMENT, 1, REQUIRED), ONE(TENSOR_IS_VIRTUAL, BOOLEAN, OPTIONAL) } },
    { CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR,
      "convolution",
      CUDNN_STATUS_BAD_PARAM,
      CUDNN_STATUS_BAD_PARAM,
      finalise_convolution,
      { ONE(CONVOLUTION_COMP_TYPE, DATA_TYPE, REQUIRED),
        ONE(CONVOLUTION_CONV_MODE, CONVOLUTION_MODE, REQUIRED),
        INTEGER(CONVOLUTION_SPATIAL_DIMS, 1, REQUIRED),
        INTEGER(CONVOLUTION_DILATIONS, CUDNN_DIM_MAX, REQUIRED),
        INTEGER(CONVOLUTION_FILTER_STRIDES, CUDNN_DIM_MAX, REQUIRED),
        INTEGER(CONVOLUTION_PRE_PADDINGS, CUDNN_DIM_MAX, REQUIRED),
        INTEGER(CONVOLUTION_POST_PADDINGS, CUDNN_DIM_MAX, REQUIRED) } },
    { CUDNN_BACKEND_POINTWISE_DESCRIPTOR,
      "pointwise",
      CUDNN_STATUS_BAD_PARAM,
      CUDNN_STATUS_BAD_PARAM,
      finalise_pointwise,
      { ONE(POINTWISE_MODE, POINTWISE_MODE, REQUIRED),
        ONE(POINTWISE_MATH_PREC, DATA_TYPE, REQUIRED) } },
    { CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
      "forward convolution",
      CUDNN_STATUS_BAD_PARAM,
      CUDNN_STATUS_BAD_PARAM,
      finalise_operation,
      { CONVOLUTION_OPERATION(FORWARD, X, W, Y) } },
    { CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
      "data gradient",
      CUDNN_STATUS_BAD_PARAM,
      CUDNN_STATUS_BAD_PARAM,
      finalise_operation,
      { CONVOLUTION_OPERATION(BWD_DATA, DX, W, DY) } },
    { CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
      "filter gradient",
      CUDNN_STATUS_BAD_PARAM,
      CUDNN_STATUS_BAD_PARAM,
      finalise_operation,
      { CONVOLUTION_OPERATION(BWD_FILTER, X, DW, DY) } },
    { CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR,
      "pointwise operation",
      CUDNN_STATUS_BAD_PARAM,
      CUDNN_STATUS_BAD_PARAM,
      finalise_operation,
      { CHILD(OPERATION_POINTWISE_PW_DESCRIPTOR, POINTWISE, REQUIRED),
        CHILD(OPERATION_POINTWISE_XDESC, TENSOR, REQUIRED),
        CHILD(OPERATION_POINTWISE_BDESC, TENSOR, OPTIONAL),
        CHILD(OPERATION_POINTWISE_YDESC, TENSOR, REQUIRED),
        ONE(OPERATION_POINTWISE_ALPHA1, FLOAT, OPTIONAL),
        ONE(OPERATION_POINTWISE_ALPHA2, FLOAT, OPTIONAL) } },
    { CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR,
      "operation graph",
      CUDNN_STATUS_BAD_PARAM,
      CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED,
      finalise_graph,
      { { CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 8, REQUIRED,
          (cudnnBackendDescriptorType_t)ANY_OPERATION } } },
    { CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR,
      "device",
      CUDNN_STATUS_NOT_INITIALIZED,
      CUDNN_STATUS_BAD_PARAM,
      finalise_device,
      { { CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, 1 << 16, OPTIONAL, 0 },
        ONE(DEVICEPROP_DEVICE_ID, INT32, OPTIONAL),
        ONE(DEVICEPROP_HANDLE, HANDLE, OPTIONAL) } },
    { CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR,
      "heuristics",
      CUDNN_STATUS_BAD_PARAM,
      CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED,
      finalise_heuristics,
      { ONE(ENGINEHEUR_MODE, HEUR_MODE, REQUIRED),
        CHILD(ENGINEHEUR_OPERATION_GRAPH, OPERATIONGRAPH, REQUIRED),
        CHILD(ENGINEHEUR_DEVICEPROP, DEVICEPROP, OPTIONAL),
        { CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, COMPUTED,
          CUDNN_BACKEND_ENGINECFG_DESCRIPTOR } } },
    { CUDNN_BACKEND_ENGINE_DESCRIPTOR,
      "engine",
      CUDNN_STATUS_BAD_PARAM_NULL_POINTER,
      CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED,
      finalise_engine,
      { CHILD(ENGINE_OPERATION_GRAPH, OPERATIONGRAPH, REQUIRED),
        INTEGER(ENGINE_GLOBAL_INDEX, 1, REQUIRED), CHILD(ENGINE_DEVICEPROP, DEVICEPROP, OPTIONAL),
        ONE(ENGINE_NUMERICAL_NOTE, NUMERICAL_NOTE, COMPUTED),
        ONE(ENGINE_BEHAVIOR_NOTE, BEHAVIOR_NOTE, COMPUTED) } },
    { CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR,
      "knob choice",
      CUDNN_STATUS_BAD_PARAM,
      CUDNN_STATUS_BAD_PARAM,
      NULL,
      { ONE(KNOB_CHOICE_KNOB_TYPE, KNOB_TYPE, REQUIRED),
        INTEGER(KNOB_CHOICE_KNOB_VALUE, 1, REQUIRED) } },
    { CUDNN_BACKEND_ENGINECFG_DESCRIPTOR,
      "engine configuration",
      CUDNN_STATUS_BAD_PARAM,
      CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED,
      finalise_config,
      { CHILD(ENGINECFG_ENGINE, ENGINE, REQUIRED),
        { CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_TYPE_BACKEND_DESCRIPTOR, CUDNN_KNOB_TYPE_COUNTS,
          OPTIONAL, CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR } } },
    { CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR,
      "execution plan",
      CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED,
      CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED,
      finalise_plan,
      { CHILD(EXECUTION_PLAN_ENGINE_CONFIG, ENGINECFG, REQUIRED),
        CHILD(EXECUTION_PLAN_DEVICEPROP, DEVICEPROP, OPTIONAL),
        INTEGER(EXECUTION_PLAN_WORKSPACE_SIZE, 1, COMPUTED) } },
    { CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR,
      "variant pack",
      CUDNN_STATUS_BAD_PARAM,
      CUDNN_STATUS_BAD_PARAM,
      finalise_pack,
      { INTEGER(VARIANT_PACK_UNIQUE_IDS, 64, REQUIRED),
        { CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, 64, REQUIRED, 0 },
        ONE(VARIANT_PACK_WORKSPACE, VOID_PTR, OPTIONAL) } },
};

struct descriptor {
    struct node *node;
};

static _Thread_local char last_error[256];

cudnnStatus_t cudnn_refuse(cudnnStatus_t status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(last_error, sizeof last_error, format, arguments);
    va_end(arguments);
    return status;
}

void cudnnGetLastErrorString(char *message, size_t max_size)
{
    if (max_size > 0) snprintf(message, max_size, "%s", last_error);
    last_error[0] = 0;
}

/* --- nodes --- */

static size_t element_bytes(cudnnBackendAttributeType_t type)
{
    switch (type) {
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_BACKEND_DESCRIPTOR:
        return sizeof(void *);
    case CUDNN_TYPE_INT64:
        return sizeof(int64_t);
    case CUDNN_TYPE_BOOLEAN:
        return sizeof(bool);
    case CUDNN_TYPE_CHAR:
        return 1;
    default: /* float, int32, enumerations */
        return 4;
    }
}

static const struct kind *find_kind(cudnnBackendDescriptorType_t type)
{
    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        if (kinds[i].type == type) return &kinds[i];
    return NULL;
}

static int find_attribute(const struct kind *kind, cudnnBackendAttributeName_t name)
{
    for (int i = 0; i < ATTRIBUTES_MAX && kind->attributes[i].most > 0; i++)
        if (kind->attributes[i].name == name) return i;
    return -1;
}

static int attribute_index(const struct node *node, cudnnBackendAttributeName_t name)
{
    const int i = find_attribute(node->kind, name);
    if (i < 0) sim_defect("simulated cuDNN: a %s has no attribute %d", node->kind->name, (int)name);
    return i;
}

struct node *node_new(cudnnBackendDescriptorType_t type)
{
    struct node *node = calloc(1, sizeof *node);
    node->kind = find_kind(type);
    node->references = 1;
    return node;
}

static void clear_value(struct node *node, int i)
{
    struct node **children = node->values[i].elements;
    if (node->kind->attributes[i].type == CUDNN_TYPE_BACKEND_DESCRIPTOR)
        for (int64_t c = 0; c < node->values[i].count; c++) node_release(children[c]);
    free(node->values[i].elements);
    node->values[i].elements = NULL;
    node->values[i].count = 0;
}

void node_release(struct node *node)
{
    if (!node || --node->references > 0) return;
    for (int i = 0; i < ATTRIBUTES_MAX; i++) clear_value(node, i);
    free(node->detail);
    free(node);
}

void node_put(struct node *node, cudnnBackendAttributeName_t name, int64_t count,
              const void *elements)
{
    const int i = attribute_index(node, name);
    const size_t bytes = element_bytes(node->kind->attributes[i].type) * (size_t)count;
    void *copy = malloc(bytes + 1);
    if (bytes > 0) memcpy(copy, elements, bytes);
    struct node **children = copy;
    if (node->kind->attributes[i].type == CUDNN_TYPE_BACKEND_DESCRIPTOR)
        for (int64_t c = 0; c < count; c++) children[c]->references++;
    clear_value(node, i);
    node->values[i].count = count;
    node->values[i].elements = copy;
}

cudnnBackendDescriptorType_t node_type(const struct node *node)
{
    return node->kind->type;
}

int64_t node_count(const struct node *node, cudnnBackendAttributeName_t name)
{
    return node->values[attribute_index(node, name)].count;
}

const void *node_elements(const struct node *node, cudnnBackendAttributeName_t name)
{
    return node->values[attribute_index(node, name)].elements;
}

const struct node *node_child(const struct node *node, cudnnBackendAttributeName_t name)
{
    struct node *const *child = node_elements(node, name);
    return child ? *child : NULL;
}

int64_t node_integer(const struct node *node, cudnnBackendAttributeName_t name, int64_t otherwise)
{
    const int64_t *value = node_elements(node, name);
    return value ? *value : otherwise;
}

int node_enum(const struct node *node, cudnnBackendAttributeName_t name, int otherwise)
{
    const int *value = node_elements(node, name);
    return value ? *value : otherwise;
}

cudnnStatus_t node_finalise(struct node *node)
{
    const struct kind *kind = node->kind;
    if (node->finalised)
        return cudnn_refuse(CUDNN_STATUS_BAD_PARAM, "the %s is finalised already", kind->name);
    for (int i = 0; i < ATTRIBUTES_MAX; i++) {
        if (kind->attributes[i].need == REQUIRED && node->values[i].count == 0)
            return cudnn_refuse(kind->missing, "attribute %d of the %s is not set",
                                (int)kind->attributes[i].name, kind->name);
        struct node *const *children = node->values[i].elements;
        if (kind->attributes[i].type != CUDNN_TYPE_BACKEND_DESCRIPTOR) continue;
        for (int64_t c = 0; c < node->values[i].count; c++)
            if (!children[c]->finalised)
                return cudnn_refuse(kind->unfinalised,
                                    "the %s of the %s was not finalised when it was set",
                                    children[c]->kind->name, kind->name);
    }
    const cudnnStatus_t status = kind->finalise ? kind->finalise(node) : CUDNN_STATUS_SUCCESS;
    node->finalised = status == CUDNN_STATUS_SUCCESS;
    return status;
}

/* --- the library's calls --- */

static bool is_operation(cudnnBackendDescriptorType_t type)
{
    return type >= CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR &&
           type <= CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR;
}

static struct node *live_node(cudnnBackendDescriptor_t descriptor)
{
    if (!descriptor) return NULL;
    if (!sim_handle_alive(descriptor, handle_kind))
        sim_defect("cuDNN: %p is no live descriptor", descriptor);
    return ((struct descriptor *)descriptor)->node;
}

struct node *node_of(cudnnBackendDescriptor_t descriptor, cudnnBackendDescriptorType_t type)
{
    struct node *node = live_node(descriptor);
    if (!node) return NULL;
    const bool fits = (int)type == ANY_OPERATION ? is_operation(node_type(node))
                                                 : node_type(node) == type;
    if (!fits)
        sim_defect("cuDNN: a %s was given for a descriptor of another kind, %d", node->kind->name,
                   (int)type);
    return node;
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type,
                                           cudnnBackendDescriptor_t *descriptor)
{
    if (sim_fails(__func__))
        return cudnn_refuse(CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED,
                            "out of host memory");
    if (!find_kind(type))
        return cudnn_refuse(CUDNN_STATUS_NOT_SUPPORTED, "descriptors of type %d are not simulated",
                            (int)type);
    struct descriptor *handle = malloc(sizeof *handle);
    handle->node = node_new(type);
    sim_handle_created(handle, handle_kind);
    *descriptor = handle;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor)
{
    const bool fails = sim_fails(__func__);
    if (!descriptor) return CUDNN_STATUS_BAD_PARAM_NULL_POINTER;
    sim_handle_destroyed(descriptor, handle_kind);
    node_release(((struct descriptor *)descriptor)->node);
    free(descriptor);
    return fails ? cudnn_refuse(CUDNN_STATUS_INTERNAL_ERROR, "injected") : CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t descriptor)
{
    if (sim_fails(__func__)) return cudnn_refuse(CUDNN_STATUS_NOT_SUPPORTED, "injected");
    struct node *node = live_node(descriptor);
    return node ? node_finalise(node) : CUDNN_STATUS_BAD_PARAM_NULL_POINTER;
}

/* Set the nodes behind an array of handles. A child that is not finalised yet is captured as
 * it is now: empty. */
static cudnnStatus_t put_children(struct node *node, const struct attribute *attribute,
                                  int64_t count, const cudnnBackendDescriptor_t *handles)
{
    struct node **children = calloc((size_t)count, sizeof *children);
    cudnnStatus_t status = CUDNN_STATUS_SUCCESS;
    for (int64_t i = 0; i < count && status == CUDNN_STATUS_SUCCESS; i++) {
        struct node *child = node_of(handles[i], attribute->child);
        if (!child)
            status = cudnn_refuse(CUDNN_STATUS_BAD_PARAM,
                                  "NULL among the descriptors for attribute %d", attribute->name);
        else if (!child->finalised && node_type(node) == CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR)
            status = cudnn_refuse(CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED,
                                  "an operation of the graph is not finalised");
        else if (!child->finalised)
            children[i] = node_new(node_type(child));
        else {
            children[i] = child;
            child->references++;
        }
    }
    if (status == CUDNN_STATUS_SUCCESS) node_put(node, attribute->name, count, children);
    for (int64_t i = 0; i < count; i++) node_release(children[i]);
    free(children);
    return status;
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor,
                                       cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t count,
                                       const void *elements)
{
    if (sim_fails(__func__))
        return cudnn_refuse(CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED,
                            "out of host memory");
    struct node *node = live_node(descriptor);
    if (!node) return CUDNN_STATUS_BAD_PARAM_NULL_POINTER;
    const struct kind *kind = node->kind;
    const int i = find_attribute(kind, name);
    if (node->finalised)
        return cudnn_refuse(CUDNN_STATUS_BAD_PARAM,
                            "attribute %d is set after the %s was finalised", (int)name,
                            kind->name);
    if (i < 0 || kind->attributes[i].need == COMPUTED)
        return cudnn_refuse(CUDNN_STATUS_BAD_PARAM, "a %s has no attribute %d to set", kind->name,
                            (int)name);
    const struct attribute *attribute = &kind->attributes[i];
    const bool narrowed = attribute->type == CUDNN_TYPE_FLOAT && type == CUDNN_TYPE_DOUBLE;
    if (type != attribute->type && !narrowed)
        return cudnn_refuse(CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE,
                            "attribute %d of a %s is not of type %d", (int)name, kind->name,
                            (int)type);
    if (count < 1 || count > attribute->most || !elements)
        return cudnn_refuse(CUDNN_STATUS_BAD_PARAM,
                            "attribute %d of a %s takes 1 to %lld elements, not %lld", (int)name,
                            kind->name, (long long)attribute->most, (long long)count);
    if (type == CUDNN_TYPE_BACKEND_DESCRIPTOR)
        return put_children(node, attribute, count, elements);
    if (type == CUDNN_TYPE_HANDLE && !*(void *const *)elements)
        return CUDNN_STATUS_BAD_PARAM_NULL_POINTER;
    const float narrow = narrowed ? (float)*(const double *)elements : 0;
    node_put(node, name, count, narrowed ? &narrow : elements);
    return CUDNN_STATUS_SUCCESS;
}

/* Two undocumented properties of cuDNN 9: the announced number of heuristic results is an upper
 * bound, and results are handed out only once; the number of knobs is reported as 0 unless the
 * knobs themselves are requested. */
static int64_t promised(const struct node *node, cudnnBackendAttributeName_t name, int64_t count)
{
    if (name == CUDNN_ATTR_ENGINEHEUR_RESULTS) return count + count / 4;
    return name == CUDNN_ATTR_ENGINECFG_KNOB_CHOICES ? 0 : node_count(node, name);
}

/* Make the caller's descriptors refer to the children. */
static void hand_out(const struct attribute *attribute, struct node *const *children, int64_t count,
                     const cudnnBackendDescriptor_t *handles)
{
    for (int64_t i = 0; i < count; i++) {
        struct node *before = node_of(handles[i], attribute->child);
        if (!before)
            sim_defect("cuDNN: NULL among the descriptors that attribute %d is to be put into",
                       attribute->name);
        children[i]->references++;
        ((struct descriptor *)handles[i])->node = children[i];
        node_release(before);
    }
}

cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t const descriptor,
                                       cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t requested,
                                       int64_t *count, void *elements)
{
    if (sim_fails(__func__)) return cudnn_refuse(CUDNN_STATUS_INTERNAL_ERROR, "injected");
    struct node *node = live_node(descriptor);
    if (!node) return CUDNN_STATUS_BAD_PARAM_NULL_POINTER;
    const int i = find_attribute(node->kind, name);
    if (!node->finalised)
        return cudnn_refuse(CUDNN_STATUS_NOT_INITIALIZED, "the %s is not finalised",
                            node->kind->name);
    if (i < 0 || requested < 0)
        return cudnn_refuse(CUDNN_STATUS_BAD_PARAM, "attribute %d of a %s", (int)name,
                            node->kind->name);
    const struct attribute *attribute = &node->kind->attributes[i];
    if (type != attribute->type)
        return cudnn_refuse(CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE,
                            "attribute %d of a %s is not of type %d", (int)name, node->kind->name,
                            (int)type);
    int64_t given = node->values[i].count;
    if (requested == 0 || !elements) {
        if (count) *count = promised(node, name, given);
        return CUDNN_STATUS_SUCCESS;
    }
    if (given > requested) given = requested;
    if (name == CUDNN_ATTR_ENGINEHEUR_RESULTS && node->listed) given = 0;
    if (type == CUDNN_TYPE_BACKEND_DESCRIPTOR)
        hand_out(attribute, node->values[i].elements, given, elements);
    else if (given > 0)
        memcpy(elements, node->values[i].elements, element_bytes(type) * (size_t)given);
    if (name == CUDNN_ATTR_ENGINEHEUR_RESULTS) node->listed = true;
    if (count) *count = given;
    return CUDNN_STATUS_SUCCESS;
}
