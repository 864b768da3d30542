/* Writes an ONNX file as a stream. In protobuf the fields of a message may follow each other in
 * any order, so protobuf-c packs small messages one by one, and only the framing around the
 * weights (model, graph, tensor: a tag and a length each) is written here. The weights pass
 * through one buffer. */
#include <stdlib.h>
#include <string.h>

#include "micromet/base/file.h"
#include "micromet/base/size.h"
#include "micromet/format/onnx.h"
#include "onnx/onnx.pb-c.h"

enum { MODEL_GRAPH = 7, GRAPH_INITIALIZER = 5, TENSOR_RAW_DATA = 9 }; /* fields in onnx.proto */
enum { IR_VERSION = 7 };

static const uint64_t message_bytes_max = (UINT64_C(1) << 31) - 1; /* protobuf's limit */

/* --- Wire format ------------------------------------------------------------------------------ */

/* A protobuf-c buffer that appends to a stream; errors are kept in the stream. */
struct stream_buffer {
    ProtobufCBuffer base;
    FILE *stream;
};

static void stream_append(ProtobufCBuffer *buffer, size_t size, const uint8_t *bytes)
{
    fwrite(bytes, 1, size, ((struct stream_buffer *)buffer)->stream);
}

static void put_varint(FILE *stream, uint64_t value)
{
    for (; value >= 0x80; value >>= 7) putc((int)(value & 0x7f) | 0x80, stream);
    putc((int)value, stream);
}

static uint64_t varint_bytes(uint64_t value)
{
    uint64_t bytes = 1;
    while (value >>= 7) bytes++;
    return bytes;
}

/* Tag and length of a field whose bytes follow. All field numbers here are below 16. */
static void put_frame(FILE *stream, int field, uint64_t bytes)
{
    putc(field << 3 | 2, stream);
    put_varint(stream, bytes);
}

static uint64_t framed_bytes(uint64_t bytes)
{
    return 1 + varint_bytes(bytes) + bytes;
}

static void put_message(FILE *stream, const ProtobufCMessage *message)
{
    struct stream_buffer buffer = { { stream_append }, stream };
    protobuf_c_message_pack_to_buffer(message, &buffer.base);
}

/* --- Messages --------------------------------------------------------------------------------- */

static int32_t data_type(const char *dtype)
{
    static const struct {
        const char *name;
        int32_t type;
    } types[] = {
        { "F32", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT },
        { "F16", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16 },
        { "I64", ONNX__TENSOR_PROTO__DATA_TYPE__INT64 },
        { "U8", ONNX__TENSOR_PROTO__DATA_TYPE__UINT8 },
    };
    for (size_t i = 0; i < COUNT_OF(types); i++)
        if (strcmp(types[i].name, dtype) == 0) return types[i].type;
    CHECK(!"a type that graphs have");
    return 0;
}

/* Concatenated messages merge, so a graph of one node (or value) adds it to the graph
 * being written. */
static void put_node(FILE *stream, const struct onnx_node *node)
{
    Onnx__AttributeProto attributes[ONNX_ATTRIBUTES_MAX], *list[ONNX_ATTRIBUTES_MAX];
    Onnx__NodeProto message = ONNX__NODE_PROTO__INIT, *messages[] = { &message };
    Onnx__GraphProto graph = ONNX__GRAPH_PROTO__INIT;
    char *name = (char *)node->output;
    message.op_type = (char *)node->op;
    message.name = name;
    message.input = (char **)node->inputs;
    while (message.n_input < ONNX_INPUTS_MAX && node->inputs[message.n_input]) message.n_input++;
    message.output = &name;
    message.n_output = 1;
    message.attribute = list;
    for (size_t i = 0; i < ONNX_ATTRIBUTES_MAX && node->attributes[i].name; i++) {
        const struct onnx_attribute *from = &node->attributes[i];
        Onnx__AttributeProto *to = list[message.n_attribute++] = &attributes[i];
        onnx__attribute_proto__init(to);
        to->name = (char *)from->name;
        to->has_type = true;
        to->type = from->count ? ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS
                               : ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
        to->has_i = !from->count;
        to->i = from->values[0];
        to->n_ints = (size_t)from->count;
        to->ints = (int64_t *)from->values;
    }
    graph.n_node = 1;
    graph.node = messages;
    put_message(stream, &graph.base);
}

static void put_value(FILE *stream, const struct onnx_value *value, bool output)
{
    Onnx__TensorShapeProto__Dimension dims[4], *list[4];
    Onnx__TensorShapeProto shape = ONNX__TENSOR_SHAPE_PROTO__INIT;
    Onnx__TypeProto__Tensor tensor = ONNX__TYPE_PROTO__TENSOR__INIT;
    Onnx__TypeProto type = ONNX__TYPE_PROTO__INIT;
    Onnx__ValueInfoProto message = ONNX__VALUE_INFO_PROTO__INIT, *messages[] = { &message };
    Onnx__GraphProto graph = ONNX__GRAPH_PROTO__INIT;
    for (int d = 0; d < value->dims; d++) {
        list[d] = &dims[d];
        onnx__tensor_shape_proto__dimension__init(list[d]);
        const bool batch = value->shape[d] < 0;
        list[d]->value_case = batch ? ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM
                                    : ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        if (batch)
            list[d]->dim_param = (char *)"batch";
        else
            list[d]->dim_value = value->shape[d];
    }
    shape.n_dim = (size_t)value->dims;
    shape.dim = list;
    tensor.has_elem_type = true;
    tensor.elem_type = data_type(value->dtype);
    tensor.shape = &shape;
    type.value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    type.tensor_type = &tensor;
    message.name = (char *)value->name;
    message.doc_string = (char *)value->doc;
    message.type = &type;
    *(output ? &graph.n_output : &graph.n_input) = 1;
    *(output ? &graph.output : &graph.input) = messages;
    put_message(stream, &graph.base);
}

/* Everything of the graph except its weights. */
static void put_graph_head(FILE *stream, const struct onnx_graph *graph)
{
    Onnx__GraphProto message = ONNX__GRAPH_PROTO__INIT;
    message.name = (char *)graph->name;
    message.doc_string = (char *)graph->doc;
    put_message(stream, &message.base);
    for (int i = 0; i < graph->node_count; i++) put_node(stream, &graph->nodes[i]);
    for (int i = 0; i < graph->input_count; i++) put_value(stream, &graph->inputs[i], false);
    for (int i = 0; i < graph->output_count; i++) put_value(stream, &graph->outputs[i], true);
}

/* Everything of the model except its graph. */
static void put_model_head(FILE *stream, const struct onnx_graph *graph)
{
    Onnx__OperatorSetIdProto opset = ONNX__OPERATOR_SET_ID_PROTO__INIT, *opsets[] = { &opset };
    Onnx__ModelProto message = ONNX__MODEL_PROTO__INIT;
    opset.domain = (char *)"";
    opset.has_version = true;
    opset.version = graph->opset;
    message.has_ir_version = true;
    message.ir_version = IR_VERSION;
    message.n_opset_import = 1;
    message.opset_import = opsets;
    message.producer_name = (char *)graph->producer;
    message.producer_version = (char *)graph->producer_version;
    message.doc_string = (char *)graph->doc;
    put_message(stream, &message.base);
    for (const char *const *pair = graph->metadata; pair && *pair; pair += 2) {
        Onnx__StringStringEntryProto entry = ONNX__STRING_STRING_ENTRY_PROTO__INIT;
        Onnx__StringStringEntryProto *entries[] = { &entry };
        Onnx__ModelProto more = ONNX__MODEL_PROTO__INIT;
        entry.key = (char *)pair[0];
        entry.value = (char *)pair[1];
        more.n_metadata_props = 1;
        more.metadata_props = entries;
        put_message(stream, &more.base);
    }
}

/* A tensor without its values. */
static Onnx__TensorProto tensor_head(const struct weight_array *array)
{
    Onnx__TensorProto message = ONNX__TENSOR_PROTO__INIT;
    message.name = array->name;
    message.n_dims = (size_t)array->dims;
    message.dims = (int64_t *)array->shape;
    message.has_data_type = true;
    message.data_type = data_type(array->dtype);
    return message;
}

static uint64_t value_bytes(const struct weight_array *array)
{
    return (uint64_t)array->count * weights_dtype_bytes(array->dtype);
}

static uint64_t tensor_bytes(const struct weight_array *array)
{
    const Onnx__TensorProto head = tensor_head(array);
    return onnx__tensor_proto__get_packed_size(&head) + framed_bytes(value_bytes(array));
}

/* --- The file --------------------------------------------------------------------------------- */

static bool put_weights(FILE *stream, const struct onnx_graph *graph, weights_fill fill,
                        void *context, struct error *err)
{
    uint64_t largest = 1;
    for (int i = 0; i < graph->initializer_count; i++) {
        const uint64_t bytes = value_bytes(&graph->initializers[i]);
        if (bytes > largest) largest = bytes;
    }
    void *values = malloc(largest);
    bool done = values || error_set(err, EXIT_CODE_FAILED, "no memory for the largest array");
    for (int i = 0; i < graph->initializer_count && done; i++) {
        const struct weight_array *array = &graph->initializers[i];
        const Onnx__TensorProto head = tensor_head(array);
        done = array->data || fill(context, i, values, err);
        if (!done) break;
        put_frame(stream, GRAPH_INITIALIZER, tensor_bytes(array));
        put_message(stream, &head.base);
        put_frame(stream, TENSOR_RAW_DATA, value_bytes(array));
        fwrite(array->data ? array->data : values, 1, value_bytes(array), stream);
    }
    free(values);
    return done;
}

bool onnx_write(const char *path, const struct onnx_graph *graph, weights_fill fill, void *context,
                struct error *err)
{
    struct atomic_file file = { 0 };
    char *head = NULL;
    size_t head_bytes = 0;
    bool done = false;
    FILE *memory = open_memstream(&head, &head_bytes);
    if (memory) put_graph_head(memory, graph);
    if (!memory || fclose(memory) != 0) {
        error_set(err, EXIT_CODE_FAILED, "%s: no memory for the graph", path);
        goto end;
    }
    uint64_t bytes = head_bytes;
    for (int i = 0; i < graph->initializer_count; i++)
        bytes += framed_bytes(tensor_bytes(&graph->initializers[i]));
    if (bytes > message_bytes_max - (1 << 20)) {
        error_set(err, EXIT_CODE_FAILED, "%s: ONNX files hold at most 2 GiB", path);
        goto end;
    }
    if (!atomic_file_open(&file, path, err)) goto end;
    put_model_head(file.stream, graph);
    put_frame(file.stream, MODEL_GRAPH, bytes);
    fwrite(head, 1, head_bytes, file.stream);
    done = put_weights(file.stream, graph, fill, context, err) && atomic_file_commit(&file, err);
end:
    atomic_file_release(&file);
    free(head);
    return done;
}
