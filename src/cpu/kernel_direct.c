/* Direct convolution as implicit GEMM: rows are output pixels read in place, the reduction is valid
 * taps x channels.
 *
 * Output pixels with the same valid taps (conv_view.h) form a group; a group over the whole batch
 * is one GEMM whose row i starts at a pointer and whose taps are fixed offsets from it, so there is
 * neither an im2col buffer nor a multiplication by padding. With a 3x3 map and a 1x7 kernel that is
 * 3 taps of 7; on a 1x1 map it is 1 tap of 9. Weights are packed [panel of 16
 * outputs][r][s][c][16]; a set of taps is a set of offsets into that. */
#include "conv_view.h"
#include "isa.h"
#include "kernels.h"

enum {
    ROWS_BLOCK_MAX = 192,          /* rows whose inputs are reused from cache for all panels */
    INPUT_BLOCK_FLOATS = 48 << 10, /* ... as far as they fit in this */
    RUNS_MAX = 128,
};

struct block {
    const float *a[ROWS_BLOCK_MAX];
    float *y[ROWS_BLOCK_MAX];
    int rows;
};

struct group {
    const struct axis_class *y, *x;
    ptrdiff_t a_offset[RUNS_MAX], b_offset[RUNS_MAX];
    int runs, depth;
};

/* Both axes of a view, and the box of taps [r0, r1) x [s0, s1) that some output pixel sees: only
 * these are packed. */
struct geometry {
    struct conv_view view;
    struct axis rows, columns;
    int r0, r1, s0, s1;
    size_t panel; /* floats of a packed panel */
};

static void taps_seen(const struct axis *axis, int *first, int *end)
{
    *first = *end = 0;
    for (int i = 0; i < axis->count; i++) {
        const struct axis_class *c = &axis->classes[i];
        if (c->taps == 0) continue;
        const int c_end = c->tap_first + (c->taps - 1) * c->tap_step + 1;
        *first = *end == 0 ? c->tap_first : int_min(*first, c->tap_first);
        *end = int_max(*end, c_end);
    }
}

static bool geometry_init(struct geometry *g, const struct op *op)
{
    g->view = conv_view_of(op);
    const struct conv_view *v = &g->view;
    if (!axis_init(&g->rows, v->in.h, v->out.h, v->kernel_h, v->stride, v->pad_h, v->transposed) ||
        !axis_init(&g->columns, v->in.w, v->out.w, v->kernel_w, v->stride, v->pad_w, v->transposed))
        return false;
    taps_seen(&g->rows, &g->r0, &g->r1);
    taps_seen(&g->columns, &g->s0, &g->s1);
    g->panel = (size_t)(g->r1 - g->r0) * (g->s1 - g->s0) * v->in.c * PANEL;
    return true;
}

static bool supports(const struct op *op)
{
    if (op->kind != OP_CONVOLUTION && op->kind != OP_CONVOLUTION_BACKWARD_DATA) return false;
    const struct op_window *w = &op->convolution.window;
    struct geometry g;
    return isa_best() && op->x.dtype == DTYPE_F32 && op->y.dtype == DTYPE_F32 &&
           w->kernel_h * w->kernel_w <= RUNS_MAX && geometry_init(&g, op);
}

static size_t packed_bytes(const struct op *op)
{
    struct geometry g;
    geometry_init(&g, op);
    return ceil_div(g.view.out.c, PANEL) * g.panel * sizeof(float);
}

static void pack(const struct op *op, const float *weights, float *packed)
{
    struct geometry g;
    geometry_init(&g, op);
    const int c = g.view.in.c;
    for (int k = 0; k < g.view.out.c; k += PANEL)
        for (int r = g.r0; r < g.r1; r++)
            for (int s = g.s0; s < g.s1; s++, packed += (size_t)c * PANEL)
                conv_view_panel(&g.view, isa_best(), weights, k, r, s, 0, c, packed);
}

static size_t scratch_bytes(const struct op *op)
{
    (void)op;
    return 0;
}

/* What one call of run() computes: output channels [k_first, k_end) of `part` of `parts` of the
 * rows. */
struct job {
    struct geometry geometry;
    const struct isa *isa;
    const float *x, *packed, *bias;
    float *y;
    int k_first, k_end, part, parts;
};

/* Where the group's taps stand; taps side by side in memory and in the weights become one longer
 * run. */
static void group_init(struct group *g, const struct geometry *geometry, const struct axis_class *y,
                       const struct axis_class *x)
{
    const struct conv_view *v = &geometry->view;
    const int width = geometry->s1 - geometry->s0;
    *g = (struct group) { .y = y, .x = x, .depth = v->in.c };
    const bool merge = v->in.pixel_stride == v->in.c && x->tap_step == 1;
    for (int i = 0; i < y->taps; i++)
        for (int j = 0; j < (merge ? int_min(x->taps, 1) : x->taps); j++) {
            const int r = y->tap_first + i * y->tap_step - geometry->r0;
            const int s = x->tap_first + j * x->tap_step - geometry->s0;
            g->a_offset[g->runs] = ((ptrdiff_t)i * v->in.w + j) * v->in.pixel_stride;
            g->b_offset[g->runs] = ((ptrdiff_t)r * width + s) * v->in.c * PANEL;
            g->runs++;
        }
    if (merge) g->depth = x->taps * v->in.c;
}

static void block_fill(struct block *b, const struct conv_view *v, const struct group *g,
                       const float *x, float *y, int64_t row, int rows)
{
    const struct axis_class *cy = g->y, *cx = g->x;
    int j = (int)(row % cx->count), i = (int)(row / cx->count % cy->count);
    int64_t n = row / cx->count / cy->count;
    b->rows = rows;
    for (int k = 0; k < rows; k++) {
        const int64_t in = (n * v->in.h + cy->in_first + i * cy->in_step) * v->in.w + cx->in_first +
                           j * cx->in_step;
        const int64_t out = (n * v->out.h + cy->out_first + i * cy->out_step) * v->out.w +
                            cx->out_first + j * cx->out_step;
        b->a[k] = x + (g->runs ? in * v->in.pixel_stride : 0);
        b->y[k] = y + out * v->out.pixel_stride;
        if (++j < cx->count) continue;
        j = 0;
        if (++i < cy->count) continue;
        i = 0;
        n++;
    }
}

/* Start to fetch the rows of the tile after this one: the first panel is where a block's rows come
 * from memory. */
static void prefetch_rows(const struct block *b, const struct group *g, int first, int count)
{
    enum { LINE_FLOATS = 16 };
    const int end = int_min(first + count, b->rows);
    for (int i = first; i < end; i++)
        for (int c = 0; c < g->depth; c += LINE_FLOATS)
            __builtin_prefetch(b->a[i] + g->a_offset[g->runs - 1] + c);
}

/* The output channels of this part for one block of rows; each tile fetches its share of the next
 * panel. Tiles are of nearly equal height, so that none is left with a row or two. */
static void block_run(const struct job *job, struct block *b, const struct group *g)
{
    const struct isa *isa = job->isa;
    const int tiles = ceil_div(b->rows, isa->rows), depth = g->runs * g->depth;
    const size_t share = isa->panels * job->geometry.panel * sizeof(float) / tiles;
    for (int k = job->k_first; k < job->k_end; k += isa->panels * PANEL) {
        const int columns = int_min(isa->panels * PANEL, job->k_end - k);
        struct tile tile = {
            .a_offset = g->a_offset,
            .b = job->packed + (size_t)(k / PANEL) * job->geometry.panel,
            .b_offset = g->b_offset,
            .panel_stride = job->geometry.panel,
            .runs = g->runs,
            .depth = g->depth,
            .columns = columns,
            .bias = job->bias ? job->bias + k : NULL,
            .accumulate = job->geometry.view.accumulate,
            .relu = job->geometry.view.relu,
        };
        const bool more = depth > 0 && k + columns < job->k_end;
        tile.fetch_step = more ? share / depth + 1 : 0;
        for (int i = 0; i < tiles; i++) {
            tile.fetch = (const char *)tile.b + (more ? share * (tiles + i) : 0);
            const int first = b->rows * i / tiles, rows = b->rows * (i + 1) / tiles - first;
            tile.a = b->a + first;
            tile.y = b->y + first;
            if (k == job->k_first && g->runs) prefetch_rows(b, g, first + rows, isa->rows);
            isa->tile(&tile, rows, ceil_div(columns, PANEL));
        }
        for (int i = 0; i < b->rows; i++) b->y[i] += columns;
    }
}

static void run_group(const struct job *job, const struct group *g)
{
    const struct conv_view *v = &job->geometry.view;
    const int64_t all = (int64_t)v->out.n * g->y->count * g->x->count;
    const int64_t first = all * job->part / job->parts, end = all * (job->part + 1) / job->parts;
    const int own_pixels = int_min(g->runs, g->y->in_step * g->x->in_step); /* the rest overlap */
    const int fit = INPUT_BLOCK_FLOATS / int_max(1, own_pixels * g->depth);
    int rows_max = int_min(ROWS_BLOCK_MAX, int_max(4 * job->isa->rows, fit));
    rows_max -= rows_max % job->isa->rows;
    struct block block;
    for (int64_t row = first; row < end; row += block.rows) {
        block_fill(&block, v, g, job->x, job->y + job->k_first, row,
                   end - row < rows_max ? (int)(end - row) : rows_max);
        block_run(job, &block, g);
    }
}

/* Parts share out the output pixels, or the output channels where pixels are too few: then each
 * part also reads only its own weights. */
static void job_share(struct job *job, int part, int parts)
{
    enum { PIXELS_A_PART_MIN = 96 };
    const struct tensor *out = &job->geometry.view.out;
    const int step = job->isa->panels * PANEL, steps = ceil_div(out->c, step);
    job->k_end = out->c;
    job->part = part;
    job->parts = parts;
    if (tensor_pixels(out) >= (int64_t)PIXELS_A_PART_MIN * parts) return;
    job->k_first = steps * part / parts * step;
    job->k_end = int_min(out->c, steps * (part + 1) / parts * step);
    job->part = 0;
    job->parts = 1;
}

static void run(const struct op *op, const float *x, const float *packed, const float *bias,
                float *y, void *scratch, int part, int parts)
{
    (void)scratch;
    struct job job = { .isa = isa_best(), .x = x, .packed = packed, .bias = bias, .y = y };
    geometry_init(&job.geometry, op);
    job_share(&job, part, parts);
    for (int i = 0; i < job.geometry.rows.count; i++)
        for (int j = 0; j < job.geometry.columns.count; j++) {
            struct group group;
            group_init(&group, &job.geometry, &job.geometry.rows.classes[i],
                       &job.geometry.columns.classes[j]);
            run_group(&job, &group);
        }
}

const struct kernel kernel_direct = {
    .name = "direct",
    .supports = supports,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .scratch_bytes = scratch_bytes,
    .run = run,
};
