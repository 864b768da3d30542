/* An ONNX file as the messages of its format. */
#ifndef MICROMET_FORMAT_ONNX_PARSE_H
#define MICROMET_FORMAT_ONNX_PARSE_H

#include <stddef.h>

#include "micromet/base/error.h"
#include "onnx/onnx.pb-c.h"

/* The model of a file, which has a graph; NULL on error. Messages and tensors lie in *block, one
 * allocation that the caller frees, in case of an error too. */
const Onnx__ModelProto *onnx_parse(const char *path, void **block, size_t *block_bytes,
                                   struct error *err);

#endif
