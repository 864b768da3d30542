/* Synthetic slides for the demo and the tests: pyramidal tiled JPEG TIFFs that OpenSlide reads, and
 * their tumour masks, also TIFFs.
 *
 * A slide shows H&E-like islands of tissue with nuclei, holes of fat and pen marks on a bright
 * background. Tumour differs from normal tissue both in its nuclei (visible at the fine level) and
 * in their arrangement (visible at the coarse level). Decoy regions share only one of the two, so a
 * classifier needs both magnifications. Every pixel is a pure function of (options, x, y). */
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
    int threads; /* 0 = all processors; the bytes do not depend on it */
    /* NULL, or counts the level-0 tiles written, of slide and mask */
    struct progress *progress;
};
/* Initialisers: struct synth_options options = { SYNTH_DEFAULTS }; */
#define SYNTH_DEFAULTS                                                                             \
    .width = 4096, .height = 4096, .levels = 5, .tile = 256, .quality = 80, .tissue = 0.5,         \
    .tumors = 2, .mpp = 0.5, .seed = 1

/* Check that all options are in range. Errors carry EXIT_CODE_USAGE. synth_write()
 * checks them too. */
bool synth_check(const struct synth_options *options, struct error *err);

/* Number of level-0 tiles of one file. `progress` counts them once for the slide and
 * once for the mask. */
int64_t synth_tile_count(const struct synth_options *options);

/* Write the slide to `path` (TIFF) and, unless mask_path is NULL, its mask (0/255, deflate, tiled,
 * same levels). The same options give the same bytes. Memory grows with the slide only by about 30
 * bytes a level-0 tile; time grows with the tissue. */
bool synth_write(const struct synth_options *options, const char *path, const char *mask_path,
                 struct error *err);

#endif
