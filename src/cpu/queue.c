/* Job queues of the CPU backend. Two towers on two queues need no barrier inside a layer: each
 * keeps its activations in the caches of its own cores. */
#include "queue.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/base/thread.h"

static bool job_do(const struct job *job, struct error *err)
{
    switch (job->kind) {
    case JOB_RUN:
        return job->plan->execute(job->plan, &job->buffers, err);
    case JOB_LOAD:
        return job->plan->load(job->plan, job->from, err);
    case JOB_COPY:
        memcpy(job->to, job->from, job->bytes);
        return true;
    case JOB_ZERO:
        memset(job->to, 0, job->bytes);
        return true;
    case JOB_MARK:
        *job->when_s = clock_seconds();
        return true;
    case JOB_WAIT:
        queue_await(job->other, job->ticket);
        return true;
    }
    return true;
}

static void *queue_work(void *argument)
{
    struct queue *queue = argument;
    omp_set_num_threads(queue->threads);
    omp_set_dynamic(0);
    pthread_mutex_lock(&queue->mutex);
    for (;;) {
        while (queue->completed == queue->submitted && !queue->stop)
            pthread_cond_wait(&queue->changed, &queue->mutex);
        if (queue->completed == queue->submitted) break;
        const struct job job = queue->jobs[queue->completed % QUEUE_JOBS];
        const bool skip = queue->error.code != EXIT_CODE_OK && job.kind != JOB_WAIT;
        pthread_mutex_unlock(&queue->mutex);
        struct error error = { 0 };
        if (!skip) job_do(&job, &error);
        pthread_mutex_lock(&queue->mutex);
        if (error.code != EXIT_CODE_OK && queue->error.code == EXIT_CODE_OK) queue->error = error;
        queue->completed++;
        pthread_cond_broadcast(&queue->changed);
    }
    pthread_mutex_unlock(&queue->mutex);
    return NULL;
}

bool queue_init(struct queue *queue, int threads, struct error *err)
{
    *queue = (struct queue) { .threads = threads };
    queue->jobs = calloc(QUEUE_JOBS, sizeof *queue->jobs);
    if (!queue->jobs) return error_set(err, EXIT_CODE_FAILED, "out of memory for a job queue");
    pthread_mutex_init(&queue->mutex, NULL);
    pthread_cond_init(&queue->changed, NULL);
    if (pthread_create(&queue->thread, NULL, queue_work, queue) != 0) {
        free(queue->jobs);
        *queue = (struct queue) { 0 };
        return error_set(err, EXIT_CODE_FAILED, "cannot start a compute thread");
    }
    queue->started = true;
    return true;
}

void queue_release(struct queue *queue)
{
    if (!queue->started) return;
    pthread_mutex_lock(&queue->mutex);
    queue->stop = true;
    pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&queue->mutex);
    pthread_join(queue->thread, NULL);
    pthread_cond_destroy(&queue->changed);
    pthread_mutex_destroy(&queue->mutex);
    free(queue->jobs);
    free(queue->scratch);
    *queue = (struct queue) { 0 };
}

void queue_submit(struct queue *queue, const struct job *job)
{
    pthread_mutex_lock(&queue->mutex);
    while (queue->submitted - queue->completed == QUEUE_JOBS)
        pthread_cond_wait(&queue->changed, &queue->mutex);
    queue->jobs[queue->submitted % QUEUE_JOBS] = *job;
    queue->submitted++;
    if (queue->submitted - queue->completed == 1) pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&queue->mutex);
}

uint64_t queue_submitted(struct queue *queue)
{
    pthread_mutex_lock(&queue->mutex);
    const uint64_t submitted = queue->submitted;
    pthread_mutex_unlock(&queue->mutex);
    return submitted;
}

struct error queue_error(struct queue *queue)
{
    pthread_mutex_lock(&queue->mutex);
    const struct error error = queue->error;
    pthread_mutex_unlock(&queue->mutex);
    return error;
}

void queue_await(struct queue *queue, uint64_t ticket)
{
    pthread_mutex_lock(&queue->mutex);
    while (queue->completed < ticket) pthread_cond_wait(&queue->changed, &queue->mutex);
    pthread_mutex_unlock(&queue->mutex);
}

bool queue_scratch_reserve(struct plan *plan, size_t bytes, struct error *err)
{
    struct queue *queue = plan->queue;
    if (bytes <= queue->scratch_bytes) return true;
    queue_await(queue, queue_submitted(queue));
    void *grown;
    if (!cpu_alloc(bytes, &grown, err)) return false;
    free(queue->scratch);
    queue->scratch = grown;
    queue->scratch_bytes = bytes;
    return true;
}

void *queue_scratch(const struct plan *plan)
{
    return plan->queue->scratch;
}
