/* Looks: copies that were cut, shrunk, made brighter or given other levels are found; slides with
 * the same coarse picture and another grain are not. */
#include "micromet/slide/look.h"

#include <math.h>

#include "micromet/base/size.h"
#include "temporary.h"
#include "tiny_slide.h"

#define FOLDER .init = temporary_begin, .fini = temporary_end

enum { SIDE = 768 };

/* How a picture was made from a scene. */
struct made {
    int grain;         /* of which scene */
    int left, top;     /* px that were cut off */
    int shrunk;        /* times */
    double brightness; /* times */
    bool empty;
};

/* Blots on glass, and grain of 5 px that depends on the scene: sums of hashes at whole pixels. */
static double scene(int grain, int x, int y)
{
    const double blot = 60 * sin(x / 70.0) * sin(y / 90.0) + 40 * cos((x + 2 * y) / 150.0);
    double sum = 0;
    for (int dy = -2; dy <= 2; dy++)
        for (int dx = -2; dx <= 2; dx++) sum += tiny_hash(grain, x + dx + 9, y + dy + 9) % 256;
    return 150 + blot / 2 + (blot > 0 ? 1 : 0.5) * (sum / 25 - 127.5);
}

static void picture(const void *context, int level, int x, int y, uint8_t *pixel)
{
    const struct made *made = context;
    const int times = made->shrunk << level;
    double sum = 0;
    for (int dy = 0; dy < times; dy++)
        for (int dx = 0; dx < times; dx++)
            sum += scene(made->grain, times * x + dx + made->left, times * y + dy + made->top);
    const double gray = made->empty ? 240 : made->brightness * sum / (times * times);
    memset(pixel, (int)fmin(255, fmax(0, gray)), 3);
}

static struct slide open_made(const char *name, const struct made *made, int levels)
{
    struct slide slide;
    struct error err = { 0 };
    const int width = (SIDE - made->left) / made->shrunk;
    const int height = (SIDE - made->top) / made->shrunk;
    const struct tiny_level sizes[] = { { width, height }, { width / 2, height / 2 } };
    tiny_write(temporary_path(name), sizes, levels, 3, picture, made);
    cr_assert(slide_open(&slide, temporary_path(name), 0, &err), "%s", err.message);
    return slide;
}

Test(look, copies_are_told_from_slides_of_the_same_outline, FOLDER)
{
    static const struct made first = { 1, 0, 0, 1, 1, false };
    static const struct {
        const char *what;
        struct made made;
        int levels;
        enum look_likeness likeness;
    } others[] = {
        { "other levels", { 1, 0, 0, 1, 1, false }, 1, LOOK_COPY },
        { "cut by some rows", { 1, 9, 21, 1, 1, false }, 2, LOOK_COPY },
        { "brighter", { 1, 0, 0, 1, 1.15, false }, 2, LOOK_COPY },
        { "half as large", { 1, 0, 0, 2, 1, false }, 1, LOOK_COPY },
        { "cut by more than 32 px", { 1, 50, 0, 1, 1, false }, 2, LOOK_COPY },
        { "other grain", { 2, 0, 0, 1, 1, false }, 2, LOOK_OTHER },
        { "other grain, half as large", { 2, 0, 0, 2, 1, false }, 1, LOOK_OTHER },
    };
    uint8_t look[2][LOOK_CELLS];
    struct error err = { 0 };
    struct slide a = open_made("a.tif", &first, 2);
    cr_assert(look_of_slide(look[0], &a, &err), "%s", err.message);
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        struct look_spots spots;
        struct slide b = open_made("b.tif", &others[i].made, others[i].levels);
        cr_assert(look_of_slide(look[1], &b, &err), "%s", err.message);
        cr_expect_gt(look_compare(look[0], look[1]), 0.9, "%s", others[i].what);
        cr_assert(look_closely(&spots, &a, &b, look[0], &err), "%s", err.message);
        cr_expect_eq(look_judge(&spots), others[i].likeness, "%s: %d of %d", others[i].what,
                     spots.found, spots.told);
        slide_release(&b);
    }
    slide_release(&a);
}

Test(look, an_empty_slide_looks_like_nothing, FOLDER)
{
    static const struct made empty = { 1, 0, 0, 1, 1, true };
    static const uint8_t unknown[LOOK_CELLS];
    uint8_t look[LOOK_CELLS];
    struct error err = { 0 };
    struct slide slide = open_made("a.tif", &empty, 2);
    cr_assert(look_of_slide(look, &slide, &err), "%s", err.message);
    cr_expect_arr_eq(look, unknown, sizeof unknown);
    cr_expect_eq(look_compare(look, look), 0);
    slide_release(&slide);
}

Test(look, looks_are_compared_by_their_correlation)
{
    uint8_t a[LOOK_CELLS], b[LOOK_CELLS];
    for (int i = 0; i < LOOK_CELLS; i++) a[i] = (uint8_t)(i % 16), b[i] = (uint8_t)(200 - 2 * a[i]);
    cr_expect_float_eq(look_compare(a, a), 1, 1e-12);
    cr_expect_float_eq(look_compare(a, b), -1, 1e-12);
    for (int i = 0; i < LOOK_CELLS; i++) b[i] = (uint8_t)(i / 16);
    cr_expect_float_eq(look_compare(a, b), 0, 1e-12);
}

Test(look, half_of_the_spots_are_likely_and_three_quarters_certain)
{
    static const struct {
        struct look_spots spots;
        enum look_likeness likeness;
    } cases[] = {
        { { 12, 12, false }, LOOK_COPY },  { { 12, 9, false }, LOOK_COPY },
        { { 12, 8, false }, LOOK_LIKELY }, { { 12, 6, false }, LOOK_LIKELY },
        { { 12, 5, false }, LOOK_OTHER },  { { 2, 2, false }, LOOK_OTHER },
        { { 12, 12, true }, LOOK_LIKELY }, { { 12, 8, true }, LOOK_OTHER },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        cr_expect_eq(look_judge(&cases[i].spots), cases[i].likeness, "%zu", i);
}
