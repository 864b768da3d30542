/* annotation_points FILE WIDTH HEIGHT [data.labels=...] < POINTS: for tools/check-annotations.
 * For each line "x y", a pixel of a slide of that size, prints t where the annotation makes it
 * tumour, i where it is to be ignored, else 0. */
#include <stdio.h>
#include <stdlib.h>

#include "micromet/slide/annotation.h"

struct rectangle {
    double x0, y0, x1, y1;
};

static struct rectangle *ignored;
static size_t ignored_count, ignored_capacity;

static void keep(void *context, double x0, double y0, double x1, double y1)
{
    (void)context;
    if (ignored_count == ignored_capacity) {
        ignored_capacity = 2 * ignored_capacity + 64;
        ignored = realloc(ignored, ignored_capacity * sizeof *ignored);
        if (!ignored) abort();
    }
    ignored[ignored_count++] = (struct rectangle) { x0, y0, x1, y1 };
}

static bool is_ignored(double x, double y)
{
    for (size_t i = 0; i < ignored_count; i++)
        if (x >= ignored[i].x0 && x < ignored[i].x1 && y >= ignored[i].y0 && y < ignored[i].y1)
            return true;
    return false;
}

int main(int argc, char **argv)
{
    static struct slide slide = { .path = "slide", .level_count = 1 };
    static struct config config;
    struct annotation *annotation = NULL;
    struct error err = { 0 };
    double x, y;
    bool tumor = false;
    config_defaults(&config);
    if (argc < 4 || !config_override(&config, argc - 4, argv + 4, &err)) {
        fprintf(stderr, "annotation_points: %s\n", argc < 4 ? "wrong arguments" : err.message);
        return 2;
    }
    slide.levels[0].width = strtoll(argv[2], NULL, 10);
    slide.levels[0].height = strtoll(argv[3], NULL, 10);
    slide.levels[0].downsample = 1;
    bool ok = annotation_open(&annotation, argv[1], 0, &slide, &config.data, &err) &&
              annotation_scan(annotation, LAYER_IGNORED, keep, NULL, &err);
    while (ok && scanf("%lf %lf", &x, &y) == 2) {
        ok = annotation_any(annotation, x, y, x + 1, y + 1, &tumor, &err);
        puts(tumor ? "t" : is_ignored(x, y) ? "i" : "0");
    }
    annotation_release(annotation);
    free(ignored);
    if (!ok) fprintf(stderr, "annotation_points: %s\n", err.message);
    return ok ? 0 : 1;
}
