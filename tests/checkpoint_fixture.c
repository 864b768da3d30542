#include "checkpoint_fixture.h"

#include <stdlib.h>

#include "micromet/data/augment.h"

void checkpoint_fixture_config(struct config *config)
{
    config_defaults(config);
    snprintf(config->name, sizeof config->name, "fixture");
    snprintf(config->model.freeze, sizeof config->model.freeze, "all");
    snprintf(config->model.weights, sizeof config->model.weights, "random");
    config->seed = 18446744073709551615u;
    config->data.levels[0] = 0;
    config->data.levels[1] = 2;
    config->data.window = 75;
    config->model.pool_padding = POOL_PADDING_INCLUDE;
    config->model.head_count = 1;
    config->model.head[0] = 5;
    config->model.head[1] = 0;
    config->train.batch = FIXTURE_BATCH;
    config->compute.backend = BACKEND_CPU;
    config->compute.precision = PRECISION_FP32;
    config->compute.threads = 1;
}

struct training_state checkpoint_fixture_state(void)
{
    return (struct training_state) { .step = 123456789012,
                                     .epoch = 7,
                                     .examples = 48,
                                     .best_epoch = 5,
                                     .stale_epochs = 2,
                                     .best_auc = 0.1 + 0.7,
                                     .patience_auc = 0.1 + 0.7,
                                     .threshold = 1.0 / 3,
                                     .loss_sum = 0x1.123456789abcdp-3,
                                     .schedule = {
                                         .plateau_rate = 1e-4, .best = 0.3, .bad_epochs = 2 } };
}

bool checkpoint_fixture_predict(struct model *model, float probabilities[FIXTURE_BATCH],
                                struct error *err)
{
    const struct model_spec *spec = model_spec(model);
    const size_t bytes = (size_t)spec->window * (size_t)spec->window * 3;
    struct augment_draw draws[FIXTURE_BATCH];
    struct model_batch batch = { .count = FIXTURE_BATCH };
    uint8_t *pixels = malloc(FIXTURE_BATCH * bytes);
    if (!pixels) return error_set(err, EXIT_CODE_FAILED, "out of memory");
    for (size_t i = 0; i < FIXTURE_BATCH * bytes; i++)
        pixels[i] = (uint8_t)(60 * (i / bytes) + 40 * (i % 3) + 30);
    for (int i = 0; i < FIXTURE_BATCH; i++) draws[i] = augment_identity();
    for (int t = 0; t < spec->towers; t++) {
        batch.pixels[t] = pixels;
        batch.draws[t] = draws;
    }
    const bool ok = model_predict(model, &batch, probabilities, err);
    free(pixels);
    return ok;
}
