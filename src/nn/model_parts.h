/* The parts of a model, shared by the files that build it (model.c) and run it (step.c). */
#ifndef MICROMET_NN_MODEL_PARTS_H
#define MICROMET_NN_MODEL_PARTS_H

#include "exchange.h"
#include "head.h"
#include "micromet/nn/model.h"
#include "tower.h"

enum { TRAIN, INFER, MODES };
/* The stages of a tower's program, in order; the last is empty in inference. */
enum tower_stage { STAGE_AUGMENT, STAGE_FORWARD, STAGE_BACKWARD, STAGES };
enum {
    MARK_START,
    MARK_AUGMENTED,
    MARK_FORWARD,
    MARK_BACKWARD,
    MARK_EXCHANGED,
    MARK_UPDATED,
    MARKS
};
/* What a pass does: one shard's gradients; those of the last and the update; or inference. */
enum pass { PASS_SHARD, PASS_STEP, PASS_INFERENCE, PASS_KINDS };

/* The program of one tower, or of the head, in one mode. */
struct branch {
    struct program program;
    struct tape *tape;
    int stage_end[STAGES]; /* towers: index past each stage's last instruction */
};

/* The small arrays of a batch, which are copied together: pointers into one block. */
struct batch_meta {
    struct step_values *values;
    float *labels;                          /* (batch) */
    struct augment_draw *draws[TOWERS_MAX]; /* (batch) */
};

/* One batch in flight on the device. */
struct slot {
    void *pixels[TOWERS_MAX]; /* device (batch, window, window, 3) */
    void *meta_memory_device,
        *meta_memory_host; /* the host's is allocated by the backend, for its copies */
    struct batch_meta meta_device, meta_host;
    float *results; /* host (batch + 2): probabilities or logits, then loss and stop */
    double when_s[MARKS][TOWERS_MAX];
    double exchanged_s[2 * BUCKETS_MAX];      /* start and end of each bucket's exchange */
    struct model_result result;               /* set at submission */
    uint64_t done;                            /* fence ticket of queue 0 at the end of the pass */
    struct recording *recordings[PASS_KINDS]; /* the recorded pass, for replay */
    uint64_t recorded_version[PASS_KINDS];    /* pass_version() at the time of recording */
};

struct model {
    struct backend *backend;
    struct model_spec spec;
    struct parameters parameters;
    struct tower towers[TOWERS_MAX];
    struct head head;
    struct branch tower_branches[MODES][TOWERS_MAX], head_branches[MODES];
    struct exchange exchange;
    struct plan *update_plans[TOWERS_MAX], *average_plans[TOWERS_MAX];  /* one per region */
    float *features, *feature_gradient, *logits, *loss, *probabilities; /* device */
    struct slot slots[PASSES_MAX];
    int64_t submitted[MODES], collected[MODES]; /* passes */
    uint64_t trained_version; /* of the weights: incremented by every training pass and write */
    uint64_t folded_version;  /* version of the weights at the last model_refresh() */
    uint64_t eager_version[PASS_KINDS]; /* pass_version() of the last pass that was not recorded */
};

bool slots_init(struct model *model, struct error *err);
void slots_release(struct model *model);
size_t slots_bytes(const struct model *model);

/* The update of the average (average.c), behind the optimizer's. */
bool average_plan(struct model *model, struct error *err);
bool average_run(struct model *model, struct error *err);

#endif
