/* One vector type for the CPU kernels: 16 floats where the file is compiled for AVX-512, 8 for
 * AVX2, 4 elsewhere.
 *
 * Arithmetic, comparisons and conversions are the compiler's own vector operators; only what they
 * cannot express uses intrinsics. Any VECTOR_FLOATS works everywhere, since the
 * compiler splits vectors that are too wide: so 16 can be tested without AVX-512. */
#ifndef MICROMET_CPU_VECTOR_H
#define MICROMET_CPU_VECTOR_H

#include <stdint.h>
#if defined __AVX2__
#include <immintrin.h>
#elif defined __aarch64__
#include <arm_neon.h>
#endif

#ifndef VECTOR_FLOATS
#if defined __AVX512F__
#define VECTOR_FLOATS 16
#elif defined __AVX2__
#define VECTOR_FLOATS 8
#else
#define VECTOR_FLOATS 4
#endif
#endif

typedef float vec __attribute__((vector_size(VECTOR_FLOATS * 4)));
typedef float vec_anywhere __attribute__((vector_size(VECTOR_FLOATS * 4), aligned(4), may_alias));
typedef uint32_t vec_bits __attribute__((vector_size(VECTOR_FLOATS * 4)));
typedef uint16_t vec_half_anywhere
    __attribute__((vector_size(VECTOR_FLOATS * 2), aligned(2), may_alias));

static inline vec vec_load(const float *from)
{
    return *(const vec_anywhere *)from;
}

static inline void vec_store(float *to, vec value)
{
    *(vec_anywhere *)to = value;
}

static inline vec vec_all(float value)
{
    return value - (vec) { 0 };
}

/* bfloat16 values as floats */
static inline vec vec_load_bf16(const uint16_t *from)
{
    return (vec)(__builtin_convertvector(*(const vec_half_anywhere *)from, vec_bits) << 16);
}

/* vec_fma: a * b + sum, rounded once where the processor can. vec_max: b where either is not a
 * number. */
#if defined __AVX512F__ && VECTOR_FLOATS == 16
static inline vec vec_fma(vec a, vec b, vec sum)
{
    return _mm512_fmadd_ps(a, b, sum);
}

static inline vec vec_max(vec a, vec b)
{
    return _mm512_max_ps(a, b);
}
#elif defined __AVX2__ && VECTOR_FLOATS == 8
static inline vec vec_fma(vec a, vec b, vec sum)
{
    return _mm256_fmadd_ps(a, b, sum);
}

static inline vec vec_max(vec a, vec b)
{
    return _mm256_max_ps(a, b);
}
#else
static inline vec vec_fma(vec a, vec b, vec sum)
{
#if defined __aarch64__ && VECTOR_FLOATS == 4
    return (vec)vfmaq_f32((float32x4_t)sum, (float32x4_t)a, (float32x4_t)b);
#else
    return a * b + sum;
#endif
}

static inline vec vec_max(vec a, vec b)
{
    const vec_bits greater = (vec_bits)(a > b);
    return (vec)(((vec_bits)a & greater) | ((vec_bits)b & ~greater));
}
#endif

static inline vec vec_relu(vec a)
{
    return vec_max(a, vec_all(0));
}

#endif
