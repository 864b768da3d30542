/* Copies between views with any strides and types: packs weights for convolutions, unpacks
 * gradients, copies or adds slices. Both views are rows of channels; channels that the
 * source lacks become zero. */
#include "tiles.cuh"

enum { EACH = 4 }; /* pixels per thread */

struct source {
    int stride, channels;
};

// bytes: reads 4 writes 2 per element (weights F32 to BF16), least 4+2
template <typename To, typename From, int V>
__global__ void __launch_bounds__(THREADS, BLOCKS_MIN)
    copy_rows(struct tiles t, To *to, int to_stride, const From *from, struct source source,
              bool accumulate)
{
    const struct spot s = spot_of<V>(t);
    for (int p = s.pixel; p < t.pixels; p += s.step) {
        To *target = to + (int64_t)p * to_stride + s.channel;
        floats<V> v = {};
        if (s.channel < source.channels) v = load<V>(from + (int64_t)p * source.stride + s.channel);
        if (accumulate) {
            const floats<V> old = load<V>(target);
            for (int i = 0; i < V; i++) v.v[i] += old.v[i];
        }
        store<V>(target, v);
    }
}

/* `from` may have fewer channels than `to`, or more, which are skipped. */
static cudaError_t launch(const struct tensor *to, void *to_data, const struct tensor *from,
                          const void *from_data, bool accumulate, cudaStream_t stream)
{
    const bool f32 = to->dtype == DTYPE_F32 && from->dtype == DTYPE_F32;
    const int width = f32 ? 4 : 8;
    struct tensor read = *from;
    read.c = from->c < to->c ? from->c : to->c;
    const bool wide = view_takes(to, to_data, width) && view_takes(&read, from_data, width);
    const struct source source = { read.pixel_stride, read.c };
    const auto with_types = [&](auto to_type, auto from_type, auto wide_form) {
        using To = decltype(to_type);
        using From = decltype(from_type);
        const auto with_width = [&](auto form) {
            constexpr int V = decltype(form)::width;
            const struct tiles t = tiles_of(to, V, WARP_LANES, EACH);
            CUDA_LAUNCH((copy_rows<To, From, V>), tiles_grid(t), THREADS, stream, t, (To *)to_data,
                        to->pixel_stride, (const From *)from_data, source, accumulate);
        };
        if (wide)
            with_width(wide_form);
        else
            with_width(form<To, 1> {});
    };
    if (f32)
        with_types(float {}, float {}, form<float, 4> {});
    else if (to->dtype == DTYPE_F32)
        with_types(float {}, bf16 {}, form<float, 8> {});
    else if (from->dtype == DTYPE_F32)
        with_types(bf16 {}, float {}, form<bf16, 8> {});
    else
        with_types(bf16 {}, bf16 {}, form<bf16, 8> {});
    return cudaGetLastError();
}

static struct tensor matrix(enum dtype dtype, int64_t rows, int columns)
{
    return { dtype, (int)rows, 1, 1, columns, columns, nullptr };
}

cudaError_t launch_pack_weights(const float *weights, int64_t rows, int weights_c, int c,
                                enum dtype dtype, void *packed, cudaStream_t stream)
{
    const struct tensor from = matrix(DTYPE_F32, rows, weights_c), to = matrix(dtype, rows, c);
    return launch(&to, packed, &from, weights, false, stream);
}

cudaError_t launch_unpack_gradient(const void *packed, enum dtype dtype, int64_t rows, int c,
                                   int weights_c, float *gradient, cudaStream_t stream)
{
    const struct tensor from = matrix(dtype, rows, c), to = matrix(DTYPE_F32, rows, weights_c);
    return launch(&to, gradient, &from, packed, false, stream);
}

cudaError_t launch_copy_view(const struct tensor *to, void *to_data, const struct tensor *from,
                             const void *from_data, bool accumulate, cudaStream_t stream)
{
    return launch(to, to_data, from, from_data, accumulate, stream);
}
