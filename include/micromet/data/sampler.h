/* The order of windows in an epoch, a pure function of (seed, epoch). */
#ifndef MICROMET_DATA_SAMPLER_H
#define MICROMET_DATA_SAMPLER_H

#include "micromet/base/config.h"

/* One training or evaluation example. */
struct sample {
    int32_t slide;  /* index into the dataset's slides */
    int32_t window; /* index into that slide's windows */
};

struct dataset;

/* The examples of one epoch.
 *
 * class_then_slide: sample k draws its class with p = 1/2, then uniformly a slide that has this
 * class, then one of its windows of this class, all from Philox (seed, epoch, k). If a class is
 * absent, the other is taken.
 *
 * shuffle: a Fisher-Yates permutation of all windows by (seed, epoch), cut or
 * repeated to examples_per_epoch. */
struct sampler {
    const struct dataset *dataset;
    enum sampling method;
    uint64_t seed;
    int64_t examples_per_epoch;
    uint32_t epoch;
    struct sample *order; /* (examples_per_epoch) for `epoch` */
    /* index of the windows by slide and class, built once */
    int32_t *by_class; /* (windows), ordered by slide, label, window */
    /* (slides*2 + 1): (slide, label) starts in by_class at class_start[2*slide + label] */
    int64_t *class_start;
    int32_t *class_slides[2]; /* slides that have windows of this label */
    int class_slide_count[2];
};

/* examples_per_epoch: 0 = the number of windows. Fails if the dataset has no windows. Computes the
 * order of epoch 0. The dataset must outlive the sampler. */
bool sampler_init(struct sampler *sampler, const struct dataset *dataset, enum sampling method,
                  uint64_t seed, int64_t examples_per_epoch, struct error *err);
void sampler_release(struct sampler *sampler);
/* Compute the order of `epoch`. */
void sampler_start_epoch(struct sampler *sampler, uint32_t epoch);

#endif
