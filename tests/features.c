/* features WEIGHTS PX INPUT.f32 OUTPUT.f32: for tools/check-import. Runs a tower with any file of
 * weights that training accepts on inputs in [-1,1], (N, PX, PX, 3) float32, and writes the pooled
 * features, (N, 2048) float32. Prints the summary of the import and the time it took. */
#include <stdio.h>
#include <stdlib.h>

#include "micromet/base/file.h"
#include "micromet/base/thread.h"
#include "micromet/nn/pretrained.h"
#include "micromet/run/checkpoint.h"
#include "model_inspect.h"

static bool load(struct model **model, const char *path, int px, int count, struct error *err)
{
    struct config config;
    struct backend *backend;
    struct pretrained pretrained;
    bool head;
    config_defaults(&config);
    const double start_s = clock_seconds();
    if (!pretrained_open(&pretrained, path, err)) return false;
    const double opened_s = clock_seconds();
    config.data.level_count = 1;
    config.data.window = px;
    config.train.batch = count;
    config.model.pool_padding = pretrained.pool_padding;
    const struct model_spec spec = model_spec_from_config(&config, DTYPE_F32, pretrained.gamma,
                                                          false);
    if (!cpu_backend_open(&config.compute, 1, NULL, &backend, err) ||
        !model_init(model, backend, &spec, err))
        return false;
    const double made_s = clock_seconds();
    if (!pretrained_apply(&pretrained, *model, &head, err)) return false;
    pretrained_summary(&pretrained, 1, head, stdout);
    printf("\nopened in %.3f s, applied in %.3f s\n", opened_s - start_s, clock_seconds() - made_s);
    pretrained_release(&pretrained);
    return true;
}

static bool run(const char *weights, int px, const char *input, const char *output,
                struct error *err)
{
    struct model *model;
    float *features;
    char *values;
    size_t bytes;
    int shape[4];
    if (!file_read(input, (size_t)1 << 30, &values, &bytes, err)) return false;
    const int count = (int)(bytes / sizeof(float) / 3 / (size_t)px / (size_t)px);
    if (!load(&model, weights, px, count, err) ||
        !model_activation(model, 0, (const float *)(const void *)values, "features", &features,
                          shape, err))
        return false;
    const bool ok = file_write_atomic(
        output, features, (size_t)shape[0] * INCEPTION_FEATURES * sizeof *features, err);
    free(features);
    free(values);
    struct backend *backend = model_backend(model);
    model_release(model);
    backend_close(backend);
    return ok;
}

int main(int argc, char **argv)
{
    struct error err = { 0 };
    if (argc == 5 && run(argv[1], atoi(argv[2]), argv[3], argv[4], &err)) return 0;
    fprintf(stderr, "features: %s\n", argc == 5 ? err.message : "WEIGHTS PX INPUT.f32 OUTPUT.f32");
    return 1;
}
