/* What a model is made of; shared by the files that build it (model.c) and run it (step.c). */
#ifndef MICROMET_NN_MODEL_PARTS_H
#define MICROMET_NN_MODEL_PARTS_H

#include "head.h"
#include "micromet/nn/model.h"
#include "tower.h"

enum { TRAIN, INFER, MODES };
/* The parts of a tower's program, in the order of running; in inference the last is empty. */
enum tower_stage { STAGE_AUGMENT, STAGE_FORWARD, STAGE_BACKWARD, STAGES };
enum { MARK_START, MARK_AUGMENTED, MARK_FORWARD, MARK_BACKWARD, MARK_UPDATED, MARKS };

/* One queue's share of a mode. */
struct branch {
    struct program program;
    struct tape *tape;
    int stage_end[STAGES]; /* a tower's: index behind the last instruction of each stage */
};

/* The small things of a batch, which travel in one copy. Pointers into one block. */
struct batch_meta {
    struct step_values *values;
    float *labels;                          /* (batch) */
    struct augment_draw *draws[TOWERS_MAX]; /* (batch) */
};

/* One batch on its way through the device. */
struct slot {
    void *pixels[TOWERS_MAX]; /* device (batch, window, window, 3) */
    void *meta_memory_device,
        *meta_memory_host; /* device; host, reachable by the backend's copies */
    struct batch_meta meta_device, meta_host;
    float *results; /* host (batch + 1): probabilities or logits, loss */
    double when_s[MARKS][TOWERS_MAX];
    struct model_result result;          /* from its submission on */
    uint64_t done;                       /* ticket of queue 0 behind the pass */
    struct recording *recordings[MODES]; /* the pass as it was recorded */
    uint64_t recorded_version[MODES];    /* ... with these weights; see pass_version() */
};

struct model {
    struct backend *backend;
    struct model_spec spec;
    struct parameters parameters;
    struct tower towers[TOWERS_MAX];
    struct head head;
    struct branch tower_branches[MODES][TOWERS_MAX], head_branches[MODES];
    struct plan *update_plans[TOWERS_MAX];                              /* one a region */
    float *features, *feature_gradient, *logits, *loss, *probabilities; /* device */
    struct slot slots[PASSES_MAX];
    int64_t submitted[MODES], collected[MODES]; /* passes */
    uint64_t trained_version;      /* of the weights: every step and every write makes a new one */
    uint64_t folded_version;       /* that model_refresh() has folded */
    uint64_t eager_version[MODES]; /* that a plain pass has run with */
};

bool slots_init(struct model *model, struct error *err);
void slots_release(struct model *model);
size_t slots_bytes(const struct model *model);

#endif
