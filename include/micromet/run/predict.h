/* Probabilities of many windows with a trained model, in the order given. */
#ifndef MICROMET_RUN_PREDICT_H
#define MICROMET_RUN_PREDICT_H

#include "micromet/data/dataset.h"
#include "micromet/nn/model.h"

struct loader_batch;
struct world;
struct loader_source;

/* Receives the probabilities, (batch->count), of a finished batch; they are valid
 * during the call. */
typedef void (*predictor_sink)(void *context, struct loader_batch *batch,
                               const float *probabilities);

/* Predicts batches in sequence. The probabilities are averaged over `orientations` of each window:
 * 1, 4 (rotations) or 8 (rotations and their mirror images), one pass over the batch per
 * orientation. Up to PASSES_MAX passes are in flight, so that the device never waits for the host.
 * Not thread-safe. */
struct predictor {
    struct model *model;
    int orientations;
    predictor_sink sink;
    void *context;              /* passed to the sink */
    struct augment_draw *draws; /* (batch) */
    float *probabilities;       /* (batch) */
    double *sums;               /* (batch): over the oldest batch's collected passes */
    int summed;                 /* number of these passes */
    int under_way;              /* batches submitted but not yet passed to the sink */
};
bool predictor_init(struct predictor *predictor, struct model *model, int orientations,
                    struct error *err);
void predictor_release(struct predictor *predictor);
/* Set where the probabilities go. Call before the first batch, with nothing in flight. */
void predictor_begin(struct predictor *predictor, predictor_sink sink, void *context);
/* Submit all passes of a batch. Finished batches go to the sink in order of submission, during this
 * call or predictor_finish(); when this returns, fewer than PASSES_MAX batches are in flight. The
 * batch must not change until the sink has received it. */
bool predictor_submit(struct predictor *predictor, struct loader_batch *batch, struct error *err);
/* Wait for all batches in flight. */
bool predictor_finish(struct predictor *predictor, struct error *err);
/* Discard the batches in flight, once the device has finished with them. After an error, only this
 * and predictor_release() may be called. */
void predictor_abandon(struct predictor *predictor);

/* All windows of a dataset, slide by slide. Arrays are malloc'ed, (count). */
struct predictions {
    float *probabilities;
    uint8_t *labels;
    int64_t count;
    double loss; /* mean binary cross entropy */
};
struct predict_options {
    int orientations;  /* 1, 4 or 8 */
    int threads;       /* readers */
    int ring;          /* loader slots, at least PASSES_MAX */
    const char *title; /* of the progress; NULL = none */
    /* The ranks that share the windows; all of them call this, and get all predictions. NULL = only
     * this process. */
    struct world *world;
};
bool predict_dataset(struct model *model, const struct dataset *dataset,
                     const struct predict_options *options, struct predictions *predictions,
                     struct error *err);
/* The same with pixels from another source than the dataset's own. */
bool predict_source(struct model *model, const struct dataset *dataset,
                    const struct loader_source *source, const struct predict_options *options,
                    struct predictions *predictions, struct error *err);
void predictions_release(struct predictions *predictions);

/* Allocate slots for a loader, in memory from which the backend can copy. */
bool batch_slots_init(struct backend *backend, int towers, int window, int batch, int slots,
                      struct loader_batch **out, struct error *err);
void batch_slots_release(struct backend *backend, struct loader_batch *slots, int count,
                         int towers);

#endif
