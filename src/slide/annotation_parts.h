/* Internals of annotations: rows of runs, and the two readers that fill them. */
#ifndef SLIDE_ANNOTATION_PARTS_H
#define SLIDE_ANNOTATION_PARTS_H

#include <stdint.h>

#include "micromet/slide/annotation.h"

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

/* mask_tiff.c: any mask of 1, 8 or 16 bits that libtiff reads. Only the first sample counts; pixels
 * with value 0 and missing tiles are not tumour. */
struct mask_tiff;
bool mask_tiff_open(struct mask_tiff **mask, const char *path, struct error *err);
void mask_tiff_release(struct mask_tiff *mask);
void mask_tiff_size(const struct mask_tiff *mask, int64_t *width, int64_t *height);
/* Append the runs of nonzero pixels to `rows`. histogram: number of pixels by value, where 16-bit
 * values above 255 count as 255. */
bool mask_tiff_read(struct mask_tiff *mask, struct run_rows *rows, int64_t histogram[256],
                    struct error *err);

/* asap_xml.c: the polygons of an ASAP file. */
struct polygon {
    int64_t first; /* index of the first point */
    int64_t count;
    bool hole;
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

/* polygon_fill.c: the pixels whose centre lies in a tumour polygon and in no hole. */
bool polygon_set_fill(const struct polygon_set *set, struct run_rows *rows, struct error *err);

#endif
