/* What the files of the export share. */
#ifndef MICROMET_EXPORT_EXPORT_PARTS_H
#define MICROMET_EXPORT_EXPORT_PARTS_H

#include <stdio.h>

#include "micromet/export/export.h"
#include "micromet/nn/inception_v3.h"
#include "micromet/run/single_window.h"

enum { EXPORT_KEYS_MAX = 20, EXPORT_TEXT_BYTES = 8192 };

/* What a model is and expects, as text; pairs point into `text` and the checkpoint. */
struct export_facts {
    const char *pairs[2 * EXPORT_KEYS_MAX + 1];
    int count;
    char text[EXPORT_TEXT_BYTES];
    size_t used;
    bool has_single; /* the single window is defined, or there is one tower */
    struct single_window single;
};
bool export_facts_collect(struct export_facts *facts, const struct checkpoint *checkpoint,
                          const struct export_options *options, struct error *err);

/* What the values of an array of a graph are made of: an array of the checkpoint and, where a
 * convolution's batch norm is folded into it, that of the batch norm. */
struct export_source {
    const struct weight_array *array;
    const struct weight_array *norm[4]; /* gamma (NULL = 1), beta, mean, variance; all NULL: none */
    bool is_bias;                       /* the bias that folding gives, instead of the weights */
};

/* An array of the checkpoint of just that shape, or an error that names it. */
const struct weight_array *export_array(const struct checkpoint *checkpoint, const char *name,
                                        int dims, const int64_t *shape, struct error *err);
/* The weights and the bias of a convolution with its batch norm folded in. */
bool export_convolution(const struct checkpoint *checkpoint, const struct inception_layer *layer,
                        int tower, struct export_source *weights, struct export_source *bias,
                        struct error *err);
/* The values of `array`, which has a name and a shape, channels first, and is F32 or F16. Refuses
 * values that are too large for F16. */
bool export_values(struct checkpoint *checkpoint, const struct export_source *source,
                   const struct weight_array *array, void *values, struct error *err);

bool export_onnx(struct checkpoint *checkpoint, const struct export_options *options,
                 const struct export_facts *facts, const char *path, struct error *err);

/* The arrays of the model as they are in the checkpoint. */
bool export_arrays(struct checkpoint *checkpoint, const struct export_facts *facts,
                   const char *path, struct error *err);
/* A PyTorch module that loads them; it finds `weights` (a file name) beside itself. */
bool export_module(const struct checkpoint *checkpoint, const struct export_facts *facts,
                   const char *path, const char *weights, struct error *err);

#endif
