/* A queue of the CPU backend: one worker thread that does jobs in order, as a CUDA
 * stream does kernels. */
#ifndef MICROMET_CPU_QUEUE_H
#define MICROMET_CPU_QUEUE_H

#include <pthread.h>

#include "plan.h"

enum { QUEUE_JOBS = 2048 };

enum job_kind { JOB_RUN, JOB_LOAD, JOB_COPY, JOB_ZERO, JOB_WAIT, JOB_MARK };

struct queue;

struct job {
    enum job_kind kind;
    struct plan *plan;
    struct op_buffers buffers;
    void *to;
    const void *from;
    size_t bytes;
    struct queue *other; /* JOB_WAIT: until `other` has done `ticket` jobs */
    uint64_t ticket;
    double *when_s; /* JOB_MARK */
};

struct queue {
    pthread_t thread;
    bool started;
    int threads; /* OpenMP team of the worker */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct job *jobs; /* ring of QUEUE_JOBS */
    uint64_t submitted, completed;
    void *scratch; /* that its plans share */
    size_t scratch_bytes;
    bool stop;
    struct error error; /* of the first job that failed; later jobs are skipped */
};

bool queue_init(struct queue *queue, int threads, struct error *err);
void queue_release(struct queue *queue);
void queue_submit(struct queue *queue, const struct job *job);
uint64_t queue_submitted(struct queue *queue);
/* Wait until `ticket` jobs are done. */
void queue_await(struct queue *queue, uint64_t ticket);
/* The first error so far. */
struct error queue_error(struct queue *queue);

#endif
