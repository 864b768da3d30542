/* The checks, one table row each. */
#include "micromet/run/preflight.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "micromet/base/size.h"
#include "micromet/format/weights.h"
#include "micromet/nn/backend.h"
#include "micromet/nn/inception_v3.h"
#include "micromet/nn/model.h"
#include "micromet/slide/manifest.h"

static bool check_freeze(const struct config *config, struct error *err)
{
    int first_trained;
    return inception_first_trained(config->model.freeze, &first_trained, err);
}

/* The variance of one value is 0, and batch norm then gives its beta whatever the input is: the
 * model would learn nothing from the layers before it. */
static bool check_batch_norm(const struct config *config, struct error *err)
{
    int first_trained;
    const bool whole = config->train.shards == 0 || model_syncs(&config->model);
    const int shards = whole ? 1 : config->train.shards;
    const int rows = config->train.batch / shards;
    if (rows > 1 || config->model.batch_norm == BATCH_NORM_FROZEN) return true;
    if (!inception_first_trained(config->model.freeze, &first_trained, err)) return false;
    for (int i = 0; i < INCEPTION_CONVOLUTIONS; i++) {
        const struct inception_layer *layer = inception_convolution(i);
        const int from_side = inception_map_side(layer->from, config->data.window);
        if (layer->keras_batch_norm < first_trained ||
            inception_output_side(layer, from_side, layer->kernel_h) > 1)
            continue;
        return error_set(err, EXIT_CODE_USAGE,
                         "train.batch: %d%s gives the batch norm of %s, whose maps are 1×1 px for "
                         "a data.window of %d, the variance of a single value; raise train.batch, "
                         "or choose model.batch_norm=frozen",
                         config->train.batch, shards > 1 ? " in as many shards" : "", layer->name,
                         config->data.window);
    }
    return true;
}

static bool check_backend(const struct config *config, struct error *err)
{
    if (config->compute.backend != BACKEND_CUDA || backend_cuda_built(err)) return true;
    error_prefix(err, "compute.backend: cuda cannot be used");
    return error_append(err, "; or choose cpu or auto");
}

/* Where there is something at `path`, it must be a folder. */
static bool check_folder(const char *key, const char *path, struct error *err)
{
    struct stat status;
    return !*path || stat(path, &status) != 0 || S_ISDIR(status.st_mode) ||
           error_set(err, EXIT_CODE_USAGE, "%s: %s is a file, not a folder", key, path);
}

static bool check_pack(const struct config *config, struct error *err)
{
    return check_folder("data.pack", config->data.pack, err);
}

static bool check_run(const struct config *config, struct error *err)
{
    return check_folder("train.run", config->train.run, err);
}

static bool check_plan_cache(const struct config *config, struct error *err)
{
    return check_folder("compute.plan_cache", config->compute.plan_cache, err);
}

static bool check_split(const struct manifest *manifest, enum split split, struct error *err)
{
    for (int i = 0; i < manifest->count; i++)
        if (manifest->rows[i].split == split) return true;
    return error_set(err, EXIT_CODE_USAGE,
                     "%s: names no %s slide; a training needs train and validation slides",
                     manifest->path, split_name(split));
}

static bool check_manifest(const struct config *config, struct error *err)
{
    struct manifest manifest = { 0 };
    struct error cause = { 0 };
    const bool ok = manifest_load(&manifest, config->data.manifest, &cause) &&
                    check_split(&manifest, SPLIT_TRAIN, &cause) &&
                    check_split(&manifest, SPLIT_VALIDATION, &cause);
    manifest_release(&manifest);
    return ok || error_set(err, EXIT_CODE_USAGE, "data.manifest: %.900s", cause.message);
}

static bool check_weights(const struct config *config, struct error *err)
{
    const char *path = config->model.weights;
    enum weights_format format;
    struct error cause = { 0 };
    if (strcmp(path, "random") == 0) return true;
    if (!weights_sniff(&format, path, &cause))
        return error_set(err, EXIT_CODE_USAGE, "model.weights (a file, or 'random'): %.900s",
                         cause.message);
    return format != WEIGHTS_UNKNOWN ||
           error_set(err, EXIT_CODE_USAGE,
                     "model.weights: %s holds no weights of Keras, PyTorch, ONNX or micromet",
                     path);
}

static const struct check {
    const char *key;
    bool (*passes)(const struct config *config, struct error *err);
} of_model[] = {
    { "model.freeze", check_freeze },
}, of_training[] = {
    { "train.batch", check_batch_norm },
    { "compute.backend", check_backend },
}, of_files[] = {
    { "data.manifest", check_manifest },
    { "model.weights", check_weights },
    { "data.pack", check_pack },
    { "train.run", check_run },
    { "compute.plan_cache", check_plan_cache },
};

static bool run_checks(const struct check *checks, size_t count, const struct config *config,
                       const char **key, struct error *err)
{
    for (size_t i = 0; i < count; i++) {
        *key = checks[i].key;
        if (!checks[i].passes(config, err)) return false;
    }
    return true;
}

bool preflight_model(const struct config *config, const char **key, struct error *err)
{
    return run_checks(of_model, COUNT_OF(of_model), config, key, err);
}

bool preflight_training(const struct config *config, const char **key, struct error *err)
{
    return preflight_model(config, key, err) &&
           run_checks(of_training, COUNT_OF(of_training), config, key, err);
}

bool preflight_all(const struct config *config, const char **key, struct error *err)
{
    return preflight_training(config, key, err) &&
           run_checks(of_files, COUNT_OF(of_files), config, key, err);
}
