/* What is compiled once for each instruction set: the inner loops, in one const table for each set.
 *
 * Planners and kernels are ordinary C that decides what to compute; the loops here compute it.
 * Weights are packed in panels of PANEL output channels whatever the vector width, so a packed
 * buffer does not depend on the instruction set. isa.inc is the source of all tables; isa.c chooses
 * one.
 *
 * AVX2, AVX-512 and plain vectors on arm64 give the same bits. Elsewhere plain vectors have no
 * fused multiply-add: tile, gemm, combine and Winograd's transforms then round twice where the
 * others round once, and the rest gives the same bits. */
#ifndef MICROMET_CPU_ISA_H
#define MICROMET_CPU_ISA_H

#include "micromet/nn/backend.h"

enum { PANEL = 16, ROWS_MAX = 8, PANELS_MAX = 2 };
enum { NORM_CHANNELS = 64 }; /* of one call of batch_norm */

/* One register tile: `rows` rows times `panels` panels of PANEL columns.
 * y[i][j] = act(start + sum over runs t and 0 <= c < depth of a[i][a_offset[t] + c] * b[b_offset[t]
 * + c*PANEL + j]); panel q of b stands panel_stride further. A row's runs share one table of
 * offsets. */
struct tile {
    const float *const *a;     /* rows pointers */
    const ptrdiff_t *a_offset; /* (runs), floats */
    const float *b;
    const ptrdiff_t *b_offset; /* (runs), floats */
    size_t panel_stride;       /* floats */
    int runs, depth;
    float *const *y;   /* rows pointers */
    int columns;       /* <= panels*PANEL; what lies beyond is neither read nor written */
    const float *bias; /* (columns), or NULL */
    bool accumulate;   /* start from y */
    bool relu;
    /* What is needed next, fetched into the second level meanwhile: at each step of the reduction
     * the line at `fetch`, which moves on by fetch_step bytes. */
    const char *fetch;
    size_t fetch_step;
};

enum winograd_kind {
    WINOGRAD_3X3,
    WINOGRAD_5X5,
    WINOGRAD_1X3,
    WINOGRAD_3X1,
    WINOGRAD_1X7,
    WINOGRAD_7X1,
    WINOGRAD_MAP_ROW,
    WINOGRAD_MAP_COLUMN,
    WINOGRAD_KIND_COUNT
};

/* y = a * b: rows of a and y at fixed distances, b in panels (depth, PANEL) one after the other. */
struct gemm {
    const float *a, *b;
    size_t a_stride; /* floats from row to row */
    float *y;
    size_t y_stride;
    int rows, depth, columns; /* columns a multiple of PANEL */
    /* the b of the call after this one, fetched while the last panel is multiplied */
    const float *next;
};

/* One tile of a Winograd algorithm (toom.h), all channels; the number of pixels and points is the
 * kind's. Channels are a multiple of PANEL. */
struct winograd_input {
    const float *const *pixels; /* row-major; of zeros where the tile leaves the image */
    float *values;              /* point i at values + i*stride */
    size_t stride;
    int channels;
};

struct winograd_output {
    const float *values; /* point i at values + i*stride */
    size_t stride;
    float *const *pixels; /* row-major; to be thrown away where the tile leaves the image */
    int first;            /* of the pixels' channels */
    const float *bias;    /* (channels), or NULL */
    int channels;
    bool accumulate, relu;
};

/* Input positions [first, last) of one output position of a pool. */
struct pool_range {
    int first, last;
};

struct pool {
    const struct op *op;
    const struct pool_range *rows, *columns; /* (y.h), (y.w) */
};

typedef void optimizer_rule(const struct config_optimizer *, const struct op_buffers *,
                            int64_t first, int64_t last);

struct isa {
    const char *name;
    int rows, panels; /* the largest tile */
    void (*tile)(const struct tile *tile, int rows, int panels);
    void (*gemm)(const struct gemm *gemm);
    /* to[j*stride + i] = rows[i][j], i < count, j < columns */
    void (*transpose)(const float *const *rows, int count, int columns, float *to, size_t stride);
    /* to[j] = sum over i < terms of factors[i] * from[i*stride + j], j < count, a multiple of PANEL
     */
    void (*combine)(const float *factors, int terms, const float *from, size_t stride, int count,
                    float *to);
    void (*winograd_input[WINOGRAD_KIND_COUNT])(const struct winograd_input *);
    void (*winograd_output[WINOGRAD_KIND_COUNT])(const struct winograd_output *);
    /* Row oy of image n; `taps` has room for a pointer to each pixel of a window. */
    void (*pool)(const struct pool *, const struct op_buffers *, int n, int oy, const void **taps);
    /* Image n; sums: (x.h, x.w, x.c) of scratch. */
    void (*pool_backward)(const struct pool *, const struct op_buffers *, int n, float *sums);
    /* The channels [first, first + count), at most NORM_CHANNELS, of all pixels. */
    void (*batch_norm)(const struct op *, const struct op_buffers *, int first, int count);
    void (*batch_norm_backward)(const struct op *, const struct op_buffers *, int first, int count);
    optimizer_rule *optimizer[OPTIMIZER_ADAMW + 1]; /* of the parameters [first, last) */
    /* One window, (window, window, 3), to (window, window, channels) of F32 or BF16; channels >= 3,
     * those behind the third become zero. See data/augment.h for what it does. */
    void (*augment)(const uint8_t *pixels, const struct augment_draw *draw, int window,
                    enum dtype dtype, int channels, void *out);
};

/* The last two on x86-64 alone. */
extern const struct isa isa_plain, isa_avx2, isa_avx512;

enum { ISA_COUNT_MAX = 3 };

/* The sets that this processor has, narrowest first. Returns how many. */
int isa_available(const struct isa *sets[ISA_COUNT_MAX]);

/* The set that MICROMET_CPU_ISA names in the environment, without it the widest; NULL with an error
 * where the processor has no set of that name. */
const struct isa *isa_chosen(struct error *err);

#endif
