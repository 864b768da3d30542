/* Makes sure that the levels of a TIFF are what they pass for: shrunken copies of level 0, at a
 * known scale. */
#ifndef SLIDE_SLIDE_LEVELS_H
#define SLIDE_SLIDE_LEVELS_H

#include "micromet/slide/slide.h"
#include "tiff_pages.h"

/* Settle which levels are read by libtiff, the true downsample of each, and which of them have
 * holes. Pages after the last level that look like something else are left out, with a remark; one
 * before it is refused, and so is a level that is shrunk by different factors across and down. */
bool slide_settle_levels(struct slide *slide, const struct tiff_pages *pages, struct error *err);

/* --- slide_likeness.c: what the levels look like ---------------------------------------------- */

enum { SPOTS_MAX = 12, SPOT_SIDE_MAX = 1024 };

/* A few places of a slide where a level is compared with another: shares of width and height. */
struct spots {
    int count;
    double x[SPOTS_MAX], y[SPOTS_MAX];
};

/* The slide as it is being settled. */
struct levels_view {
    struct slide *slide;
    const struct tiff_pages *pages;
    struct slide_cache *cache;
    struct spots spots;
};

struct likeness {
    bool told;         /* whether there was anything to compare but background */
    bool alike;        /* if told */
    double difference; /* mean squared difference of coarse cells */
};

/* Choose the spots: where the finest level that is read at small cost differs most from its
 * background, and some that are spread evenly. */
bool levels_view_choose_spots(struct levels_view *view, struct error *err);

/* Compare the coarse content of `level`, if one of its px has scale_x × scale_y level-0 px, with
 * that of `reference`, a finer level that is settled. Places that cannot be read are passed by. */
bool levels_view_compare(const struct levels_view *view, int reference, int level, double scale_x,
                         double scale_y, struct likeness *likeness, struct error *err);

/* The largest value of a sample at the spots of level 0; 0 if none can be read. */
bool levels_view_brightest(const struct levels_view *view, int *brightest, struct error *err);

#endif
