/* A trained model in other programs' formats, and back.
 *
 * What is written is the model of the checkpoint: its towers, pools, batch norms and head, without
 * dropout and optimizer. Every format carries what the model expects of its input as metadata:
 * name, program, exporter, config (YAML), towers (JSON: level, downsample, um_per_px; 0 = unknown),
 * preprocessing, pool_padding, class_names, threshold (absent if training chose none), gamma,
 * precision, input, and for a single input its side and the ratios of the towers. */
#ifndef MICROMET_EXPORT_EXPORT_H
#define MICROMET_EXPORT_EXPORT_H

#include "micromet/run/checkpoint.h"

enum export_format { EXPORT_ONNX, EXPORT_SAFETENSORS, EXPORT_WSINFER, EXPORT_TRITON };
enum { EXPORT_FORMATS = 4 };

extern const char *const export_format_names[]; /* by enum export_format; NULL behind the last */

enum export_input {
    EXPORT_UINT8, /* (batch, height, width, 3) RGB 0 … 255, as pictures lie in memory */
    EXPORT_FLOAT, /* (batch, 3, height, width) RGB 0 … 1, as ToTensor and blobFromImage give it */
};

struct export_options {
    enum export_format format;
    enum export_input input; /* ONNX and Triton */
    bool half;               /* ONNX and Triton: weights and arithmetic in float16 */
    bool single_input;       /* ONNX and Triton: one window at the finest tower's level */
    double mpp;              /* µm per level-0 px where the checkpoint has none; 0 = none */
    bool force;              /* write over what is there */
};

/* ONNX and safetensors: `path` is the file. WSInfer: the folder of the model. Triton: the model
 * repository, in which the model gets a folder of its own. `written` gets one line on what was
 * written, for people. */
bool export_write(struct checkpoint *checkpoint, const struct export_options *options,
                  const char *path, char written[2 * PATH_MAX_BYTES], struct error *err);

/* Read an ONNX file that export_write() made, whatever its options; refuses others. The batch norms
 * are folded into its convolutions, and half floats stay as rounded. */
bool export_open(struct checkpoint *checkpoint, const char *path, struct error *err);
/* A fixed inference model of what export_open() read, planned for `batch` windows. */
bool export_model(struct checkpoint *checkpoint, struct backend *backend, int batch,
                  struct model **model, struct error *err);

#endif
