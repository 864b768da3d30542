/* Trained models in other programs' formats: writing them, and reading ONNX back.
 *
 * The exported model is the checkpoint's, with towers, pools, batch norms and head, but without
 * dropout and optimizer. Every format describes the expected input in its metadata: name, program,
 * exporter, config (YAML), towers (JSON: level, downsample, um_per_px; 0 = unknown), preprocessing,
 * pool_padding, class_names, threshold (absent if training chose none), gamma, precision, input,
 * and for a single input its side and the towers' ratios. What takes one window for all towers is
 * another model than the checkpoint's, since it sees coarser levels as means of the finest one:
 * "threshold" is then its own where it was measured, and "single_input" says how far it is off. */
#ifndef MICROMET_EXPORT_EXPORT_H
#define MICROMET_EXPORT_EXPORT_H

#include "micromet/run/checkpoint.h"

enum export_format { EXPORT_ONNX, EXPORT_SAFETENSORS, EXPORT_WSINFER, EXPORT_TRITON };
enum { EXPORT_FORMATS = 4 };

extern const char *const export_format_names[]; /* by enum export_format; NULL-terminated */

enum export_input {
    EXPORT_UINT8, /* (batch, height, width, 3), RGB 0 … 255, as images are stored */
    EXPORT_FLOAT, /* (batch, 3, height, width), RGB 0 … 1, as made by ToTensor and blobFromImage */
};

struct export_options {
    enum export_format format;
    enum export_input input; /* ONNX and Triton */
    bool half;               /* ONNX and Triton: weights and arithmetic in float16 */
    bool single_input;       /* ONNX and Triton: one window at the finest tower's level */
    double mpp;              /* µm per level-0 px if the checkpoint has none; 0 = unknown */
    bool force;              /* overwrite existing files */
    /* What `micromet evaluate --single-input --split validation` wrote: its folder or
     * evaluation.json; NULL = not measured. For exports that take one window for all towers. */
    const char *evaluation;
};

/* `path` is the file for ONNX and safetensors, the model's folder for WSInfer, and for Triton the
 * model repository, in which the model gets a folder of its own. `written` receives a one-line
 * summary for the user. */
bool export_write(struct checkpoint *checkpoint, const struct export_options *options,
                  const char *path, char written[2 * PATH_MAX_BYTES], struct error *err);

/* Read an ONNX file made by export_write() with any options; other ONNX files are refused. Batch
 * norms are already folded into its convolutions, and float16 weights stay rounded. */
bool export_open(struct checkpoint *checkpoint, const char *path, struct error *err);
/* Build a fixed inference model from what export_open() read, planned for `batch` windows, in
 * config.compute.precision (auto: fp32). */
bool export_model(struct checkpoint *checkpoint, struct backend *backend, int batch,
                  struct model **model, struct error *err);

#endif
