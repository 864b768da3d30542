/* An ONNX file parsed into protobuf messages. */
#ifndef MICROMET_FORMAT_ONNX_PARSE_H
#define MICROMET_FORMAT_ONNX_PARSE_H

#include <stddef.h>

#include "micromet/base/error.h"
#include "onnx/onnx.pb-c.h"

/* Parse a file; the returned model has a graph. NULL on error. All messages and tensors lie in
 * *block, one allocation that the caller frees, also after an error. */
const Onnx__ModelProto *onnx_parse(const char *path, void **block, size_t *block_bytes,
                                   struct error *err);

#endif
