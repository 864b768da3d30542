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

#endif
