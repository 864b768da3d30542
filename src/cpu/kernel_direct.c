/* Direct convolution as implicit GEMM: rows are output pixels read in place, the reduction is valid
 * taps x channels.
 *
 * Output pixels with the same valid taps (conv_view.h) form a group; a group over the whole batch
 * is one GEMM whose row i starts at a pointer and whose taps are fixed offsets from it, so there is
 * neither an im2col buffer nor a multiplication by padding. With a 3x3 map and a 1x7 kernel that is
 * 3 taps of 7; on a 1x1 map it is 1 tap of 9. Weights are packed [panel of 16
 * outputs][r][s][c][16]; a set of taps is a set of offsets into that. */
#include "conv_view.h"
#include "kernels.h"
#include "micromet/base/size.h"

enum {
    ROWS_BLOCK_MAX = 192,          /* rows whose inputs are reused from cache for all panels */
    INPUT_BLOCK_FLOATS = 48 << 10, /* ... as far as they fit in this */
};

struct block {
    const float *a[ROWS_BLOCK_MAX];
    float *y[ROWS_BLOCK_MAX];
    int rows;
};

struct group {
    struct axis_class y, x;
    ptrdiff_t *a_offset, *b_offset; /* (runs) */
    int runs, depth;
    int rows_max; /* of a block */
};

struct direct {
    struct kernel_plan plan;
    const struct isa *isa;
    struct conv_view view;
    /* The taps [r0, r1) x [s0, s1) that meet the input for at least one output pixel; only these
     * are packed. */
    int r0, r1, s0, s1;
    size_t panel; /* floats of a packed panel */
    int group_count;
    struct group groups[]; /* then the offsets of all of them */
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

/* Offsets of the group's taps. Taps that are neighbours both in the input and in the weights are
 * joined into one longer run. */
static void group_init(struct group *g, const struct direct *d)
{
    const struct conv_view *v = &d->view;
    const struct axis_class *y = &g->y, *x = &g->x;
    const int width = d->s1 - d->s0;
    const bool merge = v->in.pixel_stride == v->in.c && x->tap_step == 1;
    for (int i = 0; i < y->taps; i++)
        for (int j = 0; j < (merge ? int_min(x->taps, 1) : x->taps); j++) {
            const int r = y->tap_first + i * y->tap_step - d->r0;
            const int s = x->tap_first + j * x->tap_step - d->s0;
            g->a_offset[g->runs] = ((ptrdiff_t)i * v->in.w + j) * v->in.pixel_stride;
            g->b_offset[g->runs] = ((ptrdiff_t)r * width + s) * v->in.c * PANEL;
            g->runs++;
        }
    g->depth = merge ? x->taps * v->in.c : v->in.c;
    const int own_pixels = int_min(g->runs, y->in_step * x->in_step); /* the rest overlap */
    const int fit = INPUT_BLOCK_FLOATS / int_max(1, own_pixels * g->depth);
    g->rows_max = int_min(ROWS_BLOCK_MAX, int_max(4 * d->isa->rows, fit));
    g->rows_max -= g->rows_max % d->isa->rows;
}

static int axis_taps(const struct axis *axis)
{
    int taps = 0;
    for (int i = 0; i < axis->count; i++) taps += axis->classes[i].taps;
    return taps;
}

static void groups_init(struct direct *d, const struct axis *rows, const struct axis *columns,
                        ptrdiff_t *offsets)
{
    for (int i = 0; i < rows->count; i++)
        for (int j = 0; j < columns->count; j++) {
            struct group *g = &d->groups[d->group_count++];
            *g = (struct group) { .y = rows->classes[i], .x = columns->classes[j] };
            const int taps = g->y.taps * g->x.taps;
            g->a_offset = offsets;
            g->b_offset = offsets + taps;
            offsets += 2 * taps;
            group_init(g, d);
        }
}

static bool plan(const struct op *op, const struct isa *isa, struct kernel_plan **plan,
                 struct error *err)
{
    if (op->kind != OP_CONVOLUTION && op->kind != OP_CONVOLUTION_BACKWARD_DATA) return true;
    if (op->x.dtype != DTYPE_F32 || op->y.dtype != DTYPE_F32) return true;
    const struct conv_view v = conv_view_of(op);
    struct axis rows, columns;
    if (!axis_init(&rows, v.in.h, v.out.h, v.kernel_h, v.stride, v.pad_h, v.transposed) ||
        !axis_init(&columns, v.in.w, v.out.w, v.kernel_w, v.stride, v.pad_w, v.transposed))
        return true;
    const size_t groups = (size_t)rows.count * columns.count;
    const size_t runs = (size_t)axis_taps(&rows) * axis_taps(&columns);
    const size_t groups_end = sizeof(struct direct) + groups * sizeof(struct group);
    struct direct *d = kernel_plan_alloc(&kernel_direct, groups_end + 2 * runs * sizeof(ptrdiff_t),
                                         err);
    if (!d) return false;
    d->isa = isa;
    d->view = v;
    taps_seen(&rows, &d->r0, &d->r1);
    taps_seen(&columns, &d->s0, &d->s1);
    d->panel = (size_t)(d->r1 - d->r0) * (d->s1 - d->s0) * v.in.c * PANEL;
    d->plan.packed_bytes = CEIL_DIV(v.out.c, PANEL) * d->panel * sizeof(float);
    groups_init(d, &rows, &columns, (ptrdiff_t *)((char *)d + groups_end));
    *plan = &d->plan;
    return true;
}

static void pack(const struct kernel_plan *plan, const float *weights, float *packed)
{
    const struct direct *d = (const struct direct *)plan;
    const int c = d->view.in.c;
    for (int k = 0; k < d->view.out.c; k += PANEL)
        for (int r = d->r0; r < d->r1; r++)
            for (int s = d->s0; s < d->s1; s++, packed += (size_t)c * PANEL)
                conv_view_panel(&d->view, d->isa, weights, k, r, s, 0, c, packed);
}

/* What one call of run() computes: output channels [k_first, k_end) of `part` of `parts` of the
 * rows. */
struct job {
    const struct direct *direct;
    const float *x, *packed, *bias;
    float *y;
    int k_first, k_end, part, parts;
};

static void block_fill(struct block *b, const struct conv_view *v, const struct group *g,
                       const float *x, float *y, int64_t row, int rows)
{
    const struct axis_class *cy = &g->y, *cx = &g->x;
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

/* Prefetch the rows of the next tile. Only for the first panel: it is the first to touch a block's
 * rows; the later panels find them in the cache. */
static void prefetch_rows(const struct block *b, const struct group *g, int first, int count)
{
    enum { LINE_FLOATS = 16 };
    const int end = int_min(first + count, b->rows);
    for (int i = first; i < end; i++)
        for (int c = 0; c < g->depth; c += LINE_FLOATS)
            __builtin_prefetch(b->a[i] + g->a_offset[g->runs - 1] + c);
}

/* The output channels of this part for one block of rows; each tile fetches its share of the next
 * panel. Tiles are of nearly equal height, so that the last one is not left with a row or two. */
static void block_run(const struct job *job, struct block *b, const struct group *g)
{
    const struct direct *d = job->direct;
    const struct isa *isa = d->isa;
    const int tiles = CEIL_DIV(b->rows, isa->rows), depth = g->runs * g->depth;
    const size_t share = isa->panels * d->panel * sizeof(float) / tiles;
    for (int k = job->k_first; k < job->k_end; k += isa->panels * PANEL) {
        const int columns = int_min(isa->panels * PANEL, job->k_end - k);
        struct tile tile = {
            .a_offset = g->a_offset,
            .b = job->packed + (size_t)(k / PANEL) * d->panel,
            .b_offset = g->b_offset,
            .panel_stride = d->panel,
            .runs = g->runs,
            .depth = g->depth,
            .columns = columns,
            .bias = job->bias ? job->bias + k : NULL,
            .accumulate = d->view.accumulate,
            .relu = d->view.relu,
        };
        const bool more = depth > 0 && k + columns < job->k_end;
        tile.fetch_step = more ? share / depth + 1 : 0;
        for (int i = 0; i < tiles; i++) {
            tile.fetch = (const char *)tile.b + (more ? share * (tiles + i) : 0);
            const int first = b->rows * i / tiles, rows = b->rows * (i + 1) / tiles - first;
            tile.a = b->a + first;
            tile.y = b->y + first;
            if (k == job->k_first && g->runs) prefetch_rows(b, g, first + rows, isa->rows);
            isa->tile(&tile, rows, CEIL_DIV(columns, PANEL));
        }
        for (int i = 0; i < b->rows; i++) b->y[i] += columns;
    }
}

static void run_group(const struct job *job, const struct group *g)
{
    const struct conv_view *v = &job->direct->view;
    const int64_t all = (int64_t)v->out.n * g->y.count * g->x.count;
    const int64_t first = all * job->part / job->parts, end = all * (job->part + 1) / job->parts;
    struct block block;
    for (int64_t row = first; row < end; row += block.rows) {
        block_fill(&block, v, g, job->x, job->y + job->k_first, row,
                   end - row < g->rows_max ? (int)(end - row) : g->rows_max);
        block_run(job, &block, g);
    }
}

/* Parts share out the output pixels, or the output channels where pixels are too few: then each
 * part also reads only its own weights. */
static void job_share(struct job *job, int part, int parts)
{
    enum { PIXELS_A_PART_MIN = 96 };
    const struct tensor *out = &job->direct->view.out;
    const int step = job->direct->isa->panels * PANEL, steps = CEIL_DIV(out->c, step);
    job->k_end = out->c;
    job->part = part;
    job->parts = parts;
    if (tensor_pixels(out) >= (int64_t)PIXELS_A_PART_MIN * parts) return;
    job->k_first = steps * part / parts * step;
    job->k_end = int_min(out->c, steps * (part + 1) / parts * step);
    job->part = 0;
    job->parts = 1;
}

static void run(const struct kernel_plan *plan, const float *x, const float *packed,
                const float *bias, float *y, void *scratch, int part, int parts)
{
    (void)scratch;
    const struct direct *d = (const struct direct *)plan;
    struct job job = { .direct = d, .x = x, .packed = packed, .bias = bias, .y = y };
    job_share(&job, part, parts);
    for (int i = 0; i < d->group_count; i++) run_group(&job, &d->groups[i]);
}

const struct kernel kernel_direct = {
    .name = "direct",
    .plan = plan,
    .pack = pack,
    .run = run,
};
