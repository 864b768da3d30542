/* A program: ops in the order in which one queue runs them, with buffers placed in one arena by
 * their lifetimes.
 *
 * Build it (program_tensor, program_add), then program_finish() finds each buffer's first and last
 * use, lays buffers that never live together over each other, and plans every op. Running it only
 * fills in what changes from step to step. */
#ifndef MICROMET_NN_PROGRAM_H
#define MICROMET_NN_PROGRAM_H

#include "micromet/nn/backend.h"

/* A tensor of the program: a buffer and the channel at which the view begins. */
struct view {
    struct tensor tensor; /* shape, stride, type; data unused */
    int buffer;           /* -1 = none */
    int channel;
};

struct buffer {
    size_t bytes, offset;
    bool per_chunk;  /* holds the images of one chunk, overwritten by the next */
    int first, last; /* instructions that use it; first = -1 before any does */
    void *fixed;     /* memory of somebody else: not placed in the arena */
};

struct instruction {
    struct op op;
    struct view x, y, dy, out;
    struct op_buffers buffers;
    struct plan *plan;
    /* Weights come from buffers.weights and change with every step, or the plan was given the
     * folded ones of this convolution (tower.h). */
    bool trained_weights;
    const struct unit *folded;
};

struct program {
    struct backend *backend;
    struct buffer *buffers;
    int buffer_count, buffer_capacity;
    struct instruction *instructions;
    int count, capacity;
    /* Instructions [chunk_first, chunk_end) run once for each of `chunks` equal parts of the batch,
     * one part through all of them before the next: their activations then stay in cache. Their
     * tensors have the images of one part. */
    int chunk_first, chunk_end, chunks;
    void *arena;
    size_t arena_bytes;
    bool failed; /* out of memory while building; told by program_finish() */
};

void program_init(struct program *program, struct backend *backend);
void program_release(struct program *program);

/* A tensor that every run brings with it. */
struct view view_outside(const struct tensor *tensor);
/* A new dense tensor, in the arena or (fixed != NULL) in given memory. */
struct view program_tensor(struct program *program, enum dtype dtype, int n, int h, int w, int c,
                           void *fixed);
/* `channels` channels of a view from `first` on. */
struct view view_slice(const struct view *whole, int first, int channels);
struct view view_none(void);

/* Append; views that an op does not use are view_none(). Returns the instruction to
 * set parameters on. */
struct instruction *program_add(struct program *program, const struct op *op, struct view x,
                                struct view y, struct view dy, struct view out);

bool program_finish(struct program *program, struct error *err);

/* What one run has of its own; device memory. */
struct program_values {
    const struct step_values *step;
    const void *pixels;               /* augment: of this tower */
    const struct augment_draw *draws; /* augment: of this tower */
    const float *labels;              /* loss */
    uint64_t trained_version;
};
/* Queue instructions [first, last). */
bool program_run(struct program *program, int first, int last, const struct program_values *values,
                 struct error *err);
/* The same, with the time (clock_seconds) at the start and after each op in `when_s`:
 * program_runs() + 1 of them. Several programs may be queued before synchronize() makes
 * their times good. */
bool program_run_marked(struct program *program, const struct program_values *values,
                        double *when_s, struct error *err);
/* Ops that one run of the whole program queues, those of each chunk counted. */
int program_runs(const struct program *program);
/* Add the times of a marked run to `seconds` (count), one sum an instruction. */
void program_add_times(const struct program *program, const double *when_s, double *seconds);
/* Address of a placed view. */
void *program_address(const struct program *program, const struct view *view);
/* A tower's program in a model, and values to run it with by itself (model.c). */
struct model;
struct program *model_program(struct model *model, int tower, bool training);
struct program_values model_program_values(const struct model *model, int tower);

size_t program_plan_bytes(const struct program *program);
/* Folded weights that plans will take a copy of, where they keep none yet; bytes. */
size_t program_weights_to_load(const struct program *program);
double program_macs(const struct program *program);
double program_op_macs(const struct program *program, int index); /* of the whole batch */

#endif
