/* Builds a tower's instructions: forward through the table, and backward through its trained rows.
 *
 * Every tensor in the table is a node. A row with `into` set writes a slice of that node, so
 * no concat is ever executed; in the backward pass the row receives the same slice of the
 * node's gradient. */
#include "tower.h"

#include <stdlib.h>

enum { NODES_MAX = INCEPTION_LAYERS + 16 };

/* The rows up to this block have few weights and large activations. In inference, and in training
 * if they are frozen, they run in chunks of the batch, such that a chunk's largest tensor takes at
 * most facts.chunk_bytes. */
static const char chunked_block[] = "maxpool2";

struct node {
    const char *name;
    struct view value, gradient;
    bool needs_gradient, gradient_written;
    int channels_filled;
};

/* What the backward pass needs to know of a row. */
struct record {
    const struct inception_layer *layer;
    const struct unit *unit;  /* NULL for pools */
    int from, to;             /* nodes */
    struct view in, out, raw; /* raw: before a trained batch norm */
    int channel;              /* of `out`, in its node */
};

struct tape {
    int images; /* images per row being added: the batch, or a chunk of it */
    struct node nodes[NODES_MAX];
    int node_count;
    struct record records[INCEPTION_LAYERS];
    struct view features;
};

static int node_find(const struct tape *tape, const char *name)
{
    for (int i = 0; i < tape->node_count; i++)
        if (strcmp(tape->nodes[i].name, name) == 0) return i;
    return -1;
}

struct view tape_view(const struct tape *tape, const char *name)
{
    if (strcmp(name, "features") == 0) return tape->features;
    const int node = node_find(tape, name);
    return node < 0 ? view_none() : tape->nodes[node].value;
}

void tape_release(struct tape *tape)
{
    free(tape);
}

/* Number of channels that all rows together write into `name`. */
static int node_channels(const struct tape *tape, const char *name)
{
    int sum = 0;
    for (int i = 0; i < INCEPTION_LAYERS; i++) {
        const struct inception_layer *l = &inception_v3[i];
        if (strcmp(l->into ? l->into : l->name, name) != 0) continue;
        sum += l->channels ? l->channels : tape->nodes[node_find(tape, l->from)].value.tensor.c;
    }
    return sum;
}

static int node_for_output(struct tape *tape, struct program *program, int batch,
                           const struct inception_layer *l, const struct tensor *in)
{
    const char *name = l->into ? l->into : l->name;
    const int found = node_find(tape, name);
    if (found >= 0) return found;
    CHECK(tape->node_count < NODES_MAX);
    struct node *node = &tape->nodes[tape->node_count];
    *node = (struct node) { .name = name, .gradient = view_none() };
    const bool inside = tape->images < batch && strcmp(name, chunked_block) != 0;
    node->value = program_tensor(program, in->dtype, inside ? tape->images : batch,
                                 inception_output_side(l, in->h, l->kernel_h),
                                 inception_output_side(l, in->w, l->kernel_w),
                                 node_channels(tape, name), NULL);
    if (inside && node->value.buffer >= 0) program->buffers[node->value.buffer].per_chunk = true;
    return tape->node_count++;
}

static struct op_window window_of(const struct inception_layer *l)
{
    return (struct op_window) { .kernel_h = l->kernel_h,
                                .kernel_w = l->kernel_w,
                                .stride = l->stride,
                                .pad_h = l->same ? (l->kernel_h - 1) / 2 : 0,
                                .pad_w = l->same ? (l->kernel_w - 1) / 2 : 0 };
}

static struct op convolution_op(const struct inception_layer *l, enum op_kind kind,
                                const struct view *in, const struct view *out, int queue)
{
    return (struct op) { .kind = kind,
                         .name = l->name,
                         .queue = queue,
                         .x = in->tensor,
                         .y = out->tensor,
                         .convolution.window = window_of(l) };
}

static struct op pool_op(const struct inception_layer *l, enum op_kind kind, const struct view *in,
                         const struct view *out, const struct model_spec *spec, int queue)
{
    return (struct op) { .kind = kind,
                         .name = l->name,
                         .queue = queue,
                         .x = in->tensor,
                         .y = out->tensor,
                         .pool = { .window = window_of(l),
                                   .average = l->kind == INCEPTION_AVERAGE_POOL,
                                   .exclude_padding = spec->model.pool_padding ==
                                                      POOL_PADDING_EXCLUDE } };
}

static struct op norm_op(const struct record *r, enum op_kind kind, const struct model_spec *spec,
                         int queue)
{
    return (struct op) { .kind = kind,
                         .name = r->layer->name,
                         .queue = queue,
                         .x = r->raw.tensor,
                         .y = r->out.tensor,
                         .batch_norm = { .gamma = r->unit->gamma >= 0,
                                         .relu = true,
                                         .frozen = spec->model.batch_norm == BATCH_NORM_FROZEN,
                                         .epsilon = inception_epsilon,
                                         .momentum = (float)spec->model.batch_norm_momentum } };
}

static void norm_buffers(const struct tower *tower, const struct unit *u, struct op_buffers *b)
{
    const struct parameter *items = tower->parameters->items;
    b->gamma = u->gamma >= 0 ? items[u->gamma].device : NULL;
    b->dgamma = u->gamma >= 0 ? items[u->gamma].gradient : NULL;
    b->beta = items[u->beta].device;
    b->dbias = items[u->beta].gradient;
    b->moving_mean = items[u->mean].device;
    b->moving_variance = items[u->variance].device;
    b->saved_mean = u->saved_mean;
    b->saved_inverse_std = u->saved_inverse_std;
    b->sums = u->sums;
}

/* A batch norm or its gradient; if ranks share their statistics, in two parts with their exchange
 * between. */
static void add_norm(const struct tower *tower, struct program *program, struct op norm,
                     const struct record *r, struct view y, struct view dy, struct view out)
{
    const struct unit *u = r->unit;
    if (tower->ranks > 0) {
        norm.batch_norm.part = NORM_SUMS;
        norm_buffers(tower, u, &program_add(program, &norm, r->raw, y, dy, view_none())->buffers);
        const int64_t count = 2 * (int64_t)norm.x.c;
        const struct op sum = { .kind = OP_ALL_REDUCE,
                                .name = norm.name,
                                .queue = tower->exchange_queue,
                                .all_reduce = { .count = count,
                                                .term_stride = count,
                                                .shards = tower->ranks,
                                                .scale = 1 } };
        program_add(program, &sum, view_none(), view_none(), view_none(), view_none())
            ->buffers.out = u->sums;
        norm.batch_norm.part = NORM_REST;
        norm.batch_norm.pixels = tensor_pixels(&norm.x) * tower->ranks;
    }
    norm_buffers(tower, u, &program_add(program, &norm, r->raw, y, dy, out)->buffers);
}

static void add_convolution(const struct tower *tower, const struct model_spec *spec,
                            struct program *program, struct record *r, bool training)
{
    const struct unit *u = r->unit;
    struct op op = convolution_op(r->layer, OP_CONVOLUTION, &r->in, &r->out, tower->queue);
    op.convolution.weights_c = u->in_channels;
    if (!(training && u->norm_trains)) {
        op.convolution.bias = op.convolution.relu = true;
        struct instruction *i = program_add(program, &op, r->in, view_none(), view_none(), r->out);
        i->folded = u;
        i->buffers.bias = u->folded_bias;
        return;
    }
    const struct tensor *y = &r->out.tensor;
    r->raw = program_tensor(program, y->dtype, y->n, y->h, y->w, y->c, NULL);
    op.y = r->raw.tensor;
    struct instruction *i = program_add(program, &op, r->in, view_none(), view_none(), r->raw);
    i->buffers.weights = tower->parameters->items[u->weight].device;
    i->trained_weights = true;
    add_norm(tower, program, norm_op(r, OP_BATCH_NORM, spec, tower->queue), r, view_none(),
             view_none(), r->out);
}

static void add_row(struct tower *tower, const struct model_spec *spec, struct program *program,
                    struct tape *tape, int row, const struct unit *unit, bool training)
{
    const struct inception_layer *l = &inception_v3[row];
    struct record *r = &tape->records[row];
    *r = (struct record) { .layer = l, .unit = unit, .from = node_find(tape, l->from) };
    CHECK(r->from >= 0);
    r->in = tape->nodes[r->from].value;
    r->in.tensor.n = tape->images;
    r->to = node_for_output(tape, program, spec->batch, l, &r->in.tensor);
    struct node *to = &tape->nodes[r->to];
    const int channels = l->channels ? l->channels : r->in.tensor.c;
    r->channel = to->channels_filled;
    r->out = view_slice(&to->value, r->channel, channels);
    r->out.tensor.n = tape->images;
    to->channels_filled += channels;
    const bool from_needs = tape->nodes[r->from].needs_gradient;
    if (unit) {
        CHECK(!(training && from_needs && !unit->norm_trains)); /* frozen layers come first */
        add_convolution(tower, spec, program, r, training);
        to->needs_gradient |= training && unit->norm_trains;
    } else {
        const struct op op = pool_op(l, OP_POOL, &r->in, &r->out, spec, tower->queue);
        program_add(program, &op, r->in, view_none(), view_none(), r->out);
        to->needs_gradient |= from_needs;
    }
}

static struct op global_pool_op(const struct view *in, const struct view *out, enum op_kind kind,
                                int queue)
{
    return (struct op) {
        .kind = kind,
        .name = "global average pool",
        .queue = queue,
        .x = in->tensor,
        .y = out->tensor,
        .pool = { .window = { .kernel_h = in->tensor.h, .kernel_w = in->tensor.w, .stride = 1 },
                  .average = true }
    };
}

static bool feeds_chunked_block(const struct inception_layer *l)
{
    return !strncmp(l->name, "Conv2d", 6) || !strncmp(l->name, "maxpool", 7);
}

/* Images per chunk: a divisor of the batch, or the whole batch if those rows are trained. */
static int chunk_images(const struct tower *tower, const struct model_spec *spec, bool training,
                        const struct program *program)
{
    for (int i = 0; i < INCEPTION_CONVOLUTIONS; i++)
        if (training && tower->units[i].norm_trains && feeds_chunked_block(tower->units[i].layer))
            return spec->batch;
    const int64_t chunk_bytes = program->backend->facts.chunk_bytes;
    if (chunk_bytes == 0) return spec->batch;
    const int64_t side = spec->window / 2, image_bytes = side * side * 64 * 4;
    int images = spec->batch;
    while (images > 1 && (images * image_bytes > chunk_bytes || spec->batch % images != 0))
        images--;
    return images;
}

bool tower_forward(struct tower *tower, const struct model_spec *spec, bool training,
                   struct program *program, struct view input, struct view features,
                   struct tape **out, struct error *err)
{
    struct tape *tape = calloc(1, sizeof *tape);
    *out = tape;
    if (!tape) return error_set(err, EXIT_CODE_FAILED, "out of memory for a tower");
    tape->nodes[tape->node_count++] =
        (struct node) { .name = "input", .value = input, .gradient = view_none() };
    int unit = 0;
    tape->images = chunk_images(tower, spec, training, program);
    program->queue = tower->queue;
    program->chunks = spec->batch / tape->images;
    program->chunk_first = program->chunk_end = program->count;
    for (int row = 0; row < INCEPTION_LAYERS; row++) {
        const bool chunked = feeds_chunked_block(&inception_v3[row]);
        if (!chunked) tape->images = spec->batch;
        const bool convolution = inception_v3[row].kind == INCEPTION_CONVOLUTION;
        add_row(tower, spec, program, tape, row, convolution ? &tower->units[unit++] : NULL,
                training);
        if (chunked) program->chunk_end = program->count;
    }
    const struct view last = tape_view(tape, inception_v3_output);
    const struct op op = global_pool_op(&last, &features, OP_POOL, tower->queue);
    program_add(program, &op, last, view_none(), view_none(), features);
    tape->features = features;
    return true;
}

/* The gradient of a node, created for its first consumer; *accumulate is set for the later ones. */
static struct view gradient_of(struct program *program, struct node *node, bool *accumulate)
{
    const struct tensor *t = &node->value.tensor;
    if (node->gradient.buffer < 0)
        node->gradient = program_tensor(program, t->dtype, t->n, t->h, t->w, t->c, NULL);
    *accumulate = node->gradient_written;
    node->gradient_written = true;
    return node->gradient;
}

static void back_convolution(const struct tower *tower, const struct model_spec *spec,
                             struct program *program, struct tape *tape, const struct record *r,
                             struct view dy)
{
    const struct unit *u = r->unit;
    const struct parameter *weight = &tower->parameters->items[u->weight];
    const struct tensor *raw = &r->raw.tensor;
    const struct view draw = program_tensor(program, raw->dtype, raw->n, raw->h, raw->w, raw->c,
                                            NULL);
    add_norm(tower, program, norm_op(r, OP_BATCH_NORM_BACKWARD, spec, tower->queue), r, r->out, dy,
             draw);
    if (u->weights_train) {
        struct op op = convolution_op(r->layer, OP_CONVOLUTION_BACKWARD_FILTER, &r->in, &draw,
                                      tower->queue);
        op.convolution.weights_c = u->in_channels;
        program_add(program, &op, r->in, view_none(), draw, view_none())->buffers.out =
            weight->gradient;
    }
    struct node *from = &tape->nodes[r->from];
    if (!from->needs_gradient) return;
    bool accumulate;
    const struct view dx = gradient_of(program, from, &accumulate);
    struct op op = convolution_op(r->layer, OP_CONVOLUTION_BACKWARD_DATA, &dx, &draw, tower->queue);
    op.convolution.accumulate = accumulate;
    struct instruction *i = program_add(program, &op, view_none(), view_none(), draw, dx);
    i->buffers.weights = weight->device;
    i->trained_weights = true;
}

static void back_pool(const struct tower *tower, const struct model_spec *spec,
                      struct program *program, struct tape *tape, const struct record *r,
                      struct view dy)
{
    bool accumulate;
    const struct view dx = gradient_of(program, &tape->nodes[r->from], &accumulate);
    struct op op = pool_op(r->layer, OP_POOL_BACKWARD, &dx, &dy, spec, tower->queue);
    op.pool.accumulate = accumulate;
    program_add(program, &op, r->in, view_none(), dy, dx);
}

bool tower_backward(struct tower *tower, const struct model_spec *spec, struct program *program,
                    struct tape *tape, struct view feature_gradient, struct error *err)
{
    (void)err;
    struct node *last = &tape->nodes[node_find(tape, inception_v3_output)];
    if (!last->needs_gradient) return true;
    bool accumulate;
    const struct view dlast = gradient_of(program, last, &accumulate);
    const struct op op = global_pool_op(&dlast, &feature_gradient, OP_POOL_BACKWARD, tower->queue);
    program_add(program, &op, last->value, view_none(), feature_gradient, dlast);
    for (int row = INCEPTION_LAYERS - 1; row >= 0; row--) {
        const struct record *r = &tape->records[row];
        const struct node *to = &tape->nodes[r->to];
        const bool trains = r->unit ? r->unit->norm_trains : tape->nodes[r->from].needs_gradient;
        if (!to->gradient_written || !trains) continue;
        const struct view dy = view_slice(&to->gradient, r->channel, r->out.tensor.c);
        if (r->unit)
            back_convolution(tower, spec, program, tape, r, dy);
        else
            back_pool(tower, spec, program, tape, r, dy);
    }
    return true;
}
