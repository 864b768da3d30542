/* Annotations: masks and ASAP's outlines, of a slide of 60 × 40 px, which is their seeds' size. */
#include "fuzz.h"
#include "micromet/slide/annotation.h"

static void ignore_span(void *context, double x0, double y0, double x1, double y1)
{
    CHECK(x0 < x1 && y0 < y1);
    (void)context;
}

/* What prepare and inspect do with one. data: NULL to look at it. */
static void use(const char *path, const struct config_data *data)
{
    static const struct slide slide = {
        .path = "slide",
        .level_count = 1,
        .levels = { { .width = 60, .height = 40, .downsample = 1 } },
        .mpp_x = 0.25,
    };
    struct error err = { 0 };
    struct annotation *annotation;
    uint8_t share[7 * 5];
    char why[ANNOTATION_TEXT_MAX];
    bool any;
    if (!annotation_open(&annotation, path, 0, &slide, data, &err)) return;
    for (int layer = 0; layer < ANNOTATION_LAYERS; layer++)
        annotation_scan(annotation, layer, ignore_span, NULL, &err);
    annotation_any(annotation, -5, -5, 1e9, 1e9, &any, &err);
    annotation_draw(annotation, 7, 5, share, &err);
    annotation_say_empty(annotation, why);
    annotation_release(annotation);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static struct config_data none, some = { .mask_values = { 1, 255 }, .mask_value_count = 2 };
    const char *path = fuzz_file(bytes, size);
    use(path, NULL);
    use(path, &none);
    use(path, &some);
    return 0;
}
