/* The state of a run in one safetensors file: parameters under torchvision's names with a tower
 * prefix, optimizer state under "optimizer.state1.<name>", and the rest as metadata, including the
 * input that the model expects. With train.ema the parameters are the averages, and those to train
 * on from stand under "optimizer.weights.<name>". */
#ifndef MICROMET_RUN_CHECKPOINT_H
#define MICROMET_RUN_CHECKPOINT_H

#include "micromet/data/dataset.h"
#include "micromet/format/weights.h"
#include "micromet/nn/model.h"
#include "micromet/nn/schedule.h"

/* Raised when a program that knows only the previous version would misread the file; it then
 * refuses it. Metadata that such a program can ignore does not raise it. Programs read all
 * earlier versions: tests/fixtures keeps a file of each (written by make_checkpoint before the
 * version is raised). */
enum { CHECKPOINT_VERSION = 1 };

/* The progress of training: with the arrays, all that later steps depend on. The sampler needs no
 * state: an epoch's order follows from seed and epoch, and the first `examples` of it are done. */
struct training_state {
    int64_t step;     /* optimizer steps done */
    int64_t epoch;    /* epochs completed */
    int64_t examples; /* done in the current epoch */
    int64_t best_epoch;
    int64_t stale_epochs; /* since the last gain of train.early_stop.min_delta, for patience */
    double best_auc;      /* on validation; NaN before the first */
    double patience_auc;  /* at that last gain, from which the next one is counted */
    double threshold;     /* chosen on validation after the last epoch; NaN before */
    double loss_sum;      /* over the current epoch's steps */
    struct schedule_state schedule;
};

/* Count an epoch that ended with this validation AUC. True if the AUC is the best so far; whether
 * it rose by at least min_delta decides on stale_epochs alone. */
bool training_state_judge(struct training_state *state, double auc, double min_delta);

/* The input that the model was trained on, checked before it is applied to other data. */
struct checkpoint_input {
    double downsamples[TOWERS_MAX]; /* to level 0; with data.um_per_px, to the finest tower */
    double um_per_px[TOWERS_MAX];   /* 0 = unknown */
    const char *slides;             /* dataset_fingerprint(); NULL in files of earlier versions */
};

struct checkpoint {
    char path[PATH_MAX_BYTES];
    struct weights weights;
    struct config config; /* as used in training */
    struct training_state state;
    struct checkpoint_input input;
    bool gamma;
    enum precision precision;           /* fp32 or bf16 */
    enum precision threshold_precision; /* that its threshold was chosen in; AUTO = unknown */
    char program[64];                   /* git version of the program that wrote it */
    char preprocessing[64];             /* MODEL_PREPROCESSING */
    char class_names[2][32];            /* of probability 0 and 1 */
    int version;
    uint64_t identity; /* hash of the header and of the arrays that checkpoint_apply() copied */
};

/* Bytes of its arrays, for a model of this configuration; some thousands more describe them. */
bool checkpoint_size(const struct config *config, int64_t *bytes, struct error *err);
bool checkpoint_write(const char *path, struct model *model, const struct config *config,
                      const struct training_state *state, const struct checkpoint_input *input,
                      struct error *err);

/* Fill config, input, gamma, precision, program and version from the metadata of
 * checkpoint->weights: what every file with a model says of it, in whatever format. */
bool checkpoint_parse_model(struct checkpoint *checkpoint, struct error *err);

/* The metadata "towers": a malloc'ed JSON array of level (left out with data.um_per_px), downsample
 * and um_per_px; NULL if out of memory. */
char *checkpoint_towers_text(const struct config *config, const struct checkpoint_input *input);

/* Read and check the metadata; arrays stay memory-mapped until checkpoint_apply(). */
bool checkpoint_open(struct checkpoint *checkpoint, const char *path, struct error *err);
/* Copy the arrays into a model of the same shape and release their mapped pages; a different
 * architecture is refused, naming the first array that differs. with_optimizer: also the
 * optimizer's state, for resume. Calls model_refresh(). */
bool checkpoint_apply(struct checkpoint *checkpoint, struct model *model, bool with_optimizer,
                      struct error *err);
void checkpoint_release(struct checkpoint *checkpoint);

/* Refuses a slide of another scale than the model was trained on. A model that knows its µm/px
 * refuses slides that do not, and those where a tower's differs by more than 10 %; for other
 * models, a tower's downsample must not differ by more than 1 %. Pixels are square. `mpp` is of the
 * slide's level 0 (x, y; 0 = unknown); absurd: what the slide says instead, or 0. */
bool checkpoint_check_scale(const struct checkpoint *checkpoint, const char *slide,
                            const double downsamples[TOWERS_MAX], const double mpp[2],
                            double absurd, struct error *err);

/* Build a fixed inference model from a checkpoint, planned for `batch` windows, in
 * config.compute.precision (auto: as it was trained). */
bool checkpoint_model(struct checkpoint *checkpoint, struct backend *backend, int batch,
                      struct model **model, struct error *err);

/* The model_spec of a configuration. model.pool_padding=auto becomes the choice for
 * random weights. */
struct model_spec model_spec_from_config(const struct config *config, enum dtype activations,
                                         bool gamma, bool training);

#endif
