/* The smooth fields of a synthetic slide, computed from noise and from distances to borders.
 *
 * Tumour differs from normal tissue in two independent ways, the size of its nuclei (`large`) and
 * their arrangement in nests (`nested`). Each decoy has one of them and resembles tumour in
 * everything else, mean colour included. */
#include <math.h>
#include <string.h>

#include "synth_field.h"

enum { OUTSIDE = 16 /* px outside the edge from which no field of the tissue is needed */ };

enum {
    FIELD_DENSITY = 100,
    FIELD_STROMA,
    FIELD_ANGLE,
    FIELD_FAT,
    FIELD_STAIN,
    FIELD_STREAK,
    FIELD_WARP,
    FIELD_NEST,
    FIELD_FOLD,
};

static float field(const struct synth_scene *scene, int which, double x, double y, double size)
{
    return synth_noise(scene->seed + 1000 * (uint64_t)which, x / size, y / size);
}

/* Nests are the cells of a jittered Voronoi diagram. Returns the distance in px to the nearest
 * border, and that border's direction in *angle. */
static float nest_border(const struct synth_scene *scene, double x, double y, float *angle)
{
    enum { SPACING = 118 };
    double wx = x / SPACING + 0.17 * (double)field(scene, FIELD_WARP, x, y, 60);
    double wy = y / SPACING + 0.17 * (double)field(scene, FIELD_WARP + 100, x, y, 60);
    int64_t column = (int64_t)floor(wx), row = (int64_t)floor(wy);
    float near[3] = { 1e6f, 0, 0 }, next[3] = { 1e6f, 0, 0 }; /* squared distance, dx, dy */
    for (int64_t j = row - 1; j <= row + 1; j++) {
        for (int64_t i = column - 1; i <= column + 1; i++) {
            uint64_t state = synth_hash(scene->seed + FIELD_NEST, i, j);
            float dx = (float)((double)i - wx) + 0.12f + 0.76f * synth_unit(&state);
            float dy = (float)((double)j - wy) + 0.12f + 0.76f * synth_unit(&state);
            float point[3] = { dx * dx + dy * dy, dx, dy };
            if (point[0] < near[0]) {
                memcpy(next, near, sizeof next);
                memcpy(near, point, sizeof near);
            } else if (point[0] < next[0]) {
                memcpy(next, point, sizeof next);
            }
        }
    }
    float across_x = next[1] - near[1], across_y = next[2] - near[2];
    *angle = atan2f(across_x, -across_y);
    return SPACING * (next[0] - near[0]) / (2 * hypotf(across_x, across_y));
}

/* Unordered patches of stroma, wider and rarer than the bands between nests: alike at the fine
 * level, different at the coarse one. */
static float streaks(const struct synth_scene *scene, double x, double y)
{
    float n = field(scene, FIELD_STREAK, x + 0.4 * y, y - 0.4 * x, 170) +
              0.5f * field(scene, FIELD_STREAK + 100, x, y, 60);
    return synth_ramp(0.3f, 0.46f, n);
}

/* Fill in the composition of the tissue at (x, y): everything but distances, thickness and ink. */
static void node_compose(const struct synth_scene *scene, double x, double y, float large_inside,
                         float nested_inside, struct synth_node *node)
{
    float large = synth_ramp(-8, 8, large_inside), nested = synth_ramp(-8, 8, nested_inside);
    float region = fmaxf(large, nested);
    float density = 0.55f + 0.4f * field(scene, FIELD_DENSITY, x, y, 420);
    float n = 0.65f * field(scene, FIELD_STROMA, x, y, 330) +
              0.35f * field(scene, FIELD_STROMA + 100, x, y, 90);
    float stroma = synth_ramp(0, 0.22f, n);
    node->angle = 3.5f * field(scene, FIELD_ANGLE, x, y, 520) +
                  0.5f * field(scene, FIELD_ANGLE + 100, x, y, 90);
    if (large > nested) stroma = synth_mix(stroma, streaks(scene, x, y), large);
    if (nested > 0) {
        float angle, width = 12 + 3 * field(scene, FIELD_WARP + 200, x, y, 80);
        float border = nest_border(scene, x, y, &angle);
        stroma = synth_mix(stroma, synth_ramp(width + 5, width - 2, border), nested);
        if (nested > 0.5f && border < 20) node->angle = angle;
    }
    float cells = 1 - stroma;
    float fat = (1 - region) * synth_ramp(0.32f, 0.46f, field(scene, FIELD_FAT, x, y, 480));
    float solid = 1 - fat;
    node->share[SYNTH_FIBRE] = 0.05f + 0.85f * stroma;
    node->share[SYNTH_FAT] = fat;
    node->share[SYNTH_SPINDLE] = (0.55f * stroma + 0.02f * cells) * solid;
    node->share[SYNTH_SMALL] = solid *
                               (0.05f * stroma +
                                cells * synth_mix(synth_mix(density, 0.66f, nested), 0.04f, large));
    node->share[SYNTH_LARGE] = large * cells * 0.93f;
    float stain = 1 + 0.16f * field(scene, FIELD_STAIN, x, y, 900) +
                  0.08f * field(scene, FIELD_STAIN + 100, x, y, 70);
    node->hematoxylin = synth_mix(synth_mix(0.2f, 0.3f, region), 0.09f, stroma);
    node->eosin = stain * synth_mix(synth_mix(0.36f, 0.42f, region), 0.64f, stroma);
}

static float fold_thickness(const struct synth_scene *scene, double x, double y)
{
    if (scene->fold_width <= 0) return 1;
    double distance = x * scene->fold[0] + y * scene->fold[1] - scene->fold[2];
    distance += 90 * (double)field(scene, FIELD_FOLD, x, y, 600);
    float width = (float)scene->fold_width * (1 + 0.6f * field(scene, FIELD_FOLD + 100, x, y, 300));
    return 1 + 0.9f * synth_ramp(width, width - 14, (float)fabs(distance));
}

void synth_node_truth(const struct synth_scene *scene, double x, double y, struct synth_node *node)
{
    node->tissue = synth_tissue(scene, x, y);
    node->tumor = node->tissue < -OUTSIDE ? -1e6f : synth_region(scene, SYNTH_TUMOR, x, y);
}

void synth_node_fill(const struct synth_scene *scene, double x, double y, struct synth_node *node)
{
    *node = (struct synth_node) { .thickness = 1, .ink = -1e6f };
    synth_node_truth(scene, x, y, node);
    if (scene->pen_count > 0) node->ink = synth_pen(scene, x, y);
    if (node->tissue < -OUTSIDE) return;
    float large = fmaxf(node->tumor, synth_region(scene, SYNTH_LARGE_CELLS, x, y));
    float nested = fmaxf(node->tumor, synth_region(scene, SYNTH_SMALL_NESTS, x, y));
    node_compose(scene, x, y, large, nested, node);
    node->thickness = fold_thickness(scene, x, y);
}
