/* Probabilities of many windows with a trained model, in the order given. */
#ifndef MICROMET_RUN_PREDICT_H
#define MICROMET_RUN_PREDICT_H

#include "micromet/data/dataset.h"
#include "micromet/nn/model.h"

struct loader_batch;

/* Predicts batches one behind the other, averaging the probabilities over `orientations` of each
 * window: 1, 4 (rotations) or 8 (and their mirrors).
 *
 * A batch is submitted and collected apart, in this order; up to PASSES_MAX may be under way, so
 * that the device never waits for the host. Its pixels must stay as they are until it is collected.
 * One thread at a time. */
struct predictor {
    struct model *model;
    int orientations;
    struct augment_draw *draws;             /* (batch) */
    float *probabilities;                   /* (batch) */
    double *sums;                           /* (batch) */
    struct loader_batch *slots[PASSES_MAX]; /* batch b is in slots[b % PASSES_MAX] */
    int64_t batches;                        /* submitted */
    int64_t submitted, collected;           /* passes */
};
bool predictor_init(struct predictor *predictor, struct model *model, int orientations,
                    struct error *err);
void predictor_release(struct predictor *predictor);
bool predictor_submit(struct predictor *predictor, struct loader_batch *batch, struct error *err);
/* Wait for the oldest batch under way; its probabilities, (count), are good until the next call. */
bool predictor_collect(struct predictor *predictor, struct loader_batch **batch,
                       const float **probabilities, struct error *err);
int predictor_under_way(const struct predictor *predictor); /* batches */
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
