/* Weights that others have written, taken for towers: any file that weights_read() opens, matched
 * to the table of InceptionV3 when it is opened, so that what follows only copies.
 *
 * An array is matched by torchvision's name, behind any prefix ("tower1.", "module."); in Keras'
 * files by the rank of its layer's number; in ONNX graphs without these names by the order of the
 * convolutions. Shapes are checked. A batch norm that is folded into its convolution's bias becomes
 * one that leaves w and b as they are. */
#ifndef MICROMET_NN_PRETRAINED_H
#define MICROMET_NN_PRETRAINED_H

#include "micromet/format/weights.h"
#include "micromet/nn/inception_v3.h"
#include "micromet/nn/model.h"

/* Arrays of a convolution with its batch norm. */
enum unit_part {
    UNIT_WEIGHT,
    UNIT_BIAS,
    UNIT_GAMMA,
    UNIT_BETA,
    UNIT_MEAN,
    UNIT_VARIANCE,
    UNIT_PARTS
};

enum matching { MATCHING_NAMES, MATCHING_NUMBERS, MATCHING_ORDER };

/* What becomes of an array of the file. */
enum array_use {
    USE_OTHER, /* ignored, and nothing is known of it */
    USE_TOWER,
    USE_HEAD,
    USE_CLASSIFIER, /* this and what follows is known, and ignored */
    USE_AUXILIARY,
    USE_COUNTER,
    USE_OPTIMIZER,
    USES
};

struct unit_arrays {
    const struct weight_array *parts[UNIT_PARTS]; /* NULL where there is none */
};

struct pretrained {
    char path[PATH_MAX_BYTES];
    struct weights weights;
    enum matching matching;
    bool ours;                      /* a checkpoint or weights of micromet, see its metadata */
    enum pool_padding pool_padding; /* of whoever wrote the file */
    float epsilon;                  /* of its batch norms */
    bool gamma;                     /* batch norm has scales: model_spec.gamma must say so */
    int towers;                     /* in the file */
    int from[TOWERS_MAX];           /* the file's tower for each of a model */
    struct unit_arrays units[TOWERS_MAX][INCEPTION_CONVOLUTIONS];
    int uses[USES];             /* arrays */
    int scales_missing, folded; /* convolutions, over all towers */
    const char *other; /* name of the first array that is ignored and unknown; NULL if none is */
};

/* Reads and matches; refuses what is no whole InceptionV3 by naming what is missing or misshapen.
 */
bool pretrained_open(struct pretrained *pretrained, const char *path, struct error *err);
void pretrained_release(struct pretrained *pretrained);

/* "1,0": the file's towers for towers 0, 1, …; the last one counts for all that follow. Without a
 * choice tower t is the file's tower t, or its last. */
bool pretrained_choose_towers(struct pretrained *pretrained, const char *list, struct error *err);

/* Fill every tower, and the head where the file's was made for the same towers and has the same
 * shape. Calls model_refresh(). *head_taken tells whether the head came from the file. */
bool pretrained_apply(const struct pretrained *pretrained, struct model *model, bool *head_taken,
                      struct error *err);

/* A safetensors file of `towers` towers with torchvision's names, behind "towerN." if there are
 * several. The head goes along as in pretrained_apply(). */
bool pretrained_write(const struct pretrained *pretrained, const char *path, int towers,
                      bool *head_taken, struct error *err);

/* Nothing was ignored but what is known to be of no use, and nothing is missing; else *err says
 * what. */
bool pretrained_check_strict(const struct pretrained *pretrained, struct error *err);

/* What was made of the file: several lines, or one without a line's end. */
void pretrained_report(const struct pretrained *pretrained, int towers, bool head_taken,
                       FILE *stream);
void pretrained_summary(const struct pretrained *pretrained, int towers, bool head_taken,
                        FILE *stream);

#endif
