/* Tumour annotations: a mask TIFF (0/1 or 0/255, any resolution, with its own levels) or
 * an ASAP XML file.
 *
 * Both are queried in level-0 pixels of the slide. Pixel p of a mask that is m times smaller than
 * the slide covers level-0 px [p*m, (p+1)*m). In ASAP files the groups Tumor, _0 and _1 (and
 * polygons without a group) are tumour; _2, Exclusion and None are holes. Polygons are filled by
 * the even-odd rule; a pixel counts as its centre.
 *
 * The whole annotation is read on opening, into runs of pixels, so damaged files are detected at
 * once. After that, any number of threads may query it. NULL is allowed everywhere and
 * means "no tumour". */
#ifndef MICROMET_SLIDE_ANNOTATION_H
#define MICROMET_SLIDE_ANNOTATION_H

#include "micromet/slide/slide.h"

struct annotation;

/* Open by file extension (.xml: ASAP, otherwise a mask). Refuses a mask whose aspect ratio differs
 * from the slide's by more than 1 % (and one mask pixel), and an ASAP file with polygons of which
 * none is in a tumour group. Shapes without area and unknown groups are skipped with a warning.
 * *annotation is NULL if `path` is empty.
 *
 * Masks are TIFFs of 1, 8 or 16 bits, tiled or striped; the first sample of the
 * largest image is used. */
bool annotation_open(struct annotation **annotation, const char *path, const struct slide *slide,
                     struct error *err);
void annotation_release(struct annotation *annotation);

/* Call span() for every horizontal run of tumour pixels at the mask's finest level (XML: of level-0
 * rows), given as a half-open level-0 rectangle, in ascending y, then x. */
bool annotation_scan(struct annotation *annotation,
                     void (*span)(void *context, double x0_level0, double y0_level0,
                                  double x1_level0, double y1_level0),
                     void *context, struct error *err);

/* Whether there is any tumour pixel inside the half-open level-0 rectangle. */
bool annotation_any(struct annotation *annotation, double x0_level0, double y0_level0,
                    double x1_level0, double y1_level0, bool *any, struct error *err);

/* Draw the whole slide at width×height px: each pixel's share of tumour by area, 0..255, rounded,
 * but at least 1 where there is any. For pictures and checks. */
bool annotation_draw(struct annotation *annotation, int width, int height, uint8_t *share,
                     struct error *err);

struct annotation_facts {
    bool is_mask;
    int64_t width, height; /* px of the mask's finest level; XML: of level 0 */
    int64_t tumor_pixels;  /* out of width × height */
    uint8_t values[8];     /* mask: the first eight distinct values, ascending */
    int value_count;       /* mask: number of distinct values, may exceed 8 */
    int polygon_count;
};
bool annotation_describe(struct annotation *annotation, struct annotation_facts *facts,
                         struct error *err);

#endif
