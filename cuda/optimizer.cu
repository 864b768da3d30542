/* Parameter updates, sums and averages over contiguous arrays, reading and writing every value
 * once. Formulas in nn/optimizer.h and nn/op.h.
 *
 * Values that change from step to step are read from device memory, so that a recorded step can be
 * replayed. Adam's bias corrections are computed once per block, in double. */
#include <math.h>

#include "micromet/base/size.h"
#include "tiles.cuh"

enum { VECTOR = 4 };

static const int64_t blocks_max = 2048;

/* Constants derived from the configuration. */
struct rule {
    double beta1, beta2;
    float keep1, fresh1, keep2, fresh2; /* weights of the old state and of the new gradient */
    float momentum, epsilon, weight_decay;
};

struct region {
    float *parameters, *state1, *state2;
    const float *gradients;
};

/* Values of this step: the learning rate, for Adam divided by its first bias correction, and the
 * reciprocal square root of its second; and the share that AdamW takes off the weights. */
struct step_scale {
    float rate, root, shrink;
};

static __host__ __device__ constexpr bool is_adam(enum optimizer_name name)
{
    return name == OPTIMIZER_ADAM || name == OPTIMIZER_ADAMW;
}

template <enum optimizer_name NAME>
__device__ inline struct step_scale scale_of(const struct rule &r, const struct step_values *values)
{
    const float shrink = values->learning_rate * r.weight_decay;
    if (!is_adam(NAME)) return { values->learning_rate, 0, shrink };
    __shared__ float scale[2];
    const double t = (double)values->step;
    if (threadIdx.x == 0) scale[0] = (float)(values->learning_rate / (1 - pow(r.beta1, t)));
    if (threadIdx.x == WARP_LANES) scale[1] = (float)(1 / sqrt(1 - pow(r.beta2, t)));
    __syncthreads();
    return { scale[0], scale[1], shrink };
}

template <enum optimizer_name NAME, int V>
__device__ inline void update_at(const struct rule &r, const struct region &at, struct step_scale s,
                                 int64_t i)
{
    floats<V> p = load<V>(at.parameters + i), g = load<V>(at.gradients + i);
    floats<V> s1 = load<V>(at.state1 + i), s2 = {};
    if (NAME != OPTIMIZER_SGD) s2 = load<V>(at.state2 + i);
    for (int k = 0; k < V; k++) {
        const float slope = NAME == OPTIMIZER_ADAMW ? g.v[k] : g.v[k] + r.weight_decay * p.v[k];
        if (NAME == OPTIMIZER_ADAMW) p.v[k] -= s.shrink * p.v[k];
        if (is_adam(NAME)) {
            s1.v[k] = r.keep1 * s1.v[k] + r.fresh1 * slope;
            s2.v[k] = r.keep2 * s2.v[k] + r.fresh2 * slope * slope;
            p.v[k] -= s.rate * s1.v[k] / (sqrtf(s2.v[k]) * s.root + r.epsilon);
        } else if (NAME == OPTIMIZER_RMSPROP) {
            s1.v[k] = r.keep1 * s1.v[k] + r.fresh1 * slope * slope;
            s2.v[k] = r.momentum * s2.v[k] + s.rate * slope / sqrtf(s1.v[k] + r.epsilon);
            p.v[k] -= s2.v[k];
        } else {
            s1.v[k] = r.momentum * s1.v[k] + slope;
            p.v[k] -= s.rate * s1.v[k];
        }
    }
    store<V>(at.parameters + i, p);
    store<V>(at.state1 + i, s1);
    if (NAME != OPTIMIZER_SGD) store<V>(at.state2 + i, s2);
}

// bytes: reads 16 writes 12 per parameter, least 16+12 (sgd: 12+8)
template <enum optimizer_name NAME, int V>
__global__ void __launch_bounds__(THREADS, BLOCKS_MIN)
    optimizer_update(struct rule r, struct region at, const struct step_values *values,
                     int64_t count)
{
    const struct step_scale s = scale_of<NAME>(r, values);
    const int64_t thread = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    const int64_t threads = (int64_t)gridDim.x * THREADS, whole = count / V * V;
    for (int64_t i = thread * V; i < whole; i += threads * V) update_at<NAME, V>(r, at, s, i);
    if (whole + thread < count) update_at<NAME, 1>(r, at, s, whole + thread);
}

static struct rule rule_of(const struct config_optimizer *o)
{
    const bool adam = is_adam(o->name);
    struct rule r = {};
    r.beta1 = o->beta1;
    r.beta2 = o->beta2;
    r.keep1 = (float)(adam ? o->beta1 : o->decay);
    r.fresh1 = (float)(1 - (adam ? o->beta1 : o->decay));
    r.keep2 = (float)o->beta2;
    r.fresh2 = (float)(1 - o->beta2);
    r.momentum = (float)o->momentum;
    r.epsilon = (float)o->epsilon;
    r.weight_decay = (float)o->weight_decay;
    return r;
}

template <enum optimizer_name NAME>
static void launch_rule(const struct op *op, const struct op_buffers *b, cudaStream_t stream)
{
    const struct rule r = rule_of(&op->optimizer.rule);
    const struct region at = { b->parameters, b->state1, b->state2, b->gradients };
    const bool wide = ((uintptr_t)at.parameters | (uintptr_t)at.state1 | (uintptr_t)at.state2 |
                       (uintptr_t)at.gradients) %
                          16 ==
                      0;
    const int64_t blocks = CEIL_DIV(op->optimizer.count, THREADS * VECTOR);
    const unsigned grid = (unsigned)(blocks < blocks_max ? blocks : blocks_max);
    if (wide)
        CUDA_LAUNCH((optimizer_update<NAME, VECTOR>), grid, THREADS, stream, r, at, b->values,
                    op->optimizer.count);
    else
        CUDA_LAUNCH((optimizer_update<NAME, 1>), grid, THREADS, stream, r, at, b->values,
                    op->optimizer.count);
}

static cudaError_t launch(const struct op *op, const struct op_buffers *b, void *workspace,
                          cudaStream_t stream)
{
    (void)workspace;
    switch (op->optimizer.rule.name) {
    case OPTIMIZER_ADAM:
        launch_rule<OPTIMIZER_ADAM>(op, b, stream);
        break;
    case OPTIMIZER_RMSPROP:
        launch_rule<OPTIMIZER_RMSPROP>(op, b, stream);
        break;
    case OPTIMIZER_ADAMW:
        launch_rule<OPTIMIZER_ADAMW>(op, b, stream);
        break;
    case OPTIMIZER_SGD:
        launch_rule<OPTIMIZER_SGD>(op, b, stream);
        break;
    }
    return cudaGetLastError();
}

/* --- Sums and averages --- */

struct scaled_sum {
    float scale;
    __device__ float operator()(float out, float x) const
    {
        return scale * (out + x);
    }
};

struct moving_average {
    float fresh;
    __device__ float operator()(float out, float x) const
    {
        return out + fresh * (x - out);
    }
};

// bytes: reads 8 writes 4 per element, least 8+4
template <int V, typename F>
__global__ void __launch_bounds__(THREADS, BLOCKS_MIN)
    combine(float *out, const float *x, F f, int64_t count)
{
    const int64_t thread = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    const int64_t threads = (int64_t)gridDim.x * THREADS, whole = count / V * V;
    for (int64_t i = thread * V; i < whole; i += threads * V) {
        floats<V> result = load<V>(out + i);
        const floats<V> more = load<V>(x + i);
        for (int k = 0; k < V; k++) result.v[k] = f(result.v[k], more.v[k]);
        store<V>(out + i, result);
    }
    if (whole + thread < count) out[whole + thread] = f(out[whole + thread], x[whole + thread]);
}

template <typename F>
static cudaError_t launch_combine(int64_t count, F f, const struct op_buffers *b,
                                  cudaStream_t stream)
{
    float *out = (float *)b->out;
    const float *x = (const float *)b->x;
    const int64_t blocks = CEIL_DIV(count, THREADS * VECTOR);
    const unsigned grid = (unsigned)(blocks < blocks_max ? blocks : blocks_max);
    if (((uintptr_t)out | (uintptr_t)x) % 16 == 0)
        CUDA_LAUNCH((combine<VECTOR, F>), grid, THREADS, stream, out, x, f, count);
    else
        CUDA_LAUNCH((combine<1, F>), grid, THREADS, stream, out, x, f, count);
    return cudaGetLastError();
}

static cudaError_t launch_sum(const struct op *op, const struct op_buffers *b, void *workspace,
                              cudaStream_t stream)
{
    (void)workspace;
    return launch_combine(op->sum.count, scaled_sum { op->sum.scale }, b, stream);
}

static cudaError_t launch_average(const struct op *op, const struct op_buffers *b, void *workspace,
                                  cudaStream_t stream)
{
    (void)workspace;
    return launch_combine(op->average.count, moving_average { op->average.fresh }, b, stream);
}

const struct cuda_kernel cuda_kernel_sum = { nullptr, nullptr, launch_sum };
const struct cuda_kernel cuda_kernel_average = { nullptr, nullptr, launch_average };
const struct cuda_kernel cuda_kernel_optimizer = { nullptr, nullptr, launch };
