/* Masks that are PNGs, of a slide of 60 × 40 px. */
#include "fuzz.h"
#include "micromet/slide/annotation.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const struct slide slide = {
        .path = "slide",
        .level_count = 1,
        .levels = { { .width = 60, .height = 40, .downsample = 1 } },
    };
    static struct config_data labels = {
        .labels = { { "1", LABEL_TUMOR }, { "255", LABEL_IGNORE } },
        .label_count = 2,
    };
    const struct config_data *const all[] = { NULL, &labels };
    const char *path = fuzz_file(bytes, size);
    for (int i = 0; i < 2; i++) {
        struct error err = { 0 };
        struct annotation *annotation;
        if (annotation_open(&annotation, path, 0, &slide, all[i], &err))
            annotation_release(annotation);
    }
    return 0;
}
