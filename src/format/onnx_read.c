/* The weights of an ONNX graph: the inputs of its convolutions and batch norms, and the padding
 * mode of its average pools. Arrays point into the block in which the file was parsed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/base/size.h"
#include "micromet/format/onnx.h"
#include "onnx_parse.h"

enum {
    ALIASES_MAX = 16, /* Identity of Identity of … */
    NAME_CHARS = 200,
};

/* A name in the graph that refers to a stored tensor. */
struct value {
    const char *name;
    const Onnx__TensorProto *tensor; /* NULL: same as the value named `alias` */
    const char *alias;
};

struct reader {
    const char *path;
    const Onnx__GraphProto *graph;
    struct value *values; /* sorted by name */
    size_t value_count;
    struct weights *weights;
    size_t capacity;
    bool has_epsilon, epsilon_differs;
    float epsilon;
    const char *pool_padding; /* of the first padded average pool; NULL: none so far */
    struct error *err;
};

static bool refuse(struct reader *reader, const char *name, const char *reason)
{
    return error_set(reader->err, EXIT_CODE_FAILED, "%s: '%.*s': %s", reader->path, NAME_CHARS,
                     name ? name : "", reason);
}

static bool is_op(const Onnx__NodeProto *node, const char *op)
{
    const bool standard = !node->domain || !*node->domain || !strcmp(node->domain, "ai.onnx");
    return standard && node->op_type && strcmp(node->op_type, op) == 0;
}

static const Onnx__AttributeProto *attribute(const Onnx__NodeProto *node, const char *name)
{
    for (size_t i = 0; i < node->n_attribute; i++)
        if (node->attribute[i]->name && strcmp(node->attribute[i]->name, name) == 0)
            return node->attribute[i];
    return NULL;
}

static int by_name(const void *left, const void *right)
{
    const struct value *a = left, *b = right;
    return strcmp(a->name, b->name);
}

/* Initializers, Constant nodes and Identity nodes, under the names that other nodes use. */
static bool collect_values(struct reader *reader)
{
    const Onnx__GraphProto *graph = reader->graph;
    reader->values = calloc(graph->n_initializer + graph->n_node + 1, sizeof *reader->values);
    if (!reader->values) return refuse(reader, graph->name, "no memory for the names of the graph");
    struct value *value = reader->values;
    for (size_t i = 0; i < graph->n_initializer; i++) {
        const Onnx__TensorProto *tensor = graph->initializer[i];
        if (tensor->name) *value++ = (struct value) { .name = tensor->name, .tensor = tensor };
    }
    for (size_t i = 0; i < graph->n_node; i++) {
        const Onnx__NodeProto *node = graph->node[i];
        if (node->n_output != 1) continue;
        const Onnx__AttributeProto *constant = attribute(node, "value");
        if (is_op(node, "Constant") && constant && constant->t)
            *value++ = (struct value) { .name = node->output[0], .tensor = constant->t };
        if (is_op(node, "Identity") && node->n_input == 1)
            *value++ = (struct value) { .name = node->output[0], .alias = node->input[0] };
    }
    reader->value_count = (size_t)(value - reader->values);
    qsort(reader->values, reader->value_count, sizeof *value, by_name);
    for (size_t i = 1; i < reader->value_count; i++)
        if (strcmp(reader->values[i - 1].name, reader->values[i].name) == 0)
            return refuse(reader, reader->values[i].name, "two values have this name");
    return true;
}

/* The stored tensor that a name refers to; NULL if the graph computes it. */
static const Onnx__TensorProto *find_tensor(const struct reader *reader, const char *name)
{
    for (int hops = 0; hops <= ALIASES_MAX; hops++) {
        const struct value key = { .name = name };
        const struct value *value = bsearch(&key, reader->values, reader->value_count, sizeof key,
                                            by_name);
        if (!value || value->tensor) return value ? value->tensor : NULL;
        name = value->alias;
    }
    return NULL;
}

/* Half floats may be stored one per 32-bit integer: compact them in place. */
static void pack_halves(const Onnx__TensorProto *tensor)
{
    uint8_t *to = (uint8_t *)tensor->int32_data;
    for (size_t i = 0; i < tensor->n_int32_data; i++) {
        const uint16_t half = (uint16_t)tensor->int32_data[i];
        memcpy(to + i * sizeof half, &half, sizeof half);
    }
}

/* Address and size of the values; NULL and 0 if they are not where the type requires. */
static const void *find_data(const Onnx__TensorProto *tensor, size_t *bytes)
{
    *bytes = 0;
    if (tensor->has_raw_data) {
        *bytes = tensor->raw_data.len;
        return tensor->raw_data.data;
    }
    if (tensor->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT) {
        *bytes = tensor->n_float_data * sizeof(float);
        return tensor->float_data;
    }
    *bytes = tensor->n_int32_data * sizeof(uint16_t);
    return tensor->int32_data;
}

/* Read shape, type and data of a tensor. Returns NULL, or what is wrong or inconsistent. */
static const char *read_tensor(const Onnx__TensorProto *tensor, struct weight_array *array)
{
    const bool half = tensor->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16;
    if (tensor->n_external_data ||
        tensor->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL)
        return "its values lie in another file; put them all into one, in Python: "
               "onnx.save_model(onnx.load(path), path, save_as_external_data=False)";
    if (!half && tensor->data_type != ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT)
        return "holds neither float nor float16; export the model in one of them, unquantized";
    if (tensor->n_dims > ARRAY_DIMS_MAX) return "has more than 8 dimensions";
    snprintf(array->dtype, sizeof array->dtype, "%s", half ? "F16" : "F32");
    array->dims = (int)tensor->n_dims;
    array->count = 1;
    for (int d = 0; d < array->dims; d++) {
        array->shape[d] = tensor->dims[d];
        if (array->shape[d] < 0) return "has a negative dimension";
        if (__builtin_mul_overflow(array->count, array->shape[d], &array->count))
            return "is too large";
    }
    size_t bytes, expected;
    array->data = find_data(tensor, &bytes);
    if (__builtin_mul_overflow((size_t)array->count, weights_dtype_bytes(array->dtype),
                               &expected) ||
        bytes != expected)
        return "its shape and the number of its values do not fit";
    return NULL;
}

static bool add_array(struct reader *reader, const Onnx__NodeProto *node, size_t input)
{
    struct weights *weights = reader->weights;
    const char *name = node->input[input];
    const Onnx__TensorProto *tensor = find_tensor(reader, name);
    if (!tensor)
        return refuse(reader, name,
                      "weights that the graph computes cannot be read; export the model "
                      "unquantized and with constants folded");
    if ((size_t)weights->count == reader->capacity) {
        const size_t capacity = reader->capacity ? 2 * reader->capacity : 256;
        void *grown = realloc(weights->arrays, capacity * sizeof *weights->arrays);
        if (!grown) return refuse(reader, name, "no memory for the list of arrays");
        weights->arrays = grown;
        reader->capacity = capacity;
    }
    struct weight_array array = { 0 };
    const char *wrong = read_tensor(tensor, &array);
    if (wrong) return refuse(reader, name, wrong);
    array.name = strdup(name);
    if (!array.name) return refuse(reader, name, "no memory for its name");
    weights->arrays[weights->count++] = array;
    return true;
}

static void note_epsilon(struct reader *reader, const Onnx__NodeProto *node)
{
    const Onnx__AttributeProto *given = attribute(node, "epsilon");
    const float epsilon = given && given->has_f ? given->f : 1e-5f;
    reader->epsilon_differs |= reader->has_epsilon && memcmp(&epsilon, &reader->epsilon, 4) != 0;
    reader->has_epsilon = true;
    reader->epsilon = epsilon;
}

static const Onnx__NodeProto *producer(const struct reader *reader, const char *name)
{
    for (size_t i = 0; i < reader->graph->n_node; i++)
        for (size_t o = 0; o < reader->graph->node[i]->n_output; o++)
            if (strcmp(reader->graph->node[i]->output[o], name) == 0) return reader->graph->node[i];
    return NULL;
}

/* Note whether average pools count their padding: by their own attributes, or because a node before
 * them pads. The first padded pool decides for all. */
static void note_pool_padding(struct reader *reader, const Onnx__NodeProto *node)
{
    const Onnx__AttributeProto *pads = attribute(node, "pads");
    const Onnx__AttributeProto *automatic = attribute(node, "auto_pad");
    const Onnx__AttributeProto *counts = attribute(node, "count_include_pad");
    const Onnx__NodeProto *before = node->n_input > 0 ? producer(reader, node->input[0]) : NULL;
    int64_t padded = 0;
    for (size_t i = 0; pads && i < pads->n_ints; i++) padded += pads->ints[i];
    padded += automatic && automatic->s.len >= 4 && memcmp(automatic->s.data, "SAME", 4) == 0;
    if (reader->pool_padding) return;
    if (padded > 0) reader->pool_padding = counts && counts->i ? "include" : "exclude";
    if (padded == 0 && before && is_op(before, "Pad")) reader->pool_padding = "include";
}

/* Which inputs are weights: `first` to `last`, of which those up to `needed` must be present. */
static const struct {
    const char *op;
    size_t first, needed, last;
} layers[] = {
    { "Conv", 1, 1, 2 },
    { "BatchNormalization", 1, 4, 4 },
};

static bool read_node(struct reader *reader, const Onnx__NodeProto *node)
{
    if (is_op(node, "AveragePool")) note_pool_padding(reader, node);
    for (size_t l = 0; l < COUNT_OF(layers); l++) {
        if (!is_op(node, layers[l].op)) continue;
        if (node->n_input <= layers[l].needed)
            return refuse(reader, node->name, "this node has too few inputs");
        if (strcmp(layers[l].op, "BatchNormalization") == 0) note_epsilon(reader, node);
        for (size_t i = layers[l].first; i <= layers[l].last && i < node->n_input; i++)
            if (*node->input[i] && !add_array(reader, node, i)) return false;
    }
    return true;
}

static bool add_metadata(struct reader *reader, const char *key, const char *value, size_t *count)
{
    char **pair = reader->weights->metadata + 2 * *count;
    pair[0] = strdup(key);
    pair[1] = pair[0] ? strdup(value) : NULL;
    ++*count;
    return pair[1] || refuse(reader, key, "no memory for metadata");
}

static bool read_metadata(struct reader *reader, const Onnx__ModelProto *model)
{
    static const char own_keys[] = "onnx.";
    reader->weights->metadata = calloc(2 * model->n_metadata_props + 5,
                                       sizeof *reader->weights->metadata);
    if (!reader->weights->metadata) return refuse(reader, "metadata", "no memory");
    size_t count = 0;
    for (size_t i = 0; i < model->n_metadata_props; i++) {
        const Onnx__StringStringEntryProto *entry = model->metadata_props[i];
        if (!entry->key || !entry->value || strncmp(entry->key, own_keys, strlen(own_keys)) == 0)
            continue;
        if (!add_metadata(reader, entry->key, entry->value, &count)) return false;
    }
    if (reader->pool_padding &&
        !add_metadata(reader, "onnx.pool_padding", reader->pool_padding, &count))
        return false;
    if (!reader->has_epsilon) return true;
    char text[32] = "mixed";
    if (!reader->epsilon_differs) snprintf(text, sizeof text, "%.9g", reader->epsilon);
    return add_metadata(reader, "onnx.epsilon", text, &count);
}

/* Done after all checks, since an array that two nodes use must be compacted only once. */
static void pack_all_halves(const struct reader *reader)
{
    for (size_t i = 0; i < reader->value_count; i++) {
        const Onnx__TensorProto *tensor = reader->values[i].tensor;
        if (tensor && !tensor->has_raw_data &&
            tensor->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16)
            pack_halves(tensor);
    }
}

static bool read_graph(struct reader *reader, const Onnx__ModelProto *model)
{
    bool done = collect_values(reader);
    for (size_t i = 0; i < reader->graph->n_node && done; i++)
        done = read_node(reader, reader->graph->node[i]);
    done = done && read_metadata(reader, model);
    if (done) pack_all_halves(reader);
    free(reader->values);
    return done;
}

bool onnx_read_weights(struct weights *weights, const char *path, struct error *err)
{
    *weights = (struct weights) { .format = WEIGHTS_ONNX };
    const Onnx__ModelProto *model = onnx_parse(path, &weights->storage, &weights->storage_bytes,
                                               err);
    if (!model) goto fail;
    struct reader reader = { .path = path, .graph = model->graph, .weights = weights, .err = err };
    if (!read_graph(&reader, model)) goto fail;
    return true;
fail:
    weights_release(weights);
    return false;
}
