/* Derives the shapes that backends are tested on; see the header. */
#include "shapes.h"

#include <stdio.h>
#include <string.h>

#include "micromet/base/size.h"

/* A named tensor of the tower. */
struct map {
    const char *name;
    int size, channels, filled;
};

struct maps {
    struct map items[INCEPTION_LAYERS + 1];
    int count;
};

static struct map *map_find(struct maps *maps, const char *name)
{
    for (int i = 0; i < maps->count; i++)
        if (strcmp(maps->items[i].name, name) == 0) return &maps->items[i];
    return NULL;
}

static bool same_work(const struct shape *a, const struct shape *b)
{
    struct shape left = *a, right = *b;
    memset(left.name, 0, sizeof left.name);
    memset(right.name, 0, sizeof right.name);
    return memcmp(&left, &right, sizeof left) == 0;
}

static void add_distinct(struct shapes *shapes, const struct shape *shape)
{
    for (int i = 0; i < shapes->count; i++)
        if (same_work(&shapes->items[i], shape)) return;
    CHECK(shapes->count < SHAPES_MAX);
    shapes->items[shapes->count++] = *shape;
}

/* Channels of the tensor `into`, summed over all layers that write to it. */
static int channels_into(struct maps *maps, const char *into)
{
    int sum = 0;
    for (int i = 0; i < INCEPTION_LAYERS; i++) {
        const struct inception_layer *l = &inception_v3[i];
        if (strcmp(l->into ? l->into : l->name, into) != 0) continue;
        sum += l->channels ? l->channels : map_find(maps, l->from)->channels;
    }
    return sum;
}

void shapes_inception(struct shapes *shapes, int window, int batch)
{
    struct maps maps = { .items = { { "input", window, 3, 3 } }, .count = 1 };
    shapes->count = 0;
    for (int i = 0; i < INCEPTION_LAYERS; i++) {
        const struct inception_layer *l = &inception_v3[i];
        const struct map in = *map_find(&maps, l->from);
        const char *into = l->into ? l->into : l->name;
        struct shape s = { .kind = l->kind,
                           .n = in.size > 40 ? 1 : batch,
                           .h = in.size,
                           .w = in.size,
                           .c = in.channels,
                           .k = l->channels ? l->channels : in.channels,
                           .kernel_h = l->kernel_h,
                           .kernel_w = l->kernel_w,
                           .stride = l->stride,
                           .pad_h = l->same ? l->kernel_h / 2 : 0,
                           .pad_w = l->same ? l->kernel_w / 2 : 0,
                           .x_stride = in.channels };
        s.out_h = s.out_w = l->same ? in.size : (in.size - l->kernel_h) / l->stride + 1;
        if (!map_find(&maps, into))
            maps.items[maps.count++] = (struct map) { into, s.out_h, channels_into(&maps, into),
                                                      0 };
        s.y_stride = map_find(&maps, into)->channels;
        snprintf(s.name, sizeof s.name, "%s at %d px", l->name, window);
        add_distinct(shapes, &s);
    }
    const struct map *last = map_find(&maps, inception_v3_output);
    struct shape global = { .kind = INCEPTION_AVERAGE_POOL,
                            .n = batch,
                            .h = last->size,
                            .w = last->size,
                            .c = last->channels,
                            .out_h = 1,
                            .out_w = 1,
                            .k = last->channels,
                            .kernel_h = last->size,
                            .kernel_w = last->size,
                            .stride = 1,
                            .x_stride = last->channels,
                            .y_stride = 2 * last->channels };
    snprintf(global.name, sizeof global.name, "global pool at %d px", window);
    add_distinct(shapes, &global);
}

static const struct odd {
    const char *name;
    enum inception_kind kind;
    int n, h, w, c, k, kernel_h, kernel_w, stride, pad_h, pad_w, x_gap, y_gap;
} odds[] = {
#define C INCEPTION_CONVOLUTION
#define M INCEPTION_MAX_POOL
#define A INCEPTION_AVERAGE_POOL
    /* name, kind, n, h, w, c, k, kernel, stride, pad, gap after the channels of x and y */
    { "one pixel, one channel", C, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0 },
    { "one pixel under 3x3", C, 2, 1, 1, 16, 16, 3, 3, 1, 1, 1, 0, 0 },
    { "one pixel under 1x7", C, 2, 1, 1, 32, 32, 1, 7, 1, 0, 3, 0, 0 },
    { "one channel in", C, 2, 9, 9, 1, 16, 3, 3, 1, 1, 1, 0, 0 },
    { "one channel out", C, 2, 9, 9, 16, 1, 3, 3, 1, 1, 1, 0, 0 },
    { "three channels, stride 2, odd", C, 2, 15, 13, 3, 32, 3, 3, 2, 0, 0, 0, 0 },
    { "stride 2, even, a row left over", C, 2, 16, 14, 8, 24, 3, 3, 2, 0, 0, 0, 0 },
    { "stride 2, padded", C, 1, 11, 12, 16, 16, 3, 3, 2, 1, 1, 0, 0 },
    { "stride 3 over 2x2", C, 1, 11, 10, 5, 7, 2, 2, 3, 0, 0, 0, 0 },
    { "1x1, stride 2", C, 2, 9, 8, 16, 32, 1, 1, 2, 0, 0, 0, 0 },
    { "1x7 same", C, 1, 5, 9, 16, 48, 1, 7, 1, 0, 3, 0, 0 },
    { "7x1 same", C, 1, 9, 5, 48, 16, 7, 1, 1, 3, 0, 0, 0 },
    { "7x1 taller than the map", C, 3, 3, 3, 32, 32, 7, 1, 1, 3, 0, 0, 0 },
    { "1x7 wider than the map", C, 3, 3, 3, 32, 32, 1, 7, 1, 0, 3, 0, 0 },
    { "1x7 on one odd row", C, 1, 1, 29, 17, 19, 1, 7, 1, 0, 3, 0, 0 },
    { "1x3 same", C, 2, 8, 8, 48, 32, 1, 3, 1, 0, 1, 0, 0 },
    { "3x1 same", C, 2, 8, 8, 32, 48, 3, 1, 1, 1, 0, 0, 0 },
    { "5x5 same", C, 1, 10, 11, 16, 32, 5, 5, 1, 2, 2, 0, 0 },
    { "3x3 same, 17 to 19 channels", C, 2, 7, 6, 17, 19, 3, 3, 1, 1, 1, 0, 0 },
    { "3x3, all gaps odd", C, 2, 7, 7, 13, 11, 3, 3, 1, 1, 1, 5, 3 },
    { "3x3 same between slices", C, 2, 13, 13, 32, 32, 3, 3, 1, 1, 1, 32, 64 },
    { "1x1 between slices", C, 2, 6, 7, 48, 80, 1, 1, 1, 0, 0, 16, 48 },
    { "5x3, pads 2 and 0", C, 2, 9, 8, 8, 8, 5, 3, 1, 2, 0, 0, 8 },
    { "pad as large as the kernel allows", C, 1, 4, 4, 16, 16, 3, 3, 1, 2, 2, 0, 0 },
    { "dense", C, 4, 1, 1, 4096, 256, 1, 1, 1, 0, 0, 0, 0 },
    { "dense to one", C, 4, 1, 1, 128, 1, 1, 1, 1, 0, 0, 0, 0 },
    { "dense from a slice", C, 3, 1, 1, 2048, 10, 1, 1, 1, 0, 0, 2048, 0 },
    { "dense from an odd slice", C, 3, 1, 1, 24, 16, 1, 1, 1, 0, 0, 5, 0 },
    { "dense into an odd slice", C, 3, 1, 1, 24, 16, 1, 1, 1, 0, 0, 0, 3 },
    { "max of one pixel", M, 1, 1, 1, 3, 3, 1, 1, 1, 0, 0, 0, 0 },
    { "max 3x3 stride 2, odd", M, 2, 9, 7, 5, 5, 3, 3, 2, 0, 0, 0, 0 },
    { "max 3x3 stride 2, a row left over", M, 2, 8, 10, 16, 16, 3, 3, 2, 0, 0, 16, 32 },
    { "max padded, gaps odd", M, 2, 6, 5, 7, 7, 3, 3, 2, 1, 1, 2, 5 },
    { "average same on one pixel", A, 2, 1, 1, 8, 8, 3, 3, 1, 1, 1, 0, 0 },
    { "average same, gaps odd", A, 2, 5, 6, 9, 9, 3, 3, 1, 1, 1, 4, 2 },
    { "average 2x3 stride 2", A, 1, 7, 9, 16, 16, 2, 3, 2, 0, 1, 0, 0 },
    { "average of everything", A, 3, 4, 5, 24, 24, 4, 5, 1, 0, 0, 0, 24 },
#undef C
#undef M
#undef A
};

void shapes_odd(struct shapes *shapes)
{
    shapes->count = 0;
    for (size_t i = 0; i < COUNT_OF(odds); i++) {
        const struct odd *o = &odds[i];
        struct shape s = { .kind = o->kind,
                           .n = o->n,
                           .h = o->h,
                           .w = o->w,
                           .c = o->c,
                           .k = o->k,
                           .kernel_h = o->kernel_h,
                           .kernel_w = o->kernel_w,
                           .stride = o->stride,
                           .pad_h = o->pad_h,
                           .pad_w = o->pad_w,
                           .out_h = (o->h + 2 * o->pad_h - o->kernel_h) / o->stride + 1,
                           .out_w = (o->w + 2 * o->pad_w - o->kernel_w) / o->stride + 1,
                           .x_stride = o->c + o->x_gap,
                           .y_stride = o->k + o->y_gap };
        snprintf(s.name, sizeof s.name, "%s", o->name);
        shapes->items[shapes->count++] = s;
    }
}

struct op shape_op(const struct shape *s, enum op_kind kind, enum dtype dtype)
{
    const struct tensor in = {
        .dtype = dtype, .n = s->n, .h = s->h, .w = s->w, .c = s->c, .pixel_stride = s->x_stride
    };
    const struct tensor out = { .dtype = dtype,
                                .n = s->n,
                                .h = s->out_h,
                                .w = s->out_w,
                                .c = s->k,
                                .pixel_stride = s->y_stride };
    const bool norm = kind == OP_BATCH_NORM || kind == OP_BATCH_NORM_BACKWARD;
    struct tensor raw = out;
    raw.pixel_stride = s->k;
    const struct op_window window = { s->kernel_h, s->kernel_w, s->stride, s->pad_h, s->pad_w };
    struct op op = { .kind = kind, .name = s->name, .x = norm ? raw : in, .y = out };
    if (norm)
        op.batch_norm = (struct op_batch_norm) { .epsilon = 1e-3f, .momentum = 0.99f };
    else if (op_is_convolution(&op))
        op.convolution.window = window;
    else
        op.pool = (struct op_pool) { .window = window,
                                     .average = s->kind == INCEPTION_AVERAGE_POOL };
    return op;
}
