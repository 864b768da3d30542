/* The windows of one split of the manifest, read from packs or directly from the slides. Both
 * sources give the same windows in the same order. */
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
    const char *slide_hash; /* OpenSlide's; see slide.h */
    struct file_identity identity;
    double downsamples[TOWERS_MAX];
    double mpp[2]; /* x, y */
};

struct dataset {
    struct config_data data;
    struct dataset_slide *slides; /* in the manifest's order */
    int slide_count;
    int64_t count, tumor_count;
};

/* Open every slide of `split`. Slides that cannot be opened are reported with log_warning and
 * counted in *bad. Fails if none is left, or if a pack is missing, damaged or made with other
 * parameters ("run `micromet prepare`"). Packs are compared with the manifest and the configuration
 * only, so training from packs does not need the slides; whether those that are there have changed
 * is for survey.h to find out. Pixels are checked when they are read. */
bool dataset_init(struct dataset *dataset, const struct config *config,
                  const struct manifest *manifest, enum split split, int *bad, struct error *err);
void dataset_release(struct dataset *dataset);

/* Access to the pixels for one thread. When reading from slides it keeps a cache of decoded blocks,
 * at most cache_bytes in all. */
struct dataset_reader;
bool dataset_reader_init(struct dataset_reader **reader, const struct dataset *dataset,
                         size_t cache_bytes, struct error *err);
void dataset_reader_release(struct dataset_reader *reader);
/* What caches hold once all windows of both datasets have been read: the readers' blocks, at most
 * cache_bytes in all and for one dataset at a time, and OpenSlide's own tiles. Packs
 * are not cached. */
size_t dataset_cached_bytes(const struct dataset *a, const struct dataset *b, size_t cache_bytes);
/* pixels[tower]: window*window*3 bytes each. */
bool dataset_read(struct dataset_reader *reader, int slide, int64_t window,
                  uint8_t *const pixels[TOWERS_MAX], struct error *err);

#endif
