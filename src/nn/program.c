/* Builds, places and runs programs; see the header. */
#include "program.h"

#include <stdlib.h>

#include "micromet/base/size.h"
#include "micromet/base/stop.h"

enum { ALIGNMENT = 256 };

void program_init(struct program *program, struct backend *backend)
{
    *program = (struct program) { .backend = backend };
}

void program_release(struct program *program)
{
    if (!program->backend) return;
    for (int i = 0; i < program->count; i++)
        program->backend->ops->plan_release(program->instructions[i].plan);
    program->backend->ops->free(program->backend, program->arena);
    free(program->instructions);
    free(program->buffers);
    *program = (struct program) { 0 };
}

struct view view_none(void)
{
    return (struct view) { .buffer = -1 };
}

struct view view_outside(const struct tensor *tensor)
{
    return (struct view) { .tensor = *tensor, .buffer = -1 };
}

struct view view_slice(const struct view *whole, int first, int channels)
{
    CHECK(first + channels <= whole->tensor.c);
    struct view slice = *whole;
    slice.tensor.c = channels;
    slice.channel += first;
    return slice;
}

struct view program_tensor(struct program *program, enum dtype dtype, int n, int h, int w, int c,
                           void *fixed)
{
    if (program->buffer_count == program->buffer_capacity) {
        const int capacity = program->buffer_capacity ? 2 * program->buffer_capacity : 128;
        struct buffer *grown = realloc(program->buffers, (size_t)capacity * sizeof *grown);
        if (!grown) {
            program->failed = true;
            return view_none();
        }
        program->buffers = grown;
        program->buffer_capacity = capacity;
    }
    struct view view = {
        .tensor = { .dtype = dtype, .n = n, .h = h, .w = w, .c = c, .pixel_stride = c },
        .buffer = program->buffer_count++
    };
    const size_t bytes = round_up(tensor_bytes(&view.tensor), ALIGNMENT);
    program->buffers[view.buffer] = (struct buffer) { .bytes = bytes, .first = -1, .fixed = fixed };
    return view;
}

static void use(struct program *program, const struct view *view, int instruction)
{
    if (view->buffer < 0) return;
    struct buffer *buffer = &program->buffers[view->buffer];
    if (buffer->first < 0) buffer->first = instruction;
    buffer->last = instruction;
}

struct instruction *program_add(struct program *program, const struct op *op, struct view x,
                                struct view y, struct view dy, struct view out)
{
    static struct instruction nowhere; /* returned if out of memory; written but never read */
    if (program->count == program->capacity) {
        const int capacity = program->capacity ? 2 * program->capacity : 256;
        struct instruction *grown = realloc(program->instructions,
                                            (size_t)capacity * sizeof *grown);
        if (!grown) program->failed = true;
        if (!grown) return &nowhere;
        program->instructions = grown;
        program->capacity = capacity;
    }
    const int index = program->count++;
    struct instruction *i = &program->instructions[index];
    *i = (struct instruction) { .op = *op, .x = x, .y = y, .dy = dy, .out = out };
    use(program, &x, index);
    use(program, &y, index);
    use(program, &dy, index);
    use(program, &out, index);
    return i;
}

static int by_size(const void *a, const void *b)
{
    const struct buffer *x = *(struct buffer *const *)a, *y = *(struct buffer *const *)b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    return x->first - y->first;
}

static bool live_together(const struct buffer *a, const struct buffer *b)
{
    return a->first <= b->last && b->first <= a->last;
}

/* A whole-batch buffer that chunks read or write is live through all chunks, not only
 * between the instructions that name it: the last instruction of one chunk runs before the
 * first of the next. */
static void outlive_chunks(struct program *program)
{
    for (int i = 0; i < program->buffer_count; i++) {
        struct buffer *b = &program->buffers[i];
        const int begin = program->chunk_first, end = program->chunk_end - 1;
        if (b->per_chunk || b->first < 0 || b->first > end || b->last < begin) continue;
        if (b->first > begin) b->first = begin;
        if (b->last < end) b->last = end;
    }
}

/* Place the largest buffers first, each at the lowest offset that is free during its lifetime. */
static bool place(struct program *program, struct error *err)
{
    struct buffer **order = calloc((size_t)program->buffer_count + 1, sizeof *order);
    if (!order) return error_set(err, EXIT_CODE_FAILED, "out of memory for a program");
    int count = 0;
    outlive_chunks(program);
    for (int i = 0; i < program->buffer_count; i++) {
        struct buffer *buffer = &program->buffers[i];
        if (buffer->first >= 0 && !buffer->fixed) order[count++] = buffer;
    }
    qsort(order, (size_t)count, sizeof *order, by_size);
    for (int i = 0; i < count; i++) {
        size_t offset = 0;
        for (bool moved = true; moved;) {
            moved = false;
            for (int j = 0; j < i; j++) {
                const struct buffer *other = order[j];
                if (!live_together(order[i], other)) continue;
                if (offset >= other->offset + other->bytes) continue;
                if (offset + order[i]->bytes <= other->offset) continue;
                offset = other->offset + other->bytes;
                moved = true;
            }
        }
        order[i]->offset = offset;
        if (offset + order[i]->bytes > program->arena_bytes)
            program->arena_bytes = offset + order[i]->bytes;
    }
    free(order);
    return true;
}

void *program_address(const struct program *program, const struct view *view)
{
    if (view->buffer < 0) return NULL;
    const struct buffer *buffer = &program->buffers[view->buffer];
    char *base = buffer->fixed ? buffer->fixed : (char *)program->arena + buffer->offset;
    return base + (size_t)view->channel * dtype_bytes(view->tensor.dtype);
}

bool program_finish(struct program *program, struct error *err)
{
    struct backend *backend = program->backend;
    if (program->failed) return error_set(err, EXIT_CODE_FAILED, "out of memory for a program");
    if (!place(program, err)) return false;
    if (!backend->ops->alloc(backend, program->arena_bytes, &program->arena, err))
        return error_prefix(err, "activations");
    for (int n = 0; n < program->count; n++) {
        struct instruction *i = &program->instructions[n];
        if (i->x.buffer >= 0) i->buffers.x = program_address(program, &i->x);
        if (i->y.buffer >= 0) i->buffers.y = program_address(program, &i->y);
        if (i->dy.buffer >= 0) i->buffers.dy = program_address(program, &i->dy);
        if (i->out.buffer >= 0) i->buffers.out = program_address(program, &i->out);
        if (!stop_check(err) || !backend->ops->plan(backend, &i->op, &i->plan, err)) return false;
    }
    return true;
}

/* The position in a run of the instructions [first, last), which repeats the chunked ones
 * for each chunk. */
struct cursor {
    const struct program *program;
    int first, last;
    int index, chunk; /* of the next instruction; index = last at the end */
};

static struct cursor cursor_begin(const struct program *program, int first, int last)
{
    return (struct cursor) { .program = program, .first = first, .last = last, .index = first };
}

static bool is_chunked(const struct program *program, int index)
{
    return index >= program->chunk_first && index < program->chunk_end;
}

static void cursor_step(struct cursor *at)
{
    const struct program *program = at->program;
    const int index = at->index++;
    if (!is_chunked(program, index)) return;
    if (at->index < at->last && is_chunked(program, at->index)) return; /* same chunk */
    if (++at->chunk < program->chunks)
        at->index = at->first > program->chunk_first ? at->first : program->chunk_first;
    else
        at->chunk = 0;
}

/* Offset of a chunk's images from the view's address, in bytes. */
static size_t chunk_offset(const struct program *program, const struct view *view, int chunk)
{
    if (view->buffer < 0 || program->buffers[view->buffer].per_chunk) return 0;
    return (size_t)chunk * tensor_bytes(&view->tensor);
}

static const void *advance(const void *base, size_t bytes)
{
    return base ? (const char *)base + bytes : NULL;
}

/* `queue` waits for all that is on `other` so far. */
static bool follow(const struct program *program, int queue, int other, struct error *err)
{
    const struct backend_ops *ops = program->backend->ops;
    uint64_t ticket;
    return queue == other || (ops->fence(program->backend, other, &ticket, err) &&
                              ops->wait(program->backend, queue, other, ticket, err));
}

static bool run_one(struct program *program, int index, int chunk,
                    const struct program_values *values, struct error *err)
{
    const struct instruction *i = &program->instructions[index];
    struct op_buffers b = i->buffers;
    b.values = values->step;
    b.draws = values->draws;
    b.labels = values->labels;
    if (i->op.kind == OP_AUGMENT) b.x = values->pixels;
    b.weights_version = i->trained_weights ? values->trained_version : 0;
    if (chunk > 0) {
        b.x = advance(b.x, chunk_offset(program, &i->x, chunk));
        b.out = (char *)b.out + chunk_offset(program, &i->out, chunk);
    }
    return follow(program, i->op.queue, program->queue, err) &&
           program->backend->ops->run(i->plan, &b, err) &&
           follow(program, program->queue, i->op.queue, err);
}

int program_exchange(const struct program *program, int first, int last)
{
    for (int n = first; n < last; n++)
        if (program->instructions[n].op.kind == OP_ALL_REDUCE) return n + 1;
    return 0;
}

bool program_run(struct program *program, int first, int last, const struct program_values *values,
                 struct error *err)
{
    for (struct cursor at = cursor_begin(program, first, last); at.index < last; cursor_step(&at))
        if (!run_one(program, at.index, at.chunk, values, err)) return false;
    return true;
}

bool program_run_marked(struct program *program, const struct program_values *values,
                        double *when_s, struct error *err)
{
    struct backend *backend = program->backend;
    const int last = program->count;
    if (last == 0) return true;
    if (!backend->ops->mark(backend, program->instructions[0].op.queue, when_s, err)) return false;
    for (struct cursor at = cursor_begin(program, 0, last); at.index < last; cursor_step(&at)) {
        const int queue = program->instructions[at.index].op.queue;
        if (!run_one(program, at.index, at.chunk, values, err) ||
            !backend->ops->mark(backend, queue, ++when_s, err))
            return false;
    }
    return true;
}

int program_runs(const struct program *program)
{
    int count = 0;
    const int last = program->count;
    for (struct cursor at = cursor_begin(program, 0, last); at.index < last; cursor_step(&at))
        count++;
    return count;
}

void program_add_times(const struct program *program, const double *when_s, double *seconds)
{
    const int last = program->count;
    for (struct cursor at = cursor_begin(program, 0, last); at.index < last; cursor_step(&at)) {
        seconds[at.index] += when_s[1] - when_s[0];
        when_s++;
    }
}

size_t program_plan_bytes(const struct program *program)
{
    size_t bytes = 0;
    for (int n = 0; n < program->count; n++)
        bytes += program->backend->ops->plan_bytes(program->instructions[n].plan);
    return bytes;
}

size_t program_weights_to_load(const struct program *program)
{
    size_t bytes = 0;
    for (int n = 0; n < program->count; n++) {
        const struct instruction *i = &program->instructions[n];
        if (i->folded && program->backend->ops->plan_bytes(i->plan) == 0)
            bytes += (size_t)op_weight_rows(&i->op) * (size_t)op_weight_channels(&i->op) *
                     sizeof(float);
    }
    return bytes;
}

double program_op_macs(const struct program *program, int index)
{
    const int chunks = is_chunked(program, index) ? program->chunks : 1;
    return op_macs(&program->instructions[index].op) * chunks;
}

double program_macs(const struct program *program)
{
    double macs = 0;
    for (int n = 0; n < program->count; n++) macs += program_op_macs(program, n);
    return macs;
}
