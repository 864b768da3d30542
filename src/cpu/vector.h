/* One vector type for the CPU kernels: 16 floats where the file is compiled for AVX-512, 8 for
 * AVX2.
 *
 * Sums, differences and products are the compiler's own vector operators; only what they cannot say
 * stands here. With VECTOR_FLOATS=16 and no AVX-512 the compiler splits each vector in two, which
 * tests the wide code anywhere. */
#ifndef MICROMET_CPU_VECTOR_H
#define MICROMET_CPU_VECTOR_H

#include <immintrin.h>
#include <stdint.h>

#ifndef VECTOR_FLOATS
#ifdef __AVX512F__
#define VECTOR_FLOATS 16
#else
#define VECTOR_FLOATS 8
#endif
#endif

typedef float vec __attribute__((vector_size(VECTOR_FLOATS * 4)));
typedef float vec_anywhere __attribute__((vector_size(VECTOR_FLOATS * 4), aligned(4), may_alias));

static inline vec vec_load(const float *from)
{
    return *(const vec_anywhere *)from;
}

static inline void vec_store(float *to, vec value)
{
    *(vec_anywhere *)to = value;
}

#if VECTOR_FLOATS == 8
static inline vec vec_all(float value)
{
    return _mm256_set1_ps(value);
}

static inline vec vec_fma(vec a, vec b, vec sum)
{
    return _mm256_fmadd_ps(a, b, sum);
}

static inline vec vec_relu(vec a)
{
    return _mm256_max_ps(a, _mm256_setzero_ps());
}

/* b where a is not a number */
static inline vec vec_max(vec a, vec b)
{
    return _mm256_max_ps(a, b);
}

/* bfloat16 values as floats */
static inline vec vec_load_bf16(const uint16_t *from)
{
    const __m128i half = _mm_loadu_si128((const __m128i *)from);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}
#elif defined __AVX512F__
static inline vec vec_all(float value)
{
    return _mm512_set1_ps(value);
}

static inline vec vec_fma(vec a, vec b, vec sum)
{
    return _mm512_fmadd_ps(a, b, sum);
}

static inline vec vec_relu(vec a)
{
    return _mm512_max_ps(a, _mm512_setzero_ps());
}

static inline vec vec_max(vec a, vec b)
{
    return _mm512_max_ps(a, b);
}

static inline vec vec_load_bf16(const uint16_t *from)
{
    const __m256i half = _mm256_loadu_si256((const __m256i *)from);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}
#else
static inline vec vec_all(float v)
{
    return (vec) { v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v };
}

static inline vec vec_fma(vec a, vec b, vec sum)
{
    return a * b + sum;
}

static inline vec vec_relu(vec a)
{
    for (int i = 0; i < VECTOR_FLOATS; i++) a[i] = a[i] > 0 ? a[i] : 0;
    return a;
}

static inline vec vec_max(vec a, vec b)
{
    for (int i = 0; i < VECTOR_FLOATS; i++) a[i] = a[i] > b[i] ? a[i] : b[i];
    return a;
}

static inline vec vec_load_bf16(const uint16_t *from)
{
    union {
        uint32_t bits[VECTOR_FLOATS];
        float values[VECTOR_FLOATS];
    } wide;
    for (int i = 0; i < VECTOR_FLOATS; i++) wide.bits[i] = (uint32_t)from[i] << 16;
    return vec_load(wide.values);
}
#endif

#endif
