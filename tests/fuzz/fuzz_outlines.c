/* Outlines: GeoJSON and the XML of three programs, on a slide of 60 × 40 px; and that what is
 * written of them, in each format, is read again with as many outlines. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "micromet/slide/annotation.h"
#include "slide/annotation_parts.h"
#include "slide/outline_formats.h"
#include "slide/outline_write.h"

static const struct slide slide = {
    .path = "slide",
    .level_count = 1,
    .levels = { { .width = 60, .height = 40, .downsample = 1 } },
    .bounds_x = 1,
};

static void open_with(const char *path, const struct config_data *data)
{
    struct error err = { 0 };
    struct annotation *annotation;
    bool any;
    if (!annotation_open(&annotation, path, 0, &slide, data, &err)) return;
    annotation_any(annotation, -5, -5, 1e9, 1e9, &any, &err);
    annotation_release(annotation);
}

/* Of outlines with a point that are no holes. */
static int64_t count_outlines(const struct outlines *set)
{
    int64_t count = 0;
    for (int64_t i = 0; i < set->count; i++)
        count += !set->outlines[i].hole && set->outlines[i].count;
    return count;
}

static void write_and_read(const struct outlines *set, enum outline_format format)
{
    char *text = NULL;
    size_t size = 0;
    struct outlines again;
    struct error err = { 0 };
    enum outline_format read;
    FILE *stream = open_memstream(&text, &size);
    CHECK(stream);
    outlines_write(set, format, stream);
    fclose(stream);
    const bool ok = outlines_read(&again, &read, fuzz_file((const uint8_t *)text, size), &err);
    if (!ok) fprintf(stderr, "%s\n%s\n", text, err.message);
    CHECK(ok && count_outlines(&again) == count_outlines(set));
    outlines_release(&again);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static struct config_data none, some = {
        .labels = { { "Tumor", LABEL_TUMOR }, { "Stroma", LABEL_NORMAL }, { "", LABEL_IGNORE } },
        .label_count = 3,
    };
    struct outlines set;
    struct error err = { 0 };
    enum outline_format format;
    const char *path = fuzz_file(bytes, size);
    open_with(path, NULL);
    open_with(path, &none);
    open_with(path, &some);
    if (!outlines_read(&set, &format, path, &err)) return 0;
    for (int other = 0; set.point_count < 4096 && other <= OUTLINES_HALO; other++)
        write_and_read(&set, (enum outline_format)other);
    outlines_release(&set);
    return 0;
}
