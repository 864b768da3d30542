/* The windows of one split of the manifest, from packs or straight from the slides: same windows,
 * same order. */
#ifndef MICROMET_DATA_DATASET_H
#define MICROMET_DATA_DATASET_H

#include "micromet/base/config.h"
#include "micromet/slide/pack.h"

struct dataset_slide {
    struct manifest_row row;
    struct pack pack;             /* data.source: packs */
    struct slide slide;           /* data.source: slides */
    struct window_list list;      /* data.source: slides */
    const struct window *windows; /* (count), whichever source */
    int64_t count, tumor_count;
    const char *slide_hash; /* of its content; see slide.h */
    double downsamples[TOWERS_MAX];
    double mpp_x, mpp_y;
};

struct dataset {
    struct config_data data;
    struct dataset_slide *slides; /* in the manifest's order */
    int slide_count;
    int64_t count, tumor_count;
};

/* Open every slide of `split`. Slides that fail are reported with log_warning and counted in *bad.
 * Fails when none is left, and when a pack is missing, damaged or made with other parameters ("run
 * `micromet prepare`"). Packs are compared by what the manifest and the configuration say; whether
 * the slide's file changed since is prepare's business, so training from packs needs no slides.
 * Pixels are checked when they are read. */
bool dataset_init(struct dataset *dataset, const struct config *config,
                  const struct manifest *manifest, enum split split, int *bad, struct error *err);
void dataset_release(struct dataset *dataset);

/* One thread's access to the pixels (keeps a block cache for the slides it reads, at most
 * cache_bytes in all). */
struct dataset_reader;
bool dataset_reader_init(struct dataset_reader **reader, const struct dataset *dataset,
                         size_t cache_bytes, struct error *err);
void dataset_reader_release(struct dataset_reader *reader);
/* What is kept in memory once all of two datasets has been read, by readers with cache_bytes in all
 * for one of them at a time and by OpenSlide; nothing of packs. */
size_t dataset_cached_bytes(const struct dataset *a, const struct dataset *b, size_t cache_bytes);
/* pixels[tower]: window*window*3 bytes each. */
bool dataset_read(struct dataset_reader *reader, int slide, int64_t window,
                  uint8_t *const pixels[TOWERS_MAX], struct error *err);

#endif
