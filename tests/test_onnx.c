/* ONNX: graphs of other programs are read, written ones read back, and files with wrong sizes,
 * external data elsewhere or excessive demands are refused with a reason. */
#include "micromet/base/size.h"
#include "micromet/format/onnx.h"
#include "onnx/onnx.pb-c.h"
#include "temporary.h"

enum {
    FLOAT = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT,
    HALF = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16
};

/* A file being built: nodes and initializers in arrays of pointers, as protobuf-c expects. */
enum { PARTS_MAX = 24 };
static Onnx__ModelProto model;
static Onnx__GraphProto graph;
static Onnx__NodeProto nodes[PARTS_MAX], *node_list[PARTS_MAX];
static Onnx__TensorProto tensors[PARTS_MAX], *tensor_list[PARTS_MAX];
static Onnx__AttributeProto attributes[PARTS_MAX], *attribute_list[PARTS_MAX];
static char *inputs[PARTS_MAX][6], *outputs[PARTS_MAX];
static int64_t shapes[PARTS_MAX][4];

static void begin(void)
{
    temporary_begin();
    onnx__model_proto__init(&model);
    onnx__graph_proto__init(&graph);
    model.has_ir_version = true;
    model.ir_version = 8;
    model.graph = &graph;
    graph.node = node_list;
    graph.initializer = tensor_list;
}

/* A float tensor whose data the caller sets. */
static Onnx__TensorProto *make_tensor(size_t place, const char *name, int type, int dims,
                                      const int64_t *shape)
{
    Onnx__TensorProto *tensor = &tensors[place];
    onnx__tensor_proto__init(tensor);
    memcpy(shapes[place], shape, (size_t)dims * sizeof *shape);
    tensor->name = (char *)name;
    tensor->has_data_type = true;
    tensor->data_type = type;
    tensor->n_dims = (size_t)dims;
    tensor->dims = shapes[place];
    return tensor;
}

static Onnx__TensorProto *add_tensor(const char *name, int type, int dims, const int64_t *shape)
{
    const size_t place = graph.n_initializer++;
    return tensor_list[place] = make_tensor(place, name, type, dims, shape);
}

static void set_raw(Onnx__TensorProto *tensor, const void *bytes, size_t size)
{
    tensor->has_raw_data = true;
    tensor->raw_data = (ProtobufCBinaryData) { size, (uint8_t *)bytes };
}

static Onnx__NodeProto *add_node(const char *op, const char *output, int count,
                                 const char *const *names)
{
    const size_t place = graph.n_node++;
    Onnx__NodeProto *node = node_list[place] = &nodes[place];
    onnx__node_proto__init(node);
    for (int i = 0; i < count; i++) inputs[place][i] = (char *)names[i];
    outputs[place] = (char *)output;
    node->op_type = (char *)op;
    node->name = (char *)output;
    node->n_input = (size_t)count;
    node->input = inputs[place];
    node->n_output = 1;
    node->output = &outputs[place];
    return node;
}

static Onnx__AttributeProto *add_attribute(Onnx__NodeProto *node, const char *name)
{
    const size_t place = (size_t)(node - nodes);
    onnx__attribute_proto__init(&attributes[place]);
    attribute_list[place] = &attributes[place];
    attributes[place].name = (char *)name;
    node->attribute = &attribute_list[place];
    node->n_attribute = 1;
    return &attributes[place];
}

static void save(const char *name)
{
    const size_t size = onnx__model_proto__get_packed_size(&model);
    uint8_t *bytes = malloc(size);
    onnx__model_proto__pack(&model, bytes);
    temporary_write(name, bytes, size);
    free(bytes);
}

static const float weight[] = { 1, -2, 3, 4 }, ones[] = { 1, 1 }, means[] = { 0.5f, -0.5f };
static const int64_t weight_shape[] = { 2, 2, 1, 1 }, channels[] = { 2 };

/* A Conv with a Constant as bias; a batch norm whose variance refers to the array of its scale, as
 * PyTorch writes equal arrays; and a Conv of half floats stored one by one. */
static void make_graph(void)
{
    static int32_t halves[] = { 0x3c00, 0xc000, 0x0001, 0x7bff }; /* 1, -2, 2^-24, 65504 */
    static char *keys[] = { "note", "text" };
    static Onnx__StringStringEntryProto entry, *entries[] = { &entry };
    set_raw(add_tensor("w", FLOAT, 4, weight_shape), weight, sizeof weight);
    set_raw(add_tensor("scale", FLOAT, 1, channels), ones, sizeof ones);
    Onnx__TensorProto *shift = add_tensor("shift", FLOAT, 1, channels);
    shift->float_data = (float *)means;
    shift->n_float_data = 2;
    Onnx__TensorProto *half = add_tensor("h", HALF, 4, weight_shape);
    half->int32_data = halves;
    half->n_int32_data = 4;
    Onnx__AttributeProto *value = add_attribute(add_node("Constant", "bias", 0, NULL), "value");
    value->t = make_tensor(PARTS_MAX - 1, "", FLOAT, 1, channels);
    set_raw(value->t, means, sizeof means);
    add_node("Identity", "same", 1, (const char *[]) { "scale" });
    add_node("Identity", "variance", 1, (const char *[]) { "same" });
    add_node("Conv", "y", 3, (const char *[]) { "x", "w", "bias" });
    Onnx__NodeProto *norm = add_node(
        "BatchNormalization", "z", 5,
        (const char *[]) { "y", "scale", "shift", "shift", "variance" });
    Onnx__AttributeProto *epsilon = add_attribute(norm, "epsilon");
    epsilon->has_f = true;
    epsilon->f = 1e-3f;
    add_node("Conv", "o", 2, (const char *[]) { "z", "h" });
    onnx__string_string_entry_proto__init(&entry);
    entry.key = keys[0];
    entry.value = keys[1];
    model.n_metadata_props = 1;
    model.metadata_props = entries;
}

static void expect_refusal(const char *name, const char *reason)
{
    struct error err = { 0 };
    struct weights weights;
    cr_assert(!onnx_read_weights(&weights, temporary_path(name), &err), "expected: %s", reason);
    cr_expect(strstr(err.message, reason), "expected '%s' in: %s", reason, err.message);
    cr_expect(strstr(err.message, name), "the file's name stands in: %s", err.message);
    cr_expect_null(weights.arrays);
}

TestSuite(onnx, .init = begin, .fini = temporary_end);

Test(onnx, weights_come_node_after_node_under_the_names_that_nodes_use)
{
    static const struct {
        const char *name;
        float first, last;
    } expected[] = {
        { "w", 1, 4 },
        { "bias", 0.5f, -0.5f },
        { "scale", 1, 1 },
        { "shift", 0.5f, -0.5f },
        { "shift", 0.5f, -0.5f },
        { "variance", 1, 1 },
        { "h", 1, 65504 },
    };
    struct error err = { 0 };
    struct weights weights;
    make_graph();
    save("m.onnx");
    cr_assert(weights_read(&weights, temporary_path("m.onnx"), &err), "%s", err.message);
    cr_expect_eq(weights.format, WEIGHTS_ONNX);
    cr_assert_eq(weights.count, 7);
    for (int i = 0; i < weights.count; i++) {
        const struct weight_array *array = &weights.arrays[i];
        float *converted;
        const float *values = weights_floats(array, &converted, &err);
        cr_assert(values, "%s", err.message);
        cr_expect_str_eq(array->name, expected[i].name);
        cr_expect_eq(values[0], expected[i].first, "%s", array->name);
        cr_expect_eq(values[array->count - 1], expected[i].last, "%s", array->name);
        free(converted);
    }
    cr_expect_eq(weights.arrays[0].dims, 4);
    cr_expect_eq(weights.arrays[0].shape[1], 2);
    cr_expect_str_eq(weights.arrays[6].dtype, "F16");
    cr_expect_str_eq(weights_metadata(&weights, "note"), "text");
    cr_expect_float_eq(atof(weights_metadata(&weights, "onnx.epsilon")), 1e-3, 1e-9);
    weights_release(&weights);
}

Test(onnx, values_in_another_file_are_refused_with_the_remedy)
{
    static Onnx__StringStringEntryProto entry, *entries[] = { &entry };
    make_graph();
    onnx__string_string_entry_proto__init(&entry);
    entry.key = "location";
    entry.value = "m.onnx.data";
    tensors[0].n_external_data = 1;
    tensors[0].external_data = entries;
    tensors[0].has_raw_data = false;
    save("m.onnx");
    expect_refusal("m.onnx", "'w': its values lie in another file");
    expect_refusal("m.onnx", "save_as_external_data=False");
}

/* Single errors in the first convolution's weights. */
static const struct {
    const char *what;
    int64_t first_dim;
    size_t bytes;
    int type;
    const char *reason;
} wrongs[] = {
    { "short", 2, 12, FLOAT, "'w': its shape and the number of its values do not fit" },
    { "long", 1, 16, FLOAT, "'w': its shape and the number of its values do not fit" },
    { "negative", -2, 16, FLOAT, "'w': has a negative dimension" },
    { "huge", INT64_MAX / 2 + 1, 16, FLOAT, "'w': is too large" },
    { "bytes_overflow", INT64_MAX / 4, 16, FLOAT, "'w': its shape and the number" },
    { "integers", 2, 16, ONNX__TENSOR_PROTO__DATA_TYPE__INT8, "'w': holds neither float nor" },
};

Test(onnx, tensors_that_do_not_fit_themselves_are_refused)
{
    make_graph();
    for (size_t i = 0; i < COUNT_OF(wrongs); i++) {
        shapes[0][0] = wrongs[i].first_dim;
        tensors[0].raw_data.len = wrongs[i].bytes;
        tensors[0].data_type = wrongs[i].type;
        save(wrongs[i].what);
        expect_refusal(wrongs[i].what, wrongs[i].reason);
    }
}

Test(onnx, names_that_lead_nowhere_are_refused)
{
    make_graph();
    inputs[3][1] = "computed"; /* of the first Conv */
    save("computed");
    expect_refusal("computed", "'computed': weights that the graph computes cannot be read");
    inputs[3][1] = "round";
    outputs[1] = "round";
    inputs[1][0] = "round"; /* Identity of itself */
    save("round");
    expect_refusal("round", "'round': weights that the graph computes cannot be read");
    inputs[3][1] = "w";
    outputs[1] = "w";
    save("twice");
    expect_refusal("twice", "'w': two values have this name");
    outputs[1] = "same";
    nodes[4].n_input = 3;
    save("few");
    expect_refusal("few", "'z': this node has too few inputs");
}

Test(onnx, other_files_are_refused)
{
    make_graph();
    save("m.onnx");
    size_t size;
    uint8_t *bytes = temporary_read("m.onnx", &size);
    temporary_write("cut", bytes, size - 3);
    temporary_write("empty", bytes, 0);
    temporary_write("text", "not a model at all, this", 24);
    free(bytes);
    expect_refusal("cut", "not an ONNX file, or cut short");
    expect_refusal("empty", "not an ONNX file: it is empty");
    expect_refusal("text", "not an ONNX file, or cut short");
    expect_refusal("missing", "cannot open");
}

/* Wrap the last `size` bytes of a buffer of `room` bytes into a field; returns the new size. */
static size_t wrap(uint8_t *buffer, size_t room, size_t size, uint8_t tag)
{
    uint8_t head[8];
    size_t length = size, head_bytes = 0;
    head[head_bytes++] = tag;
    for (; length >= 0x80; length >>= 7) head[head_bytes++] = (uint8_t)(length | 0x80);
    head[head_bytes++] = (uint8_t)length;
    memcpy(buffer + room - size - head_bytes, head, head_bytes);
    return size + head_bytes;
}

Test(onnx, messages_nested_without_end_do_not_end_the_stack)
{
    enum { ROOM = 1 << 20, LEVELS = 20000, NODE = 0x0a, ATTRIBUTE = 0x2a, GRAPH = 0x32 };
    uint8_t *buffer = malloc(ROOM);
    size_t size = 0;
    for (int i = 0; i < LEVELS; i++) {
        size = wrap(buffer, ROOM, size, GRAPH);
        size = wrap(buffer, ROOM, size, ATTRIBUTE);
        size = wrap(buffer, ROOM, size, NODE);
    }
    size = wrap(buffer, ROOM, size, 0x3a);
    temporary_write("deep", buffer + ROOM - size, size);
    free(buffer);
    expect_refusal("deep", "messages are nested too deeply for a network");
}

Test(onnx, a_small_file_cannot_ask_for_much_memory)
{
    enum { ROOM = 1 << 20 };
    uint8_t *buffer = malloc(ROOM);
    size_t size = 0;
    while (size < ROOM - 16) { /* empty nodes: 2 bytes each, 100 and more in memory */
        buffer[ROOM - ++size] = 0;
        buffer[ROOM - ++size] = 0x0a;
    }
    size = wrap(buffer, ROOM, size, 0x3a);
    temporary_write("wide", buffer + ROOM - size, size);
    free(buffer);
    expect_refusal("wide", "asks for more memory than its size explains");
}

/* --- Writing ---------------------------------------------------------------------------------- */

static bool fill(void *context, int index, void *values, struct error *err)
{
    (void)err;
    ++*(int *)context;
    cr_assert_eq(index, 0);
    memcpy(values, weight, sizeof weight);
    return true;
}

static const struct weight_array initializers[] = {
    { .name = "w", .dims = 4, .shape = { 2, 2, 1, 1 }, .count = 4, .dtype = "F32" },
    { .name = "b", .dims = 1, .shape = { 2 }, .count = 2, .dtype = "F32", .data = means },
};

static const struct onnx_node written_nodes[] = {
    { .op = "Conv",
      .inputs = { "x", "w", "b" },
      .output = "y",
      .attributes = { { "strides", 2, { 2, 1 } } } },
    { .op = "Flatten", .inputs = { "y" }, .output = "z", .attributes = { { "axis", 0, { 1 } } } },
};

static const char *const metadata[] = { "threshold", "0.5", NULL };
static const struct onnx_value written_input = {
    .name = "x", .doc = "RGB", .dtype = "U8", .dims = 3, .shape = { -1, 2, 3 }
};
static const struct onnx_value written_output = {
    .name = "z", .dtype = "F32", .dims = 2, .shape = { -1, 2 }
};
static const struct onnx_graph written = {
    .name = "g",
    .doc = "text",
    .opset = 13,
    .producer = "p",
    .producer_version = "1",
    .metadata = metadata,
    .nodes = written_nodes,
    .node_count = 2,
    .inputs = &written_input,
    .input_count = 1,
    .outputs = &written_output,
    .output_count = 1,
    .initializers = initializers,
    .initializer_count = 2,
};

Test(onnx, what_is_written_reads_back)
{
    struct error err = { 0 };
    struct weights weights;
    int filled = 0;
    cr_assert(onnx_write(temporary_path("m.onnx"), &written, fill, &filled, &err), "%s",
              err.message);
    cr_expect_eq(filled, 1);
    cr_expect_eq(temporary_count(), 1, "no temporary file is left");
    cr_assert(onnx_read_weights(&weights, temporary_path("m.onnx"), &err), "%s", err.message);
    cr_assert_eq(weights.count, 2);
    cr_expect_str_eq(weights.arrays[0].name, "w");
    cr_expect_arr_eq(weights.arrays[0].data, weight, sizeof weight);
    cr_expect_arr_eq(weights.arrays[1].data, means, sizeof means);
    cr_expect_str_eq(weights_metadata(&weights, "threshold"), "0.5");
    cr_expect_null(weights_metadata(&weights, "onnx.epsilon"), "there is no batch norm");
    weights_release(&weights);
}

Test(onnx, graphs_are_written_as_the_format_says)
{
    struct error err = { 0 };
    size_t size;
    int filled = 0;
    cr_assert(onnx_write(temporary_path("m.onnx"), &written, fill, &filled, &err), "%s",
              err.message);
    uint8_t *bytes = temporary_read("m.onnx", &size);
    Onnx__ModelProto *read = onnx__model_proto__unpack(NULL, size, bytes);
    cr_assert(read && read->graph);
    cr_expect_eq(read->ir_version, 7);
    cr_expect_eq(read->opset_import[0]->version, 13);
    cr_expect_str_eq(read->producer_name, "p");
    cr_expect_str_eq(read->graph->name, "g");
    cr_assert_eq(read->graph->n_node, 2);
    const Onnx__NodeProto *node = read->graph->node[0];
    cr_expect_str_eq(node->op_type, "Conv");
    cr_assert_eq(node->n_input, 3);
    cr_expect_str_eq(node->input[2], "b");
    cr_expect_eq(node->attribute[0]->type, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);
    cr_assert_eq(node->attribute[0]->n_ints, 2);
    cr_expect_eq(node->attribute[0]->ints[0], 2);
    node = read->graph->node[1];
    cr_expect_eq(node->attribute[0]->type, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
    cr_expect_eq(node->attribute[0]->i, 1);
    cr_assert_eq(read->graph->n_input, 1);
    const Onnx__TypeProto__Tensor *type = read->graph->input[0]->type->tensor_type;
    cr_expect_eq(type->elem_type, ONNX__TENSOR_PROTO__DATA_TYPE__UINT8);
    cr_expect_str_eq(type->shape->dim[0]->dim_param, "batch");
    cr_expect_eq(type->shape->dim[2]->dim_value, 3);
    cr_expect_str_eq(read->graph->output[0]->name, "z");
    onnx__model_proto__free_unpacked(read, NULL);
    free(bytes);
}

static bool fail(void *context, int index, void *values, struct error *err)
{
    (void)context, (void)index, (void)values;
    return error_set(err, EXIT_CODE_FAILED, "no values");
}

Test(onnx, a_file_whose_values_fail_does_not_appear)
{
    struct error err = { 0 };
    cr_assert(!onnx_write(temporary_path("m.onnx"), &written, fail, NULL, &err));
    cr_expect_str_eq(err.message, "no values");
    cr_expect_eq(temporary_count(), 0);
}
