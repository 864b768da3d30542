/* ONNX files (github.com/onnx/onnx, onnx.proto): the weights of a graph read, and a graph written.
 *
 * Reading parses the whole file with protobuf-c. Its memory comes out of one block of a bounded
 * size, so that a small file cannot ask for much, and the pages of the file are let go on the way:
 * in all little more than the file is held. */
#ifndef MICROMET_FORMAT_ONNX_H
#define MICROMET_FORMAT_ONNX_H

#include "micromet/format/weights.h"

/* What convolutions and batch norms of a graph hold, node after node as the graph computes them:
 * Conv weight (K, C, R, S) and bias where there is one, BatchNormalization scale, bias, mean and
 * variance. Names are those that the node uses, so an array used by two nodes stands twice;
 * Identity and Constant nodes are looked through. Types are F32 and F16, as stored.
 *
 * Metadata: the model's own properties, and "onnx.epsilon", of its batch norms, as "%.9g" ("mixed"
 * where they differ; absent where there are none), and "onnx.pool_padding", include or exclude, of
 * its average pools (absent where none has any).
 *
 * Refused by name: data in other files, arrays of other types, sizes that the bytes do not fit, and
 * weights that the graph computes (quantized models). */
bool onnx_read_weights(struct weights *weights, const char *path, struct error *err);

/* A graph to be written, in plain arrays. Nothing is copied. */
enum { ONNX_INPUTS_MAX = 8, ONNX_ATTRIBUTES_MAX = 4, ONNX_INTEGERS_MAX = 4 };

struct onnx_attribute {
    const char *name; /* NULL ends the list */
    int count;        /* of a list of integers; 0 = one integer */
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
    int64_t shape[4]; /* -1: the batch, of any size */
};

struct onnx_graph {
    const char *name, *doc;
    int opset;
    const char *producer, *producer_version;
    const char *const *metadata; /* key, value …, NULL-terminated */
    const struct onnx_node *nodes;
    const struct onnx_value *inputs, *outputs;
    const struct weight_array *initializers; /* F32, F16 or I64; without data: filled */
    int node_count, input_count, output_count, initializer_count;
};

/* Write atomically. fill() writes the values of initializer `index`, one after another, so that the
 * weights are never held at once. */
bool onnx_write(const char *path, const struct onnx_graph *graph, weights_fill fill, void *context,
                struct error *err);

#endif
