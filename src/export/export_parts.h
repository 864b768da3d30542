/* Shared by the files of the export. */
#ifndef MICROMET_EXPORT_EXPORT_PARTS_H
#define MICROMET_EXPORT_EXPORT_PARTS_H

#include <stdio.h>

#include "micromet/export/export.h"
#include "micromet/nn/inception_v3.h"
#include "micromet/run/single_window.h"

enum { EXPORT_KEYS_MAX = 32, EXPORT_TEXT_BYTES = 8192 };

/* What an evaluation says of the model with a single input. */
struct export_measured {
    bool known;
    double threshold, auc, auc_of_towers, mean_difference, max_difference;
    int64_t count, flipped;
    char precision[8];
};
/* Read a folder's evaluation.json, or the file. Refuses the evaluation of another checkpoint, of
 * another split than validation, and one without --single-input. */
bool export_measured_read(struct export_measured *measured, const struct checkpoint *checkpoint,
                          const char *path, struct error *err);

/* What a model is and expects, as key-value pairs of text. Values are stored in `text`. */
struct export_facts {
    const char *pairs[2 * EXPORT_KEYS_MAX + 1];
    int count;
    char text[EXPORT_TEXT_BYTES];
    size_t used;
    bool has_single; /* one window can be cut for all towers */
    struct single_window single;
    /* It takes one window for all of several towers, and so is another model, unless that was
     * trained on towers shrunk from the finest one. */
    bool is_single;
    struct export_measured measured;
};
bool export_facts_collect(struct export_facts *facts, const struct checkpoint *checkpoint,
                          const struct export_options *options, struct error *err);

/* The source of an array of the graph: an array of the checkpoint and, for a convolution, the batch
 * norm to fold into it. */
struct export_source {
    const struct weight_array *array;
    const struct weight_array *norm[4]; /* gamma (NULL = 1), beta, mean, variance; all NULL: none */
    bool is_bias;                       /* compute the folded bias instead of the weights */
};

/* The checkpoint's array of that name and shape; NULL and an error that names it if
 * there is none. */
const struct weight_array *export_array(const struct checkpoint *checkpoint, const char *name,
                                        int dims, const int64_t *shape, struct error *err);
/* The sources of a convolution's weights and bias, with its batch norm folded in. */
bool export_convolution(const struct checkpoint *checkpoint, const struct inception_layer *layer,
                        int tower, struct export_source *weights, struct export_source *bias,
                        struct error *err);
/* Compute the values of `array`, whose name, shape (channels first) and dtype (F32 or F16) are set.
 * Fails on values that are too large for F16. */
bool export_values(struct checkpoint *checkpoint, const struct export_source *source,
                   const struct weight_array *array, void *values, struct error *err);

bool export_onnx(struct checkpoint *checkpoint, const struct export_options *options,
                 const struct export_facts *facts, const char *path, struct error *err);

/* Write the model's arrays unchanged, as safetensors. */
bool export_arrays(struct checkpoint *checkpoint, const struct export_facts *facts,
                   const char *path, struct error *err);
/* Write a PyTorch module that loads them; it expects the file `weights` in its own folder. */
bool export_module(const struct checkpoint *checkpoint, const struct export_facts *facts,
                   const char *path, const char *weights, struct error *err);

#endif
