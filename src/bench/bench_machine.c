/* Upper bounds of this machine: multiply-adds in registers, and memory bandwidth by McCalpin's
 * triad (STREAM). The best of several tries counts. */
#include <stdlib.h>

#include "bench_parts.h"
#include "micromet/base/size.h"
#include "micromet/base/thread.h"

enum {
    CHAINS = 12, /* independent sums, to hide a latency of 4 cycles on two or three units */
    FMA_ROUNDS = 1 << 20,
    TRIES_MIN = 3,
    TRIAD_FLOATS = 1 << 24, /* per array; much larger than the caches */
};

/* --- Peak ------------------------------------------------------------------------------------- */

/* run() does FMA_ROUNDS rounds of CHAINS vector multiply-adds, and returns a sum that depends on
 * them so that the compiler keeps them. */
struct fma_kernel {
    int vector_floats;
    bool (*usable)(void);
    float (*run)(void);
};

typedef float vector4 __attribute__((vector_size(16)));

static bool usable_always(void)
{
    return true;
}

static float run_plain(void)
{
    vector4 sums[CHAINS] = { { 0 } };
    const vector4 factor = { 0.999f, 0.999f, 0.999f, 0.999f };
    for (int round = 0; round < FMA_ROUNDS; round++)
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) sums[i] = sums[i] * factor + factor;
    float sum = 0;
    for (int i = 0; i < CHAINS; i++) sum += sums[i][0] + sums[i][1] + sums[i][2] + sums[i][3];
    return sum;
}

#ifdef __x86_64__
#include <immintrin.h>

static bool usable_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

__attribute__((target("avx2,fma"))) static float run_avx2(void)
{
    __m256 sums[CHAINS];
    const __m256 factor = _mm256_set1_ps(0.999f);
    for (int i = 0; i < CHAINS; i++) sums[i] = _mm256_setzero_ps();
    for (int round = 0; round < FMA_ROUNDS; round++)
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) sums[i] = _mm256_fmadd_ps(sums[i], factor, factor);
    for (int i = 1; i < CHAINS; i++) sums[0] = _mm256_add_ps(sums[0], sums[i]);
    return sums[0][0] + sums[0][7];
}

static bool usable_avx512(void)
{
    return __builtin_cpu_supports("avx512f");
}

__attribute__((target("avx512f"))) static float run_avx512(void)
{
    __m512 sums[CHAINS];
    const __m512 factor = _mm512_set1_ps(0.999f);
    for (int i = 0; i < CHAINS; i++) sums[i] = _mm512_setzero_ps();
    for (int round = 0; round < FMA_ROUNDS; round++)
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) sums[i] = _mm512_fmadd_ps(sums[i], factor, factor);
    for (int i = 1; i < CHAINS; i++) sums[0] = _mm512_add_ps(sums[0], sums[i]);
    return sums[0][0] + sums[0][15];
}
#endif

static const struct fma_kernel fma_kernels[] = {
    { 4, usable_always, run_plain },
#ifdef __x86_64__
    { 8, usable_avx2, run_avx2 },
    { 16, usable_avx512, run_avx512 },
#endif
};

struct peak {
    const struct fma_kernel *kernel;
    volatile float sink; /* keeps the compiler from removing the sums */
};

static bool peak_work(void *context, int64_t item, int worker, struct error *err)
{
    struct peak *peak = context;
    (void)item;
    (void)worker;
    (void)err;
    peak->sink = peak->kernel->run();
    return true;
}

/* Call measure() repeatedly for about `seconds`; *best is the largest value. */
static bool best_of(double seconds,
                    bool (*measure)(void *context, double *value, struct error *err), void *context,
                    double *best, struct error *err)
{
    const double until_s = clock_seconds() + seconds;
    *best = 0;
    for (int tries = 0; tries < TRIES_MIN || clock_seconds() < until_s; tries++) {
        double value;
        if (!measure(context, &value, err)) return false;
        *best = value > *best ? value : *best;
    }
    return true;
}

struct peak_try {
    const struct fma_kernel *kernel;
    int threads;
};

static bool peak_once(void *context, double *gflops, struct error *err)
{
    const struct peak_try *try = context;
    struct peak peak = { .kernel = try->kernel };
    const double started_s = clock_seconds();
    if (!parallel_for(try->threads, try->threads, &peak, peak_work, err)) return false;
    const double flops = 2.0 * FMA_ROUNDS * CHAINS * try->kernel->vector_floats * try->threads;
    *gflops = flops / (clock_seconds() - started_s) * 1e-9;
    return true;
}

bool bench_peak(int threads, double seconds, double *gflops, struct error *err)
{
    const int kernels = COUNT_OF(fma_kernels);
    *gflops = 0;
    for (int i = 0; i < kernels; i++) {
        struct peak_try try = { &fma_kernels[i], threads };
        double value;
        if (!try.kernel->usable()) continue;
        if (!best_of(seconds / kernels, peak_once, &try, &value, err)) return false;
        *gflops = value > *gflops ? value : *gflops;
    }
    return true;
}

/* --- Bandwidth -------------------------------------------------------------------------------- */

struct triad {
    float *a, *b, *c; /* (TRIAD_FLOATS) */
    int threads;
};

static bool triad_work(void *context, int64_t item, int worker, struct error *err)
{
    const struct triad *triad = context;
    const int64_t first = TRIAD_FLOATS * item / triad->threads;
    const int64_t last = TRIAD_FLOATS * (item + 1) / triad->threads;
    float *restrict a = triad->a;
    const float *restrict b = triad->b, *restrict c = triad->c;
    (void)worker;
    (void)err;
    for (int64_t i = first; i < last; i++) a[i] = b[i] + 3 * c[i];
    return true;
}

static bool triad_once(void *context, double *gb_per_s, struct error *err)
{
    struct triad *triad = context;
    const double started_s = clock_seconds();
    if (!parallel_for(triad->threads, triad->threads, triad, triad_work, err)) return false;
    *gb_per_s = 3.0 * sizeof(float) * TRIAD_FLOATS / (clock_seconds() - started_s) * 1e-9;
    return true;
}

bool bench_triad(int threads, double seconds, double *gb_per_s, struct error *err)
{
    const size_t bytes = TRIAD_FLOATS * sizeof(float);
    struct triad triad = { malloc(bytes), malloc(bytes), malloc(bytes), threads };
    bool ok = (triad.a && triad.b && triad.c) ||
              error_set(err, EXIT_CODE_FAILED, "no memory for measuring its bandwidth");
    for (int64_t i = 0; ok && i < TRIAD_FLOATS; i++) {
        triad.a[i] = 0; /* written, so that no measurement includes page faults */
        triad.b[i] = triad.c[i] = 1;
    }
    ok = ok && best_of(seconds, triad_once, &triad, gb_per_s, err);
    free(triad.a);
    free(triad.b);
    free(triad.c);
    return ok;
}
