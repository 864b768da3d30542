/* What differs between instruction sets: a handful of inner loops, one const table of them for each
 * set.
 *
 * The kernels (direct, Winograd, filter gradient) are ordinary C that decides what to multiply; the
 * loops here do the multiplying. Weights are packed in panels of PANEL output channels whatever the
 * vector width, so a packed buffer does not depend on the instruction set. isa.inc is the source of
 * all tables. */
#ifndef MICROMET_CPU_ISA_H
#define MICROMET_CPU_ISA_H

#include <stdbool.h>
#include <stddef.h>

enum { PANEL = 16, ROWS_MAX = 8, PANELS_MAX = 2 };

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

/* One output pixel of a pool: maximum, or sum times scale, of `taps` input pixels. */
struct pool_pixel {
    const void *const *pixels; /* taps pointers to F32 or, in pool[true], BF16 */
    float *y;
    int taps, channels; /* any number of channels */
    bool average;
    float scale; /* average only */
};

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
    /* [input is bfloat16] Returns how many channels are done, from the first on; those that do not
     * fill two vectors are left. */
    int (*pool[2])(const struct pool_pixel *);
    void (*winograd_input[WINOGRAD_KIND_COUNT])(const struct winograd_input *);
    void (*winograd_output[WINOGRAD_KIND_COUNT])(const struct winograd_output *);
};

extern const struct isa isa_avx2, isa_avx512;

/* The widest set that this processor has, or NULL. */
const struct isa *isa_best(void);

#endif
