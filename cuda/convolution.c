/* Runs convolutions and their gradients: cuDNN's plan, and the copies and kernels that
 * its form (convolution.h) needs before and after it. Also measures the candidate plans
 * if compute.autotune is set. */
#include "convolution.h"

#include <stdio.h>
#include <stdlib.h>

#include "cuda_backend.h"
#include "micromet/base/size.h"

struct detail {
    struct convolution_form form;
    struct cudnn_plan plan;
};

static void release(void *memory)
{
    struct detail *d = memory;
    cudnn_plan_release(&d->plan);
    free(d);
}

static void *scratch(const struct plan *plan, size_t at)
{
    return (char *)plan_workspace(plan) + at;
}

/* The address that cuDNN reads or writes for a view: its data, or its copy in the workspace. */
static bool graph_view(const struct plan *plan, const struct tensor *view, bool copied, size_t at,
                       const void *data, void **address, struct error *err)
{
    *address = copied ? scratch(plan, at) : (void *)(uintptr_t)data;
    if ((uintptr_t)*address % (uintptr_t)cudnn_alignment(view) == 0) return true;
    return op_refuse(&plan->op, err,
                     "a view begins at an address that is no multiple of %lld bytes",
                     (long long)cudnn_alignment(view));
}

static bool copy_view(const struct plan *plan, const struct tensor *to, void *to_data,
                      const struct tensor *from, const void *from_data, bool accumulate,
                      struct error *err)
{
    return CUDA_OK(launch_copy_view(to, to_data, from, from_data, accumulate, plan_stream(plan)),
                   err);
}

static bool run_plan(const struct plan *plan, struct detail *d, void *x, const void *w, void *y,
                     const void *bias, struct error *err)
{
    void *const tensors[CUDNN_TENSORS] = {
        [CUDNN_X] = x,
        [CUDNN_W] = (void *)(uintptr_t)w,
        [CUDNN_Y] = y,
        [CUDNN_BIAS] = (void *)(uintptr_t)bias,
    };
    plan_cache_save(plan->backend->plan_cache); /* all plans are made before the first one runs */
    return cudnn_plan_run(&d->plan, plan->backend->cudnn[plan->op.queue], tensors,
                          plan_workspace(plan), err);
}

static bool run_forward(struct plan *plan, const struct op_buffers *b, struct error *err)
{
    struct detail *d = plan->detail;
    const struct convolution_form *form = &d->form;
    const struct op *op = &plan->op, *graph = &form->graph;
    void *x, *y;
    const void *w;
    return graph_view(plan, &graph->x, form->copy_x, form->x_at, b->x, &x, err) &&
           graph_view(plan, &graph->y, form->copy_y, form->y_at, b->out, &y, err) &&
           weights_take(plan, b, &w, err) &&
           (!form->copy_x || copy_view(plan, &graph->x, x, &op->x, b->x, false, err)) &&
           run_plan(plan, d, x, w, y, graph->convolution.bias ? b->bias : NULL, err) &&
           (!form->bias_relu ||
            CUDA_OK(launch_bias_relu(&graph->y, y, op->convolution.bias ? b->bias : NULL,
                                     op->convolution.relu, plan_stream(plan)),
                    err)) &&
           (!form->copy_y || copy_view(plan, &op->y, b->out, &graph->y, y, false, err));
}

static bool run_backward_data(struct plan *plan, const struct op_buffers *b, struct error *err)
{
    struct detail *d = plan->detail;
    const struct convolution_form *form = &d->form;
    const struct op *op = &plan->op, *graph = &form->graph;
    void *dx, *dy;
    const void *w;
    return graph_view(plan, &graph->x, form->copy_x, form->x_at, b->out, &dx, err) &&
           graph_view(plan, &graph->y, form->copy_y, form->y_at, b->dy, &dy, err) &&
           weights_take(plan, b, &w, err) &&
           (!form->copy_y || copy_view(plan, &graph->y, dy, &op->y, b->dy, false, err)) &&
           run_plan(plan, d, dx, w, dy, NULL, err) &&
           (!form->copy_x ||
            copy_view(plan, &op->x, b->out, &graph->x, dx, op->convolution.accumulate, err));
}

static bool run_backward_filter(struct plan *plan, const struct op_buffers *b, struct error *err)
{
    struct detail *d = plan->detail;
    const struct convolution_form *form = &d->form;
    const struct op *op = &plan->op, *graph = &form->graph;
    cudaStream_t stream = plan_stream(plan);
    void *x, *dy, *dw = form->pack ? scratch(plan, form->w_at) : b->out;
    return graph_view(plan, &graph->x, form->copy_x, form->x_at, b->x, &x, err) &&
           graph_view(plan, &graph->y, form->copy_y, form->y_at, b->dy, &dy, err) &&
           (!form->copy_x || copy_view(plan, &graph->x, x, &op->x, b->x, false, err)) &&
           (!form->copy_y || copy_view(plan, &graph->y, dy, &op->y, b->dy, false, err)) &&
           run_plan(plan, d, x, dw, dy, NULL, err) &&
           (!form->pack ||
            CUDA_OK(launch_unpack_gradient(dw, graph->x.dtype, op_weight_rows(graph), graph->x.c,
                                           op_weight_channels(op), b->out, stream),
                    err)) &&
           (!op->convolution.bias ||
            CUDA_OK(
                launch_channel_sums(&op->y, b->dy, b->dbias, scratch(plan, form->sums_at), stream),
                err));
}

/* --- choosing by the clock --- */

enum { TUNED_MAX = 24, TUNED_RUNS = 3 };

/* Milliseconds of the fastest of TUNED_RUNS runs, after one to warm up. */
static bool time_plan(struct plan *plan, struct cudnn_plan *candidate, void *const *tensors,
                      void *workspace, cudaEvent_t events[2], float *ms_min, struct error *err)
{
    cudnnHandle_t handle = plan->backend->cudnn[plan->op.queue];
    cudaStream_t stream = plan_stream(plan);
    if (!cudnn_plan_run(candidate, handle, tensors, workspace, err)) return false;
    for (int i = 0; i < TUNED_RUNS; i++) {
        float ms;
        if (!CUDA_OK(cudaEventRecord(events[0], stream), err) ||
            !cudnn_plan_run(candidate, handle, tensors, workspace, err) ||
            !CUDA_OK(cudaEventRecord(events[1], stream), err) ||
            !CUDA_OK(cudaEventSynchronize(events[1]), err) ||
            !CUDA_OK(cudaEventElapsedTime(&ms, events[0], events[1]), err))
            return false;
        *ms_min = i == 0 || ms < *ms_min ? ms : *ms_min;
    }
    return true;
}

/* One zeroed allocation for the graph's tensors and the largest workspace. */
static bool tuning_memory(struct plan *plan, const struct op *graph, size_t workspace,
                          void **memory, void *tensors[CUDNN_TENSORS], void **workspace_at,
                          struct error *err)
{
    const size_t weights = (size_t)op_weight_rows(graph) * (size_t)graph->x.c;
    const size_t bytes[CUDNN_TENSORS + 1] = {
        [CUDNN_X] = tensor_bytes(&graph->x),
        [CUDNN_W] = weights * dtype_bytes(graph->x.dtype),
        [CUDNN_Y] = tensor_bytes(&graph->y),
        [CUDNN_BIAS] = graph->convolution.bias ? (size_t)graph->y.c * sizeof(float) : 0,
        [CUDNN_TENSORS] = workspace,
    };
    size_t at[CUDNN_TENSORS + 1], all = 0;
    for (int i = 0; i <= CUDNN_TENSORS; i++) {
        at[i] = all;
        all += round_up(bytes[i], 256);
    }
    if (!cuda_alloc(plan->backend, all, memory, err) ||
        !CUDA_OK(cudaMemsetAsync(*memory, 0, all, plan_stream(plan)), err))
        return false;
    for (int i = 0; i < CUDNN_TENSORS; i++) tensors[i] = bytes[i] ? (char *)*memory + at[i] : NULL;
    *workspace_at = (char *)*memory + at[CUDNN_TENSORS];
    return true;
}

/* Replace the plan by the fastest candidate for its graph, and save that in the cache. */
static bool tune(struct plan *plan, struct detail *d, struct error *err)
{
    struct plan_cache *cache = plan->backend->plan_cache;
    const struct op *graph = &d->form.graph;
    struct cudnn_plan candidates[TUNED_MAX];
    cudaEvent_t events[2] = { NULL, NULL };
    void *memory = NULL, *workspace_at, *tensors[CUDNN_TENSORS];
    size_t workspace = 0;
    struct error why = { 0 }; /* of the last candidate that did not run */
    int count, best = -1;
    float best_ms = 0;
    if (!cudnn_plan_op(candidates, TUNED_MAX, &count, graph, plan_cache_target(cache),
                       plan_cache_limits(cache), err))
        return false;
    for (int i = 0; i < count; i++)
        if (candidates[i].workspace_bytes > workspace) workspace = candidates[i].workspace_bytes;
    bool ok = tuning_memory(plan, graph, workspace, &memory, tensors, &workspace_at, err) &&
              CUDA_OK(cudaEventCreate(&events[0]), err) &&
              CUDA_OK(cudaEventCreate(&events[1]), err);
    for (int i = 0; i < count && ok; i++) {
        float ms = 0;
        if (!time_plan(plan, &candidates[i], tensors, workspace_at, events, &ms, &why)) {
            ok = CUDA_OK(cudaStreamSynchronize(plan_stream(plan)), err); /* others may work */
            continue;
        }
        if (best >= 0 && ms >= best_ms) continue;
        best = i;
        best_ms = ms;
    }
    if (ok && best < 0) {
        *err = why;
        ok = false;
    }
    for (int i = 0; i < count; i++) {
        if (ok && i == best) continue;
        cudnn_plan_release(&candidates[i]);
    }
    for (int i = 0; i < 2; i++)
        if (events[i]) CUDA_RELEASE(cudaEventDestroy(events[i]));
    CUDA_RELEASE(cudaFree(memory));
    if (!ok) return false;
    cudnn_plan_release(&d->plan);
    d->plan = candidates[best];
    plan_cache_keep_tuned(cache, graph, &d->plan);
    return true;
}

/* --- planning --- */

static bool reserve(struct plan *plan, const struct convolution_form *form, struct error *err)
{
    return workspace_reserve(plan->backend, plan->op.queue, form->scratch_bytes, err) &&
           weights_reserve(plan, form->graph.x.dtype, form->graph.x.c, form->kept_bytes, err);
}

bool cuda_plan_convolution(struct plan *plan, struct error *err)
{
    static bool (*const runs[])(struct plan *, const struct op_buffers *, struct error *) = {
        [OP_CONVOLUTION] = run_forward,
        [OP_CONVOLUTION_BACKWARD_DATA] = run_backward_data,
        [OP_CONVOLUTION_BACKWARD_FILTER] = run_backward_filter,
    };
    struct plan_cache *cache = plan->backend->plan_cache;
    struct detail *d = calloc(1, sizeof *d);
    bool reused;
    if (!d) return error_set(err, EXIT_CODE_FAILED, "out of memory for a plan");
    bool ok = convolution_form_plan(&d->form, &d->plan, &reused, &plan->op, cache, err);
    if (ok && plan->backend->autotune && !plan_cache_tuned(cache, &d->form.graph)) {
        ok = tune(plan, d, err);
        if (ok) convolution_form_lay_out(&d->form, &plan->op, &d->plan);
    }
    if (!ok || !reserve(plan, &d->form, err)) {
        release(d);
        return false;
    }
    plan->run = runs[plan->op.kind];
    plan->release = release;
    plan->detail = d;
    return true;
}
