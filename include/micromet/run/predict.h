/* Probabilities of many windows with a trained model, in the order given. */
#ifndef MICROMET_RUN_PREDICT_H
#define MICROMET_RUN_PREDICT_H

#include "micromet/data/dataset.h"
#include "micromet/nn/model.h"

struct loader_batch;

/* Takes the probabilities, (batch->count), of a batch that is done. They are good
 * until it returns. */
typedef void (*predictor_sink)(void *context, struct loader_batch *batch,
                               const float *probabilities);

/* Predicts batches one behind the other, averaging the probabilities over `orientations` of
 * each window: 1, 4 (rotations) or 8 (and their mirrors). One pass over the batch an
 * orientation; up to PASSES_MAX passes are under way, so that the device never waits for the
 * host. One thread at a time. */
struct predictor {
    struct model *model;
    int orientations;
    predictor_sink sink;
    void *context;              /* of the sink */
    struct augment_draw *draws; /* (batch) */
    float *probabilities;       /* (batch) */
    double *sums;               /* (batch): over the oldest batch's passes so far */
    int summed;                 /* how many passes these are */
    int under_way;              /* batches submitted that the sink has not been given */
};
bool predictor_init(struct predictor *predictor, struct model *model, int orientations,
                    struct error *err);
void predictor_release(struct predictor *predictor);
/* Before the first batch: where the probabilities go. Nothing may be under way. */
void predictor_begin(struct predictor *predictor, predictor_sink sink, void *context);
/* Submit all passes of a batch. Batches go to the sink in the order of their submission, during
 * this call and predictor_finish(); behind it fewer than PASSES_MAX are under way. The batch must
 * stay as it is until the sink is given it. */
bool predictor_submit(struct predictor *predictor, struct loader_batch *batch, struct error *err);
/* Wait for all batches under way. */
bool predictor_finish(struct predictor *predictor, struct error *err);
/* Forget the batches under way, once the device has left them: all that may follow an error. */
void predictor_abandon(struct predictor *predictor);

/* All windows of a dataset, slide after slide. Arrays malloc'ed, (dataset->count). */
struct predictions {
    float *probabilities;
    uint8_t *labels;
    int64_t count;
    double loss; /* mean binary cross entropy */
};
/* ring: slots of the loader, at least PASSES_MAX. */
bool predict_dataset(struct model *model, const struct dataset *dataset, int orientations,
                     int threads, int ring, const char *title, struct predictions *predictions,
                     struct error *err);
void predictions_release(struct predictions *predictions);

/* Slots for a loader, in memory that the backend can copy from. */
bool batch_slots_init(struct backend *backend, int towers, int window, int batch, int slots,
                      struct loader_batch **out, struct error *err);
void batch_slots_release(struct backend *backend, struct loader_batch *slots, int count,
                         int towers);

#endif
