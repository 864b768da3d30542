/* A run's state in one safetensors file: parameters under torchvision's names with a tower prefix,
 * optimizer state under "optimizer.state1.<name>", and everything else as metadata: the model knows
 * its input. */
#ifndef MICROMET_RUN_CHECKPOINT_H
#define MICROMET_RUN_CHECKPOINT_H

#include "micromet/data/dataset.h"
#include "micromet/format/weights.h"
#include "micromet/nn/model.h"
#include "micromet/nn/schedule.h"

/* Raised where a program that knows only the version before would misread the file, which it then
 * refuses. Metadata that such a program may pass over are no reason, and programs read all
 * versions before their own: tests/fixtures keeps a file of each (made by make_checkpoint before
 * the step to the next). */
enum { CHECKPOINT_VERSION = 1 };

/* Where training stands. Everything that later steps depend on beside the arrays: the sampler
 * has no state of its own, its order of an epoch follows from seed and epoch, and `examples` of
 * it are done. */
struct training_state {
    int64_t step;     /* optimizer steps done */
    int64_t epoch;    /* epochs completed */
    int64_t examples; /* of the current epoch done */
    int64_t best_epoch;
    int64_t stale_epochs; /* since the best one: early stopping */
    double best_auc;      /* of validation; NaN before the first */
    double threshold;     /* chosen on validation after the last epoch; NaN before */
    double loss_sum;      /* of the current epoch's steps */
    struct schedule_state schedule;
};

/* What the model was trained on, checked before it is used on something else. */
struct checkpoint_input {
    double downsamples[TOWERS_MAX];
    double um_per_px[TOWERS_MAX]; /* 0 = unknown */
    const char *slides;           /* dataset_fingerprint(), or NULL: earlier programs wrote none */
};

struct checkpoint {
    char path[PATH_MAX_BYTES];
    struct weights weights;
    struct config config; /* as trained */
    struct training_state state;
    struct checkpoint_input input;
    bool gamma;
    enum precision precision; /* fp32 or bf16 */
    char program[64];         /* git version that wrote it */
    char preprocessing[64];   /* MODEL_PREPROCESSING */
    char class_names[2][32];  /* of probability 0 and 1 */
    int version;
    uint64_t identity; /* hash of the header and the arrays that checkpoint_apply() has copied */
};

bool checkpoint_write(const char *path, struct model *model, const struct config *config,
                      const struct training_state *state, const struct checkpoint_input *input,
                      struct error *err);

/* Fill config, input, gamma, precision, program and version from the metadata of
 * checkpoint->weights: what files that hold a model, whatever their format, say of it. */
bool checkpoint_parse_model(struct checkpoint *checkpoint, struct error *err);

/* The metadata "towers": a malloc'ed JSON array of level, downsample and um_per_px;
 * NULL without memory. */
char *checkpoint_towers_text(const struct config *config, const struct checkpoint_input *input);

/* Reads and checks the metadata; arrays stay in the mapped file until checkpoint_apply(). */
bool checkpoint_open(struct checkpoint *checkpoint, const char *path, struct error *err);
/* Copy the arrays into a model of the same shape, and let go of their memory; refuses another
 * architecture by naming the first array that differs. with_optimizer: the optimizer's state too
 * (for resume). Calls model_refresh(). */
bool checkpoint_apply(struct checkpoint *checkpoint, struct model *model, bool with_optimizer,
                      struct error *err);
void checkpoint_release(struct checkpoint *checkpoint);

/* Refuses a slide that the model does not know at its scale: towers whose downsample is off by more
 * than 1 %, or whose µm/px by more than 10 % where both are known (`mpp` is of the slide's level 0;
 * 0 = unknown). */
bool checkpoint_check_scale(const struct checkpoint *checkpoint, const char *slide,
                            const double downsamples[TOWERS_MAX], double mpp, struct error *err);

/* A fixed inference model of a checkpoint, planned for `batch` windows. */
bool checkpoint_model(struct checkpoint *checkpoint, struct backend *backend, int batch,
                      struct model **model, struct error *err);

/* The model_spec of a configuration. model.pool_padding=auto is what random weights get. */
struct model_spec model_spec_from_config(const struct config *config, enum dtype activations,
                                         bool gamma, bool training);

#endif
