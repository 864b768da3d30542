/* The reference; see the header. Formulas are those of nn/op.h and nn/optimizer.h. */
#include "reference.h"

#include <math.h>
#include <stdlib.h>

#include "micromet/base/random.h"

/* Rows of reference.channels. */
enum { MEAN, VARIANCE, INVERSE_STD, SUM_G, SUM_GX, SUM_ABS, CHANNEL_ROWS };

/* The pixels that a batch norm's statistics are of. */
static double norm_pixels(const struct op *op)
{
    return op->batch_norm.part == NORM_REST ? (double)op->batch_norm.pixels
                                            : (double)tensor_pixels(&op->x);
}

double reference_load(const struct tensor *t, const void *data, int n, int y, int x, int c)
{
    const int64_t i = (((int64_t)n * t->h + y) * t->w + x) * t->pixel_stride + c;
    switch (t->dtype) {
    case DTYPE_F32:
        return ((const float *)data)[i];
    case DTYPE_BF16:
        return bf16_to_float(((const uint16_t *)data)[i]);
    case DTYPE_U8:
        return ((const uint8_t *)data)[i];
    }
    return NAN;
}

static void add(struct reference_value *v, double term)
{
    v->value += term;
    v->magnitude += fabs(term);
}

static void keep(struct reference_value *v, double old)
{
    add(v, old);
    v->kept = old;
}

static struct reference_value exactly(double value)
{
    return (struct reference_value) { .value = value, .magnitude = fabs(value) };
}

static struct reference_value sum3(double a, double b, double c)
{
    struct reference_value v = { 0 };
    add(&v, a);
    add(&v, b);
    add(&v, c);
    return v;
}

static bool is_bf16(const struct op *op)
{
    return op->x.dtype == DTYPE_BF16 || op->y.dtype == DTYPE_BF16;
}

/* Add a value times a weight. */
static void add_weighted(struct reference_value *v, const struct op *op, const struct op_buffers *b,
                         double value, int k, int r, int s, int c)
{
    const struct op_window *w = &op->convolution.window;
    const int64_t tap = ((int64_t)k * w->kernel_h + r) * w->kernel_w + s;
    const float weight = b->weights[tap * op->x.c + c];
    add(v, value * weight);
    if (is_bf16(op)) v->shift += value * ((double)bf16_to_float(bf16_from_float(weight)) - weight);
}

static bool inside(const struct tensor *t, int y, int x)
{
    return y >= 0 && y < t->h && x >= 0 && x < t->w;
}

static struct reference_value convolution(const struct op *op, const struct op_buffers *b, int n,
                                          int oy, int ox, int k)
{
    const struct op_window *w = &op->convolution.window;
    struct reference_value v = { 0 };
    for (int r = 0; r < w->kernel_h; r++)
        for (int s = 0; s < w->kernel_w; s++) {
            const int y = oy * w->stride + r - w->pad_h, x = ox * w->stride + s - w->pad_w;
            for (int c = 0; c < op->x.c && inside(&op->x, y, x); c++)
                add_weighted(&v, op, b, reference_load(&op->x, b->x, n, y, x, c), k, r, s, c);
        }
    if (op->convolution.bias) add(&v, b->bias[k]);
    if (op->convolution.relu) {
        v.shift = fmax(v.value + v.shift, 0) - fmax(v.value, 0);
        v.value = fmax(v.value, 0);
    }
    return v;
}

/* The output position whose tap `tap` reads input position `in`; -1 if there is none. */
static int output_of(int in, int tap, int pad, int stride, int outputs)
{
    const int at = in + pad - tap;
    return at >= 0 && at % stride == 0 && at / stride < outputs ? at / stride : -1;
}

static struct reference_value convolution_data(const struct op *op, const struct op_buffers *b,
                                               int n, int y, int x, int c)
{
    const struct op_window *w = &op->convolution.window;
    struct reference_value v = { 0 };
    for (int r = 0; r < w->kernel_h; r++)
        for (int s = 0; s < w->kernel_w; s++) {
            const int oy = output_of(y, r, w->pad_h, w->stride, op->y.h);
            const int ox = output_of(x, s, w->pad_w, w->stride, op->y.w);
            for (int k = 0; k < op->y.c && oy >= 0 && ox >= 0; k++)
                add_weighted(&v, op, b, reference_load(&op->y, b->dy, n, oy, ox, k), k, r, s, c);
        }
    if (op->convolution.accumulate) keep(&v, reference_load(&op->x, b->out, n, y, x, c));
    return v;
}

static struct reference_value convolution_filter(const struct op *op, const struct op_buffers *b,
                                                 int k, int r, int s, int c)
{
    const struct op_window *w = &op->convolution.window;
    struct reference_value v = { 0 };
    for (int n = 0; n < op->y.n; n++)
        for (int oy = 0; oy < op->y.h; oy++)
            for (int ox = 0; ox < op->y.w; ox++) {
                const int y = oy * w->stride + r - w->pad_h;
                const int x = ox * w->stride + s - w->pad_w;
                if (!inside(&op->x, y, x)) continue;
                add(&v, reference_load(&op->x, b->x, n, y, x, c) *
                            reference_load(&op->y, b->dy, n, oy, ox, k));
            }
    return v;
}

static struct reference_value sum_of_dy(const struct op *op, const struct op_buffers *b, int k)
{
    struct reference_value v = { 0 };
    for (int n = 0; n < op->y.n; n++)
        for (int y = 0; y < op->y.h; y++)
            for (int x = 0; x < op->y.w; x++) add(&v, reference_load(&op->y, b->dy, n, y, x, k));
    return v;
}

/* dy, or 0 if ReLU clipped the value. */
static double masked_dy(const struct op *op, const struct op_buffers *b, int n, int y, int x, int c)
{
    if (op->batch_norm.relu && !(reference_load(&op->y, b->y, n, y, x, c) > 0)) return 0;
    return reference_load(&op->y, b->dy, n, y, x, c);
}

static double gamma_at(const struct op *op, const struct op_buffers *b, int c)
{
    return op->batch_norm.gamma ? b->gamma[c] : 1;
}

static double xhat_at(const struct op *op, const struct op_buffers *b, int n, int y, int x, int c)
{
    return (reference_load(&op->x, b->x, n, y, x, c) - b->saved_mean[c]) * b->saved_inverse_std[c];
}

static double *row(const struct reference *reference, int which)
{
    return reference->channels + (size_t)which * reference->op->x.c;
}

/* Mean and variance of x, with the mean of |x| for the error bound. */
static void norm_statistics(const struct reference *reference, int c)
{
    const struct op *op = reference->op;
    const struct op_buffers *b = reference->b;
    const double m = (double)tensor_pixels(&op->x);
    double sum = 0, sum_abs = 0, squares = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int n = 0; n < op->x.n; n++)
            for (int y = 0; y < op->x.h; y++)
                for (int x = 0; x < op->x.w; x++) {
                    const double value = reference_load(&op->x, b->x, n, y, x, c);
                    if (pass == 0) {
                        sum += value;
                        sum_abs += fabs(value);
                    } else {
                        squares += (value - sum / m) * (value - sum / m);
                    }
                }
    row(reference, SUM_ABS)[c] = sum_abs;
    row(reference, MEAN)[c] = op->batch_norm.frozen ? b->moving_mean[c] : sum / m;
    row(reference, VARIANCE)[c] = op->batch_norm.frozen ? b->moving_variance[c] : squares / m;
    if (op->batch_norm.part == NORM_REST) {
        const double all = norm_pixels(op), off = b->sums[c] / all;
        row(reference, SUM_ABS)[c] = all * (fabs(b->moving_mean[c]) + fabs(off));
        row(reference, MEAN)[c] = b->moving_mean[c] + off;
        row(reference, VARIANCE)[c] = b->sums[op->x.c + c] / all - off * off;
    }
    row(reference, INVERSE_STD)[c] = 1 / sqrt(row(reference, VARIANCE)[c] + op->batch_norm.epsilon);
}

static void norm_gradient_sums(const struct reference *reference, int c)
{
    const struct op *op = reference->op;
    const struct op_buffers *b = reference->b;
    double sum_g = 0, sum_gx = 0, sum_abs = 0;
    for (int n = 0; n < op->x.n; n++)
        for (int y = 0; y < op->x.h; y++)
            for (int x = 0; x < op->x.w; x++) {
                const double g = masked_dy(op, b, n, y, x, c);
                sum_g += g;
                sum_gx += g * xhat_at(op, b, n, y, x, c);
                sum_abs += fabs(g) * (1 + fabs(xhat_at(op, b, n, y, x, c)));
            }
    if (op->batch_norm.part == NORM_REST) {
        sum_g = b->sums[c];
        sum_gx = b->sums[op->x.c + c];
        sum_abs = fabs(sum_g) + fabs(sum_gx);
    }
    row(reference, SUM_G)[c] = sum_g;
    row(reference, SUM_GX)[c] = sum_gx;
    row(reference, SUM_ABS)[c] = sum_abs;
}

/* The sum over all pixels of the deviation from the moving mean, or of its square. */
static struct reference_value norm_sum(const struct op *op, const struct op_buffers *b, int which,
                                       int c)
{
    struct reference_value v = { 0 };
    const double origin = b->moving_mean[c];
    for (int n = 0; n < op->x.n; n++)
        for (int y = 0; y < op->x.h; y++)
            for (int x = 0; x < op->x.w; x++) {
                const double value = reference_load(&op->x, b->x, n, y, x, c);
                v.value += pow(value - origin, 1 + which);
                v.magnitude += pow(fabs(value) + fabs(origin), 1 + which);
            }
    return v;
}

static struct reference_value norm_element(const struct reference *reference, int n, int y, int x,
                                           int c)
{
    const struct op *op = reference->op;
    const struct op_buffers *b = reference->b;
    const double scale = row(reference, INVERSE_STD)[c] * gamma_at(op, b, c);
    struct reference_value v = sum3(reference_load(&op->x, b->x, n, y, x, c) * scale,
                                    -row(reference, MEAN)[c] * scale, b->beta[c]);
    if (op->batch_norm.relu && v.value < 0) v.value = 0;
    return v;
}

static struct reference_value moved(const struct op *op, double old, double batch)
{
    return op->batch_norm.frozen ? exactly(old)
                                 : sum3(op->batch_norm.momentum * old,
                                        (1 - (double)op->batch_norm.momentum) * batch, 0);
}

static struct reference_value norm(const struct reference *reference, enum role role, int n, int y,
                                   int x, int c)
{
    const struct op *op = reference->op;
    const struct op_buffers *b = reference->b;
    const double m = norm_pixels(op), mean = row(reference, MEAN)[c];
    const double bessel = op->batch_norm.unbiased_moving && m > 1 ? m / (m - 1) : 1;
    struct reference_value v = exactly(mean);
    switch (role) {
    case ROLE_SAVED_MEAN:
        v.magnitude = op->batch_norm.frozen ? fabs(mean) : row(reference, SUM_ABS)[c] / m;
        return v;
    case ROLE_SAVED_INVERSE_STD:
        return exactly(row(reference, INVERSE_STD)[c]);
    case ROLE_MOVING_MEAN:
        v = moved(op, b->moving_mean[c], mean);
        v.magnitude += op->batch_norm.frozen ? 0 : row(reference, SUM_ABS)[c] / m;
        return v;
    case ROLE_MOVING_VARIANCE:
        return moved(op, b->moving_variance[c], row(reference, VARIANCE)[c] * bessel);
    case ROLE_SUMS:
        return norm_sum(op, b, x, c);
    default:
        return norm_element(reference, n, y, x, c);
    }
}

static struct reference_value norm_backward(const struct reference *reference, enum role role,
                                            int n, int y, int x, int c)
{
    const struct op *op = reference->op;
    const struct op_buffers *b = reference->b;
    const double m = norm_pixels(op), sum_abs = row(reference, SUM_ABS)[c];
    const double sum_g = row(reference, SUM_G)[c], sum_gx = row(reference, SUM_GX)[c];
    const bool of_gx = role == ROLE_DGAMMA || (role == ROLE_SUMS && x == 1);
    struct reference_value v = exactly(of_gx ? sum_gx : sum_g);
    if (role == ROLE_DGAMMA || role == ROLE_DBIAS || role == ROLE_SUMS) {
        v.magnitude = sum_abs;
        return v;
    }
    const double scale = b->saved_inverse_std[c] * gamma_at(op, b, c);
    const double xhat = xhat_at(op, b, n, y, x, c), g = masked_dy(op, b, n, y, x, c);
    if (op->batch_norm.frozen) return exactly(scale * g);
    v = sum3(scale * g, -scale * sum_g / m, -scale * xhat * sum_gx / m);
    v.magnitude += fabs(scale) * (1 + fabs(xhat)) * sum_abs / m;
    return v;
}

/* Input positions in an output's window along one axis, without padding. */
static void window(int out, int kernel, int stride, int pad, int in, int *first, int *last)
{
    *first = out * stride - pad > 0 ? out * stride - pad : 0;
    *last = out * stride - pad + kernel < in ? out * stride - pad + kernel : in;
}

static struct reference_value pool(const struct op *op, const struct op_buffers *b, int n, int oy,
                                   int ox, int c)
{
    const struct op_window *w = &op->pool.window;
    int y0, y1, x0, x1;
    window(oy, w->kernel_h, w->stride, w->pad_h, op->x.h, &y0, &y1);
    window(ox, w->kernel_w, w->stride, w->pad_w, op->x.w, &x0, &x1);
    const double area = op->pool.exclude_padding ? (y1 - y0) * (x1 - x0)
                                                 : w->kernel_h * w->kernel_w;
    struct reference_value sum = { 0 };
    double maximum = -INFINITY;
    for (int y = y0; y < y1; y++)
        for (int x = x0; x < x1; x++) {
            const double value = reference_load(&op->x, b->x, n, y, x, c);
            add(&sum, value / area);
            maximum = value > maximum ? value : maximum;
        }
    return op->pool.average ? sum : exactly(maximum);
}

/* The factor of window (oy, ox)'s gradient for its pixel (y, x): 1 or 0
 * for max, 1/area for average. */
static double pool_share(const struct op *op, const struct op_buffers *b, int n, int oy, int ox,
                         int y, int x, int c)
{
    const struct op_window *w = &op->pool.window;
    int y0, y1, x0, x1;
    window(oy, w->kernel_h, w->stride, w->pad_h, op->x.h, &y0, &y1);
    window(ox, w->kernel_w, w->stride, w->pad_w, op->x.w, &x0, &x1);
    if (op->pool.average)
        return 1.0 / (op->pool.exclude_padding ? (y1 - y0) * (x1 - x0) : w->kernel_h * w->kernel_w);
    const double here = reference_load(&op->x, b->x, n, y, x, c);
    for (int i = y0; i < y1; i++)
        for (int j = x0; j < x1; j++) {
            const double other = reference_load(&op->x, b->x, n, i, j, c);
            const bool earlier = i < y || (i == y && j < x);
            if (other > here || (other == here && earlier)) return 0;
        }
    return 1;
}

static struct reference_value pool_backward(const struct op *op, const struct op_buffers *b, int n,
                                            int y, int x, int c)
{
    const struct op_window *w = &op->pool.window;
    struct reference_value v = { 0 };
    for (int r = 0; r < w->kernel_h; r++)
        for (int s = 0; s < w->kernel_w; s++) {
            const int oy = output_of(y, r, w->pad_h, w->stride, op->y.h);
            const int ox = output_of(x, s, w->pad_w, w->stride, op->y.w);
            if (oy < 0 || ox < 0) continue;
            add(&v, pool_share(op, b, n, oy, ox, y, x, c) *
                        reference_load(&op->y, b->dy, n, oy, ox, c));
        }
    if (op->pool.accumulate) keep(&v, reference_load(&op->x, b->out, n, y, x, c));
    return v;
}

static struct reference_value dropout(const struct op *op, const struct op_buffers *b, int n, int y,
                                      int x, int c)
{
    const uint64_t row = (uint64_t)b->values->first_row + (uint64_t)n;
    const uint64_t pixel = (row * (uint64_t)op->x.h + (uint64_t)y) * (uint64_t)op->x.w +
                           (uint64_t)x;
    struct random random = random_init(b->values->seed, (uint32_t)b->values->step, pixel,
                                       RANDOM_DROPOUT);
    for (int skipped = 0; skipped < c; skipped++) random_u32(&random);
    const bool keep = random_uniform(&random, 0, 1) >= op->dropout.rate;
    return exactly(keep ? reference_load(&op->x, b->x, n, y, x, c) / (1 - (double)op->dropout.rate)
                        : 0);
}

static double sigmoid(double z)
{
    return z >= 0 ? 1 / (1 + exp(-z)) : exp(z) / (1 + exp(z));
}

static struct reference_value loss(const struct op *op, const struct op_buffers *b, enum role role,
                                   int n)
{
    const double z = reference_load(&op->x, b->x, n, 0, 0, 0);
    const double samples = op->loss.rows ? op->loss.rows : op->x.n;
    if (role == ROLE_PROBABILITIES) return exactly(sigmoid(z));
    const double *weights = op->loss.weights, smoothing = op->loss.smoothing;
    const double of_0 = weights[0] > 0 ? weights[0] : 1, of_1 = weights[1] > 0 ? weights[1] : 1;
    const double t = b->labels[n], w = (1 - t) * of_0 + t * of_1;
    const double smooth = t - smoothing * (t - 0.5);
    if (role == ROLE_OUT) return sum3(w * sigmoid(z) / samples, -w * smooth / samples, 0);
    struct reference_value v = { 0 };
    for (int i = 0; i < op->x.n; i++) {
        const double zi = reference_load(&op->x, b->x, i, 0, 0, 0), ti = b->labels[i];
        const double si = ti - smoothing * (ti - 0.5), wi = (1 - ti) * of_0 + ti * of_1;
        add(&v, wi * ((zi > 0 ? zi : 0) - zi * si + log1p(exp(-fabs(zi)))) / samples);
    }
    return v;
}

/* State after a step; s1 and s2 are 0 if the rule does not have them. */
struct state {
    double s1, s2, update;
};

static struct state optimizer_step(const struct config_optimizer *o, const struct op_buffers *b,
                                   int i, double g)
{
    const double lr = b->values->learning_rate, t = (double)b->values->step, s1 = b->state1[i];
    const double s2 = b->state2 ? b->state2[i] : 0;
    struct state next = { 0, 0, 0 };
    switch (o->name) {
    case OPTIMIZER_ADAM:
    case OPTIMIZER_ADAMW:
        next.s1 = o->beta1 * s1 + (1 - o->beta1) * g;
        next.s2 = o->beta2 * s2 + (1 - o->beta2) * g * g;
        next.update = lr * (next.s1 / (1 - pow(o->beta1, t))) /
                      (sqrt(next.s2 / (1 - pow(o->beta2, t))) + o->epsilon);
        break;
    case OPTIMIZER_RMSPROP:
        next.s1 = o->decay * s1 + (1 - o->decay) * g * g;
        next.s2 = next.update = o->momentum * s2 + lr * g / sqrt(next.s1 + o->epsilon);
        break;
    case OPTIMIZER_SGD:
        next.s1 = o->momentum * s1 + g;
        next.update = lr * next.s1;
        break;
    }
    return next;
}

/* Gradient and weight decay may cancel, but their magnitudes add up. */
static struct reference_value optimizer(const struct op *op, const struct op_buffers *b,
                                        enum role role, int i)
{
    const bool decoupled = op->optimizer.rule.name == OPTIMIZER_ADAMW;
    const double p = b->parameters[i], all_decay = op->optimizer.rule.weight_decay * p;
    const double decay = decoupled ? 0 : all_decay, shrink = decoupled ? all_decay : 0;
    const double g = b->gradients[i] + decay, gross = fabs(b->gradients[i]) + fabs(decay);
    const double uncancelled = g != 0 ? gross / fabs(g) : 1;
    const struct state next = optimizer_step(&op->optimizer.rule, b, i, g);
    struct reference_value v = { 0 };
    if (role == ROLE_PARAMETERS) {
        v = sum3(p, -next.update, -b->values->learning_rate * shrink);
        v.magnitude += fabs(next.update) * uncancelled;
        return v;
    }
    const double old = role == ROLE_STATE1 ? b->state1[i] : b->state2[i];
    v.value = role == ROLE_STATE1 ? next.s1 : next.s2;
    v.magnitude = fabs(old) + fabs(v.value - old) * uncancelled * uncancelled;
    return v;
}

void reference_init(struct reference *reference, const struct op *op, const struct op_buffers *b)
{
    *reference = (struct reference) { .op = op, .b = b };
    if (op->kind != OP_BATCH_NORM && op->kind != OP_BATCH_NORM_BACKWARD) return;
    reference->channels = calloc((size_t)CHANNEL_ROWS * op->x.c, sizeof *reference->channels);
    CHECK(reference->channels);
    for (int c = 0; c < op->x.c; c++)
        if (op->kind == OP_BATCH_NORM)
            norm_statistics(reference, c);
        else
            norm_gradient_sums(reference, c);
}

void reference_release(struct reference *reference)
{
    free(reference->channels);
    *reference = (struct reference) { 0 };
}

static struct reference_value scaled_sum(const struct op *op, const struct op_buffers *b, int c)
{
    const double scale = op->sum.scale;
    return sum3(scale * ((const float *)b->out)[c], scale * ((const float *)b->x)[c], 0);
}

struct reference_value reference_at(const struct reference *reference, enum role role, int n, int y,
                                    int x, int c)
{
    const struct op *op = reference->op;
    const struct op_buffers *b = reference->b;
    switch (op->kind) {
    case OP_CONVOLUTION:
        return convolution(op, b, n, y, x, c);
    case OP_CONVOLUTION_BACKWARD_DATA:
        return convolution_data(op, b, n, y, x, c);
    case OP_CONVOLUTION_BACKWARD_FILTER:
        return role == ROLE_DBIAS ? sum_of_dy(op, b, c) : convolution_filter(op, b, n, y, x, c);
    case OP_BATCH_NORM:
        return norm(reference, role, n, y, x, c);
    case OP_BATCH_NORM_BACKWARD:
        return norm_backward(reference, role, n, y, x, c);
    case OP_POOL:
        return pool(op, b, n, y, x, c);
    case OP_POOL_BACKWARD:
        return pool_backward(op, b, n, y, x, c);
    case OP_RELU_BACKWARD:
        return exactly(reference_load(&op->y, b->y, n, y, x, c) > 0
                           ? reference_load(&op->y, b->dy, n, y, x, c)
                           : 0);
    case OP_DROPOUT:
        return dropout(op, b, n, y, x, c);
    case OP_LOSS:
        return loss(op, b, role, n);
    case OP_OPTIMIZER:
        return optimizer(op, b, role, c);
    case OP_SUM:
        return scaled_sum(op, b, c);
    default:
        CHECK(!"this op has no reference");
        return exactly(NAN);
    }
}

double reference_terms(const struct op *op, enum role role)
{
    const struct op_window *w = op_window(op);
    const double area = w ? (double)w->kernel_h * w->kernel_w : 0;
    switch (op->kind) {
    case OP_CONVOLUTION:
        return area * op->x.c;
    case OP_CONVOLUTION_BACKWARD_DATA:
        return area * op->y.c;
    case OP_CONVOLUTION_BACKWARD_FILTER:
        return (double)tensor_pixels(&op->y);
    case OP_POOL:
        return area;
    case OP_POOL_BACKWARD:
        return area * area;
    case OP_DROPOUT:
        return op->x.c;
    case OP_LOSS:
        return role == ROLE_LOSS ? op->x.n : 1;
    default:
        return 1;
    }
}
