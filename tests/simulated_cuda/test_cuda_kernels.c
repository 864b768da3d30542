/* Kernels that op_case does not reach, on the simulated device: copies, packing, sums,
 * augmentation, and sums that are hard to compute accurately. Ops in general are tested through the
 * backend, with MICROMET_TEST_BACKEND=cuda. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/isa.h"
#include "kernels.h"
#include "micromet/base/random.h"
#include "micromet/base/size.h"
#include "micromet/data/augment.h"
#include "simulated_control.h"

static void expect_ok(cudaError_t status)
{
    cr_assert_eq(status, cudaSuccess, "%s", cudaGetErrorName(status));
}

static void *to_device(const void *host, size_t bytes)
{
    void *device;
    expect_ok(cudaMalloc(&device, bytes));
    expect_ok(cudaMemcpy(device, host, bytes, cudaMemcpyHostToDevice));
    return device;
}

static void *device_alloc(size_t bytes)
{
    void *device;
    expect_ok(cudaMalloc(&device, bytes));
    expect_ok(cudaMemset(device, 0xff, bytes));
    expect_ok(cudaDeviceSynchronize());
    return device;
}

/* Copy to the host and free. */
static void from_device(void *host, void *device, size_t bytes)
{
    expect_ok(cudaMemcpy(host, device, bytes, cudaMemcpyDeviceToHost));
    expect_ok(cudaFree(device));
}

static float get(enum dtype dtype, const void *data, size_t i)
{
    return dtype == DTYPE_F32 ? ((const float *)data)[i]
                              : bf16_to_float(((const uint16_t *)data)[i]);
}

static float rounded(enum dtype dtype, float value)
{
    return dtype == DTYPE_F32 ? value : bf16_to_float(bf16_from_float(value));
}

/* Malloc'ed memory for the view, including gaps, with random values around `mean`. */
static void *random_view(const struct tensor *t, float mean, uint64_t seed)
{
    const size_t count = (size_t)tensor_pixels(t) * (size_t)t->pixel_stride;
    struct random random = random_init(seed, 0, 0, RANDOM_TEST);
    void *data = malloc(count * dtype_bytes(t->dtype));
    cr_assert_not_null(data);
    for (size_t i = 0; i < count; i++) {
        const float value = mean + random_uniform(&random, -1, 1);
        if (t->dtype == DTYPE_F32)
            ((float *)data)[i] = value;
        else
            ((uint16_t *)data)[i] = bf16_from_float(value);
    }
    return data;
}

/* Pixels, channels and strides of views: packed, slices, and ones that allow only
 * narrow accesses. */
static const struct {
    int pixels, c, from_stride, to_stride;
} views[] = { { 6, 64, 64, 64 }, { 700, 48, 64, 80 }, { 130, 16, 16, 24 },
              { 9, 17, 20, 33 }, { 5, 3, 4, 8 },      { 3000, 8, 8, 8 },
              { 11, 8, 10, 16 }, { 11, 8, 16, 10 },   { 5, 12, 16, 16 } };
enum { VIEWS = COUNT_OF(views) };

static struct tensor view_of(int v, int stride, enum dtype dtype)
{
    return (struct tensor) { dtype, views[v].pixels, 1, 1, views[v].c, stride, NULL };
}

static void check_copy(int v, enum dtype to_type, enum dtype from_type, bool accumulate)
{
    const struct tensor to = view_of(v, views[v].to_stride, to_type);
    const struct tensor from = view_of(v, views[v].from_stride, from_type);
    void *old = random_view(&to, 0, 1), *source = random_view(&from, 0, 2);
    void *device = to_device(old, tensor_bytes(&to)), *in = to_device(source, tensor_bytes(&from));
    void *got = malloc(tensor_bytes(&to));
    expect_ok(launch_copy_view(&to, device, &from, in, accumulate, NULL));
    from_device(got, device, tensor_bytes(&to));
    expect_ok(cudaFree(in));
    for (int p = 0; p < to.n; p++)
        for (int c = 0; c < to.pixel_stride; c++) {
            const size_t at = (size_t)p * (size_t)to.pixel_stride + (size_t)c;
            float want = get(to_type, old, at);
            if (c < to.c) {
                const float added = get(from_type, source,
                                        (size_t)p * (size_t)from.pixel_stride + (size_t)c);
                want = rounded(to_type, accumulate ? want + added : added);
            }
            cr_assert_eq(get(to_type, got, at), want, "view %d, pixel %d, channel %d", v, p, c);
        }
    free(old);
    free(source);
    free(got);
}

Test(cuda_kernels, copies_between_views_of_any_types)
{
    for (int i = 0; i < VIEWS * 8; i++)
        check_copy(i / 8, i & 1 ? DTYPE_BF16 : DTYPE_F32, i & 2 ? DTYPE_BF16 : DTYPE_F32, i & 4);
}

static void check_packing(int64_t rows, int weights_c, int c, enum dtype dtype)
{
    const struct tensor matrix = { DTYPE_F32, (int)rows, 1, 1, weights_c, weights_c, NULL };
    const size_t bytes = tensor_bytes(&matrix), packed_bytes = (size_t)rows * (size_t)c * 4;
    float *weights = random_view(&matrix, 0, 3), *back = malloc(bytes);
    void *in = to_device(weights, bytes), *gradient = device_alloc(bytes);
    void *packed = device_alloc(packed_bytes), *host = malloc(packed_bytes);
    expect_ok(launch_pack_weights(in, rows, weights_c, c, dtype, packed, NULL));
    expect_ok(launch_unpack_gradient(packed, dtype, rows, c, weights_c, gradient, NULL));
    from_device(host, packed, packed_bytes);
    from_device(back, gradient, bytes);
    expect_ok(cudaFree(in));
    for (int64_t i = 0; i < rows * c; i++) {
        const int64_t weight = i / c * weights_c + i % c;
        const float want = i % c < weights_c ? rounded(dtype, weights[weight]) : 0;
        cr_assert_eq(get(dtype, host, (size_t)i), want);
        if (i % c < weights_c) cr_assert_eq(back[weight], want);
    }
    free(weights);
    free(back);
    free(host);
}

Test(cuda_kernels, weights_are_packed_with_zero_channels_and_unpacked_without)
{
    const int channels[][2] = { { 3, 4 }, { 3, 8 }, { 16, 16 }, { 48, 48 }, { 5, 5 }, { 8, 16 } };
    for (int i = 0; i < 12; i++)
        check_packing(99, channels[i / 2][0], channels[i / 2][1], i % 2 ? DTYPE_BF16 : DTYPE_F32);
}

static void check_bias_and_sums(int v, enum dtype dtype, bool relu)
{
    const struct tensor t = view_of(v, views[v].to_stride, dtype);
    const size_t vector_bytes = (size_t)t.c * sizeof(float);
    void *old = random_view(&t, 0, 4), *got = malloc(tensor_bytes(&t));
    float *sums = malloc(vector_bytes), *bias = random_view(&t, 0, 5);
    void *device = to_device(old, tensor_bytes(&t)), *added = to_device(bias, vector_bytes);
    void *out = device_alloc(vector_bytes), *work = device_alloc(channel_sums_workspace_bytes(&t));
    expect_ok(launch_channel_sums(&t, device, out, work, NULL));
    expect_ok(launch_bias_relu(&t, device, relu ? added : NULL, relu, NULL));
    from_device(sums, out, vector_bytes);
    from_device(got, device, tensor_bytes(&t));
    expect_ok(cudaFree(added));
    expect_ok(cudaFree(work));
    for (int c = 0; c < t.c; c++) {
        double sum = 0, gross = 0;
        for (int p = 0; p < t.n; p++) {
            const size_t at = (size_t)p * (size_t)t.pixel_stride + (size_t)c;
            const float x = get(dtype, old, at);
            const float y = rounded(dtype, relu ? fmaxf(x + bias[c], 0) : x);
            cr_assert_eq(get(dtype, got, at), y, "view %d, pixel %d, channel %d", v, p, c);
            sum += (double)x;
            gross += fabs((double)x);
        }
        cr_assert_float_eq(sums[c], sum, 4e-7 * gross, "view %d, channel %d", v, c);
    }
    free(old);
    free(got);
    free(sums);
    free(bias);
}

Test(cuda_kernels, bias_with_relu_in_place_and_sums_over_channels)
{
    for (int i = 0; i < VIEWS * 4; i++)
        check_bias_and_sums(i / 4, i & 1 ? DTYPE_BF16 : DTYPE_F32, i & 2);
}

/* x and y are dense (n, 1, 1, c) F32. Of the two sizes tested, one takes a single launch,
 * the other three. */
static void check_far_from_zero(int n)
{
    enum { C = 32 };
    const double mean = 1000;
    const struct op op = { .kind = OP_BATCH_NORM,
                           .x = { DTYPE_F32, n, 1, 1, C, C, NULL },
                           .y = { DTYPE_F32, n, 1, 1, C, C, NULL },
                           .batch_norm = { .epsilon = 1e-3f, .momentum = 0.5f } };
    float *x = random_view(&op.x, (float)mean, 6), zero[C] = { 0 }, inverse[C];
    const size_t work_bytes = cuda_kernel_batch_norm.workspace_bytes(&op);
    void *work = device_alloc(work_bytes + 256);
    const struct op_buffers b = { .x = to_device(x, tensor_bytes(&op.x)),
                                  .out = device_alloc(tensor_bytes(&op.y)),
                                  .beta = to_device(zero, sizeof zero),
                                  .moving_mean = to_device(zero, sizeof zero),
                                  .moving_variance = to_device(zero, sizeof zero),
                                  .saved_mean = device_alloc(sizeof zero),
                                  .saved_inverse_std = device_alloc(sizeof zero) };
    expect_ok(cuda_kernel_batch_norm.launch(&op, &b, work, NULL));
    from_device(inverse, b.saved_inverse_std, sizeof inverse);
    for (int c = 0; c < C; c++) {
        double sum = 0, squares = 0;
        for (int p = 0; p < n; p++) sum += (double)x[p * C + c] - mean;
        for (int p = 0; p < n; p++) squares += pow((double)x[p * C + c] - mean - sum / n, 2);
        const double want = 1 / sqrt(squares / n + (double)op.batch_norm.epsilon);
        cr_assert_float_eq(inverse[c], want, 2e-6 * want, "%d pixels, channel %d", n, c);
    }
    void *const rest[] = { (void *)b.x,  b.out, (void *)b.beta, b.moving_mean, b.moving_variance,
                           b.saved_mean, work };
    for (size_t i = 0; i < COUNT_OF(rest); i++) expect_ok(cudaFree(rest[i]));
    free(x);
}

Test(cuda_kernels, variances_far_from_zero_keep_their_digits)
{
    check_far_from_zero(500);
    check_far_from_zero(5000);
}

static void check_augment(int window, enum dtype dtype, int channels)
{
    enum { N = 6 };
    const struct op op = { .kind = OP_AUGMENT,
                           .x = { DTYPE_U8, N, window, window, 3, 3, NULL },
                           .y = { dtype, N, window, window, channels, channels, NULL } };
    const size_t bytes = tensor_bytes(&op.x), out_bytes = tensor_bytes(&op.y);
    uint8_t *pixels = malloc(bytes);
    struct random random = random_init(7, 0, 0, RANDOM_TEST);
    for (size_t i = 0; i < bytes; i++) pixels[i] = (uint8_t)random_u32(&random);
    const struct config_augment augment = { .rotate = true,
                                            .flip = true,
                                            .brightness = 0.25,
                                            .saturation = 0.25,
                                            .hue = 0.04,
                                            .contrast = 0.75 };
    struct augment_draw draws[N];
    for (int i = 0; i < N; i++) {
        struct augment_draw drawn[TOWERS_MAX];
        augment_draw(&augment, 1, 1, 0, (uint64_t)i, drawn);
        draws[i] = drawn[0];
    }
    draws[1].hue = 0;
    draws[2].contrast = 1;
    draws[3] = augment_identity();
    draws[4].stain_scale[1] = -0.5f;
    draws[4].stain_shift[2] = 0.1f;
    draws[5].stain_scale[1] = 0.5f; /* of a window that is too bright to be stained */
    memset(pixels + 5 * bytes / N, 250, bytes / N);
    void *want = malloc(out_bytes), *got = malloc(out_bytes);
    for (int i = 0; i < N; i++)
        isa_plain.augment(pixels + i * bytes / N, &draws[i], window, dtype, channels,
                          (char *)want + i * out_bytes / N);
    void *work = device_alloc(cuda_kernel_augment.workspace_bytes(&op));
    const struct op_buffers b = { .x = to_device(pixels, bytes),
                                  .draws = to_device(draws, sizeof draws),
                                  .out = device_alloc(out_bytes) };
    expect_ok(cuda_kernel_augment.launch(&op, &b, work, NULL));
    from_device(got, b.out, out_bytes);
    expect_ok(cudaFree(work));
    expect_ok(cudaFree((void *)b.x));
    expect_ok(cudaFree((void *)b.draws));
    const size_t count = out_bytes / dtype_bytes(dtype);
    for (size_t i = 0; i < count; i++) {
        const float value = get(dtype, want, i);
        const float exact = i / (count / N) == 4 ? 8e-6f : 1e-6f;
        const float tolerance = dtype == DTYPE_F32 ? exact : 0x1p-8f;
        cr_assert_float_eq(get(dtype, got, i), value, tolerance,
                           "window %d, %d channels, element %zu", window, channels, i);
    }
    free(pixels);
    free(want);
    free(got);
}

Test(cuda_kernels, augmentation_is_the_cpu_s)
{
    for (int d = 0; d < 2; d++) {
        const enum dtype dtype = d ? DTYPE_BF16 : DTYPE_F32;
        check_augment(80, dtype, 4);
        check_augment(33, dtype, 8);
        check_augment(33, dtype, 3);
        check_augment(1, dtype, 5);
    }
}

Test(cuda_kernels, nothing_is_left_allocated)
{
    check_augment(16, DTYPE_BF16, 8);
    check_far_from_zero(100);
    char report[1024] = "";
    cr_assert_eq(simulated_leaks(report, sizeof report), 0, "%s", report);
}
