/* See the header.
 *
 * Gray cells say which slides may be one; they cannot say that they are, since tissue on glass
 * often has the same outline. What decides is the grain of the pixels: at a dozen dark spots the
 * structures of 3 to 9 px of one slide are sought in the other, near the same place. In another
 * slide, even in a neighbouring section, they are not found; in a copy they are, whatever its
 * compression, tiles and levels. Coarser levels only help to find how far a cut has moved the
 * picture: their structures are large enough to be alike by chance. */
#include "micromet/slide/look.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/base/size.h"

enum {
    THUMBNAIL_PX = 64,
    LEVEL_PIXELS_MAX = 256 << 20, /* more are not read for a look */
    PATCH = 48,                   /* side of what is sought, px of a level */
    REACH = 32,                   /* how far it may have moved, px */
    NEAR = 2,                     /* the same, once one spot was found */
    GRAIN_UNITS = 8,
    NARROW = 1,
    WIDE = 4, /* px on each side of a mean: 3 and 9 px */
    SIDE_MAX = PATCH + 2 * REACH,
    READ_MAX = SIDE_MAX + 2 * WIDE,
    SPOTS = 12,
    SPOTS_MIN = 3, /* that must tell something */
    CACHE_BYTES = 16 << 20,
};
static const double deviation_min = 3; /* of a look, gray levels: less is an empty slide */
static const double grain_min = 1.5;   /* deviation of a spot's grain: less is noise of JPEG */
static const double found_min = 0.75;  /* correlation of a spot with its own copy */
static const double size_apart_max = 0.1, downsample_apart_max = 0.01;

/* --- The look --------------------------------------------------------------------------------- */

static double gray_of(const uint8_t rgb[3])
{
    return 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2];
}

/* The coarsest level that slide_thumbnail() may take is small enough. */
static bool is_affordable(const struct slide *slide)
{
    const struct slide_level *level = &slide->levels[slide->level_count - 1];
    while (level > slide->levels &&
           (level->has_holes || (level->width < THUMBNAIL_PX && level->height < THUMBNAIL_PX)))
        level--;
    return level->width * level->height <= LEVEL_PIXELS_MAX;
}

/* Mean gray of the part of a picture that a cell covers, to whole pixels. */
static double cell_mean(const uint8_t *rgb, int width, int height, int column, int row)
{
    const int x0 = column * width / LOOK_SIDE, y0 = row * height / LOOK_SIDE;
    int x1 = (column + 1) * width / LOOK_SIDE, y1 = (row + 1) * height / LOOK_SIDE;
    double sum = 0;
    if (x1 <= x0) x1 = x0 + 1;
    if (y1 <= y0) y1 = y0 + 1;
    for (int y = y0; y < y1; y++)
        for (int x = x0; x < x1; x++) sum += gray_of(rgb + 3 * ((size_t)y * (size_t)width + x));
    return sum / ((x1 - x0) * (y1 - y0));
}

static double deviation(const uint8_t look[LOOK_CELLS])
{
    double sum = 0, squares = 0;
    for (int i = 0; i < LOOK_CELLS; i++) sum += look[i], squares += (double)look[i] * look[i];
    return sqrt(fmax(0, squares / LOOK_CELLS - sum / LOOK_CELLS * sum / LOOK_CELLS));
}

bool look_of_slide(uint8_t look[LOOK_CELLS], const struct slide *slide, struct error *err)
{
    uint8_t *rgb;
    int width, height;
    struct error unread = { 0 };
    (void)err;
    memset(look, 0, LOOK_CELLS);
    if (!is_affordable(slide) ||
        !slide_thumbnail(slide, THUMBNAIL_PX, &rgb, &width, &height, &unread))
        return true;
    for (int i = 0; i < LOOK_CELLS; i++)
        look[i] = (uint8_t)lround(cell_mean(rgb, width, height, i % LOOK_SIDE, i / LOOK_SIDE));
    free(rgb);
    if (deviation(look) < deviation_min) memset(look, 0, LOOK_CELLS);
    return true;
}

double look_compare(const uint8_t a[LOOK_CELLS], const uint8_t b[LOOK_CELLS])
{
    int64_t sum_a = 0, sum_b = 0, squares_a = 0, squares_b = 0, products = 0;
    for (int i = 0; i < LOOK_CELLS; i++) {
        sum_a += a[i], squares_a += a[i] * a[i];
        sum_b += b[i], squares_b += b[i] * b[i];
        products += a[i] * b[i];
    }
    const double of_a = (double)(LOOK_CELLS * squares_a - sum_a * sum_a);
    const double of_b = (double)(LOOK_CELLS * squares_b - sum_b * sum_b);
    const double both = (double)(LOOK_CELLS * products - sum_a * sum_b);
    return of_a > 0 && of_b > 0 ? both / sqrt(of_a * of_b) : 0;
}

/* --- Grain ------------------------------------------------------------------------------------ */

/* A slide and one of its levels. */
struct view {
    const struct slide *slide;
    struct slide_cache *cache;
    int level;
};

/* Means of (2 * half + 1) px along both axes, of what is `half` px inside; in place. */
static void blur(float *pixels, int side, int half, float *line)
{
    for (int axis = 0; axis < 2; axis++)
        for (int i = 0; i < side; i++) {
            float *first = pixels + (axis ? i : i * side);
            const int step = axis ? side : 1;
            for (int k = 0; k < side; k++) line[k] = first[k * step];
            for (int k = half; k < side - half; k++) {
                float sum = 0;
                for (int j = k - half; j <= k + half; j++) sum += line[j];
                first[k * step] = sum / (float)(2 * half + 1);
            }
        }
}

/* The grain of side × side px whose top left pixel is (x, y): means of 3 px less those of 9 px, in
 * GRAIN_UNITS a gray level. */
static bool read_grain(struct view *view, int64_t x, int64_t y, int side, int16_t *grain,
                       struct error *err)
{
    static _Thread_local uint8_t rgb[READ_MAX * READ_MAX * 3];
    static _Thread_local float narrow[READ_MAX * READ_MAX], wide[READ_MAX * READ_MAX];
    float line[READ_MAX];
    const int read = side + 2 * WIDE;
    if (!slide_read(view->cache, view->level, x - WIDE, y - WIDE, read, read, rgb, 3 * (size_t)read,
                    err))
        return false;
    for (int i = 0; i < read * read; i++) narrow[i] = wide[i] = (float)gray_of(rgb + 3 * i);
    blur(narrow, read, NARROW, line);
    blur(wide, read, WIDE, line);
    for (int row = 0; row < side; row++)
        for (int column = 0; column < side; column++) {
            const int at = (row + WIDE) * read + column + WIDE;
            grain[row * side + column] = (int16_t)lroundf(GRAIN_UNITS * (narrow[at] - wide[at]));
        }
    return true;
}

/* Sum of the products of two parts of PATCH × PATCH, of rows that are `side` px apart. */
static double multiply(const int16_t *a, int side_a, const int16_t *b, int side_b)
{
    int64_t sum = 0;
    for (int row = 0; row < PATCH; row++) {
        int32_t of_row = 0; /* at most PATCH * (255 * GRAIN_UNITS)² */
        for (int i = 0; i < PATCH; i++) of_row += a[row * side_a + i] * b[row * side_b + i];
        sum += of_row;
    }
    return (double)sum;
}

static double squares_of(double deviation)
{
    return PATCH * PATCH * GRAIN_UNITS * GRAIN_UNITS * deviation * deviation;
}

/* How far the spots of one level are moved on the other, at most `reach` px beside (x, y). */
struct shift {
    int x, y, reach;
};

/* Whether a patch's grain is of pixels of the slide alone: its edge would be alike everywhere. */
static bool is_inside(const struct view *view, int64_t x, int64_t y)
{
    const struct slide_level *level = &view->slide->levels[view->level];
    return x >= WIDE && y >= WIDE && x + PATCH + WIDE <= level->width &&
           y + PATCH + WIDE <= level->height;
}

/* Seek the spot of `a` whose top left pixel is (x, y) in `b`. */
static bool seek(struct view *a, struct view *b, int64_t x, int64_t y, struct shift *shift,
                 bool *tells, bool *found, struct error *err)
{
    static _Thread_local int16_t patch[PATCH * PATCH], region[SIDE_MAX * SIDE_MAX];
    const struct shift about = *shift;
    const int reach = about.reach, side = PATCH + 2 * reach;
    double best = 0;
    *tells = *found = false;
    if (!is_inside(a, x, y)) return true;
    if (!read_grain(a, x, y, PATCH, patch, err)) return false;
    const double of_patch = multiply(patch, PATCH, patch, PATCH);
    if (of_patch < squares_of(grain_min)) return true;
    x += about.x - reach, y += about.y - reach; /* of the region */
    if (!read_grain(b, x, y, side, region, err)) return false;
    for (int dy = 0; dy <= 2 * reach; dy++)
        for (int dx = 0; dx <= 2 * reach; dx++) {
            if (!is_inside(b, x + dx, y + dy)) continue;
            *tells = true;
            const int16_t *part = region + dy * side + dx;
            const double of_part = multiply(part, side, part, side);
            if (of_part < squares_of(grain_min / 2)) continue;
            const double likeness = multiply(patch, PATCH, part, side) / sqrt(of_patch * of_part);
            if (likeness <= best) continue;
            best = likeness;
            if (best >= found_min)
                *shift = (struct shift) { about.x + dx - reach, about.y + dy - reach, NEAR };
        }
    *found = best >= found_min;
    return true;
}

struct cell {
    int gray, index;
};

static int by_gray(const void *a, const void *b)
{
    const struct cell *left = a, *right = b;
    return left->gray != right->gray ? left->gray - right->gray : left->index - right->index;
}

/* The cells of the look that are darkest: tissue. */
static void darkest(const uint8_t look[LOOK_CELLS], int cells[SPOTS])
{
    struct cell sorted[LOOK_CELLS];
    for (int i = 0; i < LOOK_CELLS; i++) sorted[i] = (struct cell) { look[i], i };
    qsort(sorted, LOOK_CELLS, sizeof *sorted, by_gray);
    for (int i = 0; i < SPOTS; i++) cells[i] = sorted[i].index;
}

/* Where the patch amid a cell begins; at the slide's edge it is moved inwards. */
static int64_t spot_start(int64_t side, int cell)
{
    const int64_t start = side * (2 * cell + 1) / (2 * LOOK_SIDE) - PATCH / 2;
    const int64_t last = side - PATCH - WIDE;
    return start > last ? last : start < WIDE ? WIDE : start;
}

/* Count the spots on one pair of levels, and narrow down the shift. */
static bool compare_level(struct view *a, struct view *b, const int cells[SPOTS],
                          struct shift *shift, struct look_spots *spots, struct error *err)
{
    const struct slide_level *level = &a->slide->levels[a->level];
    bool known = shift->reach < REACH;
    *spots = (struct look_spots) { 0 };
    for (int i = 0; i < SPOTS; i++) {
        bool tells, found;
        const int64_t x = spot_start(level->width, cells[i] % LOOK_SIDE);
        const int64_t y = spot_start(level->height, cells[i] / LOOK_SIDE);
        if (!seek(a, b, x, y, shift, &tells, &found, err)) return false;
        spots->told += tells;
        spots->found += found;
        if (!found || known) continue;
        known = true; /* begin anew: what was cut off tells nothing */
        *spots = (struct look_spots) { 0 };
        i = -1;
    }
    return true;
}

/* The level of `b` on which its pixels show as much as those of a's; -1 if there is none. */
static int counterpart(const struct slide *a, int level, const struct slide *b)
{
    const double ratio = (double)a->levels[0].width / (double)b->levels[0].width;
    const double scale = fabs(ratio - 1) <= size_apart_max ? 1 : ratio; /* cut, or shrunk */
    for (int i = 0; i < b->level_count; i++)
        if (fabs(b->levels[i].downsample * scale / a->levels[level].downsample - 1) <=
            downsample_apart_max)
            return i;
    return -1;
}

static bool choose_levels(struct view *a, struct view *b, int level)
{
    a->level = level;
    b->level = counterpart(a->slide, level, b->slide);
    return b->level >= 0;
}

/* Compare the finest level anew, with the shift that was found on the level `level`. */
static bool refine(struct view *a, struct view *b, const int cells[SPOTS], int finest, int level,
                   struct shift shift, struct look_spots *spots, struct error *err)
{
    const bool coarse = spots->coarse;
    const double times = a->slide->levels[level].downsample / a->slide->levels[finest].downsample;
    if (2 * times > REACH) return true;
    shift.x = (int)lround(shift.x * times);
    shift.y = (int)lround(shift.y * times);
    shift.reach = (int)ceil(2 * times);
    if (!choose_levels(a, b, finest) || !compare_level(a, b, cells, &shift, spots, err))
        return false;
    spots->coarse = coarse;
    return true;
}

/* Compare the finest pair of levels on which spots tell anything; if they are not found there, with
 * the shift that a coarser pair gives. */
static bool compare_levels(struct view *a, struct view *b, const int cells[SPOTS],
                           struct look_spots *spots, struct error *err)
{
    int finest = -1;
    bool coarse = false;
    for (int level = 0; level < a->slide->level_count; level++) {
        struct shift shift = { .reach = REACH };
        struct look_spots here;
        if (!choose_levels(a, b, level)) continue;
        if (!compare_level(a, b, cells, &shift, &here, err)) return false;
        here.coarse = coarse;
        if (finest < 0 && here.told >= SPOTS_MIN) finest = level, *spots = here;
        if (finest < 0) coarse = true;
        if (finest < 0 || here.found < SPOTS_MIN) continue;
        return level == finest || refine(a, b, cells, finest, level, shift, spots, err);
    }
    return true;
}

bool look_closely(struct look_spots *spots, const struct slide *a, const struct slide *b,
                  const uint8_t look_of_a[LOOK_CELLS], struct error *err)
{
    struct view of_a = { .slide = a }, of_b = { .slide = b };
    int cells[SPOTS];
    *spots = (struct look_spots) { 0 };
    darkest(look_of_a, cells);
    const bool ok = slide_cache_init(&of_a.cache, a, CACHE_BYTES, err) &&
                    slide_cache_init(&of_b.cache, b, CACHE_BYTES, err) &&
                    compare_levels(&of_a, &of_b, cells, spots, err);
    slide_cache_release(of_a.cache);
    slide_cache_release(of_b.cache);
    return ok;
}

enum look_likeness look_judge(const struct look_spots *spots)
{
    if (spots->told < SPOTS_MIN || 2 * spots->found < spots->told) return LOOK_OTHER;
    const bool most = 4 * spots->found >= 3 * spots->told;
    return most && !spots->coarse ? LOOK_COPY : most || !spots->coarse ? LOOK_LIKELY : LOOK_OTHER;
}
