/* Tumour annotations: a mask (TIFF of any resolution, with its own levels, or PNG), or outlines
 * (ASAP XML, QuPath's GeoJSON, ImageScope's or HALO's XML).
 *
 * Both are queried in level-0 pixels of the slide. Pixel p of a mask that is m times smaller than
 * the slide covers level-0 px [p*m, (p+1)*m): mask and slide share the top left corner, and m is
 * what explains the mask's size (rounded, or padded to tiles), not the ratio of the sizes.
 *
 * What a name, or a mask's value, means says data.labels, which then must know each: outlines of
 * tumour unite, those of what is normal are cut out of them, those to ignore out of both, and no
 * window may touch these. Without it, ASAP's groups Tumor, _0 and _1 (and polygons without a group)
 * are tumour; _2, Exclusion and None are normal; in other formats all must have the one name Tumor
 * (or tumour, metastasis). Outlines are filled by the non-zero winding rule, as ASAP fills them; a
 * pixel counts as its centre.
 *
 * The whole annotation is read on opening, into runs of pixels, so damaged files are detected at
 * once. After that, any number of threads may query it. NULL is allowed everywhere and
 * means "no tumour". */
#ifndef MICROMET_SLIDE_ANNOTATION_H
#define MICROMET_SLIDE_ANNOTATION_H

#include "micromet/base/config.h"
#include "micromet/slide/slide.h"

struct annotation;

/* Level-0 px that a side of a mask's pixels may have. */
#define MASK_DOWNSAMPLE_MIN 0.01
#define MASK_DOWNSAMPLE_MAX 65536.0

/* What pixels may be, beside normal. */
enum annotation_layer { LAYER_TUMOR, LAYER_IGNORED, ANNOTATION_LAYERS };

/* Programs that draw outlines. */
enum outline_format {
    OUTLINES_ASAP,
    OUTLINES_GEOJSON,
    OUTLINES_IMAGESCOPE,
    OUTLINES_HALO,
};
extern const char *const outline_format_names[]; /* "ASAP XML", …; ends with NULL */

/* Open by content. *annotation is NULL if `path` is empty.
 *
 * A mask: a PNG, or any TIFF of whole numbers, or of one colour on black, tiled or striped; the
 * largest image of the file. data->mask_values says which values are tumour, or data->labels what
 * each means; without them tumour is the one value besides 0, and a mask of several is refused with
 * its histogram. data NULL: all values but 0, for looking at the mask. mask_downsample: how many
 * level-0 px a side of its pixels has; 0 = what explains its size. Missing tiles are 0; with a
 * palette, indices are the values. Refuses a mask whose scale is in doubt, turned by its tags, or
 * of colours.
 *
 * Outlines are refused if data.labels lacks a name (with data NULL, all but ASAP's holes are
 * tumour) or if all tumour lies outside the slide. Without data.labels, ASAP's unknown groups are
 * left out if others are tumour. Warns of what is left out: shapes without area, unknown groups,
 * tumour beyond the slide. */
bool annotation_open(struct annotation **annotation, const char *path, double mask_downsample,
                     const struct slide *slide, const struct config_data *data, struct error *err);
void annotation_release(struct annotation *annotation);

/* Call span() for every horizontal run of the layer's pixels at the mask's finest level (outlines:
 * of level-0 rows), given as a half-open level-0 rectangle, in ascending y, then x. */
bool annotation_scan(struct annotation *annotation, enum annotation_layer layer,
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

enum { ANNOTATION_VALUES_SHOWN = 8 };

struct annotation_facts {
    bool is_mask, labelled;               /* a mask; by data.labels rather than data.mask_values */
    const char *format;                   /* "mask TIFF", "GeoJSON", … */
    int64_t width, height;                /* px of the mask's finest level; outlines: of level 0 */
    double pixel_level0;                  /* level-0 px per side of one of them */
    int64_t tumor_pixels, ignored_pixels; /* on the slide */
    /* mask: its most frequent values, ascending, with their numbers of pixels */
    int values[ANNOTATION_VALUES_SHOWN];
    int64_t counts[ANNOTATION_VALUES_SHOWN];
    int value_count;   /* mask: number of distinct values, may exceed those shown */
    int polygon_count; /* outlines that mean something */
    char names[200];   /* of outlines: "'Tumor' (3), 'Stroma' (12)" */
};
bool annotation_describe(struct annotation *annotation, struct annotation_facts *facts,
                         struct error *err);

/* The mask's values as "0 (87.2 %), 255 (12.8 %)". */
enum { ANNOTATION_TEXT_MAX = 320 };
void annotation_say_values(const struct annotation_facts *facts, char text[ANNOTATION_TEXT_MAX]);
/* Why it marks no tumour, as the end of a sentence: "its annotation is empty (all zero)". */
void annotation_say_empty(const struct annotation *annotation, char text[ANNOTATION_TEXT_MAX]);

/* What looks wrong about how an annotation covers the tissue, or NULL. tumor_on_tissue: share of
 * the tumour that lies on tissue; tissue_in_tumor: share of the tissue that is tumour; NaN =
 * unknown. */
const char *annotation_doubt(double tumor_on_tissue, double tissue_in_tumor);

#endif
