/* How fast the network is: augmentation alone, an inference pass, a training step, and each
 * operation by itself. Always two towers with the default head; values are random, as speed does
 * not depend on them. */
#include <stdlib.h>

#include "bench_parts.h"
#include "micromet/base/size.h"
#include "micromet/base/thread.h"
#include "micromet/data/augment.h"
#include "micromet/run/checkpoint.h"

enum { TOWERS = 2, SEED = 1 };

/* Windows for two towers, with augmentation draws and labels. */
struct bench_batch {
    uint8_t *pixels[TOWERS]; /* (batch, px, px, 3) */
    struct augment_draw *draws[TOWERS];
    float *labels;
};

static void batch_release(struct bench_batch *batch)
{
    for (int t = 0; t < TOWERS; t++) {
        free(batch->pixels[t]);
        free(batch->draws[t]);
    }
    free(batch->labels);
}

static void batch_fill(struct bench_batch *batch, const struct config_augment *augment, int count,
                       size_t bytes)
{
    struct random random = random_init(SEED, 0, 0, RANDOM_TEST);
    for (int t = 0; t < TOWERS; t++)
        for (size_t i = 0; i < bytes; i++) batch->pixels[t][i] = (uint8_t)random_u32(&random);
    for (int i = 0; i < count; i++) {
        struct augment_draw draws[TOWERS_MAX];
        augment_draw(augment, TOWERS, SEED, 0, (uint64_t)i, draws);
        for (int t = 0; t < TOWERS; t++) batch->draws[t][i] = draws[t];
        batch->labels[i] = (float)(i & 1);
    }
}

static bool batch_init(struct bench_batch *batch, const struct config_augment *augment, int count,
                       int px, struct error *err)
{
    const size_t n = (size_t)count, bytes = n * (size_t)px * (size_t)px * 3;
    *batch = (struct bench_batch) { .labels = malloc(n * sizeof *batch->labels) };
    bool ok = batch->labels != NULL;
    for (int t = 0; t < TOWERS; t++) {
        batch->pixels[t] = malloc(bytes);
        batch->draws[t] = malloc(n * sizeof *batch->draws[t]);
        ok = ok && batch->pixels[t] && batch->draws[t];
    }
    if (ok) batch_fill(batch, augment, count, bytes);
    return ok || error_set(err, EXIT_CODE_FAILED, "no memory for a batch of %d windows", count);
}

/* --- Augmentation ----------------------------------------------------------------------------- */

struct augmenter {
    struct backend *backend;
    struct plan *plans[TOWERS];
    struct op_buffers buffers[TOWERS];
    void *pixels[TOWERS], *draws[TOWERS], *out[TOWERS]; /* device */
};

static bool augment_batch(void *context, struct error *err)
{
    struct augmenter *a = context;
    for (int t = 0; t < TOWERS; t++)
        if (!a->backend->ops->run(a->plans[t], &a->buffers[t], err)) return false;
    return a->backend->ops->synchronize(a->backend, err);
}

static bool augmenter_init(struct augmenter *a, const struct bench *bench,
                           const struct bench_batch *batch, struct error *err)
{
    const int px = bench->options->px, n = bench->options->batch;
    const struct backend_ops *ops = bench->session.backend->ops;
    *a = (struct augmenter) { .backend = bench->session.backend };
    for (int t = 0; t < TOWERS; t++) {
        struct op op = {
            .kind = OP_AUGMENT,
            .x = { .dtype = DTYPE_U8, .n = n, .h = px, .w = px, .c = 3, .pixel_stride = 3 },
            .queue = t % a->backend->facts.queues,
            .name = "augment",
        };
        op.y = op.x;
        op.y.dtype = bench->session.activations;
        const size_t bytes = tensor_bytes(&op.x), draw_bytes = (size_t)n * sizeof **batch->draws;
        if (!ops->alloc(a->backend, bytes, &a->pixels[t], err) ||
            !ops->alloc(a->backend, draw_bytes, &a->draws[t], err) ||
            !ops->copy(a->backend, op.queue, a->draws[t], batch->draws[t], draw_bytes, err) ||
            !ops->alloc(a->backend, tensor_bytes(&op.y), &a->out[t], err) ||
            !ops->copy(a->backend, op.queue, a->pixels[t], batch->pixels[t], bytes, err) ||
            !ops->plan(a->backend, &op, &a->plans[t], err))
            return false;
        a->buffers[t] =
            (struct op_buffers) { .x = a->pixels[t], .out = a->out[t], .draws = a->draws[t] };
    }
    return true;
}

static void augmenter_release(struct augmenter *a)
{
    const struct backend_ops *ops = a->backend->ops;
    struct error ignored = { 0 };
    ops->synchronize(a->backend, &ignored);
    for (int t = 0; t < TOWERS; t++) {
        ops->plan_release(a->plans[t]);
        ops->free(a->backend, a->pixels[t]);
        ops->free(a->backend, a->draws[t]);
        ops->free(a->backend, a->out[t]);
    }
}

static bool augment_speed(const struct bench *bench, const char *what,
                          const struct config_augment *augment, struct error *err)
{
    const struct bench_options *options = bench->options;
    struct bench_batch batch;
    struct augmenter augmenter = { .backend = bench->session.backend };
    double calls_per_s;
    const bool ok = batch_init(&batch, augment, options->batch, options->px, err) &&
                    augmenter_init(&augmenter, bench, &batch, err) &&
                    bench_repeat(options->seconds, augment_batch, &augmenter, &calls_per_s, err);
    augmenter_release(&augmenter);
    batch_release(&batch);
    if (!ok) return false;
    const double values = (double)TOWERS * options->px * options->px * 3; /* of a pair of windows */
    const double bytes = values * (double)(1 + dtype_bytes(bench->session.activations));
    const struct bench_result result = {
        .what = what,
        .px = options->px,
        .batch = options->batch,
        .threads = options->threads,
        .figures = { { "pairs_per_s", "pairs/s", calls_per_s * options->batch,
                       bench->triad_gb_per_s * 1e9 / bytes } },
        .figure_count = 1,
    };
    bench_tell(bench, &result);
    return true;
}

bool bench_augment(const struct bench *bench, struct error *err)
{
    struct config config;
    config_defaults(&config);
    if (!augment_speed(bench, "augment", &config.augment, err)) return false;
    config.augment.hed = 0.05;
    return augment_speed(bench, "stain", &config.augment, err);
}

/* --- The network ------------------------------------------------------------------------------ */

struct network {
    struct model *model;
    struct bench_batch batch;
    struct model_batch input;
    struct augment_draw *unchanged; /* (batch) */
    float *probabilities;
    double learning_rate;
    int64_t step;
};

/* As in evaluation and heat maps, colours are not changed. */
static bool infer_batch(void *context, struct error *err)
{
    struct network *network = context;
    struct model_batch input = network->input;
    for (int t = 0; t < TOWERS; t++) input.draws[t] = network->unchanged;
    return model_predict(network->model, &input, network->probabilities, err);
}

static bool train_batch(void *context, struct error *err)
{
    struct network *network = context;
    float loss;
    return model_train_step(network->model, &network->input, network->learning_rate,
                            ++network->step, SEED, &loss, NULL, err);
}

static bool network_init(struct network *network, const struct bench *bench, struct error *err)
{
    const struct bench_options *options = bench->options;
    struct config config;
    config_defaults(&config); /* keras:150, head 256 and 128, Adam */
    config.data.level_count = TOWERS;
    config.data.window = options->px;
    config.train.batch = options->batch;
    const struct model_spec spec = model_spec_from_config(&config, bench->session.activations,
                                                          false, true);
    network->learning_rate = config.optimizer.learning_rate;
    network->probabilities = malloc((size_t)options->batch * sizeof(float));
    network->unchanged = malloc((size_t)options->batch * sizeof *network->unchanged);
    if (!network->probabilities || !network->unchanged)
        return error_set(err, EXIT_CODE_FAILED, "no memory for %d windows", options->batch);
    if (!batch_init(&network->batch, &config.augment, options->batch, options->px, err) ||
        !model_init(&network->model, bench->session.backend, &spec, err))
        return false;
    for (int i = 0; i < options->batch; i++) network->unchanged[i] = augment_identity();
    network->input = (struct model_batch) { .labels = network->batch.labels,
                                            .count = options->batch };
    for (int t = 0; t < TOWERS; t++) {
        network->input.pixels[t] = network->batch.pixels[t];
        network->input.draws[t] = network->batch.draws[t];
    }
    return model_randomize(network->model, SEED, err);
}

static bool measure_pass(const struct bench *bench, struct network *network, const char *what,
                         bool (*work)(void *, struct error *), double macs, struct error *err)
{
    double calls_per_s;
    if (!bench_repeat(bench->options->seconds, work, network, &calls_per_s, err)) return false;
    const double pairs_per_s = calls_per_s * bench->options->batch, flops = 2 * macs;
    const double most = bench->peak_gflops * 1e9 / flops;
    const struct bench_result result = {
        .what = what,
        .px = bench->options->px,
        .batch = bench->options->batch,
        .threads = bench->options->threads,
        .figures = { { "pairs_per_s", "pairs/s", pairs_per_s, most },
                     { "gflops", "GFLOP/s", pairs_per_s * flops * 1e-9, bench->peak_gflops } },
        .figure_count = 2,
    };
    bench_tell(bench, &result);
    return true;
}

static bool measure_layers(const struct bench *bench, struct network *network, struct error *err)
{
    static const char *const programs[] = { "infer", "train" };
    const struct backend_facts *facts = &bench->session.backend->facts;
    const int threads = CEIL_DIV(facts->threads, facts->queues); /* of queue 0 */
    const double peak = bench->peak_gflops * threads / facts->threads;
    for (int training = 0; training <= 1; training++) {
        struct model_op_time *times;
        int count;
        if (!model_profile(network->model, 0, training != 0, bench->options->seconds, &times,
                           &count, err))
            return false;
        bench->listener->layers(bench->listener->context, programs[training], times, count, threads,
                                peak);
        free(times);
    }
    return true;
}

bool bench_network(const struct bench *bench, struct error *err)
{
    struct network network = { 0 };
    double inference_macs = 0, training_macs = 0;
    bool ok = network_init(&network, bench, err);
    if (ok) model_macs(network.model, &inference_macs, &training_macs);
    if (ok && bench->options->network)
        ok = measure_pass(bench, &network, "infer", infer_batch, inference_macs, err) &&
             measure_pass(bench, &network, "train", train_batch, training_macs, err);
    if (ok && bench->options->layers)
        ok = model_refresh(network.model, err) && infer_batch(&network, err) &&
             train_batch(&network, err) && measure_layers(bench, &network, err);
    model_release(network.model);
    batch_release(&network.batch);
    free(network.unchanged);
    free(network.probabilities);
    return ok;
}
