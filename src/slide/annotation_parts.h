/* Internals of annotations: rows of runs, and the readers that fill them. */
#ifndef SLIDE_ANNOTATION_PARTS_H
#define SLIDE_ANNOTATION_PARTS_H

#include <stdint.h>

#include "micromet/slide/annotation.h"

/* annotation_kind.c: what an annotation's first bytes say that it is. */
enum annotation_kind { ANNOTATION_MASK_TIFF, ANNOTATION_XML };
/* Refuses all else by its name, and says what to do with it. */
bool annotation_sniff(const char *path, enum annotation_kind *kind, struct error *err);

/* Tumour pixels [start, end) of one row. */
struct run {
    int32_t start, end;
};

/* A run-length encoded bitmap: ascending, separate runs per row. */
struct run_row {
    struct run *runs;
    int32_t count, capacity;
};
struct run_rows {
    const char *path; /* for error messages */
    int32_t width, height;
    struct run_row *rows;
    int64_t run_count;
};
bool run_rows_init(struct run_rows *rows, const char *path, int64_t width, int64_t height,
                   struct error *err);
void run_rows_release(struct run_rows *rows);
/* Append [start, end) to `row`, after its last run; adjacent runs are merged. */
bool run_rows_append(struct run_rows *rows, int64_t row, int64_t start, int64_t end,
                     struct error *err);
int64_t run_rows_pixels(const struct run_rows *rows);

/* mask_tiff.c: masks that libtiff reads. */
struct mask_form {
    int64_t width, height;           /* px */
    int64_t tile_width, tile_height; /* px; 0 = strips */
    double mpp;                      /* µm per px by its resolution tags; 0 = they do not say */
    const char *lossy;               /* a compression that changes values, or NULL */
};
struct mask_tiff;
bool mask_tiff_open(struct mask_tiff **mask, const char *path, struct error *err);
void mask_tiff_release(struct mask_tiff *mask);
const struct mask_form *mask_tiff_form(const struct mask_tiff *mask);

enum { MASK_VALUES = 1 << 16 };
struct mask_census {
    /* Which values are tumour; if `first_is_tumor`, the first but 0 that is met becomes it. */
    bool tumor[MASK_VALUES], first_is_tumor;
    int64_t counts[MASK_VALUES];   /* pixels by value; missing tiles count as 0 */
    int64_t outside;               /* tumour pixels right of `rows` or below them */
    int64_t parts, missing, empty; /* tiles or strips: all, not stored, and stored though all 0 */
};
/* Append the runs of tumour pixels to `rows`, which may be smaller than the mask, and count. */
bool mask_tiff_read(struct mask_tiff *mask, struct run_rows *rows, struct mask_census *census,
                    struct error *err);

/* mask_values.c: which values are tumour. */
void mask_values_choose(struct mask_census *census, const struct config_data *data);
/* Once the mask is read: note its values, refuse those that leave tumour in doubt, and warn.
 * facts: with the size and the tumour pixels. */
bool mask_values_check(const struct mask_census *census, const struct mask_form *form,
                       const struct config_data *data, const char *path,
                       struct annotation_facts *facts, struct error *err);

/* mask_scale.c: how many level-0 px a side of the mask's pixels has; `told` is what the user says,
 * 0 = nothing. The mask's corner is the slide's. Refuses a mask that does not fit, and one that
 * fits in several ways. */
bool mask_scale(double *pixel_level0, double told, const struct mask_form *form,
                const struct slide *slide, const char *path, struct error *err);

/* asap_xml.c: the outlines of an ASAP file. */
struct polygon {
    int64_t first; /* index of the first point */
    int64_t count;
    char name[40]; /* for messages, without control characters */
    bool hole;
    bool drawn; /* set by polygon_set_fill(): covers a pixel of the slide */
};
struct point {
    double x, y; /* level-0 px */
};
struct polygon_set {
    struct point *points;
    struct polygon *polygons;
    int64_t point_count, point_capacity;
    int64_t polygon_count, polygon_capacity;
};
bool asap_xml_read(struct polygon_set *set, const char *path, struct error *err);
void polygon_set_release(struct polygon_set *set);

/* A few names for a message, "'a', 'b' and 7 more", of the items that were added. */
struct name_list {
    char text[160];
    int64_t count, named;
};
void name_list_add(struct name_list *list, const char *name);
const char *name_list_end(struct name_list *list);

/* polygon_fill.c: the pixels whose centre lies in a tumour polygon and in no hole, by the non-zero
 * winding rule. */
bool polygon_set_fill(struct polygon_set *set, struct run_rows *rows, struct error *err);

/* polygon_outside.c: refuses outlines whose tumour lies wholly outside the slide of width × height
 * level-0 px, and warns of what of it does and of outlines that cover no pixel. After filling. */
bool polygon_set_check(const struct polygon_set *set, const char *path, int64_t width,
                       int64_t height, struct error *err);

#endif
