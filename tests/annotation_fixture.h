/* Shared by the tests of masks and polygons: one annotation, and queries of it. */
#ifndef MICROMET_TESTS_ANNOTATION_FIXTURE_H
#define MICROMET_TESTS_ANNOTATION_FIXTURE_H

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/slide/annotation.h"
#include "support.h"
#include "tiny_slide.h"

static char folder[PATH_MAX_BYTES], path[PATH_MAX_BYTES];
static struct slide slide; /* not opened: only its size is used */
static struct annotation *annotation;
static struct annotation_facts facts;
static double downsample; /* told */
static struct config config;
static const struct config_data *data = &config.data; /* NULL: every value but 0 */
static struct error err;

static inline void begin(void)
{
    test_folder_make(folder);
    test_path(path, folder, "mask.tif");
    snprintf(slide.path, sizeof slide.path, "slide.tif");
    slide.level_count = 1;
    config_defaults(&config);
}

static inline void end(void)
{
    annotation_release(annotation);
    test_folder_remove(folder);
}

static inline void open_for(int64_t width, int64_t height)
{
    slide.levels[0] = (struct slide_level) { .width = width, .height = height, .downsample = 1 };
    cr_assert(annotation_open(&annotation, path, downsample, &slide, data, &err), "%s",
              err.message);
    cr_assert(annotation_describe(annotation, &facts, &err));
}

static inline void refuses(int64_t width, int64_t height, const char *what)
{
    slide.levels[0] = (struct slide_level) { .width = width, .height = height, .downsample = 1 };
    cr_assert_not(annotation_open(&annotation, path, downsample, &slide, data, &err));
    cr_assert_eq(err.code, EXIT_CODE_FAILED);
    cr_assert(!strncmp(err.message, path, strlen(path)), "%s", err.message);
    cr_assert(strstr(err.message, what), "%s", err.message);
    cr_assert_null(annotation);
    err = (struct error) { 0 };
}

/* Let go of the annotation, to open another. */
static inline void close_it(void)
{
    annotation_release(annotation);
    annotation = NULL;
}

static inline bool any(double x0, double y0, double x1, double y1)
{
    bool found;
    cr_assert(annotation_any(annotation, x0, y0, x1, y1, &found, &err));
    return found;
}

struct spans {
    int64_t count;
    double last[4], area, y_before;
};

static inline void note_span(void *context, double x0, double y0, double x1, double y1)
{
    struct spans *spans = context;
    cr_assert(x0 < x1 && y0 < y1 && y0 >= spans->y_before);
    spans->count++;
    spans->area += (x1 - x0) * (y1 - y0);
    spans->y_before = y0;
    memcpy(spans->last, (double[]) { x0, y0, x1, y1 }, sizeof spans->last);
}

static inline struct spans scan(void)
{
    struct spans spans = { 0 };
    cr_assert(annotation_scan(annotation, LAYER_TUMOR, note_span, &spans, &err));
    return spans;
}

#endif
