/* ONNX files (github.com/onnx/onnx, onnx.proto): reading the weights of a graph, and
 * writing a graph.
 *
 * Reading parses the whole file with protobuf-c. The parser's memory comes from one arena of
 * bounded size, so a small file cannot claim a lot; pages of the file are released as they are
 * parsed. The peak is little more than the size of the file. */
#ifndef MICROMET_FORMAT_ONNX_H
#define MICROMET_FORMAT_ONNX_H

#include "micromet/format/weights.h"

/* Read the weights of all convolutions and batch norms, in the order in which the graph computes
 * them: Conv weight (K, C, R, S) and bias if it has one; BatchNormalization scale, bias, mean and
 * variance. Names are those that the node uses, so an array shared by two nodes appears twice;
 * Identity and Constant nodes are looked through. Types are F32 and F16, as stored.
 *
 * Metadata: the model's own properties; "onnx.epsilon", that of its batch norms as "%.9g" ("mixed"
 * if they differ, absent if there are none); "onnx.pool_padding", "include" or "exclude", of the
 * first average pool with padding (absent if none has any).
 *
 * Refused, naming the array: data in external files, other types, shapes that do not match the
 * data, and weights that the graph computes (quantized models). */
bool onnx_read_weights(struct weights *weights, const char *path, struct error *err);

/* A graph to be written, as plain arrays that the caller keeps. */
enum { ONNX_INPUTS_MAX = 8, ONNX_ATTRIBUTES_MAX = 4, ONNX_INTEGERS_MAX = 4 };

struct onnx_attribute {
    const char *name; /* NULL ends the list */
    int count;        /* length of the list; 0 = a single integer */
    int64_t values[ONNX_INTEGERS_MAX];
};

struct onnx_node {
    const char *op;
    const char *inputs[ONNX_INPUTS_MAX]; /* NULL ends the list */
    const char *output;                  /* also the node's name */
    struct onnx_attribute attributes[ONNX_ATTRIBUTES_MAX];
};

struct onnx_value {
    const char *name, *doc;
    const char *dtype; /* F32 or U8 */
    int dims;
    int64_t shape[4]; /* -1 = batch size, left open */
};

struct onnx_graph {
    const char *name, *doc;
    int opset;
    const char *producer, *producer_version;
    const char *const *metadata; /* key, value …, NULL-terminated */
    const struct onnx_node *nodes;
    const struct onnx_value *inputs, *outputs;
    const struct weight_array *initializers; /* F32, F16 or I64; `data` NULL: from fill() */
    int node_count, input_count, output_count, initializer_count;
};

/* Write atomically. fill() provides the values of initializer `index`; it is called for one after
 * the other, so the weights are never all in memory. */
bool onnx_write(const char *path, const struct onnx_graph *graph, weights_fill fill, void *context,
                struct error *err);

#endif
