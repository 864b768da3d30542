/* Internals of annotations: rows of runs, and the readers that fill them. */
#ifndef SLIDE_ANNOTATION_PARTS_H
#define SLIDE_ANNOTATION_PARTS_H

#include <stdint.h>

#include "micromet/slide/annotation.h"
#include "outlines.h"

/* annotation_kind.c: what an annotation's first bytes say that it is. */
enum annotation_kind { ANNOTATION_MASK_TIFF, ANNOTATION_MASK_PNG, ANNOTATION_OUTLINES };
/* Refuses all else by its name, and says what to do with it. */
bool annotation_sniff(const char *path, enum annotation_kind *kind, struct error *err);

/* Pixels [start, end) of one row. */
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
    /* What values mean (enum label_meaning); if `first_is_tumor`, the first but 0 that is met
     * becomes tumour. */
    uint8_t meaning[MASK_VALUES];
    bool first_is_tumor;
    int64_t counts[MASK_VALUES];   /* pixels by value; missing tiles count as 0 */
    int64_t outside;               /* tumour pixels right of `rows` or below them */
    int64_t parts, missing, empty; /* tiles or strips: all, not stored, and stored though all 0 */
};
/* Append the runs of each layer's pixels to its rows, which may be smaller than the mask, and
 * count. layers: (ANNOTATION_LAYERS). */
bool mask_tiff_read(struct mask_tiff *mask, struct run_rows *layers, struct mask_census *census,
                    struct error *err);

/* mask_png.c: the same for a PNG. */
struct mask_png;
bool mask_png_open(struct mask_png **mask, const char *path, struct mask_form *form,
                   struct error *err);
void mask_png_release(struct mask_png *mask);
bool mask_png_read(struct mask_png *mask, struct run_rows *layers, struct mask_census *census,
                   struct error *err);

/* mask_values.c: count `width` values from column x0 of a row on, and append their runs. */
bool mask_row_read(struct run_rows *layers, int64_t row, int64_t x0, const uint16_t *values,
                   uint32_t width, struct mask_census *census, struct error *err);

/* mask_values.c: what values mean. */
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

/* annotation_labels.c: give each of the names its meaning, or refuse and list those that have
 * none; *meant: how many outlines mean something. */
bool outlines_label(struct outlines *set, enum outline_format format,
                    const struct config_data *data, const char *path, int *meant,
                    struct error *err);
/* All names: "'Tumor' (3), 'Stroma' (12)", cut if there are too many. */
void outlines_say_names(const struct outlines *set, char *text, size_t size);
/* What is refused: names, or values, that data.labels lacks. `names`: "'Stroma' (12)"; `pairs`: as
 * they could stand in data.labels. Always returns false. */
bool labels_refuse(const char *path, const struct config_data *data, const char *names,
                   const char *pairs, struct error *err);

/* polygon_fill.c: the pixels whose centre lies in an area of tumour and in none that is normal or
 * ignored, and those in an ignored one, by the non-zero winding rule. */
bool outlines_fill(struct outlines *set, struct run_rows *layers, struct error *err);

/* polygon_outside.c: refuses outlines whose tumour lies wholly outside the slide of width × height
 * level-0 px, and warns of what of it does and of outlines that cover no pixel. After filling. */
bool outlines_check(const struct outlines *set, const char *path, int64_t width, int64_t height,
                    struct error *err);

#endif
