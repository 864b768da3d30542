/* The content of a synthetic slide, as pure functions of (options, x, y): where tissue ends, which
 * regions lie in it and how it is stained. Tiles are drawn from these, in any order. */
#ifndef MICROMET_SYNTH_SYNTH_SCENE_H
#define MICROMET_SYNTH_SYNTH_SCENE_H

#include "micromet/synth/synth.h"

enum {
    SYNTH_ISLANDS_MAX = 4,
    SYNTH_DECOYS = 2, /* of each kind */
    SYNTH_REGIONS_MAX = SYNTH_TUMORS_MAX + 2 * SYNTH_DECOYS,
    SYNTH_PEN_POINTS = 40,
    SYNTH_FADE = 160,            /* px outside the tissue over which background noise fades out */
    SYNTH_CONCENTRATIONS = 1024, /* steps of stain concentration, 256 per unit */
    SYNTH_GRAIN = 512,           /* side of the periodic grain, px */
};

struct synth_island {
    double x, y, radius; /* level-0 px */
    double stretch;      /* mean radius / shorter radius */
    double cosine, sine; /* of the longer axis */
    uint64_t salt;
};

/* Tumour has large nuclei arranged in nests. Each kind of decoy shares one of the two. */
enum synth_region_kind { SYNTH_TUMOR, SYNTH_LARGE_CELLS, SYNTH_SMALL_NESTS };
struct synth_region {
    enum synth_region_kind kind;
    double x, y, radius;
    uint64_t salt;
};

struct synth_scene {
    uint64_t seed;
    double width, height;
    int island_count, region_count, pen_count /* points */;
    struct synth_island islands[SYNTH_ISLANDS_MAX];
    double edge; /* tissue is where the islands' field exceeds this */
    struct synth_region regions[SYNTH_REGIONS_MAX];
    double pen[SYNTH_PEN_POINTS][2], pen_width; /* points of the stroke; half its width, px */
    double fold[3], fold_width;                 /* line a*x + b*y = c; width 0 = none */
    uint8_t background[3];
    float ink[3];                                  /* transmission of the pen's ink */
    uint32_t hematoxylin[3][SYNTH_CONCENTRATIONS]; /* transmission, 16 bit */
    uint32_t eosin[3][SYNTH_CONCENTRATIONS];       /* transmission times background, 14 bit */
    int8_t fine[SYNTH_GRAIN][SYNTH_GRAIN], coarse[SYNTH_GRAIN][SYNTH_GRAIN];
};

void synth_scene_init(struct synth_scene *scene, const struct synth_options *options);

/* Hash of three numbers to 64 bits (the finaliser of splitmix64, Steele et al. 2014). */
uint64_t synth_hash(uint64_t seed, int64_t x, int64_t y);
/* Next number of a sequence, in [0, 1). */
float synth_unit(uint64_t *state);
/* Smooth noise in [-1, 1] with features of about one unit (value noise, Perlin's cubic fade). */
float synth_noise(uint64_t seed, double x, double y);

/* Approximate distance in px of (x, y) inside the tissue, or inside the regions of a
 * kind; < 0 outside. */
float synth_tissue(const struct synth_scene *scene, double x, double y);
float synth_region(const struct synth_scene *scene, enum synth_region_kind kind, double x,
                   double y);
/* Distance in px inside the pen stroke; < 0 outside. */
float synth_pen(const struct synth_scene *scene, double x, double y);

/* synth_blank: the half-open rectangle is certain to hold only background. synth_no_tumor: it is
 * certain to hold no tumour. */
bool synth_blank(const struct synth_scene *scene, double x0, double y0, double x1, double y1);
bool synth_no_tumor(const struct synth_scene *scene, double x0, double y0, double x1, double y1);

/* Whether this level-0 pixel is tumour, exactly as in the mask. */
bool synth_is_tumor(const struct synth_scene *scene, int64_t x, int64_t y);

/* Scratch memory for drawing tiles in one thread. */
struct synth_canvas;
struct synth_canvas *synth_canvas_new(int tile); /* NULL: out of memory */
void synth_canvas_free(struct synth_canvas *canvas);

/* Draw the tile whose top left pixel is (x, y), a multiple of the tile's side. */
void synth_draw(const struct synth_scene *scene, struct synth_canvas *canvas, int64_t x, int64_t y,
                uint8_t *rgb /* (tile, tile, 3) */);
void synth_draw_mask(const struct synth_scene *scene, struct synth_canvas *canvas, int64_t x,
                     int64_t y, uint8_t *mask /* (tile, tile) */);

#endif
