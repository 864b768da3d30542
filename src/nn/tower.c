/* The parameters of one tower, which of them are trained, and folding batch norm into
 * convolutions. */
#include "tower.h"

#include <stdio.h>
#include <stdlib.h>

#include "micromet/base/size.h"

static bool unit_register(struct unit *u, int tower, int queue, const struct model_spec *spec,
                          struct parameters *parameters, struct error *err)
{
    const struct inception_layer *l = u->layer;
    int64_t weight_shape[4];
    inception_weight_shape(l, weight_shape);
    const int64_t channel_shape[1] = { l->channels };
    const enum parameter_place norm = u->norm_trains ? PLACE_TRAINED : PLACE_HOST;
    const struct {
        const char *suffix;
        int *index;
        bool wanted, is_weight, statistic;
        enum parameter_place place;
    } arrays[] = {
        { "conv.weight", &u->weight, true, true, false,
          u->weights_train ? PLACE_TRAINED
          : u->norm_trains ? PLACE_DEVICE
                           : PLACE_HOST },
        { "bn.weight", &u->gamma, spec->gamma, false, false, norm },
        { "bn.bias", &u->beta, true, false, false, norm },
        { "bn.running_mean", &u->mean, true, false, true,
          u->norm_trains ? PLACE_DEVICE : PLACE_HOST },
        { "bn.running_var", &u->variance, true, false, true,
          u->norm_trains ? PLACE_DEVICE : PLACE_HOST },
    };
    for (size_t i = 0; i < COUNT_OF(arrays); i++) {
        char name[96];
        *arrays[i].index = -1;
        if (!arrays[i].wanted) continue;
        snprintf(name, sizeof name, "tower%d.%s.%s", tower, l->name, arrays[i].suffix);
        *arrays[i].index = parameters_add(parameters, name, arrays[i].is_weight ? 4 : 1,
                                          arrays[i].is_weight ? weight_shape : channel_shape,
                                          arrays[i].statistic, arrays[i].place, queue, err);
        if (*arrays[i].index < 0) return false;
    }
    return true;
}

bool tower_register(struct tower *tower, int index, int queue, const struct model_spec *spec,
                    struct parameters *parameters, struct error *err)
{
    *tower = (struct tower) { .index = index, .queue = queue, .parameters = parameters };
    int first_trained;
    if (!inception_first_trained(spec->model.freeze, &first_trained, err)) return false;
    int count = 0;
    for (int i = 0; i < INCEPTION_LAYERS; i++) {
        const struct inception_layer *l = &inception_v3[i];
        if (l->kind != INCEPTION_CONVOLUTION) continue;
        struct unit *u = &tower->units[count++];
        *u = (struct unit) {
            .layer = l,
            .in_channels = inception_channels(l->from),
            .weights_train = spec->training && l->keras_convolution >= first_trained,
            .norm_trains = spec->training && l->keras_batch_norm >= first_trained
        };
        if (!unit_register(u, index, queue, spec, parameters, err)) return false;
    }
    CHECK(count == INCEPTION_CONVOLUTIONS);
    return true;
}

bool tower_trains(const struct tower *tower)
{
    for (int i = 0; i < INCEPTION_CONVOLUTIONS; i++)
        if (tower->units[i].norm_trains) return true;
    return false;
}

static int64_t weight_count(const struct unit *u)
{
    return (int64_t)u->layer->channels * u->layer->kernel_h * u->layer->kernel_w * u->in_channels;
}

bool tower_allocate(struct tower *tower, const struct model_spec *spec, struct error *err)
{
    struct backend *backend = tower->parameters->backend;
    const bool shared = spec->training && model_syncs(&spec->model) && backend->facts.ranks > 1;
    CHECK(!shared || spec->shards == backend->facts.ranks);
    tower->ranks = shared ? backend->facts.ranks : 0;
    tower->exchange_queue = backend->facts.exchange_queue;
    const int saved_arrays = shared ? 4 : 2;
    for (int i = 0; i < INCEPTION_CONVOLUTIONS; i++) {
        const struct unit *u = &tower->units[i];
        tower->folded_bytes += (size_t)u->layer->channels * sizeof(float);
        if (u->norm_trains)
            tower->saved_bytes += (size_t)(saved_arrays * u->layer->channels) * sizeof(float);
    }
    if (!backend->ops->alloc(backend, tower->folded_bytes, &tower->folded, err)) return false;
    if (!backend->ops->alloc(backend, tower->saved_bytes, &tower->saved, err)) return false;
    float *folded = tower->folded, *saved = tower->saved;
    for (int i = 0; i < INCEPTION_CONVOLUTIONS; i++) {
        struct unit *u = &tower->units[i];
        u->folded_bias = folded;
        folded += u->layer->channels;
        if (!u->norm_trains) continue;
        u->saved_mean = saved;
        u->saved_inverse_std = saved + u->layer->channels;
        if (shared) u->sums = saved + 2 * u->layer->channels;
        saved += saved_arrays * u->layer->channels;
    }
    return true;
}

void tower_release(struct tower *tower)
{
    if (!tower->parameters || !tower->parameters->backend) return;
    struct backend *backend = tower->parameters->backend;
    backend->ops->free(backend, tower->folded);
    backend->ops->free(backend, tower->saved);
    *tower = (struct tower) { 0 };
}

/* Load all arrays into scratch, the weights first, and fold the batch norm; copy the folded bias
 * to the device. */
static bool unit_fold(const struct tower *tower, const struct unit *u, float *scratch,
                      struct error *err)
{
    struct parameters *parameters = tower->parameters;
    const int channels = u->layer->channels;
    const int64_t weights = weight_count(u), row = weights / channels;
    float *w = scratch, *bias = w + weights, *gamma = bias + channels, *mean = gamma + channels;
    float *variance = mean + channels;
    if (!parameters_load(parameters, u->weight, PART_VALUE, w, err) ||
        !parameters_load(parameters, u->beta, PART_VALUE, bias, err) ||
        !parameters_load(parameters, u->mean, PART_VALUE, mean, err) ||
        !parameters_load(parameters, u->variance, PART_VALUE, variance, err))
        return false;
    for (int k = 0; k < channels; k++) gamma[k] = 1;
    if (u->gamma >= 0 && !parameters_load(parameters, u->gamma, PART_VALUE, gamma, err))
        return false;
    for (int k = 0; k < channels; k++) {
        const double scale = inception_fold_scale(gamma[k], variance[k]);
        for (int64_t i = 0; i < row; i++) w[k * row + i] = (float)(w[k * row + i] * scale);
        bias[k] = (float)(bias[k] - mean[k] * scale);
    }
    struct backend *backend = parameters->backend;
    const size_t bytes = (size_t)channels * sizeof(float);
    return backend->ops->copy(backend, tower->queue, u->folded_bias, bias, bytes, err) &&
           backend->ops->synchronize(backend, err);
}

static bool program_load(const struct program *program, const struct unit *u, const float *weights,
                         struct error *err)
{
    for (int i = 0; i < program->count; i++)
        if (program->instructions[i].folded == u &&
            !program->backend->ops->plan_load(program->instructions[i].plan, weights, err))
            return false;
    return true;
}

static void unit_discard(const struct tower *tower, const struct unit *u)
{
    const int indices[] = { u->weight, u->gamma, u->beta, u->mean, u->variance };
    for (size_t i = 0; i < COUNT_OF(indices); i++)
        if (indices[i] >= 0) parameters_discard(tower->parameters, indices[i]);
}

bool tower_fold(struct tower *tower, struct program *const *programs, int count, bool discard,
                struct error *err)
{
    int64_t largest = 0;
    for (int i = 0; i < INCEPTION_CONVOLUTIONS; i++) {
        const int64_t need = weight_count(&tower->units[i]) + 4 * tower->units[i].layer->channels;
        largest = need > largest ? need : largest;
    }
    float *scratch = malloc((size_t)largest * sizeof *scratch);
    if (!scratch) return error_set(err, EXIT_CODE_FAILED, "out of memory for folding batch norm");
    bool ok = true;
    for (int i = 0; i < INCEPTION_CONVOLUTIONS && ok; i++) {
        const struct unit *u = &tower->units[i];
        ok = unit_fold(tower, u, scratch, err);
        for (int p = 0; p < count && ok; p++) ok = program_load(programs[p], u, scratch, err);
        if (discard) unit_discard(tower, u);
    }
    free(scratch);
    return ok;
}
