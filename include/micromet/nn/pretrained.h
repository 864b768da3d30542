/* Initial weights from other libraries, or from micromet: any file that weights_read() opens. Its
 * arrays are matched to the table of InceptionV3 on opening; later steps only copy.
 *
 * Arrays are matched by torchvision's names, behind any prefix ("tower1.", "module."), of which a
 * choice is asked for where there are several that are no towers; in Keras'
 * files by the rank of the layer's number; in ONNX graphs without these names by the order of the
 * convolutions. Shapes are checked. Where batch norm was folded into the convolution's bias, a
 * batch norm that leaves w and b unchanged takes its place. */
#ifndef MICROMET_NN_PRETRAINED_H
#define MICROMET_NN_PRETRAINED_H

#include "micromet/format/weights.h"
#include "micromet/nn/inception_v3.h"
#include "micromet/nn/model.h"

/* Arrays of a convolution and its batch norm. */
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

/* How an array of the file is used. */
enum array_use {
    USE_OTHER, /* not recognised, ignored */
    USE_TOWER,
    USE_HEAD,
    USE_CLASSIFIER, /* this and the following are recognised, but ignored */
    USE_AUXILIARY,
    USE_COUNTER,
    USE_OPTIMIZER,
    USE_UNCHOSEN, /* of a set of weights that was not chosen */
    USES
};

struct unit_arrays {
    const struct weight_array *parts[UNIT_PARTS]; /* NULL if absent */
};

struct pretrained {
    char path[PATH_MAX_BYTES];
    const char
        *sets; /* chosen sets of weights, "ema" or "models.0,models.1"; NULL = the only one */
    struct weights weights;
    enum matching matching;
    bool ours;                      /* written by micromet, according to its metadata */
    enum pool_padding pool_padding; /* of the library that wrote the file */
    float epsilon;                  /* of its batch norms */
    bool gamma;                     /* batch norm has scales (gamma); model_spec.gamma must agree */
    int towers;                     /* in the file */
    int from[TOWERS_MAX];           /* tower of the file for each tower of a model */
    struct unit_arrays units[TOWERS_MAX][INCEPTION_CONVOLUTIONS];
    int uses[USES];             /* number of arrays by use */
    int scales_missing, folded; /* number of convolutions, over all towers */
    const char *other;          /* first array with USE_OTHER; NULL if there is none */
};

/* Read and match. Refuses an incomplete InceptionV3, naming what is missing or has
 * the wrong shape. */
bool pretrained_open(struct pretrained *pretrained, const char *path, struct error *err);
/* The same of a file that holds several sets of weights, such as a model and its moving average:
 * those named, separated by commas, become towers 0, 1 …; "." is the one without a prefix. NULL =
 * the only one. `sets` must outlive *pretrained. */
bool pretrained_open_sets(struct pretrained *pretrained, const char *path, const char *sets,
                          struct error *err);
void pretrained_release(struct pretrained *pretrained);

/* Choose towers of the file, for example "1,0", for towers 0, 1, … of a model; the last one also
 * serves all further towers. By default tower t is the file's tower t, or its last one. */
bool pretrained_choose_towers(struct pretrained *pretrained, const char *list, struct error *err);

/* Fill every tower, and the head if the file's belongs to the same towers and has the same shape;
 * *head_taken says whether. Calls model_refresh(). */
bool pretrained_apply(const struct pretrained *pretrained, struct model *model, bool *head_taken,
                      struct error *err);

/* Write a safetensors file of `towers` towers under torchvision's names, prefixed with "towerN." if
 * there are several. The head is included as in pretrained_apply(). */
bool pretrained_write(const struct pretrained *pretrained, const char *path, int towers,
                      bool *head_taken, struct error *err);
/* Whether a file was written by it. */
bool pretrained_is_written(const char *path);

/* Succeeds if nothing is missing and every ignored array was recognised; otherwise *err
 * names what is wrong. */
bool pretrained_check_strict(const struct pretrained *pretrained, struct error *err);

/* Report how the file was used: several lines, or a single one without a newline. */
void pretrained_report(const struct pretrained *pretrained, int towers, bool head_taken,
                       FILE *stream);
void pretrained_summary(const struct pretrained *pretrained, int towers, bool head_taken,
                        FILE *stream);

#endif
