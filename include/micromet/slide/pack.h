/* A pack: the selected windows of one slide and their pixels in one file; making and reading it.
 *
 * Layout (little endian): struct pack_header, zeros up to 4096 bytes; the table: count × struct
 * window, count × towers XXH3-64 of the pixels of each window and tower, zeros up to a multiple of
 * 4096; then count × towers × window*window*3 bytes RGB, window after window, towers finest first.
 * The header holds the XXH3-128 of the table and ends with its own XXH3-64. Header and table are
 * checked when a pack is opened, pixels whenever they are read. */
#ifndef MICROMET_SLIDE_PACK_H
#define MICROMET_SLIDE_PACK_H

#include "micromet/base/config.h"
#include "micromet/slide/grid.h"
#include "micromet/slide/identity.h"
#include "micromet/slide/look.h"
#include "micromet/slide/manifest.h"
#include "micromet/slide/select.h"

enum { PACK_VERSION = 4, PACK_HEADER_BYTES = 4096, PACK_WINDOW_MAX = 4096 };

extern const char pack_magic[8]; /* the first bytes of every pack */
/* Whether the file begins with them; false too if it cannot be read. */
bool pack_is_at(const char *path);

struct pack_header {
    char magic[8]; /* pack_magic */
    uint32_t version, header_bytes;
    /* identity of the slide and annotation */
    char slide_name[256]; /* file name without folder */
    char slide_hash[80];  /* slide->quickhash */
    uint64_t reserved1;
    char annotation_name[256];
    uint64_t labels_hash; /* a parameter: of data.labels, 0 = not said */
    double mpp_x, mpp_y;  /* as they held when the pack was made; scale.h says what holds */
    double downsamples[TOWERS_MAX];
    /* every parameter that shapes the windows, as configured */
    int32_t tower_count, levels[TOWERS_MAX]; /* -1: by µm/px, mpp_x * downsamples[tower] */
    int32_t window, center, stride;
    int64_t origin_x, origin_y; /* -1 = default */
    uint64_t um_per_px_hash;    /* and of data.shrink_from; 0 = data.levels hold */
    double tissue_threshold, min_normal, normals_per_tumor;
    int64_t max_tumor, max_normal;
    uint64_t seed;
    int32_t tissue_method;
    int32_t label; /* of the slide in the manifest */
    /* contents */
    int64_t grid_columns, grid_rows;
    int64_t grid_x_level0, grid_y_level0; /* centre of column 0, row 0 */
    int64_t tissue_windows;               /* normal windows with enough tissue, kept or not */
    int64_t count, tumor_count;
    int32_t gray_max;          /* the tissue rule; see tissue.h */
    uint32_t mask_values_hash; /* a parameter: of data.mask_values, 0 = not said */
    uint64_t table_hash[2];    /* low, high */
    /* since version 3; all above is where version 2 had it, for programs that read packs */
    struct file_identity slide, annotation;
    uint64_t picture_hash;    /* identity_of_picture() */
    double mpp_own[2];        /* x, y: as the slide says; 0 = it does not */
    uint8_t look[LOOK_CELLS]; /* since version 4: look_of_slide() */
    double mask_downsample;   /* a parameter; 0 = not said */
    uint64_t header_hash;     /* XXH3-64 of all bytes before it; identifies the whole content */
};

/* An open pack, mapped read-only. */
struct pack {
    char path[PATH_MAX_BYTES];
    struct pack_header header;
    const struct window *windows; /* (count) */
    const uint64_t *hashes;       /* (count, towers) of the pixels */
    const uint8_t *pixels;        /* (count, towers, window, window, 3) */
    void *map;
    size_t map_bytes;
    int file; /* -1 when closed */
};
/* Open and check sizes, header and table; `verify` also reads and checks all pixels. */
bool pack_open(struct pack *pack, const char *path, bool verify, struct error *err);
/* Read all pixels of an open pack and check them. */
bool pack_verify(const struct pack *pack, struct error *err);
void pack_release(struct pack *pack);
/* Pixels of one window for one tower, in the mapping and unchecked: (window, window, 3). */
const uint8_t *pack_pixels(const struct pack *pack, int64_t index, int tower);
/* Read them from the file into `pixels` and check them. Unlike access through the mapping, this
 * does not keep the file resident while training reads all of it, a failing file server gives an
 * error instead of a signal, and a flipped bit is detected. */
bool pack_read(const struct pack *pack, int64_t index, int tower, uint8_t *pixels,
               struct error *err);

/* Offset of the first pixel, behind the table, and size of one window's pixels for
 * all towers; bytes. */
uint64_t pack_pixels_offset(const struct pack_header *header);
uint64_t pack_window_bytes(const struct pack_header *header);

/* Fill in identity and parameters as pack_build() would. If slide is NULL, only what the manifest
 * and the configuration determine; slide_hash stays empty. */
bool pack_header_expected(const struct manifest_row *row, const struct config *config,
                          const struct slide *slide, struct pack_header *header, struct error *err);
/* The name of the first parameter that differs between two headers ("data.stride"), or NULL. Facts
 * of the slide and annotation files are compared only if `want` was filled in with a slide, and of
 * these never the times of the files. */
const char *pack_difference(const struct pack_header *have, const struct pack_header *want);

/* Whether a pack's windows have the scale that the manifest and the configuration now give the
 * slide. What slides are told later changes pixels only where data.um_per_px is. */
bool pack_scale_holds(const struct pack_header *header, const struct manifest_row *row,
                      const struct config_data *data);

/* <data.pack>/<slide stem>.pack */
bool pack_path(char path[PATH_MAX_BYTES], const struct manifest_row *row,
               const struct config *config, struct error *err);

struct pack_state {
    bool current;              /* the pack on disk is the one that pack_build() would make */
    bool doubtful;             /* if so: but see identity_doubtful() */
    char reason[512];          /* if not: what is another or wrong; empty if there is no pack */
    struct pack_header header; /* the pack's if current, else the expected one */
    int64_t grid_windows;      /* number of candidate windows */
};
/* What prepare has to do for a row. Opens the slide. */
bool pack_current(const struct manifest_row *row, const struct config *config,
                  struct pack_state *state, struct error *err);

/* Make the pack and replace an existing one; options->sink is not used. The bytes do not depend on
 * the number of threads. */
bool pack_build(const struct manifest_row *row, const struct config *config,
                const struct select_options *options, struct pack_header *header,
                struct error *err);

#endif
