/* Adds the head to a program. A dense layer is a 1×1 convolution of a 1×1 map. */
#include "head.h"

#include <stdio.h>

#include "micromet/nn/inception_v3.h"

bool head_register(struct head *head, const struct model_spec *spec, struct parameters *parameters,
                   struct error *err)
{
    *head = (struct head) { .parameters = parameters };
    const enum parameter_place place = spec->training ? PLACE_TRAINED : PLACE_DEVICE;
    int inputs = INCEPTION_FEATURES * spec->towers;
    for (int i = 0; i <= spec->model.head_count; i++) {
        const int outputs = i < spec->model.head_count ? spec->model.head[i] : 1;
        const int64_t weight_shape[2] = { outputs, inputs }, bias_shape[1] = { outputs };
        char name[96];
        snprintf(name, sizeof name, "head.%d.weight", i);
        head->weight[i] = parameters_add(parameters, name, 2, weight_shape, false, place, 0, err);
        if (head->weight[i] < 0) return false;
        snprintf(name, sizeof name, "head.%d.bias", i);
        head->bias[i] = parameters_add(parameters, name, 1, bias_shape, false, place, 0, err);
        if (head->bias[i] < 0) return false;
        head->outputs[i] = outputs;
        inputs = outputs;
        head->count++;
    }
    return true;
}

static struct op dense_op(enum op_kind kind, const struct view *x, const struct view *y, bool relu)
{
    return (struct op) { .kind = kind,
                         .name = "head",
                         .x = x->tensor,
                         .y = y->tensor,
                         .convolution = { .window = { .kernel_h = 1, .kernel_w = 1, .stride = 1 },
                                          .bias = kind != OP_CONVOLUTION_BACKWARD_DATA,
                                          .relu = relu } };
}

static struct view like(struct program *program, const struct view *view)
{
    const struct tensor *t = &view->tensor;
    return program_tensor(program, DTYPE_F32, t->n, t->h, t->w, t->c, NULL);
}

static struct op dropout_op(const struct model_spec *spec, const struct view *x)
{
    return (struct op) { .kind = OP_DROPOUT,
                         .name = "dropout",
                         .x = x->tensor,
                         .y = x->tensor,
                         .dropout.rate = (float)spec->model.dropout };
}

struct layer_views {
    struct view in, out; /* out: after ReLU, before dropout */
};

static void build_backward(const struct head *head, const struct model_spec *spec,
                           struct program *program, const struct head_views *views,
                           const struct layer_views *layers, struct view dlogits)
{
    const struct parameter *items = head->parameters->items;
    struct view dy = dlogits;
    for (int i = head->count - 1; i >= 0; i--) {
        if (i == 0 && head->count > 1 && spec->model.dropout > 0) {
            const struct op drop = dropout_op(spec, &dy);
            const struct view undropped = like(program, &dy);
            program_add(program, &drop, dy, view_none(), view_none(), undropped);
            dy = undropped;
        }
        if (i < head->count - 1) {
            const struct view masked = like(program, &dy);
            const struct op relu = { .kind = OP_RELU_BACKWARD,
                                     .x = masked.tensor,
                                     .y = layers[i].out.tensor,
                                     .name = "head" };
            program_add(program, &relu, view_none(), layers[i].out, dy, masked);
            dy = masked;
        }
        const struct op filter = dense_op(OP_CONVOLUTION_BACKWARD_FILTER, &layers[i].in, &dy,
                                          false);
        struct instruction *instruction = program_add(program, &filter, layers[i].in, view_none(),
                                                      dy, view_none());
        instruction->buffers.out = items[head->weight[i]].gradient;
        instruction->buffers.dbias = items[head->bias[i]].gradient;
        if (i == 0 && views->feature_gradient.buffer < 0) break;
        const struct view dx = i == 0 ? views->feature_gradient : like(program, &layers[i].in);
        const struct op data = dense_op(OP_CONVOLUTION_BACKWARD_DATA, &dx, &dy, false);
        instruction = program_add(program, &data, view_none(), view_none(), dy, dx);
        instruction->buffers.weights = items[head->weight[i]].device;
        instruction->trained_weights = true;
        dy = dx;
    }
}

void head_build(const struct head *head, const struct model_spec *spec, bool training,
                struct program *program, const struct head_views *views)
{
    const struct parameter *items = head->parameters->items;
    struct layer_views layers[HEAD_DENSE_MAX] = { 0 };
    struct view x = views->features;
    for (int i = 0; i < head->count; i++) {
        const bool last = i == head->count - 1;
        layers[i].in = x;
        layers[i].out = last ? views->logits
                             : program_tensor(program, DTYPE_F32, x.tensor.n, 1, 1,
                                              head->outputs[i], NULL);
        const struct op dense = dense_op(OP_CONVOLUTION, &x, &layers[i].out, !last);
        struct instruction *instruction = program_add(program, &dense, x, view_none(), view_none(),
                                                      layers[i].out);
        instruction->buffers.weights = items[head->weight[i]].device;
        instruction->buffers.bias = items[head->bias[i]].device;
        instruction->trained_weights = true;
        x = layers[i].out;
        if (!training || i != 0 || last || !(spec->model.dropout > 0)) continue;
        const struct op drop = dropout_op(spec, &x);
        const struct view dropped = like(program, &x);
        program_add(program, &drop, x, view_none(), view_none(), dropped);
        x = dropped;
    }
    if (!training) return;
    const struct view dlogits = like(program, &views->logits);
    const struct op loss = {
        .kind = OP_LOSS,
        .x = views->logits.tensor,
        .y = dlogits.tensor,
        .name = "loss",
        .loss = { .rows = spec->batch * (spec->shards > 0 ? spec->shards : 1),
                  .smoothing = spec->label_smoothing,
                  .weights = { spec->class_weights[0], spec->class_weights[1] } },
    };
    struct instruction *instruction = program_add(program, &loss, views->logits, view_none(),
                                                  view_none(), dlogits);
    instruction->buffers.loss = views->loss;
    instruction->buffers.probabilities = views->probabilities;
    build_backward(head, spec, program, views, layers, dlogits);
}
