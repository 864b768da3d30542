/* How a convolution is computed: the graph that cuDNN has an engine for, and the kernels around it.
 *
 * The best form is the whole op in one fused kernel of cuDNN. If cuDNN refuses that, bias and ReLU
 * follow in a kernel of ours; if it refuses a strided view, the view is copied to a dense tensor in
 * the workspace; if it refuses the types, everything is computed in F32. The form is chosen when
 * the op is planned, never during training. */
#ifndef MICROMET_CUDA_CONVOLUTION_H
#define MICROMET_CUDA_CONVOLUTION_H

#include "plan_cache.h"

struct convolution_form {
    struct op graph;     /* computed by cuDNN */
    bool bias_relu;      /* in a separate kernel afterwards */
    bool copy_x, copy_y; /* via dense copies of the graph's type */
    /* The weights, or the filter gradient, have another type or fewer channels than the graph's. */
    bool pack;
    size_t x_at, y_at, w_at, sums_at; /* offsets in the queue's workspace, after cuDNN's part */
    size_t scratch_bytes;             /* of the workspace in all */
    size_t kept_bytes;                /* packed weights, kept by the plan */
};

/* Find the best form that cuDNN has an engine for. */
bool convolution_form_plan(struct convolution_form *form, struct cudnn_plan *plan, bool *reused,
                           const struct op *op, struct plan_cache *cache, struct error *err);

/* Lay out the workspace again, for another plan of the same graph. */
void convolution_form_lay_out(struct convolution_form *form, const struct op *op,
                              const struct cudnn_plan *plan);

/* "fused", "plain, then bias+relu", "plain, y copied" and so on. */
void convolution_form_name(const struct convolution_form *form, char name[64]);

#endif
