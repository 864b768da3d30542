/* Assembles a model from towers, head and programs, and gives access to its parameters. */
#include "micromet/nn/model.h"

#include <math.h>
#include <stdlib.h>

#include "micromet/base/random.h"
#include "micromet/base/size.h"
#include "micromet/nn/optimizer.h"
#include "model_parts.h"

static int tower_queue(const struct model *model, int tower)
{
    return tower % model->backend->facts.queues;
}

static struct view tower_features(struct program *program, const struct model *model, int tower,
                                  float *memory)
{
    const struct view all = program_tensor(program, DTYPE_F32, model->spec.batch, 1, 1,
                                           INCEPTION_FEATURES * model->spec.towers, memory);
    return view_slice(&all, tower * INCEPTION_FEATURES, INCEPTION_FEATURES);
}

static bool build_tower(struct model *model, int mode, int t, struct error *err)
{
    const struct model_spec *spec = &model->spec;
    struct branch *branch = &model->tower_branches[mode][t];
    struct program *program = &branch->program;
    const int queue = tower_queue(model, t), size = spec->window;
    program_init(program, model->backend);
    const struct tensor bytes = {
        .dtype = DTYPE_U8, .n = spec->batch, .h = size, .w = size, .c = 3, .pixel_stride = 3
    };
    const struct view pixels = view_outside(&bytes);
    const struct view input = program_tensor(program, spec->activations, spec->batch, size, size,
                                             model->backend->facts.input_channels, NULL);
    const struct op augment = {
        .kind = OP_AUGMENT, .x = pixels.tensor, .y = input.tensor, .queue = queue, .name = "augment"
    };
    program_add(program, &augment, pixels, view_none(), view_none(), input);
    branch->stage_end[STAGE_AUGMENT] = program->count;
    const struct view features = tower_features(program, model, t, model->features);
    if (!tower_forward(&model->towers[t], spec, mode == TRAIN, program, input, features,
                       &branch->tape, err))
        return false;
    branch->stage_end[STAGE_FORWARD] = program->count;
    if (mode == TRAIN && tower_trains(&model->towers[t])) {
        const struct view gradient = tower_features(program, model, t, model->feature_gradient);
        if (!tower_backward(&model->towers[t], spec, program, branch->tape, gradient, err))
            return false;
    }
    branch->stage_end[STAGE_BACKWARD] = program->count;
    return program_finish(program, err);
}

static bool build_head(struct model *model, int mode, struct error *err)
{
    const struct model_spec *spec = &model->spec;
    struct branch *branch = &model->head_branches[mode];
    struct program *program = &branch->program;
    const int width = INCEPTION_FEATURES * spec->towers;
    bool trains = false;
    for (int t = 0; t < spec->towers; t++) trains |= tower_trains(&model->towers[t]);
    program_init(program, model->backend);
    const struct head_views views = {
        .features = program_tensor(program, DTYPE_F32, spec->batch, 1, 1, width, model->features),
        .feature_gradient = mode == TRAIN && trains
                                ? program_tensor(program, DTYPE_F32, spec->batch, 1, 1, width,
                                                 model->feature_gradient)
                                : view_none(),
        .logits = program_tensor(program, DTYPE_F32, spec->batch, 1, 1, 1, model->logits),
        .loss = model->loss,
        .probabilities = model->probabilities,
    };
    head_build(&model->head, spec, mode == TRAIN, program, &views);
    return program_finish(program, err);
}

static bool plan_updates(struct model *model, struct error *err)
{
    for (int q = 0; q < model->backend->facts.queues; q++) {
        const int64_t count = model->parameters.regions[q].trained;
        if (count == 0) continue;
        const struct op op = { .kind = OP_OPTIMIZER,
                               .name = "update",
                               .queue = q,
                               .optimizer = { .rule = model->spec.optimizer, .count = count } };
        if (!model->backend->ops->plan(model->backend, &op, &model->update_plans[q], err))
            return false;
    }
    return true;
}

static bool plan_exchange(struct model *model, struct error *err)
{
    struct exchange *exchange = &model->exchange;
    if (!exchange_add(exchange, BRANCH_STATISTICS, NULL, err) ||
        !exchange_add(exchange, BRANCH_HEAD, &model->head_branches[TRAIN].program, err))
        return false;
    for (int t = 0; t < model->spec.towers; t++)
        if (!exchange_add(exchange, t, &model->tower_branches[TRAIN][t].program, err)) return false;
    return exchange_finish(exchange, err);
}

static bool allocate_batches(struct model *model, struct error *err)
{
    const struct model_spec *spec = &model->spec;
    struct backend *backend = model->backend;
    const size_t n = (size_t)spec->batch;
    const size_t feature_bytes = n * INCEPTION_FEATURES * (size_t)spec->towers * sizeof(float);
    const struct {
        void *at;
        size_t bytes;
    } buffers[] = {
        { &model->features, feature_bytes },
        { &model->feature_gradient, feature_bytes },
        { &model->logits, n * sizeof(float) },
        { &model->probabilities, n * sizeof(float) },
    };
    for (size_t i = 0; i < COUNT_OF(buffers); i++)
        if (!backend->ops->alloc(backend, buffers[i].bytes, buffers[i].at, err)) return false;
    return slots_init(model, err);
}

static bool register_all(struct model *model, struct error *err)
{
    parameters_init(&model->parameters, model->backend);
    for (int t = 0; t < model->spec.towers; t++)
        if (!tower_register(&model->towers[t], t, tower_queue(model, t), &model->spec,
                            &model->parameters, err))
            return false;
    if (!head_register(&model->head, &model->spec, &model->parameters, err)) return false;
    const int states = model->spec.training ? optimizer_state_count(model->spec.optimizer.name) : 0;
    const bool averages = model->spec.training && model->spec.ema > 0;
    if (!parameters_allocate(&model->parameters, states, averages, err) ||
        !exchange_init(&model->exchange, &model->parameters, &model->spec, err))
        return false;
    const struct region *first = &model->parameters.regions[0];
    if (model->spec.training) model->loss = first->gradients + first->trained + TAIL_LOSS;
    for (int t = 0; t < model->spec.towers; t++)
        if (!tower_allocate(&model->towers[t], &model->spec, err)) return false;
    return true;
}

bool model_init(struct model **out, struct backend *backend, const struct model_spec *spec,
                struct error *err)
{
    *out = NULL;
    CHECK(spec->towers >= 1 && spec->towers <= TOWERS_MAX && spec->batch >= 1);
    CHECK(!(spec->training && spec->fixed));
    CHECK(spec->model.pool_padding != POOL_PADDING_AUTO);
    if (spec->window < INCEPTION_WINDOW_MIN)
        return error_set(err, EXIT_CODE_USAGE,
                         "data.window: %d px is below InceptionV3's smallest input of %d px",
                         spec->window, INCEPTION_WINDOW_MIN);
    struct model *model = calloc(1, sizeof *model);
    if (!model) return error_set(err, EXIT_CODE_FAILED, "out of memory for the model");
    model->backend = backend;
    model->spec = *spec;
    model->trained_version = 1;
    if (!register_all(model, err) || !allocate_batches(model, err)) goto fail;
    for (int mode = spec->training ? TRAIN : INFER; mode < MODES; mode++) {
        for (int t = 0; t < spec->towers; t++)
            if (!build_tower(model, mode, t, err)) goto fail;
        if (!build_head(model, mode, err)) goto fail;
    }
    if (spec->training &&
        (!plan_exchange(model, err) || !plan_updates(model, err) || !average_plan(model, err)))
        goto fail;
    *out = model;
    return true;
fail:
    model_release(model);
    return false;
}

void model_release(struct model *model)
{
    if (!model) return;
    const struct backend_ops *ops = model->backend->ops;
    struct error ignored = { 0 };
    ops->synchronize(model->backend, &ignored);
    for (int mode = 0; mode < MODES; mode++) {
        for (int t = 0; t < model->spec.towers; t++) {
            program_release(&model->tower_branches[mode][t].program);
            tape_release(model->tower_branches[mode][t].tape);
        }
        program_release(&model->head_branches[mode].program);
    }
    slots_release(model);
    exchange_release(&model->exchange);
    for (int q = 0; q < TOWERS_MAX; q++) {
        ops->plan_release(model->update_plans[q]);
        ops->plan_release(model->average_plans[q]);
    }
    for (int t = 0; t < model->spec.towers; t++) {
        tower_release(&model->towers[t]);
    }
    void *const buffers[] = { model->features, model->feature_gradient, model->logits,
                              model->probabilities };
    for (size_t i = 0; i < COUNT_OF(buffers); i++) ops->free(model->backend, buffers[i]);
    parameters_release(&model->parameters);
    free(model);
}

const struct model_spec *model_spec(const struct model *model)
{
    return &model->spec;
}

struct backend *model_backend(const struct model *model)
{
    return model->backend;
}

struct program *model_program(struct model *model, int tower, bool training)
{
    CHECK(tower >= 0 && tower < model->spec.towers && (model->spec.training || !training));
    return &model->tower_branches[training ? TRAIN : INFER][tower].program;
}

const struct op *model_op(const struct model *model, int tower, bool training, int index,
                          const struct plan **plan)
{
    CHECK(tower >= 0 && tower <= model->spec.towers && (model->spec.training || !training));
    const int mode = training ? TRAIN : INFER;
    const struct program *program = tower < model->spec.towers
                                        ? &model->tower_branches[mode][tower].program
                                        : &model->head_branches[mode].program;
    if (index >= program->count) return NULL;
    if (plan) *plan = program->instructions[index].plan;
    return &program->instructions[index].op;
}

int model_local_shards(const struct model *model)
{
    return model->exchange.local;
}

int model_first_shard(const struct model *model)
{
    return model->exchange.first;
}

int model_parameter_count(const struct model *model)
{
    return model->parameters.count;
}

const struct parameter *model_parameter(const struct model *model, int index)
{
    CHECK(index >= 0 && index < model->parameters.count);
    return &model->parameters.items[index];
}

int64_t model_values(const struct model *model)
{
    int64_t count = 0;
    for (int i = 0; i < model->parameters.count; i++) count += model->parameters.items[i].count;
    return count;
}

int64_t model_trainable_values(const struct model *model)
{
    int64_t count = 0;
    for (int i = 0; i < model->parameters.count; i++)
        if (model->parameters.items[i].trains) count += model->parameters.items[i].count;
    return count;
}

static bool move(struct model *model, int index, enum parameter_part part, float *out,
                 const float *in, struct error *err)
{
    const struct parameter *p = model_parameter(model, index);
    float *ours = malloc((size_t)p->count * sizeof *ours);
    if (!ours) return error_set(err, EXIT_CODE_FAILED, "out of memory for %s", p->name);
    bool ok;
    if (in) {
        order_from_torch(p, in, ours);
        ok = parameters_store(&model->parameters, index, part, ours, err);
        model->trained_version++;
    } else {
        ok = parameters_load(&model->parameters, index, part, ours, err);
        if (ok) order_to_torch(p, ours, out);
    }
    free(ours);
    return ok;
}

bool model_read(struct model *model, int index, enum parameter_part part, float *values,
                struct error *err)
{
    return move(model, index, part, values, NULL, err);
}

bool model_write(struct model *model, int index, enum parameter_part part, const float *values,
                 struct error *err)
{
    return move(model, index, part, NULL, values, err);
}

static void initial_values(const struct parameter *p, int index, uint64_t seed, float *values)
{
    struct random random = random_init(seed, 0, (uint64_t)index, RANDOM_INIT);
    const double inputs = p->dims == 4
                              ? (double)(p->torch_shape[1] * p->torch_shape[2] * p->torch_shape[3])
                              : (double)p->torch_shape[1];
    const float deviation = (float)sqrt(2 / inputs);
    const float limit = (float)sqrt(6 / (inputs + (double)p->torch_shape[0]));
    const size_t length = strlen(p->name);
    const bool one = strcmp(p->name + length - 4, "_var") == 0 || strstr(p->name, "bn.weight");
    for (int64_t i = 0; i < p->count; i++)
        values[i] = p->dims == 4   ? deviation * random_normal(&random)
                    : p->dims == 2 ? random_uniform(&random, -limit, limit)
                                   : one;
}

bool model_randomize(struct model *model, uint64_t seed, struct error *err)
{
    for (int i = 0; i < model->parameters.count; i++) {
        const struct parameter *p = &model->parameters.items[i];
        float *values = malloc((size_t)p->count * sizeof *values);
        if (!values) return error_set(err, EXIT_CODE_FAILED, "out of memory for %s", p->name);
        initial_values(p, i, seed, values);
        bool ok = model_write(model, i, PART_VALUE, values, err);
        for (int state = 1; state <= 2 && ok; state++) {
            if (!(state == 1 ? p->state1 : p->state2)) continue;
            const float start = optimizer_initial_state(model->spec.optimizer.name, state);
            for (int64_t k = 0; k < p->count; k++) values[k] = start;
            ok = model_write(model, i, state == 1 ? PART_STATE1 : PART_STATE2, values, err);
        }
        free(values);
        if (!ok) return false;
    }
    return model_refresh(model, err);
}

bool model_refresh(struct model *model, struct error *err)
{
    for (int t = 0; t < model->spec.towers; t++) {
        struct program *const programs[MODES] = { &model->tower_branches[TRAIN][t].program,
                                                  &model->tower_branches[INFER][t].program };
        if (!tower_fold(&model->towers[t], programs, MODES, model->spec.fixed, err)) return false;
    }
    model->folded_version = model->trained_version;
    return true;
}

struct model_memory model_memory(const struct model *model)
{
    struct model_memory memory = { 0 };
    const size_t n = (size_t)model->spec.batch;
    for (int q = 0; q < TOWERS_MAX; q++) {
        const struct region *region = &model->parameters.regions[q];
        const size_t trained = (size_t)region->trained * sizeof(float);
        memory.parameters += (size_t)region->count * sizeof(float);
        memory.gradients += trained;
        memory.optimizer += trained * ((region->state1 != NULL) + (region->state2 != NULL));
        if (region->average)
            memory.optimizer += trained + (size_t)region->statistics * sizeof(float);
    }
    memory.gradients += exchange_bytes(&model->exchange);
    for (int i = 0; i < model->parameters.count; i++)
        if (model->parameters.items[i].host)
            memory.parameters += (size_t)model->parameters.items[i].count * sizeof(float);
    for (int t = 0; t < model->spec.towers; t++) {
        memory.folded += model->towers[t].folded_bytes + model->towers[t].saved_bytes;
        for (int mode = 0; mode < MODES; mode++) {
            const struct program *program = &model->tower_branches[mode][t].program;
            *(mode == TRAIN ? &memory.activations
                            : &memory.inference_activations) += program->arena_bytes;
            memory.plans += program_plan_bytes(program);
        }
    }
    for (int mode = 0; mode < MODES; mode++) {
        memory.plans += program_plan_bytes(&model->head_branches[mode].program);
        memory.activations += model->head_branches[mode].program.arena_bytes;
    }
    memory.batches += slots_bytes(model) +
                      n * INCEPTION_FEATURES * (size_t)model->spec.towers * 2 * sizeof(float);
    return memory;
}

size_t model_weights_to_load(const struct model *model)
{
    size_t bytes = 0;
    for (int t = 0; t < model->spec.towers; t++)
        for (int mode = 0; mode < MODES; mode++)
            bytes += program_weights_to_load(&model->tower_branches[mode][t].program);
    return bytes;
}

void model_macs(const struct model *model, double *inference, double *training)
{
    double macs[MODES] = { 0 };
    for (int mode = 0; mode < MODES; mode++) {
        for (int t = 0; t < model->spec.towers; t++)
            macs[mode] += program_macs(&model->tower_branches[mode][t].program);
        macs[mode] += program_macs(&model->head_branches[mode].program);
    }
    *inference = macs[INFER] / model->spec.batch;
    *training = macs[TRAIN] / model->spec.batch;
}
