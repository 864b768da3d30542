/* The layout of a synthetic slide: islands of tissue, regions in them, stains, a fold
 * and a pen stroke.
 *
 * Shapes are signed distance fields disturbed by noise of bounded amplitude, so each shape lies
 * within a known disc. Empty parts of a slide are recognised from these discs,
 * without being drawn. */
#include "synth_scene.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CALIBRATION_SIDE = 160, PLACE_TRIES = 400 };
enum { SALT_PLAN = 1, SALT_ROUGH, SALT_REGION_ROUGH, SALT_PEN, SALT_GRAIN };

#define PI 3.14159265358979323846

uint64_t synth_hash(uint64_t seed, int64_t x, int64_t y)
{
    uint64_t z = seed + 0x9e3779b97f4a7c15u * ((uint64_t)x + 0xd1b54a32d192ed03u * (uint64_t)y);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

float synth_unit(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15u;
    return (float)(synth_hash(*state, 0, 0) >> 40) * 0x1p-24f;
}

static double between(uint64_t *state, double low, double high)
{
    return low + (high - low) * (double)synth_unit(state);
}

static float corner(uint64_t seed, int64_t x, int64_t y)
{
    return (float)(synth_hash(seed, x, y) >> 40) * 0x1p-23f - 1;
}

float synth_noise(uint64_t seed, double x, double y)
{
    double floor_x = floor(x), floor_y = floor(y);
    int64_t i = (int64_t)floor_x, j = (int64_t)floor_y;
    float u = (float)(x - floor_x), v = (float)(y - floor_y);
    u = u * u * (3 - 2 * u);
    v = v * v * (3 - 2 * v);
    float a = corner(seed, i, j), b = corner(seed, i + 1, j);
    float c = corner(seed, i, j + 1), d = corner(seed, i + 1, j + 1);
    float top = a + u * (b - a), bottom = c + u * (d - c);
    return top + v * (bottom - top);
}

/* Three octaves of noise, each rotated relative to the one before, in [-1, 1]. */
static float rough(uint64_t seed, double x, double y)
{
    float sum = 0, weight = 0.57f;
    for (int octave = 0; octave < 3; octave++, weight *= 0.5f) {
        sum += weight * synth_noise(seed + (uint64_t)octave, x, y);
        double turned = 1.6 * x - 1.2 * y;
        y = 1.2 * x + 1.6 * y;
        x = turned;
    }
    return sum;
}

/* Small irregularities of a border, px, at most `limit`. */
static float fray(uint64_t seed, double x, double y, double limit)
{
    return (float)limit * (0.75f * synth_noise(seed, x / 190, y / 190) +
                           0.25f * synth_noise(seed + 1, x / 47, y / 47));
}

enum { ISLAND_FRAY_MAX = 80, REGION_FRAY_MAX = 24 };
static const double island_roughness = 0.42, region_roughness = 0.4;

static float island_field(const struct synth_island *island, double x, double y)
{
    double dx = x - island->x, dy = y - island->y, scale = 0.8 * island->radius;
    double along = (dx * island->cosine + dy * island->sine) / island->stretch;
    double across = (dy * island->cosine - dx * island->sine) * island->stretch;
    double limit = fmin(ISLAND_FRAY_MAX, 0.2 * island->radius);
    return (float)(island->radius - sqrt(along * along + across * across) +
                   island_roughness * island->radius * rough(island->salt, dx / scale, dy / scale) +
                   fray(island->salt + SALT_ROUGH, x, y, limit));
}

/* Beyond this distance from its centre an island contributes neither tissue nor
 * background noise. */
static double island_reach(const struct synth_scene *scene, const struct synth_island *island)
{
    double field = island->radius * (1 + island_roughness) + ISLAND_FRAY_MAX;
    return island->stretch * fmax(0, field - scene->edge + SYNTH_FADE);
}

float synth_tissue(const struct synth_scene *scene, double x, double y)
{
    float best = -1e6f;
    for (int i = 0; i < scene->island_count; i++) {
        const struct synth_island *island = &scene->islands[i];
        double reach = island_reach(scene, island);
        double dx = x - island->x, dy = y - island->y;
        if (dx * dx + dy * dy > reach * reach) continue;
        float inside = island_field(island, x, y) - (float)scene->edge;
        if (inside > best) best = inside;
    }
    return best;
}

static double region_reach(const struct synth_region *region)
{
    return region->radius * (1 + region_roughness) + REGION_FRAY_MAX;
}

float synth_region(const struct synth_scene *scene, enum synth_region_kind kind, double x, double y)
{
    float best = -1e6f;
    for (int i = 0; i < scene->region_count; i++) {
        const struct synth_region *region = &scene->regions[i];
        double dx = x - region->x, dy = y - region->y, reach = region_reach(region) + 32;
        if (region->kind != kind || dx * dx + dy * dy > reach * reach) continue;
        double scale = 0.7 * region->radius, limit = fmin(REGION_FRAY_MAX, 0.2 * region->radius);
        float inside = (float)(region->radius - sqrt(dx * dx + dy * dy) +
                               region_roughness * region->radius *
                                   rough(region->salt, dx / scale, dy / scale)) +
                       fray(region->salt + SALT_REGION_ROUGH, x, y, limit);
        if (inside > best) best = inside;
    }
    return best;
}

static double segment_distance(const double a[2], const double b[2], double x, double y)
{
    double dx = b[0] - a[0], dy = b[1] - a[1], length = dx * dx + dy * dy;
    double t = length > 0 ? ((x - a[0]) * dx + (y - a[1]) * dy) / length : 0;
    t = t < 0 ? 0 : t > 1 ? 1 : t;
    return hypot(x - a[0] - t * dx, y - a[1] - t * dy);
}

float synth_pen(const struct synth_scene *scene, double x, double y)
{
    double nearest = 1e6;
    for (int i = 0; i + 1 < scene->pen_count; i++)
        nearest = fmin(nearest, segment_distance(scene->pen[i], scene->pen[i + 1], x, y));
    return (float)(scene->pen_width - nearest);
}

/* Whether the disc meets the rectangle. */
static bool disc_meets(double x, double y, double radius, double x0, double y0, double x1,
                       double y1)
{
    double dx = x - fmin(fmax(x, x0), x1), dy = y - fmin(fmax(y, y0), y1);
    return dx * dx + dy * dy <= radius * radius;
}

static bool pen_meets(const struct synth_scene *scene, double x0, double y0, double x1, double y1)
{
    double margin = scene->pen_width + 16;
    for (int i = 0; i + 1 < scene->pen_count; i++) {
        const double *a = scene->pen[i], *b = scene->pen[i + 1];
        if (fmin(a[0], b[0]) - margin < x1 && fmax(a[0], b[0]) + margin > x0 &&
            fmin(a[1], b[1]) - margin < y1 && fmax(a[1], b[1]) + margin > y0)
            return true;
    }
    return false;
}

bool synth_blank(const struct synth_scene *scene, double x0, double y0, double x1, double y1)
{
    for (int i = 0; i < scene->island_count; i++) {
        const struct synth_island *island = &scene->islands[i];
        if (disc_meets(island->x, island->y, island_reach(scene, island) + 16, x0, y0, x1, y1))
            return false;
    }
    return !pen_meets(scene, x0, y0, x1, y1);
}

bool synth_no_tumor(const struct synth_scene *scene, double x0, double y0, double x1, double y1)
{
    for (int i = 0; i < scene->region_count; i++) {
        const struct synth_region *region = &scene->regions[i];
        if (region->kind == SYNTH_TUMOR &&
            disc_meets(region->x, region->y, region_reach(region) + 16, x0, y0, x1, y1))
            return false;
    }
    return true;
}

/* The best of a few random places: far from the other islands and from the slide's border. */
static void island_place(struct synth_scene *scene, struct synth_island *island, uint64_t *state)
{
    double best = -1e9;
    for (int i = 0; i < 24; i++) {
        double x = between(state, 0.1, 0.9) * scene->width;
        double y = between(state, 0.1, 0.9) * scene->height;
        double room = fmin(fmin(x, scene->width - x), fmin(y, scene->height - y)) - island->radius;
        for (int j = 0; j < scene->island_count; j++) {
            const struct synth_island *other = &scene->islands[j];
            double gap = hypot(x - other->x, y - other->y) - island->radius - other->radius;
            room = fmin(room, 0.3 * gap); /* islands touching is better than leaving the slide */
        }
        if (room <= best) continue;
        best = room;
        island->x = x;
        island->y = y;
    }
}

static int compare_floats(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Choose the edge so that tissue covers its share: a quantile of the islands' field on a
 * grid of points. */
static void islands_calibrate(struct synth_scene *scene, double share)
{
    enum { COUNT = CALIBRATION_SIDE * CALIBRATION_SIDE };
    float fields[COUNT];
    for (int i = 0; i < COUNT; i++) {
        double x = (i % CALIBRATION_SIDE + 0.5) * scene->width / CALIBRATION_SIDE;
        double y = (i / CALIBRATION_SIDE + 0.5) * scene->height / CALIBRATION_SIDE;
        fields[i] = -1e6f;
        for (int j = 0; j < scene->island_count; j++)
            fields[i] = fmaxf(fields[i], island_field(&scene->islands[j], x, y));
    }
    qsort(fields, COUNT, sizeof *fields, compare_floats);
    int rank = (int)((1 - share) * COUNT);
    scene->edge = fields[rank < COUNT ? rank : COUNT - 1];
}

static void islands_init(struct synth_scene *scene, double share, uint64_t *state)
{
    int count = share > 0.3 ? 1 + (int)between(state, 0, 2) : 2 + (int)between(state, 0, 3);
    double weights[SYNTH_ISLANDS_MAX], sum = 0;
    for (int i = 0; i < count; i++) sum += weights[i] = between(state, 0.5, 1.5);
    for (int i = 0; share > 0 && i < count; i++) {
        double turn = between(state, 0, PI), area = share * scene->width * scene->height;
        struct synth_island island = { .radius = sqrt(area * weights[i] / sum / PI),
                                       .stretch = between(state, 1, 1.3),
                                       .cosine = cos(turn),
                                       .sine = sin(turn),
                                       .salt = synth_hash(scene->seed, SALT_ROUGH, i) };
        island_place(scene, &island, state);
        scene->islands[scene->island_count++] = island;
    }
    if (scene->island_count > 0) islands_calibrate(scene, share);
}

/* Space for a region at (x, y): limited by depth in the tissue, the slide's border
 * and other regions. */
static double region_room(const struct synth_scene *scene, double x, double y)
{
    double room = 1.4 * (double)synth_tissue(scene, x, y);
    room = fmin(room, 1.4 * fmin(fmin(x, scene->width - x), fmin(y, scene->height - y)));
    for (int i = 0; i < scene->region_count; i++) {
        const struct synth_region *other = &scene->regions[i];
        room = fmin(room, hypot(x - other->x, y - other->y) - 1.15 * other->radius);
    }
    return room;
}

/* Place a region where it fits, shrinking it if necessary. A tumour is always placed, a decoy only
 * where there is room. */
static void region_place(struct synth_scene *scene, enum synth_region_kind kind, double radius,
                         uint64_t *state)
{
    struct synth_region region = { .kind = kind, .salt = synth_hash(*state, SALT_PLAN, kind) };
    double best = -1e9;
    for (int i = 0; i < PLACE_TRIES && best < radius * (1 - 0.8 * i / PLACE_TRIES); i++) {
        const struct synth_island *island =
            &scene->islands[(int)between(state, 0, scene->island_count)];
        double distance = island->radius * sqrt(between(state, 0, 1.5));
        double turn = between(state, 0, 2 * PI);
        double x = island->x + distance * cos(turn), y = island->y + distance * sin(turn);
        double room = region_room(scene, x, y);
        if (room <= best) continue;
        best = room;
        region.x = x;
        region.y = y;
    }
    region.radius = fmin(radius, fmax(best, 0.25 * radius));
    if (kind == SYNTH_TUMOR || best >= 0.25 * radius)
        scene->regions[scene->region_count++] = region;
}

static void regions_init(struct synth_scene *scene, const struct synth_options *options,
                         uint64_t *state)
{
    static const double tumor_share = 0.1, tumor_share_max = 0.3,
                        decoy_share = 0.11; /* of the tissue */
    if (scene->island_count == 0) return;
    double area = options->tissue * scene->width * scene->height;
    double share = fmin(tumor_share, tumor_share_max / fmax(1, options->tumors));
    for (int i = 0; i < options->tumors; i++)
        region_place(scene, SYNTH_TUMOR,
                     fmax(40, sqrt(area * share / PI) * between(state, 0.8, 1.2)), state);
    for (int i = 0; i < 2 * SYNTH_DECOYS; i++)
        region_place(scene, i % 2 == 0 ? SYNTH_LARGE_CELLS : SYNTH_SMALL_NESTS,
                     fmax(40, sqrt(area * decoy_share / PI) * between(state, 0.8, 1.2)), state);
}

/* Distance from an island's centre at which a ray leaves the tissue for good, plus `beyond`; px. */
static double island_radius(const struct synth_scene *scene, const struct synth_island *island,
                            double angle, double beyond)
{
    double step = 0.02 * island->radius, last = 0;
    for (int i = 0; i < 120; i++) {
        double x = island->x + i * step * cos(angle), y = island->y + i * step * sin(angle);
        if (synth_tissue(scene, x, y) > 0) last = i * step;
    }
    return last + beyond;
}

/* A stroke around an island as a pathologist outlines tissue, partly outside and
 * partly across it. */
static void pen_init(struct synth_scene *scene, uint64_t *state)
{
    static const float inks[][3] = { { 0.16f, 0.28f, 0.62f },
                                     { 0.13f, 0.5f, 0.3f },
                                     { 0.12f, 0.12f, 0.14f } };
    memcpy(scene->ink, inks[(int)between(state, 0, 3)], sizeof scene->ink);
    double turn = between(state, 0, 2 * PI), arc = between(state, 0.8, 2.4);
    bool marked = between(state, 0, 1) < 0.6;
    if (!marked || scene->island_count == 0) return;
    const struct synth_island *island = &scene->islands[0];
    scene->pen_width = fmin(60, fmax(6, 0.005 * fmin(scene->width, scene->height)));
    double radius = island_radius(scene, island, turn, scene->pen_width);
    for (int i = 0; i < SYNTH_PEN_POINTS; i++) {
        double angle = turn + arc * i / SYNTH_PEN_POINTS;
        radius += 0.35 * (island_radius(scene, island, angle, scene->pen_width) - radius);
        double *point = scene->pen[scene->pen_count++];
        point[0] = island->x + radius * cos(angle);
        point[1] = island->y + radius * sin(angle);
    }
}

static void fold_init(struct synth_scene *scene, uint64_t *state)
{
    double turn = between(state, 0, 2 * PI), width = between(state, 14, 40);
    bool folded = between(state, 0, 1) < 0.5;
    if (!folded || scene->island_count == 0) return;
    const struct synth_island *island = &scene->islands[scene->island_count - 1];
    double shift = between(state, -0.5, 0.5) * island->radius;
    scene->fold[0] = cos(turn);
    scene->fold[1] = sin(turn);
    scene->fold[2] = island->x * cos(turn) + island->y * sin(turn) + shift;
    scene->fold_width = width;
}

/* Absorption tables by the Beer-Lambert law. The stains' optical densities (Ruifrok and Johnston
 * 2001, QuPath's values) vary from slide to slide in hue and strength. */
static void stains_init(struct synth_scene *scene, uint64_t *state)
{
    static const double hematoxylin[3] = { 0.65, 0.70, 0.29 }, eosin[3] = { 0.2, 0.8, 0.5 };
    double strength_h = between(state, 0.8, 1.3), strength_e = between(state, 0.8, 1.25);
    double lamp = between(state, 241, 247);
    for (int c = 0; c < 3; c++) {
        double h = strength_h * (hematoxylin[c] + between(state, -0.07, 0.07));
        double e = strength_e * (eosin[c] + between(state, -0.08, 0.08));
        scene->background[c] = (uint8_t)(lamp + between(state, -1.5, 1.5));
        for (int i = 0; i < SYNTH_CONCENTRATIONS; i++) {
            scene->hematoxylin[c][i] = (uint32_t)lround(65535 * exp(-h * i / 256));
            scene->eosin[c][i] = (uint32_t)lround(64 * (scene->background[c] + 0.5) *
                                                  exp(-e * i / 256));
        }
    }
}

/* Periodic noise, box-blurred over 2*reach+1 px and scaled to a standard deviation of about 40. */
static void grain_init(int8_t grain[SYNTH_GRAIN][SYNTH_GRAIN], uint64_t seed, int reach)
{
    enum { WRAP = SYNTH_GRAIN - 1 };
    int width = 2 * reach + 1;
    double gain = 40 / (36.95 * width); /* uniform -64..63: standard deviation 36.95 */
    for (int y = 0; y < SYNTH_GRAIN; y++) {
        for (int x = 0; x < SYNTH_GRAIN; x++) {
            int sum = 0;
            for (int j = -reach; j <= reach; j++)
                for (int i = -reach; i <= reach; i++)
                    sum += (int)(synth_hash(seed, (x + i) & WRAP, (y + j) & WRAP) >> 57) - 64;
            grain[y][x] = (int8_t)fmin(127, fmax(-127, gain * sum));
        }
    }
}

void synth_scene_init(struct synth_scene *scene, const struct synth_options *options)
{
    memset(scene, 0, sizeof *scene);
    scene->seed = synth_hash(options->seed, SALT_PLAN, 0);
    scene->width = (double)options->width;
    scene->height = (double)options->height;
    uint64_t state = scene->seed;
    stains_init(scene, &state);
    islands_init(scene, options->tissue, &state);
    regions_init(scene, options, &state);
    fold_init(scene, &state);
    pen_init(scene, &state);
    grain_init(scene->fine, synth_hash(scene->seed, SALT_GRAIN, 0), 1);
    grain_init(scene->coarse, synth_hash(scene->seed, SALT_GRAIN, 1), 2);
}
