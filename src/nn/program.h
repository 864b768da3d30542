/* A program: ops in the order in which a queue runs them, with buffers placed in one arena.
 *
 * It is built with program_tensor() and program_add(). program_finish() then finds each buffer's
 * first and last use, lets buffers with disjoint lifetimes share memory, and plans every op. A run
 * only fills in what changes from step to step. */
#ifndef MICROMET_NN_PROGRAM_H
#define MICROMET_NN_PROGRAM_H

#include "micromet/nn/backend.h"

/* A tensor of the program: a buffer, and the first channel of it that the view covers. */
struct view {
    struct tensor tensor; /* shape, stride and type; data is unused */
    int buffer;           /* -1 = none */
    int channel;
};

struct buffer {
    size_t bytes, offset;
    bool per_chunk;  /* holds one chunk's images, overwritten by the next chunk */
    int first, last; /* instructions that use it; first = -1: none yet */
    void *fixed;     /* owned by the caller, not placed in the arena */
};

struct instruction {
    struct op op;
    struct view x, y, dy, out;
    struct op_buffers buffers;
    struct plan *plan;
    /* trained_weights: the weights are in buffers.weights and change with every step. Otherwise the
     * plan has been loaded with the folded weights of `folded` (tower.h). */
    bool trained_weights;
    const struct unit *folded;
};

struct program {
    struct backend *backend;
    struct buffer *buffers;
    int buffer_count, buffer_capacity;
    struct instruction *instructions;
    int count, capacity;
    /* An op of another queue starts when this one gets to it, and this one waits for its end. */
    int queue;
    /* The instructions [chunk_first, chunk_end) run once for each of `chunks` equal parts of the
     * batch, all of them for one part before the next, so that activations stay in cache. Their
     * tensors have the images of one part. */
    int chunk_first, chunk_end, chunks;
    void *arena;
    size_t arena_bytes;
    bool failed; /* out of memory while building; reported by program_finish() */
};

void program_init(struct program *program, struct backend *backend);
void program_release(struct program *program);

/* A tensor whose memory is given anew with every run. */
struct view view_outside(const struct tensor *tensor);
/* A new dense tensor, in the arena or, if fixed != NULL, in the given memory. */
struct view program_tensor(struct program *program, enum dtype dtype, int n, int h, int w, int c,
                           void *fixed);
/* The channels [first, first + channels) of a view. */
struct view view_slice(const struct view *whole, int first, int channels);
struct view view_none(void);

/* Append an op; views that it does not use are view_none(). Returns the instruction, on which to
 * set the op's parameters. */
struct instruction *program_add(struct program *program, const struct op *op, struct view x,
                                struct view y, struct view dy, struct view out);

bool program_finish(struct program *program, struct error *err);

/* The arguments of one run; device memory. */
struct program_values {
    const struct step_values *step;
    const void *pixels;               /* of this tower, for augment */
    const struct augment_draw *draws; /* of this tower, for augment */
    const float *labels;              /* for loss */
    uint64_t trained_version;
};
/* Enqueue the instructions [first, last). */
bool program_run(struct program *program, int first, int last, const struct program_values *values,
                 struct error *err);
/* The index behind the next exchange with other ranks in [first, last); 0 if there is none. */
int program_exchange(const struct program *program, int first, int last);
/* Enqueue the whole program and record the time (clock_seconds) at the start and after each op, in
 * when_s (program_runs() + 1). The times are valid after synchronize(); several programs may be
 * enqueued before that. */
bool program_run_marked(struct program *program, const struct program_values *values,
                        double *when_s, struct error *err);
/* Number of ops that one run of the whole program enqueues, counting those of every chunk. */
int program_runs(const struct program *program);
/* Add the times of a marked run to `seconds` (count), one sum per instruction. */
void program_add_times(const struct program *program, const double *when_s, double *seconds);
/* Address of a placed view. */
void *program_address(const struct program *program, const struct view *view);
/* A tower's program, and values with which to run it on its own (model.c, step.c). */
struct model;
struct program *model_program(struct model *model, int tower, bool training);
struct program_values model_program_values(const struct model *model, int tower);

size_t program_plan_bytes(const struct program *program);
/* Bytes of folded weights that plans will copy when loaded, for plans that hold none yet. */
size_t program_weights_to_load(const struct program *program);
double program_macs(const struct program *program);
double program_op_macs(const struct program *program, int index); /* of the whole batch */

#endif
