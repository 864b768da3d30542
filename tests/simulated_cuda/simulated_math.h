/* Arithmetic of the simulated cuDNN and cuBLASLt, in dense arrays of double; values are rounded to
 * their types on loading and storing. The innermost loops run over channels or columns, so that
 * compilers vectorise them. */
#ifndef MICROMET_TESTS_SIMULATED_MATH_H
#define MICROMET_TESTS_SIMULATED_MATH_H

#include <stdint.h>

enum element { ELEMENT_F32, ELEMENT_BF16 };
/* How an engine rounds its inputs before multiplying. */
enum rounding { ROUND_NOT, ROUND_TF32, ROUND_BF16 };

double element_load(enum element type, enum rounding rounding, const void *data, int64_t i);
/* Load `count` elements beginning with element i. */
void element_load_row(enum element type, enum rounding rounding, const void *data, int64_t i,
                      int64_t count, double *out);
void element_store(enum element type, void *data, int64_t i, double value);

struct convolution_shape {
    int64_t n, h, w, c; /* x */
    int64_t oh, ow, k;  /* y */
    int64_t r, s;       /* kernel: w is (k, r, s, c) */
    int64_t stride[2], dilation[2], pad[2];
};

/* Each overwrites its output. Arrays are dense, NHWC. */
void convolve(const struct convolution_shape *shape, const double *x, const double *w, double *y);
void convolve_back_data(const struct convolution_shape *shape, const double *dy, const double *w,
                        double *dx);
void convolve_back_filter(const struct convolution_shape *shape, const double *dy, const double *x,
                          double *dw);
/* d (m, n) = a (m, k) × b (k, n). */
void multiply(int64_t m, int64_t n, int64_t k, const double *a, const double *b, double *d);

#endif
