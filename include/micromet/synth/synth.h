/* Synthetic slides for the demo and the tests: pyramidal tiled JPEG TIFFs that OpenSlide opens,
 * with mask TIFFs.
 *
 * H&E-like tissue islands with nuclei on a bright background, pen marks, fat holes; tumour regions
 * differ in nuclear texture at the fine level AND in arrangement at the coarse level, with decoys
 * that share only one of the two, so that both magnifications together tell them apart. Every pixel
 * is a pure function of (options, x, y). */
#ifndef MICROMET_SYNTH_SYNTH_H
#define MICROMET_SYNTH_SYNTH_H

#include "micromet/base/error.h"
#include "micromet/base/file.h"
#include "micromet/base/log.h"

enum { SYNTH_TUMORS_MAX = 64 };

struct synth_options {
    int64_t width, height; /* level-0 px */
    int levels;            /* pyramid levels, each half of the one before (rounded up) */
    int tile;              /* px, multiple of 16, 64..512 */
    int quality;           /* JPEG 1..100 */
    double tissue;         /* share of the slide that islands should cover, 0..1; small = sparse */
    int tumors;            /* planted regions, at most SYNTH_TUMORS_MAX; 0 = normal slide */
    double mpp;            /* µm/px written into the file; 0 = none */
    uint64_t seed;
    int threads;               /* 0 = all processors; the bytes do not depend on it */
    struct progress *progress; /* NULL, or told of every level-0 tile written, slide and mask */
};
/* Initialisers: struct synth_options options = { SYNTH_DEFAULTS }; */
#define SYNTH_DEFAULTS                                                                             \
    .width = 4096, .height = 4096, .levels = 5, .tile = 256, .quality = 80, .tissue = 0.5,         \
    .tumors = 2, .mpp = 0.5, .seed = 1

/* Are all options in range? Errors carry EXIT_CODE_USAGE. synth_write() checks them too. */
bool synth_check(const struct synth_options *options, struct error *err);

/* Level-0 tiles of one file: what `progress` counts, once for the slide and once for its mask. */
int64_t synth_tile_count(const struct synth_options *options);

/* Write `path` (TIFF) and, when mask_path is not NULL, its mask (0/255, deflate, tiled, same
 * levels). The same options give the same bytes. Memory does not grow with the slide but for 12
 * bytes a tile; time grows with the tissue. */
bool synth_write(const struct synth_options *options, const char *path, const char *mask_path,
                 struct error *err);

#endif
