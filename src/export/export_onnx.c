/* The model as an ONNX graph: InceptionV3's table is walked once per tower, with batch
 * norms folded.
 *
 * Only a few old operators (opset 13) are used, with options that all runtimes interpret alike: a
 * pool that includes padding becomes a Pad and an unpadded pool, a dense layer a 1×1 convolution of
 * a 1×1 map, and a concatenation comes after all its parts. Nodes and initializers are only listed
 * here; onnx_write() asks for the values one array at a time. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "export_parts.h"
#include "micromet/format/onnx.h"

enum {
    OPSET = 13,
    NODES_MAX = TOWERS_MAX * 3 * INCEPTION_LAYERS,
    INITIALIZERS_MAX = TOWERS_MAX * 2 * INCEPTION_LAYERS,
    NAMES_MAX = TOWERS_MAX * 8 * INCEPTION_LAYERS,
    NAME_BYTES = 80,
    /* Types, for Cast. */
    ONNX_FLOAT = 1,
    ONNX_FLOAT16 = 10,
};

struct builder {
    struct checkpoint *checkpoint;
    const struct export_options *options;
    const struct export_facts *facts;
    struct onnx_node nodes[NODES_MAX];
    struct weight_array initializers[INITIALIZERS_MAX];
    struct export_source sources[INITIALIZERS_MAX]; /* for initializers without data */
    char names[NAMES_MAX][NAME_BYTES];
    int node_count, initializer_count, name_count;
    float scale[1], offset[1]; /* preprocessing */
    int64_t axes[2], pads[8];
    int64_t corners[TOWERS_MAX][2], ends[TOWERS_MAX][2];
    struct error *err;
};

/* --- Parts of a graph ------------------------------------------------------------------------- */

static char *name_of(struct builder *b, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static char *name_of(struct builder *b, const char *format, ...)
{
    CHECK(b->name_count < NAMES_MAX);
    char *name = b->names[b->name_count++];
    va_list arguments;
    va_start(arguments, format);
    CHECK(vsnprintf(name, NAME_BYTES, format, arguments) < NAME_BYTES);
    va_end(arguments);
    return name;
}

static struct onnx_node *add_node(struct builder *b, const char *op, const char *output,
                                  const char *input)
{
    CHECK(b->node_count < NODES_MAX);
    struct onnx_node *node = &b->nodes[b->node_count++];
    *node = (struct onnx_node) { .op = op, .inputs = { input }, .output = output };
    return node;
}

static void add_input(struct onnx_node *node, const char *input)
{
    int i = 0;
    while (node->inputs[i]) i++;
    CHECK(i < ONNX_INPUTS_MAX);
    node->inputs[i] = input;
}

/* Set an attribute; count 0 means a single integer rather than a list. */
static void set(struct onnx_node *node, const char *name, int count, const int64_t *values)
{
    int i = 0;
    while (node->attributes[i].name) i++;
    CHECK(i < ONNX_ATTRIBUTES_MAX);
    node->attributes[i] = (struct onnx_attribute) { .name = name, .count = count };
    memcpy(node->attributes[i].values, values, (size_t)(count ? count : 1) * sizeof *values);
}

static void set_one(struct onnx_node *node, const char *name, int64_t value)
{
    set(node, name, 0, &value);
}

static const char *cast(struct builder *b, const char *output, const char *input, int type)
{
    set_one(add_node(b, "Cast", output, input), "to", type);
    return output;
}

static const char *add_initializer(struct builder *b, char *name, const struct weight_array *like)
{
    CHECK(b->initializer_count < INITIALIZERS_MAX);
    struct weight_array *array = &b->initializers[b->initializer_count++];
    *array = *like;
    array->name = name;
    return name;
}

static const char *add_integers(struct builder *b, char *name, int count, const int64_t *values)
{
    return add_initializer(
        b, name,
        &(struct weight_array) {
            .dims = 1, .shape = { count }, .count = count, .data = values, .dtype = "I64" });
}

static const char *add_number(struct builder *b, char *name, const float *value)
{
    return add_initializer(
        b, name,
        &(struct weight_array) {
            .dims = 1, .shape = { 1 }, .count = 1, .data = value, .dtype = "F32" });
}

/* Add an initializer; its values come from `source` when the file is written. */
static const char *add_weights(struct builder *b, char *name, int dims, const int64_t *shape,
                               const struct export_source *source)
{
    struct weight_array array = { .dims = dims, .count = 1 };
    snprintf(array.dtype, sizeof array.dtype, "%s", b->options->half ? "F16" : "F32");
    for (int d = 0; d < dims; d++) {
        array.shape[d] = shape[d];
        array.count *= shape[d];
    }
    b->sources[b->initializer_count] = *source;
    return add_initializer(b, name, &array);
}

/* --- Preprocessing ---------------------------------------------------------------------------- */

/* uint8 (N, H, W, 3) to float (N, 3, H, W), without scaling the values. */
static const char *unpack(struct builder *b, const char *input)
{
    if (b->options->input == EXPORT_FLOAT) return input;
    const char *floats = cast(b, name_of(b, "%s.float", input), input, ONNX_FLOAT);
    const char *planes = name_of(b, "%s.planes", input);
    set(add_node(b, "Transpose", planes, floats), "perm", 4, (const int64_t[]) { 0, 3, 1, 2 });
    return planes;
}

/* Cut the tower's window out of the centre of the single one, and shrink it with a box filter. */
static const char *cut(struct builder *b, const char *window, int tower)
{
    const struct single_window *single = &b->facts->single;
    const int ratio = single->ratios[tower], size = ratio * b->checkpoint->config.data.window;
    if (size < single->side) {
        const char *center = name_of(b, "tower%d.center", tower);
        struct onnx_node *node = add_node(b, "Slice", center, window);
        for (int axis = 0; axis < 2; axis++) {
            b->corners[tower][axis] = single->corners[tower];
            b->ends[tower][axis] = single->corners[tower] + size;
        }
        add_input(node, add_integers(b, name_of(b, "tower%d.corner", tower), 2, b->corners[tower]));
        add_input(node, add_integers(b, name_of(b, "tower%d.end", tower), 2, b->ends[tower]));
        add_input(node, "axes");
        window = center;
    }
    if (ratio == 1) return window;
    const char *shrunk = name_of(b, "tower%d.shrunk", tower);
    struct onnx_node *node = add_node(b, "AveragePool", shrunk, window);
    set(node, "kernel_shape", 2, (const int64_t[]) { ratio, ratio });
    set(node, "strides", 2, (const int64_t[]) { ratio, ratio });
    return shrunk;
}

/* Scale to the towers' input range, [-1, 1]. */
static const char *scale(struct builder *b, const char *window, int tower)
{
    const char *scaled = name_of(b, "tower%d.scaled", tower);
    const char *input = name_of(b, "tower%d.input", tower);
    add_input(add_node(b, "Mul", scaled, window), "scale");
    add_input(add_node(b, "Add", input, scaled), "offset");
    if (!b->options->half) return input;
    return cast(b, name_of(b, "tower%d.input.half", tower), input, ONNX_FLOAT16);
}

/* --- Towers ----------------------------------------------------------------------------------- */

static bool add_convolution(struct builder *b, const struct inception_layer *l, int tower,
                            const char *input, char *output)
{
    int64_t shape[4];
    const int64_t pad_h = l->same ? (l->kernel_h - 1) / 2 : 0;
    const int64_t pad_w = l->same ? (l->kernel_w - 1) / 2 : 0;
    struct export_source weights, bias;
    inception_weight_shape(l, shape);
    if (!export_convolution(b->checkpoint, l, tower, &weights, &bias, b->err)) return false;
    struct onnx_node *node = add_node(b, "Conv", name_of(b, "%s.conv", output), input);
    add_input(node, add_weights(b, name_of(b, "%s.weight", output), 4, shape, &weights));
    add_input(node, add_weights(b, name_of(b, "%s.bias", output), 1, shape, &bias));
    set(node, "kernel_shape", 2, shape + 2);
    set(node, "strides", 2, (const int64_t[]) { l->stride, l->stride });
    set(node, "pads", 4, (const int64_t[]) { pad_h, pad_w, pad_h, pad_w });
    add_node(b, "Relu", output, node->output);
    return true;
}

static void add_pool(struct builder *b, const struct inception_layer *l, const char *input,
                     const char *output)
{
    const bool average = l->kind == INCEPTION_AVERAGE_POOL;
    const bool include = b->checkpoint->config.model.pool_padding == POOL_PADDING_INCLUDE;
    if (l->same && include) {
        const char *padded = name_of(b, "%s.padded", output);
        add_input(add_node(b, "Pad", padded, input), "pads");
        input = padded;
    }
    struct onnx_node *node = add_node(b, average ? "AveragePool" : "MaxPool", output, input);
    set(node, "kernel_shape", 2, (const int64_t[]) { l->kernel_h, l->kernel_w });
    set(node, "strides", 2, (const int64_t[]) { l->stride, l->stride });
    if (!l->same || include) return;
    set(node, "pads", 4, (const int64_t[]) { 1, 1, 1, 1 });
    set_one(node, "count_include_pad", 0);
}

static bool has_node(const struct builder *b, const char *output)
{
    for (int i = b->node_count - 1; i >= 0; i--)
        if (strcmp(b->nodes[i].output, output) == 0) return true;
    return false;
}

/* The graph's name of a tensor in the table; a concatenation is added when it is first needed. */
static const char *tensor(struct builder *b, const char *name, int tower)
{
    const char *whole = name_of(b, "tower%d.%s", tower, name);
    if (has_node(b, whole)) return whole;
    struct onnx_node *node = add_node(b, "Concat", whole, NULL);
    for (int i = 0; i < INCEPTION_LAYERS; i++)
        if (inception_v3[i].into && strcmp(inception_v3[i].into, name) == 0)
            add_input(node, name_of(b, "tower%d.%s", tower, inception_v3[i].name));
    set_one(node, "axis", 1);
    return whole;
}

/* Add a tower; returns the name of its pooled features, or NULL on error. */
static const char *add_tower(struct builder *b, int tower, const char *window)
{
    const char *input = scale(b, window, tower);
    for (int i = 0; i < INCEPTION_LAYERS; i++) {
        const struct inception_layer *l = &inception_v3[i];
        const char *from = strcmp(l->from, "input") == 0 ? input : tensor(b, l->from, tower);
        char *output = name_of(b, "tower%d.%s", tower, l->name);
        if (l->kind != INCEPTION_CONVOLUTION)
            add_pool(b, l, from, output);
        else if (!add_convolution(b, l, tower, from, output))
            return NULL;
    }
    const char *features = name_of(b, "tower%d.features", tower);
    add_node(b, "GlobalAveragePool", features, tensor(b, inception_v3_output, tower));
    return features;
}

/* --- Head ------------------------------------------------------------------------------------- */

static bool add_head(struct builder *b, const char *features)
{
    const struct config *config = &b->checkpoint->config;
    int64_t inputs = (int64_t)INCEPTION_FEATURES * config->data.level_count;
    for (int i = 0; i <= config->model.head_count; i++) {
        const bool last = i == config->model.head_count;
        const int64_t shape[] = { last ? 1 : config->model.head[i], inputs, 1, 1 };
        char *weight = name_of(b, "head.%d.weight", i), *bias = name_of(b, "head.%d.bias", i);
        const struct export_source sources[] = {
            { .array = export_array(b->checkpoint, weight, 2, shape, b->err) },
            { .array = export_array(b->checkpoint, bias, 1, shape, b->err) },
        };
        if (!sources[0].array || !sources[1].array) return false;
        struct onnx_node *node = add_node(b, "Conv", name_of(b, "head.%d.conv", i), features);
        add_input(node, add_weights(b, weight, 4, shape, &sources[0]));
        add_input(node, add_weights(b, bias, 1, shape, &sources[1]));
        set(node, "kernel_shape", 2, shape + 2);
        features = node->output;
        inputs = shape[0];
        if (last) break;
        features = name_of(b, "head.%d", i);
        add_node(b, "Relu", features, node->output);
    }
    const char *logit = b->options->half ? "logit.half" : "logit";
    set_one(add_node(b, "Flatten", logit, features), "axis", 1);
    if (b->options->half) cast(b, "logit", logit, ONNX_FLOAT);
    add_node(b, "Sigmoid", "probability", "logit");
    return true;
}

/* --- The graph -------------------------------------------------------------------------------- */

static void add_constants(struct builder *b)
{
    const bool bytes = b->options->input == EXPORT_UINT8;
    b->scale[0] = bytes ? 2.0f / 255 : 2;
    b->offset[0] = -1;
    add_number(b, name_of(b, "scale"), b->scale);
    add_number(b, name_of(b, "offset"), b->offset);
    memcpy(b->axes, (const int64_t[]) { 2, 3 }, sizeof b->axes);
    const bool cuts = b->options->single_input && b->checkpoint->config.data.level_count > 1;
    if (cuts) add_integers(b, name_of(b, "axes"), 2, b->axes);
    memcpy(b->pads, (const int64_t[]) { 0, 0, 1, 1, 0, 0, 1, 1 }, sizeof b->pads);
    if (b->checkpoint->config.model.pool_padding == POOL_PADDING_INCLUDE)
        add_integers(b, name_of(b, "pads"), 8, b->pads);
}

static bool build(struct builder *b, const struct onnx_value *inputs)
{
    const int towers = b->checkpoint->config.data.level_count;
    const bool single = b->options->single_input;
    const char *features[TOWERS_MAX] = { 0 };
    add_constants(b);
    const char *window = single ? unpack(b, inputs[0].name) : NULL;
    for (int t = 0; t < towers; t++) {
        const char *own = single ? cut(b, window, t) : unpack(b, inputs[t].name);
        features[t] = add_tower(b, t, own);
        if (!features[t]) return false;
    }
    if (towers == 1) return add_head(b, features[0]);
    struct onnx_node *node = add_node(b, "Concat", "features", features[0]);
    for (int t = 1; t < towers; t++) add_input(node, features[t]);
    set_one(node, "axis", 1);
    return add_head(b, "features");
}

/* --- The file --------------------------------------------------------------------------------- */

static int describe_inputs(const struct builder *b, struct onnx_value *inputs,
                           char docs[TOWERS_MAX][256])
{
    const struct checkpoint *c = b->checkpoint;
    const bool bytes = b->options->input == EXPORT_UINT8, single = b->options->single_input;
    static char *const names[] = { "tower0", "tower1", "tower2", "tower3" };
    const int64_t side = single ? b->facts->single.side : c->config.data.window;
    const int count = single ? 1 : c->config.data.level_count;
    for (int t = 0; t < count; t++) {
        char scale[96];
        int at = 0;
        if (!c->config.data.um_per_px_count)
            at = snprintf(scale, sizeof scale, "downsample %.6g", c->input.downsamples[t]);
        if (c->input.um_per_px[t] > 0)
            snprintf(scale + at, sizeof scale - (size_t)at, at ? " (%.4g µm/px)" : "%.4g µm/px",
                     c->input.um_per_px[t]);
        snprintf(docs[t], sizeof docs[t], "%s, RGB %s: %lld px at %s%s", bytes ? "NHWC" : "NCHW",
                 bytes ? "0 to 255" : "0 to 1", (long long)side, scale,
                 count > 1 ? "; all windows have one centre" : "");
        inputs[t] = (struct onnx_value) { .name = single ? "window" : names[t],
                                          .doc = docs[t],
                                          .dims = 4,
                                          .dtype = bytes ? "U8" : "F32" };
        const int64_t nhwc[] = { -1, side, side, 3 }, nchw[] = { -1, 3, side, side };
        memcpy(inputs[t].shape, bytes ? nhwc : nchw, sizeof nhwc);
    }
    return count;
}

static bool fill(void *context, int index, void *values, struct error *err)
{
    struct builder *b = context;
    return export_values(b->checkpoint, &b->sources[index], &b->initializers[index], values, err);
}

static bool write_graph(struct builder *b, const char *path)
{
    static const char doc[] =
        "Probability that the centre of a window of a lymph-node slide holds tumour. Preprocessing "
        "is inside the graph; what the windows must be stands at the inputs and in the metadata.";
    struct onnx_value inputs[TOWERS_MAX];
    char docs[TOWERS_MAX][256];
    const struct onnx_value outputs[] = {
        { .name = "logit",
          .dtype = "F32",
          .dims = 2,
          .shape = { -1, 1 },
          .doc = "of the tumour's probability" },
        { .name = "probability",
          .dtype = "F32",
          .dims = 2,
          .shape = { -1, 1 },
          .doc = "of tumour; compare it with the metadata's threshold" },
    };
    struct onnx_graph graph = {
        .name = b->checkpoint->config.name[0] ? b->checkpoint->config.name : "micromet",
        .doc = doc,
        .opset = OPSET,
        .producer = "micromet",
        .producer_version = MICROMET_VERSION,
        .metadata = b->facts->pairs,
        .inputs = inputs,
        .outputs = outputs,
        .output_count = 2,
        .input_count = describe_inputs(b, inputs, docs),
        .nodes = b->nodes,
        .initializers = b->initializers,
    };
    if (!build(b, inputs)) return false;
    graph.node_count = b->node_count;
    graph.initializer_count = b->initializer_count;
    return onnx_write(path, &graph, fill, b, b->err);
}

bool export_onnx(struct checkpoint *checkpoint, const struct export_options *options,
                 const struct export_facts *facts, const char *path, struct error *err)
{
    struct builder *b = calloc(1, sizeof *b);
    if (!b) return error_set(err, EXIT_CODE_FAILED, "%s: no memory for the graph", path);
    b->checkpoint = checkpoint;
    b->options = options;
    b->facts = facts;
    b->err = err;
    const bool done = write_graph(b, path);
    free(b);
    return done;
}
