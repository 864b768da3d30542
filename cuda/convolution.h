/* How a convolution is computed: the graph that cuDNN has an engine for, and what stands around it.
 *
 * The best form is the op as it stands in one kernel. Where cuDNN refuses that, bias and ReLU
 * follow in a kernel of ours; where it refuses a view, a dense copy of it lies in scratch;
 * where it refuses the types, all is done in F32. The form is found when the op is planned,
 * never in training. */
#ifndef MICROMET_CUDA_CONVOLUTION_H
#define MICROMET_CUDA_CONVOLUTION_H

#include "plan_cache.h"

struct convolution_form {
    struct op graph;     /* what cuDNN computes */
    bool bias_relu;      /* follow in a kernel */
    bool copy_x, copy_y; /* through dense scratch of the graph's type */
    bool pack; /* weights, or the filter gradient, are of another type or have fewer channels */
    size_t x_at, y_at, w_at, sums_at; /* in the queue's scratch, behind cuDNN's workspace */
    size_t scratch_bytes;             /* all of it */
    size_t kept_bytes;                /* packed weights that stay */
};

/* The first form that cuDNN plans. */
bool convolution_form_plan(struct convolution_form *form, struct cudnn_plan *plan, bool *reused,
                           const struct op *op, struct plan_cache *cache, struct error *err);

/* Where things lie in scratch, by the workspace of another plan for the same graph. */
void convolution_form_lay_out(struct convolution_form *form, const struct op *op,
                              const struct cudnn_plan *plan);

/* "fused", "conv, bias+relu", "conv, y copied", … */
void convolution_form_name(const struct convolution_form *form, char name[64]);

#endif
