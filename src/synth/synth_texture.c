/* The pixels of a synthetic slide.
 *
 * A tile is drawn as concentrations of two stains, hematoxylin (nuclei) and eosin (everything
 * else), and converted to colour at the end by the Beer-Lambert law. Smooth fields are computed
 * on a lattice of 8 px and interpolated. Nuclei, fibres and fat cells are one jittered object
 * per cell of a grid, determined by the hash of the cell alone, so neighbouring tiles draw the
 * same object independently. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "synth_field.h"

enum {
    STEP = 8,
    MARGIN = 64 /* largest reach of an object from its centre, px */,
    WRAP = SYNTH_GRAIN - 1,
    OBJECT_SALT = 50
};

/* Largest extent of an object beyond its ellipse, as a multiple of the radii. */
static const float reach_max = 1.35f;

struct synth_canvas {
    int tile, lattice; /* px; nodes per side */
    struct synth_node *nodes;
    float *hematoxylin, *eosin; /* (tile, tile) */
    int64_t x, y;               /* level-0 px of the tile's corner */
};

/* One object: an ellipse distorted by a few harmonics, in the coordinates of its grid cell. */
struct object {
    int x, y;                 /* px: the cell's corner relative to the tile's */
    float center_x, center_y; /* px, relative to the cell's corner */
    float radius_a, radius_b; /* px */
    float cosine, sine;       /* direction of the longer axis */
    float bend, lobes;        /* deviations from the ellipse */
    float dark, pallor;       /* hematoxylin at the rim; fraction missing in the middle */
    float spot_u, spot_v;     /* nucleolus, in units of the radii */
    int grain_x, grain_y;
};

typedef void painter(const struct synth_scene *scene, struct synth_canvas *canvas,
                     const struct object *object);
static painter paint_fibre, paint_fat, paint_nucleus;

static const struct object_spec {
    painter *paint;
    int spacing;       /* px between grid cells */
    float jitter;      /* offset of the centre from the cell's, in spacings, at most */
    float radius[2];   /* px: smallest, largest */
    float aspect[2];   /* longer axis / shorter axis */
    float bend, lobes; /* at most */
    float dark[2], pallor;
    bool aligned; /* oriented along the fibres */
} specs[SYNTH_OBJECTS] = {
    [SYNTH_FIBRE] = { .paint = paint_fibre,
                      .spacing = 15,
                      .jitter = 0.45f,
                      .radius = { 13, 26 },
                      .aspect = { 9, 15 },
                      .bend = 0.5f,
                      .dark = { -0.24f, 0.28f },
                      .aligned = true },
    [SYNTH_SPINDLE] = { .paint = paint_nucleus,
                        .spacing = 27,
                        .jitter = 0.45f,
                        .radius = { 6.5f, 10 },
                        .aspect = { 2.8f, 4.5f },
                        .bend = 0.35f,
                        .dark = { 1, 1.4f },
                        .pallor = 0.1f,
                        .aligned = true },
    [SYNTH_SMALL] = { .paint = paint_nucleus,
                      .spacing = 13,
                      .jitter = 0.42f,
                      .radius = { 4.2f, 5.6f },
                      .aspect = { 1, 1.25f },
                      .lobes = 0.08f,
                      .dark = { 1.1f, 1.6f },
                      .pallor = 0.2f },
    [SYNTH_LARGE] = { .paint = paint_nucleus,
                      .spacing = 22,
                      .jitter = 0.42f,
                      .radius = { 7.5f, 12 },
                      .aspect = { 1, 1.6f },
                      .bend = 0.25f,
                      .lobes = 0.22f,
                      .dark = { 0.75f, 1.15f },
                      .pallor = 0.5f },
    [SYNTH_FAT] = { .paint = paint_fat,
                    .spacing = 74,
                    .jitter = 0.14f,
                    .radius = { 24, 39 },
                    .aspect = { 1, 1.25f },
                    .lobes = 0.1f },
};

struct synth_canvas *synth_canvas_new(int tile)
{
    struct synth_canvas *canvas = calloc(1, sizeof *canvas);
    if (canvas == NULL) return NULL;
    size_t pixels = (size_t)tile * (size_t)tile;
    canvas->tile = tile;
    canvas->lattice = (tile + 2 * MARGIN) / STEP + 1;
    canvas->nodes = malloc((size_t)canvas->lattice * (size_t)canvas->lattice *
                           sizeof *canvas->nodes);
    canvas->hematoxylin = malloc(pixels * sizeof *canvas->hematoxylin);
    canvas->eosin = malloc(pixels * sizeof *canvas->eosin);
    if (canvas->nodes != NULL && canvas->hematoxylin != NULL && canvas->eosin != NULL)
        return canvas;
    synth_canvas_free(canvas);
    return NULL;
}

void synth_canvas_free(struct synth_canvas *canvas)
{
    if (canvas == NULL) return;
    free(canvas->nodes);
    free(canvas->hematoxylin);
    free(canvas->eosin);
    free(canvas);
}

static const struct synth_node *node_at(const struct synth_canvas *canvas, int x, int y)
{
    return &canvas->nodes[(y + MARGIN) / STEP * canvas->lattice + (x + MARGIN) / STEP];
}

/* One field interpolated between the four nodes around a square of STEP px: value at the left end
 * of row `y` of the square, and slope along the row. */
struct slope {
    float value, step;
};
static struct slope interpolate(const struct synth_canvas *canvas, const struct synth_node *node,
                                size_t offset, int y)
{
    const char *a = (const char *)node + offset, *b = a + sizeof *node;
    const char *c = (const char *)(node + canvas->lattice) + offset, *d = c + sizeof *node;
    float t = (float)y / STEP;
    float left = synth_mix(*(const float *)a, *(const float *)c, t);
    float right = synth_mix(*(const float *)b, *(const float *)d, t);
    return (struct slope) { left, (right - left) / STEP };
}

/* Paint the stains between the nuclei. */
static void ground_paint(const struct synth_scene *scene, struct synth_canvas *canvas)
{
    int tile = canvas->tile;
    for (int y = 0; y < tile; y++) {
        const int8_t *fine = scene->fine[(canvas->y + y) & WRAP];
        const int8_t *coarse = scene->coarse[(canvas->y + y) & WRAP];
        float *h = canvas->hematoxylin + (size_t)y * (size_t)tile;
        float *e = canvas->eosin + (size_t)y * (size_t)tile;
        for (int x = 0; x < tile; x += STEP) {
            const struct synth_node *node = node_at(canvas, x, y);
            struct slope sh = interpolate(canvas, node, offsetof(struct synth_node, hematoxylin),
                                          y % STEP);
            struct slope se = interpolate(canvas, node, offsetof(struct synth_node, eosin),
                                          y % STEP);
            const int8_t *f = fine + ((canvas->x + x) & WRAP),
                         *c = coarse + ((canvas->x + x) & WRAP);
            for (int i = 0; i < STEP; i++) {
                h[x + i] = (sh.value + sh.step * (float)i) * (1 + 0.004f * (float)c[i]);
                e[x + i] = (se.value + se.step * (float)i) *
                           (1 + 0.0012f * (float)f[i] + 0.0016f * (float)c[i]);
            }
        }
    }
}

/* Scan conversion of an object's ellipse: the rows that meet the tile, then the range of pixels in
 * each row that may lie inside. */
struct span {
    float a, b, c; /* a*dx*dx + 2*b*dx*dy + c*dy*dy <= 1 is the ellipse */
    int y0, y1;
};

static struct span span_begin(const struct object *object, int tile)
{
    float ia = 1 / (object->radius_a * object->radius_a),
          ib = 1 / (object->radius_b * object->radius_b);
    float c = object->cosine, s = object->sine;
    struct span span = { .a = c * c * ia + s * s * ib,
                         .b = c * s * (ia - ib),
                         .c = s * s * ia + c * c * ib };
    float reach = reach_max * sqrtf(s * s / ia + c * c / ib);
    int y0 = object->y + (int)floorf(object->center_y - reach);
    int y1 = object->y + (int)ceilf(object->center_y + reach);
    span.y0 = y0 < 0 ? 0 : y0;
    span.y1 = y1 >= tile ? tile - 1 : y1;
    return span;
}

static bool span_row(const struct span *span, const struct object *object, int y, int tile, int *x0,
                     int *x1)
{
    float dy = (float)(y - object->y) - object->center_y;
    float root = span->b * span->b * dy * dy -
                 span->a * (span->c * dy * dy - reach_max * reach_max);
    if (root < 0) return false;
    root = sqrtf(root);
    int first = object->x + (int)ceilf(object->center_x + (-span->b * dy - root) / span->a);
    int last = object->x + (int)floorf(object->center_x + (-span->b * dy + root) / span->a);
    *x0 = first < 0 ? 0 : first;
    *x1 = last >= tile ? tile - 1 : last;
    return *x0 <= *x1;
}

/* A pixel in object coordinates: (0,0) is the centre, u runs along the longer axis, and q
 * = 1 on the rim. */
struct local {
    float u, v, q;
};
static inline struct local local_at(const struct object *object, int x, int y)
{
    float dx = (float)(x - object->x) - object->center_x,
          dy = (float)(y - object->y) - object->center_y;
    float u = (dx * object->cosine + dy * object->sine) / object->radius_a;
    float v = (dy * object->cosine - dx * object->sine) / object->radius_b;
    v += object->bend * (u * u - 0.4f);
    return (struct local) { u, v, u * u + v * v + object->lobes * u * (u * u - 3 * v * v) };
}

static void paint_fibre(const struct synth_scene *scene, struct synth_canvas *canvas,
                        const struct object *object)
{
    (void)scene;
    struct span span = span_begin(object, canvas->tile);
    for (int y = span.y0, x0, x1; y <= span.y1; y++) {
        if (!span_row(&span, object, y, canvas->tile, &x0, &x1)) continue;
        float *e = canvas->eosin + (size_t)y * (size_t)canvas->tile;
        for (int x = x0; x <= x1; x++) {
            float inside = 1 - local_at(object, x, y).q;
            if (inside > 0) e[x] += object->dark * inside * inside;
        }
    }
}

static void paint_fat(const struct synth_scene *scene, struct synth_canvas *canvas,
                      const struct object *object)
{
    (void)scene;
    struct span span = span_begin(object, canvas->tile);
    for (int y = span.y0, x0, x1; y <= span.y1; y++) {
        if (!span_row(&span, object, y, canvas->tile, &x0, &x1)) continue;
        size_t row = (size_t)y * (size_t)canvas->tile;
        for (int x = x0; x <= x1; x++) {
            float left = synth_ramp(0.88f, 1, local_at(object, x, y).q);
            canvas->hematoxylin[row + (size_t)x] *= left;
            canvas->eosin[row + (size_t)x] *= left;
        }
    }
}

static void paint_nucleus(const struct synth_scene *scene, struct synth_canvas *canvas,
                          const struct object *object)
{
    struct span span = span_begin(object, canvas->tile);
    float sharp = object->radius_b * 0.35f;
    for (int y = span.y0, x0, x1; y <= span.y1; y++) {
        if (!span_row(&span, object, y, canvas->tile, &x0, &x1)) continue;
        float *h = canvas->hematoxylin + (size_t)y * (size_t)canvas->tile;
        float *e = canvas->eosin + (size_t)y * (size_t)canvas->tile;
        const int8_t *grain = scene->coarse[(y - object->y + object->grain_y) & WRAP];
        for (int x = x0; x <= x1; x++) {
            struct local at = local_at(object, x, y);
            float inside = 1 - at.q;
            if (inside <= 0) continue;
            float cover = synth_clamp(inside * sharp);
            float chromatin = 1 + 0.006f * (float)grain[(x - object->x + object->grain_x) & WRAP];
            float dark = object->dark * (1 - object->pallor * synth_clamp(1.4f * inside)) *
                         chromatin;
            float du = at.u - object->spot_u, dv = at.v - object->spot_v;
            if (object->pallor > 0.3f && du * du + dv * dv < 0.07f) dark += 0.45f;
            h[x] += cover * (dark - h[x]);
            e[x] += cover * (0.3f - e[x]);
        }
    }
}

/* Choose an object's parameters from the hash of its cell. */
static void object_shape(struct object *object, const struct object_spec *spec, float angle,
                         uint64_t *state)
{
    float radius = synth_mix(spec->radius[0], spec->radius[1], synth_unit(state));
    float aspect = synth_mix(spec->aspect[0], spec->aspect[1], synth_unit(state));
    float turn = 6.2831853f * synth_unit(state);
    if (spec->aligned) {
        object->radius_a = radius;
        object->radius_b = radius / aspect;
        turn = angle + 0.5f * (synth_unit(state) - 0.5f);
    } else {
        object->radius_a = radius * sqrtf(aspect);
        object->radius_b = radius / sqrtf(aspect);
    }
    object->cosine = cosf(turn);
    object->sine = sinf(turn);
    object->bend = spec->bend * (2 * synth_unit(state) - 1);
    object->lobes = spec->lobes * synth_unit(state);
    object->dark = synth_mix(spec->dark[0], spec->dark[1], synth_unit(state));
    object->pallor = spec->pallor * synth_mix(0.7f, 1.3f, synth_unit(state));
    object->spot_u = 0.7f * (synth_unit(state) - 0.5f);
    object->spot_v = 0.7f * (synth_unit(state) - 0.5f);
    object->grain_x = (int)(SYNTH_GRAIN * synth_unit(state));
    object->grain_y = (int)(SYNTH_GRAIN * synth_unit(state));
}

static bool kind_present(const struct synth_canvas *canvas, enum synth_object_kind kind)
{
    for (int i = 0; i < canvas->lattice * canvas->lattice; i++)
        if (canvas->nodes[i].share[kind] > 0) return true;
    return false;
}

static int64_t floor_divide(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* Paint all objects of a kind that may reach into the tile. */
static void objects_paint(const struct synth_scene *scene, struct synth_canvas *canvas,
                          enum synth_object_kind kind)
{
    const struct object_spec *spec = &specs[kind];
    float spread = spec->aligned ? 1 : sqrtf(spec->aspect[1]);
    int spacing = spec->spacing, reach = (int)ceilf(reach_max * spec->radius[1] * spread);
    if (!kind_present(canvas, kind)) return;
    int64_t column0 = floor_divide(canvas->x - reach, spacing) - 1,
            row0 = floor_divide(canvas->y - reach, spacing);
    int64_t column1 = floor_divide(canvas->x + canvas->tile + reach, spacing);
    int64_t row1 = floor_divide(canvas->y + canvas->tile + reach, spacing);
    for (int64_t row = row0; row <= row1; row++) {
        for (int64_t column = column0; column <= column1; column++) {
            uint64_t state = synth_hash(scene->seed + OBJECT_SALT + (uint64_t)kind, column, row);
            struct object object = { .x = (int)(column * spacing + (row & 1) * spacing / 2 -
                                                canvas->x),
                                     .y = (int)(row * spacing - canvas->y) };
            object.center_x = (float)spacing * (0.5f + spec->jitter * (2 * synth_unit(&state) - 1));
            object.center_y = (float)spacing * (0.5f + spec->jitter * (2 * synth_unit(&state) - 1));
            int x = object.x + (int)object.center_x, y = object.y + (int)object.center_y;
            if (x < -reach || y < -reach || x >= canvas->tile + reach || y >= canvas->tile + reach)
                continue;
            const struct synth_node *node = node_at(canvas, x, y);
            if (synth_unit(&state) >= node->share[kind]) continue;
            object_shape(&object, spec, node->angle, &state);
            spec->paint(scene, canvas, &object);
        }
    }
}

static uint8_t *pixel_color(const struct synth_scene *scene, float hematoxylin, float eosin,
                            float ink, uint8_t *rgb)
{
    int h = (int)(256 * hematoxylin), e = (int)(256 * eosin);
    h = h < 0 ? 0 : h >= SYNTH_CONCENTRATIONS ? SYNTH_CONCENTRATIONS - 1 : h;
    e = e < 0 ? 0 : e >= SYNTH_CONCENTRATIONS ? SYNTH_CONCENTRATIONS - 1 : e;
    for (int c = 0; c < 3; c++)
        rgb[c] = (uint8_t)(scene->hematoxylin[c][h] * scene->eosin[c][e] >> 22);
    if (ink > 0)
        for (int c = 0; c < 3; c++)
            rgb[c] = (uint8_t)((float)rgb[c] * synth_mix(1, scene->ink[c], ink));
    return rgb + 3;
}

/* Limit the stains to the tissue, add the fold, background noise and pen, and convert to RGB. */
static void colour(const struct synth_scene *scene, const struct synth_canvas *canvas, uint8_t *rgb)
{
    int tile = canvas->tile;
    for (int y = 0; y < tile; y++) {
        const int8_t *fine = scene->fine[(canvas->y + y) & WRAP];
        const float *h = canvas->hematoxylin + (size_t)y * (size_t)tile;
        const float *e = canvas->eosin + (size_t)y * (size_t)tile;
        for (int x = 0; x < tile; x += STEP) {
            const struct synth_node *node = node_at(canvas, x, y);
            struct slope tissue = interpolate(canvas, node, offsetof(struct synth_node, tissue),
                                              y % STEP);
            struct slope thick = interpolate(canvas, node, offsetof(struct synth_node, thickness),
                                             y % STEP);
            struct slope pen = interpolate(canvas, node, offsetof(struct synth_node, ink),
                                           y % STEP);
            const int8_t *f = fine + ((canvas->x + x) & WRAP);
            for (int i = 0; i < STEP; i++) {
                float inside = tissue.value + tissue.step * (float)i, noise = (float)f[i];
                float cover = synth_clamp((inside + 0.04f * noise) / 3) *
                              (thick.value + thick.step * (float)i);
                float dust = synth_clamp(1 + inside / SYNTH_FADE) * (0.012f + 0.00025f * noise);
                float ink = synth_clamp((pen.value + pen.step * (float)i + 0.03f * noise) / 3);
                rgb = pixel_color(scene, cover * h[x + i] + dust, cover * e[x + i] + dust,
                                  0.88f * ink, rgb);
            }
        }
    }
}

void synth_draw(const struct synth_scene *scene, struct synth_canvas *canvas, int64_t x, int64_t y,
                uint8_t *rgb)
{
    canvas->x = x;
    canvas->y = y;
    for (int j = 0; j < canvas->lattice; j++)
        for (int i = 0; i < canvas->lattice; i++)
            synth_node_fill(scene, (double)(x - MARGIN + i * STEP), (double)(y - MARGIN + j * STEP),
                            &canvas->nodes[j * canvas->lattice + i]);
    ground_paint(scene, canvas);
    for (int kind = 0; kind < SYNTH_OBJECTS; kind++)
        objects_paint(scene, canvas, (enum synth_object_kind)kind);
    colour(scene, canvas, rgb);
}

/* Mask values of row `y` of the square of STEP px between `node` and its neighbours. */
static void tumor_row(const struct synth_canvas *canvas, const struct synth_node *node, int y,
                      uint8_t mask[STEP])
{
    struct slope tissue = interpolate(canvas, node, offsetof(struct synth_node, tissue), y);
    struct slope tumor = interpolate(canvas, node, offsetof(struct synth_node, tumor), y);
    for (int i = 0; i < STEP; i++) {
        bool inside = tumor.value + tumor.step * (float)i > 0 &&
                      tissue.value + tissue.step * (float)i > 4;
        mask[i] = inside ? 255 : 0;
    }
}

void synth_draw_mask(const struct synth_scene *scene, struct synth_canvas *canvas, int64_t x,
                     int64_t y, uint8_t *mask)
{
    int first = MARGIN / STEP, last = (MARGIN + canvas->tile) / STEP;
    for (int j = first; j <= last; j++)
        for (int i = first; i <= last; i++)
            synth_node_truth(scene, (double)(x - MARGIN + i * STEP),
                             (double)(y - MARGIN + j * STEP),
                             &canvas->nodes[j * canvas->lattice + i]);
    for (int row = 0; row < canvas->tile; row++)
        for (int column = 0; column < canvas->tile; column += STEP, mask += STEP)
            tumor_row(canvas, node_at(canvas, column, row), row % STEP, mask);
}

bool synth_is_tumor(const struct synth_scene *scene, int64_t x, int64_t y)
{
    struct synth_node nodes[4];
    struct synth_canvas corners = { .lattice = 2, .nodes = nodes };
    int64_t column = floor_divide(x, STEP) * STEP, row = floor_divide(y, STEP) * STEP;
    for (int i = 0; i < 4; i++)
        synth_node_truth(scene, (double)(column + i % 2 * STEP), (double)(row + i / 2 * STEP),
                         &nodes[i]);
    uint8_t mask[STEP];
    tumor_row(&corners, nodes, (int)(y - row), mask);
    return mask[x - column] != 0;
}
