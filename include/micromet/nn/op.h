/* An op: one computation of the network, given by its kind, shapes and options.
 *
 * Ops do not depend on the backend. Each kind gives its formula here; tests/reference.c computes
 * all of them in double precision with plain loops. op_check() tells whether an op is valid at all;
 * a backend may still refuse to plan it.
 *
 * Every op has an input x and an output y, NHWC. A gradient reads dy, of y's shape, and
 * writes dx, of x's shape. Both are F32 or both BF16 unless the kind says otherwise;
 * parameters and their gradients are F32. */
#ifndef MICROMET_NN_OP_H
#define MICROMET_NN_OP_H

#include "micromet/base/config.h"
#include "micromet/base/error.h"
#include "micromet/nn/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

enum op_kind {
    /* y[n,oy,ox,k] = act(bias[k] + sum_{r,s,c} x[n, oy*stride+r-pad_h, ox*stride+s-pad_w, c] *
     * w[k,r,s,c]), with zeros outside the map. act is ReLU if `relu`; there is a bias if `bias`. A
     * dense layer is the 1×1 convolution of a 1×1 map. */
    OP_CONVOLUTION,

    /* dx = the transposed convolution of dy, added to the old dx if `accumulate`. */
    OP_CONVOLUTION_BACKWARD_DATA,

    /* dw[k,r,s,c] = sum_{n,oy,ox} dy[n,oy,ox,k] * x[n, oy*stride+r-pad_h, ox*stride+s-pad_w, c],
     * and dbias[k] = sum_{n,oy,ox} dy[n,oy,ox,k] if `bias`. */
    OP_CONVOLUTION_BACKWARD_FILTER,

    /* y = act(gamma*(x - mean)*inverse_std + beta), for each channel over (n,h,w). act is ReLU if
     * `relu`; gamma is 1 unless `gamma`.
     *
     * Mean and variance are those of the batch: saved_mean and saved_inverse_std = 1/sqrt(biased
     * variance + epsilon) are written, and the moving statistics become momentum*old +
     * (1-momentum)*new, where the new variance is multiplied by m/(m-1), m = n*h*w (Bessel's
     * correction), if `unbiased_moving`. If `frozen`, mean and variance are the moving statistics,
     * which are copied to saved_* and do not change.
     *
     * Ranks that share their batch statistics compute it in two parts, between which they add up
     * their sums: NORM_SUMS only writes the sums of x - moving_mean and of its square;
     * NORM_REST does all else, given the sums over `pixels` pixels. */
    OP_BATCH_NORM,

    /* With xhat = (x - mean)*inverse_std, g = dy, or dy * (y > 0) if `relu`, m = n*h*w and
     * g' = g*gamma: dbeta = sum g, dgamma = sum g*xhat (if `gamma`), and
     * dx = inverse_std*(g' - mean(g') - xhat*mean(g'*xhat)), or inverse_std*g' if `frozen`.
     * In two parts: NORM_SUMS writes dbeta, dgamma and the sums of g and of g*xhat; NORM_REST
     * writes dx, given the sums over `pixels` pixels. */
    OP_BATCH_NORM_BACKWARD,

    /* The maximum over the window's pixels inside the map; or if `average`, their sum
     * divided by kernel_h*kernel_w, or by the number of those pixels if `exclude_padding`. y
     * may be F32 if x is BF16. */
    OP_POOL,

    /* dx, added to the old dx if `accumulate`. The dy of a maximum goes to the first pixel, in row
     * order, that has that value. */
    OP_POOL_BACKWARD,

    /* dx = dy * (y > 0). */
    OP_RELU_BACKWARD,

    /* y = x * keep / (1 - rate), where keep is 0 with probability `rate`, else 1. Pixel p
     * draws for its channels from the Philox stream (seed, step, first_row*h*w + p, dropout), so
     * that the same op run on dy gives dx, and a piece of a batch draws what the whole would. */
    OP_DROPOUT,

    /* x: logits z (N,1,1,1); labels t (N). probabilities = sigmoid(z). With the smoothed label
     * s = t*(1-smoothing) + smoothing/2 and the weight w = weights[0] + t*(weights[1]-weights[0]),
     * loss = the sum over N of w*(max(z,0) - z*s + log(1+exp(-|z|))), divided by `rows`, whatever
     * the weights; y: dz = w*(sigmoid(z) - s)/rows in F32. */
    OP_LOSS,

    /* U8 windows (N,W,W,3) to activations (N,W,W,c), c >= 3, which are zero after the third
     * channel; see data/augment.h and nn/augment_pixel.h. */
    OP_AUGMENT,

    /* One update of `count` contiguous parameters; formulas in nn/optimizer.h. */
    OP_OPTIMIZER,

    /* out = scale*(out + x), for `count` floats. */
    OP_SUM,

    /* out = scale times the sum over all ranks of their terms, added up in the order of
     * nn/shard_tree.h; `count` floats, the same on all ranks afterwards. Each rank has those terms
     * that are left of its shards: the last is the old out, the earlier ones are x,
     * `term_stride` floats apart, and are overwritten. All ranks run the same of these in the same
     * order. */
    OP_ALL_REDUCE,

    OP_KIND_COUNT
};

/* The input pixels that the output pixel (oy, ox) is computed from: kernel_h × kernel_w of them,
 * starting at row oy*stride - pad_h and column ox*stride - pad_w. */
struct op_window {
    int kernel_h, kernel_w, stride, pad_h, pad_w;
};

struct op_convolution {
    struct op_window window;
    /* Channels of the weights, if x has more, which are zero; 0: as many as x. */
    int weights_c;
    bool bias, relu, accumulate;
};

struct op_pool {
    struct op_window window;
    bool average, exclude_padding, accumulate;
};

enum norm_part { NORM_WHOLE, NORM_SUMS, NORM_REST };

struct op_batch_norm {
    bool gamma, relu, frozen, unbiased_moving;
    enum norm_part part;
    int64_t pixels; /* NORM_REST: of all ranks */
    float epsilon, momentum;
};

struct op_dropout {
    float rate;
};

struct op_loss {
    /* Rows of the whole batch, of which these N are a piece; 0: N. */
    int rows;
    double smoothing;  /* in [0, 1) */
    double weights[2]; /* of the labels 0 and 1; 0: 1 */
};

struct op_sum {
    int64_t count;
    float scale;
};

struct op_all_reduce {
    int64_t count, term_stride;
    int shards; /* of the whole step */
    float scale;
};

struct op_optimizer {
    struct config_optimizer rule;
    int64_t count;
};

struct op {
    enum op_kind kind;
    /* For messages and profiles, such as "Mixed_6c.branch1x1"; NULL, or owned by the caller. */
    const char *name;
    /* The queue of the backend that it runs on. */
    int queue;
    /* Shapes, strides and types without data. Optimizers and sums have none. */
    struct tensor x, y;
    /* The kind's options. Kinds without a member here have none. */
    union {
        /* A convolution and both of its gradients. */
        struct op_convolution convolution;
        /* A pool and its gradient. */
        struct op_pool pool;
        /* A batch norm and its gradient. */
        struct op_batch_norm batch_norm;
        struct op_dropout dropout;
        struct op_loss loss;
        struct op_optimizer optimizer;
        struct op_sum sum;
        struct op_all_reduce all_reduce;
    };
};

const char *op_kind_name(enum op_kind kind);

/* Whether the op is valid: its shapes, types and options fit its kind and each other. If not, the
 * message names kind, op and reason. */
bool op_check(const struct op *op, struct error *err);

/* Refuse the op: sets "kind name: reason" and returns false. */
bool op_refuse(const struct op *op, struct error *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A convolution or one of its gradients: op->convolution holds its options. */
bool op_is_convolution(const struct op *op);

/* A convolution or one of its gradients that is a matrix product: 1×1 on
 * 1×1 maps, without padding. */
bool op_is_dense(const struct op *op);

/* The window of a convolution, a pool or one of their gradients; NULL for other kinds. */
const struct op_window *op_window(const struct op *op);

/* A convolution's weights (K,R,S,C) as a matrix: K*R*S rows of C channels. */
int64_t op_weight_rows(const struct op *op);
int op_weight_channels(const struct op *op);

/* The loss's weight of a label, and its label smoothed. */
static inline double op_loss_weight(const struct op_loss *loss, double label)
{
    const double of_0 = loss->weights[0] != 0 ? loss->weights[0] : 1;
    const double of_1 = loss->weights[1] != 0 ? loss->weights[1] : 1;
    return of_0 + label * (of_1 - of_0);
}

static inline double op_loss_label(const struct op_loss *loss, double label)
{
    return label * (1 - loss->smoothing) + loss->smoothing / 2;
}

/* Multiply-adds of a convolution or one of its gradients, except taps on the
 * padding; 0 for other kinds. */
double op_macs(const struct op *op);

#ifdef __cplusplus
}
#endif

#endif
