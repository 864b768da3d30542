/* Adds up arrays in an order that the host lays down, in one pass: each thread takes the same steps
 * for elements of its own, so that the bits depend on the steps alone. */
#include "micromet/base/size.h"
#include "tiles.cuh"

enum { VECTOR = 4 };

static const int64_t blocks_max = 2048;

template <int V>
__device__ inline void take_steps(const struct term_steps &steps, float scale, int64_t i)
{
    floats<V> sum = {};
    for (int s = 0; s < steps.count; s++) {
        float *at = steps.steps[s].at + i;
        switch (steps.steps[s].kind) {
        case TERM_LOAD:
            sum = load<V>(at);
            break;
        case TERM_ADD: {
            const floats<V> more = load<V>(at);
            for (int k = 0; k < V; k++) sum.v[k] += more.v[k];
            break;
        }
        case TERM_KEEP:
            store<V>(at, sum);
            break;
        case TERM_FINISH:
            for (int k = 0; k < V; k++) sum.v[k] *= scale;
            store<V>(at, sum);
            break;
        }
    }
}

// bytes: reads 8 writes 4 per element (of two terms), least 8+4
template <int V>
__global__ void __launch_bounds__(THREADS, BLOCKS_MIN)
    add_terms(struct term_steps steps, float scale, int64_t count)
{
    const int64_t thread = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    const int64_t threads = (int64_t)gridDim.x * THREADS, whole = count / V * V;
    for (int64_t i = thread * V; i < whole; i += threads * V) take_steps<V>(steps, scale, i);
    if (whole + thread < count) take_steps<1>(steps, scale, whole + thread);
}

cudaError_t launch_add_terms(const struct term_steps *steps, float scale, int64_t count,
                             cudaStream_t stream)
{
    const int64_t blocks = CEIL_DIV(count, THREADS * VECTOR);
    const unsigned grid = (unsigned)(blocks < blocks_max ? blocks : blocks_max);
    uintptr_t addresses = 0;
    for (int s = 0; s < steps->count; s++) addresses |= (uintptr_t)steps->steps[s].at;
    if (addresses % 16 == 0)
        CUDA_LAUNCH(add_terms<VECTOR>, grid, THREADS, stream, *steps, scale, count);
    else
        CUDA_LAUNCH(add_terms<1>, grid, THREADS, stream, *steps, scale, count);
    return cudaGetLastError();
}
