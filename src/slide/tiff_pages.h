/* The pages (TIFF directories) that OpenSlide takes for the levels of a slide, and what their tags
 * say: which of them OpenSlide reads right, which are left to libtiff, and which nobody reads. */
#ifndef SLIDE_TIFF_PAGES_H
#define SLIDE_TIFF_PAGES_H

#include "micromet/slide/slide.h"

struct tiff_page {
    int directory; /* counted from 0, as libtiff's tools do */
    int64_t width, height;
    int64_t tile_width, tile_height;
    int64_t tiles_across, tiles_down;
    bool deep;           /* samples of 16 bits */
    bool by_libtiff;     /* OpenSlide would misread it: tiff_level.h reads it */
    bool for_libtiff;    /* libtiff can read it */
    int64_t missing;     /* tiles without data */
    uint8_t *is_missing; /* (tiles_down, tiles_across); NULL if all have data */
};

struct tiff_pages {
    int count;
    /* The pages are the levels as they are, so that any of them can be read by libtiff; in other
     * formats OpenSlide composes the levels of them. */
    bool plain;
    struct tiff_page pages[SLIDE_LEVELS_MAX]; /* in OpenSlide's order of levels */
    char remark[400]; /* why there is one level only, if other pages look like some */
};

/* Read the pages of a slide of OpenSlide's `vendor`; none if its files are no TIFFs, or if
 * OpenSlide composes its levels of several pages. Refuses a page whose tags say that neither
 * OpenSlide nor libtiff would give its pixels as they are meant, naming the tag and what to do, and
 * pages that do not become smaller from one to the next in both directions together. Refuses
 * colours that are stored as separate gray images, too. */
bool tiff_pages_read(struct tiff_pages *pages, const char *path, const char *vendor,
                     struct error *err);
void tiff_pages_release(struct tiff_pages *pages);

#endif
