/* Augmentation against a simple double-precision reference, values of TensorFlow and scikit-image,
 * and the documented order of random draws. */

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/isa.h"
#include "micromet/base/random.h"
#include "micromet/base/size.h"
#include "micromet/data/augment.h"
#include "micromet/nn/augment_pixel.h"

enum { GUARD = 64 };

/* ---- the reference: textbook HSV, one step after the other ---- */

struct hsv {
    double h, s, v;
};

static struct hsv hsv_from_rgb(const double rgb[3])
{
    const double max = fmax(rgb[0], fmax(rgb[1], rgb[2]));
    const double min = fmin(rgb[0], fmin(rgb[1], rgb[2]));
    struct hsv out = { 0, max > 0 ? (max - min) / max : 0, max };
    if (max == min) return out;
    if (max == rgb[0])
        out.h = (rgb[1] - rgb[2]) / (max - min) / 6;
    else if (max == rgb[1])
        out.h = (rgb[2] - rgb[0]) / (max - min) / 6 + 1 / 3.0;
    else
        out.h = (rgb[0] - rgb[1]) / (max - min) / 6 + 2 / 3.0;
    return out;
}

static void hsv_to_rgb(struct hsv in, double rgb[3])
{
    const double h = 6 * (in.h - floor(in.h));
    const double part = h - floor(h);
    const double p = in.v * (1 - in.s), q = in.v * (1 - in.s * part);
    const double t = in.v * (1 - in.s * (1 - part)), v = in.v;
    const double table[7][3] = { { v, t, p }, { q, v, p }, { p, v, t }, { p, q, v },
                                 { t, p, v }, { v, p, q }, { v, t, p } };
    memcpy(rgb, table[(int)h], sizeof table[0]);
}

/* inverse[i][j] from the cofactors of the row-major 3×3 matrix. */
static void invert(const double m[3][3], double inverse[3][3])
{
    double determinant = 0;
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            inverse[j][i] = m[(i + 1) % 3][(j + 1) % 3] * m[(i + 2) % 3][(j + 2) % 3] -
                            m[(i + 1) % 3][(j + 2) % 3] * m[(i + 2) % 3][(j + 1) % 3];
    for (int k = 0; k < 3; k++) determinant += m[0][k] * inverse[k][0];
    for (int i = 0; i < 9; i++) inverse[i / 3][i % 3] /= determinant;
}

/* rgb2hed, the stains' change, hed2rgb. */
static void reference_stain(const struct augment_draw *draw, double rgb[3])
{
    static const double rgb_from_hed[3][3] = { { 0.65, 0.70, 0.29 },
                                               { 0.07, 0.99, 0.11 },
                                               { 0.27, 0.57, 0.78 } };
    double hed_from_rgb[3][3], hed[3] = { 0 };
    invert(rgb_from_hed, hed_from_rgb);
    for (int k = 0; k < 3; k++) {
        for (int c = 0; c < 3; c++)
            hed[k] += log(fmax(rgb[c], 1e-6)) / log(1e-6) * hed_from_rgb[c][k];
        hed[k] = fmax(hed[k], 0) * (1 + (double)draw->stain_scale[k]);
        hed[k] += (double)draw->stain_shift[k];
    }
    for (int c = 0; c < 3; c++) {
        double density = 0;
        for (int k = 0; k < 3; k++) density += hed[k] * rgb_from_hed[k][c];
        rgb[c] = fmin(1, fmax(0, exp(density * log(1e-6))));
    }
}

/* Windows that are almost black or almost white are left alone. */
static void reference_stains(const struct augment_draw *draw, double *image, int area)
{
    double mean = 0;
    bool some = false;
    for (int k = 0; k < 3; k++) some |= draw->stain_scale[k] != 0 || draw->stain_shift[k] != 0;
    for (int i = 0; i < 3 * area; i++) mean += image[i] / (3 * area);
    for (int i = 0; i < area && some && mean >= 0.05 && mean <= 0.95; i++)
        reference_stain(draw, image + 3 * i);
}

static void reference_color(const struct augment_draw *draw, double rgb[3])
{
    for (int c = 0; c < 3; c++) rgb[c] += (double)draw->brightness;
    struct hsv hsv = hsv_from_rgb(rgb);
    hsv.s = fmin(1, fmax(0, hsv.s * (double)draw->saturation));
    hsv_to_rgb(hsv, rgb);
    hsv = hsv_from_rgb(rgb);
    hsv.h += (double)draw->hue;
    hsv_to_rgb(hsv, rgb);
}

static void rotate_once(double *image, double *scratch, int w)
{
    for (int y = 0; y < w; y++)
        for (int x = 0; x < w; x++)
            memcpy(scratch + 3 * (y * w + x), image + 3 * (x * w + w - 1 - y), 3 * sizeof *image);
    memcpy(image, scratch, sizeof *image * 3 * (size_t)(w * w));
}

static void mirror(double *image, double *scratch, int w, bool left_right)
{
    for (int y = 0; y < w; y++)
        for (int x = 0; x < w; x++)
            memcpy(scratch + 3 * (y * w + x),
                   image + 3 * (left_right ? y * w + w - 1 - x : (w - 1 - y) * w + x),
                   3 * sizeof *image);
    memcpy(image, scratch, sizeof *image * 3 * (size_t)(w * w));
}

static double *reference(const uint8_t *pixels, const struct augment_draw *draw, int w)
{
    const int area = w * w;
    double *image = malloc(sizeof *image * 3 * (size_t)area);
    double *scratch = malloc(sizeof *image * 3 * (size_t)area);
    double mean[3] = { 0 };

    for (int i = 0; i < 3 * area; i++) image[i] = pixels[i] / 255.0;
    for (int k = 0; k < draw->quarter_turns; k++) rotate_once(image, scratch, w);
    if (draw->flip_x) mirror(image, scratch, w, true);
    if (draw->flip_y) mirror(image, scratch, w, false);
    reference_stains(draw, image, area);
    for (int i = 0; i < area; i++) {
        reference_color(draw, image + 3 * i);
        for (int c = 0; c < 3; c++) mean[c] += image[3 * i + c] / area;
    }
    for (int i = 0; i < 3 * area; i++) {
        const double x = (image[i] - mean[i % 3]) * (double)draw->contrast + mean[i % 3];
        image[i] = 2 * fmin(1, fmax(0, x)) - 1;
    }
    free(scratch);
    return image;
}

/* ---- inputs ---- */

static uint8_t *make_pixels(int count, uint64_t seed)
{
    static const uint8_t special[][3] = {
        { 0, 0, 0 },       { 255, 255, 255 }, { 255, 0, 0 },     { 0, 255, 0 },
        { 0, 0, 255 },     { 255, 255, 0 },   { 0, 255, 255 },   { 255, 0, 255 },
        { 128, 128, 128 }, { 128, 128, 129 }, { 129, 128, 128 }, { 1, 0, 0 },
        { 254, 255, 255 }, { 90, 200, 90 },   { 64, 64, 30 },    { 255, 254, 0 },
        { 255, 0, 1 },     { 1, 2, 3 },
    };
    enum { SPECIAL = COUNT_OF(special) };
    struct random random = random_init(seed, 0, 0, RANDOM_TEST);
    uint8_t *pixels = malloc(3 * (size_t)count);
    for (int i = 0; i < count; i++)
        for (int c = 0; c < 3; c++)
            pixels[3 * i + c] = i % 3 ? (uint8_t)random_u32(&random) : special[i / 3 % SPECIAL][c];
    return pixels;
}

static struct augment_draw make_draw(int orientation, uint64_t k)
{
    struct random random = random_init(7, 0, k, RANDOM_TEST);
    struct augment_draw draw = { .quarter_turns = orientation & 3,
                                 .flip_x = orientation >> 2 & 1,
                                 .flip_y = orientation >> 3 & 1 };
    draw.brightness = random_uniform(&random, -0.25f, 0.25f);
    draw.saturation = random_uniform(&random, 0.75f, 1.25f);
    draw.hue = k % 4 == 3 ? random_uniform(&random, -1, 1) : random_uniform(&random, -0.04f, 0.04f);
    draw.contrast = random_uniform(&random, 0.25f, 1.75f);
    if (k % 5 == 4) draw.hue = 0;
    if (k % 7 == 6) draw.contrast = 1;
    return draw;
}

/* By the widest set. */
static void augment_batch(const uint8_t *pixels, const struct augment_draw *draws, int n,
                          int window, enum dtype dtype, int channels, void *out)
{
    const struct isa *isa = isa_chosen(NULL);
    const size_t area = (size_t)window * (size_t)window;
    for (int i = 0; i < n; i++)
        isa->augment(pixels + (size_t)i * area * 3, &draws[i], window, dtype, channels,
                     (char *)out + (size_t)i * area * (size_t)channels * dtype_bytes(dtype));
}

static double largest_error(const float *out, const double *want, int count)
{
    double largest = 0;
    for (int i = 0; i < count; i++) {
        const double error = fabs((double)out[i] - want[i]);
        if (!(error <= largest)) largest = error;
    }
    return largest;
}

/* ---- arithmetic ---- */

Test(augment, follows_the_definition_for_all_orientations_colors_and_odd_windows)
{
    static const struct {
        int window, draws;
    } cases[] = { { 1, 8 }, { 8, 8 }, { 75, 8 }, { 80, 8 }, { 81, 8 }, { 299, 1 } };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const int w = cases[i].window, values = 3 * w * w;
        uint8_t *pixels = make_pixels(w * w, (uint64_t)w);
        float *out = malloc((size_t)values * sizeof *out);
        for (int k = 0; k < 16 * cases[i].draws; k++) {
            const struct augment_draw draw = make_draw(k % 16, (uint64_t)k);
            double *want = reference(pixels, &draw, w);
            isa_plain.augment(pixels, &draw, w, DTYPE_F32, 3, out);
            cr_assert_leq(largest_error(out, want, values), 2e-6, "window %d, draw %d", w, k);
            augment_batch(pixels, &draw, 1, w, DTYPE_F32, 3, out);
            cr_assert_leq(largest_error(out, want, values), 2e-6, "window %d, draw %d", w, k);
            free(want);
        }
        free(out);
        free(pixels);
    }
}

Test(augment, density_and_its_inverse_are_within_their_bounds)
{
    for (int p = 0; p < 256; p++)
        cr_assert(augment_density[p] == (float)-log2(fmax(p / 255.0, 1e-6)), "byte %d", p);
    for (int i = -1000; i <= 1300000; i++) {
        const float x = (float)i / 10000;
        const double want = exp2(-fmin(125, fmax(0, (double)x)));
        cr_assert_leq(fabs((double)augment_exp2_negative(x) - want), 1.1e-7 * want, "2^-%.9g", x);
    }
    cr_assert(augment_exp2_negative(0) == 1);
}

static void make_stains(struct augment_draw *draw, uint64_t k)
{
    static const float bounds[] = { 0.03f, 0.1f, 1 };
    const float bound = bounds[k % COUNT_OF(bounds)];
    struct random random = random_init(8, 0, k, RANDOM_TEST);
    for (int i = 0; i < 3; i++) {
        draw->stain_scale[i] = random_uniform(&random, -bound, bound);
        draw->stain_shift[i] = random_uniform(&random, -bound, bound);
    }
}

/* Other colours raise an error by the contrast's factor, and scaling to [-1, 1] doubles it. */
Test(augment, stains_follow_the_definition)
{
    enum { W = 81, VALUES = 3 * W * W };
    uint8_t *pixels = make_pixels(W * W, 5);
    float *out = malloc(VALUES * sizeof *out);
    double worst = 0;
    for (int k = 0; k < 96; k++) {
        const bool alone = k % 2;
        struct augment_draw draw = alone ? augment_orientation(k % 8)
                                         : make_draw(k % 16, (uint64_t)k);
        make_stains(&draw, (uint64_t)k);
        double *want = reference(pixels, &draw, W);
        augment_batch(pixels, &draw, 1, W, DTYPE_F32, 3, out);
        const double error = largest_error(out, want, VALUES);
        cr_assert_leq(error, alone ? 8e-6 : 14e-6, "draw %d", k);
        if (!(error <= worst)) worst = error;
        free(want);
    }
    cr_assert_gt(worst, 0);
    free(out);
    free(pixels);
}

/* Made with scikit-image 0.26 and numpy 2 in double precision, as stainlib's HedColorAugmentor
 * computes before it goes back to bytes: for sigma and beta of each stain and the image x / 255,
 * h = rgb2hed(x); h[..., k] = h[..., k] * (1 + sigma[k]) + beta[k]; 2 * hed2rgb(h) - 1 */
Test(augment, agrees_with_values_recorded_from_scikit_image)
{
    static const uint8_t pixels[12] = { 180, 120, 190, 90, 60, 140, 230, 150, 180, 245, 240, 243 };
    static const struct {
        float scale[3], shift[3], want[12];
    } cases[] = {
        { { 0, 0, 0 },
          { 0.02f, 0, 0 },
          { 0.1796749f, -0.2243406f, 0.3754456f, -0.4101626f, -0.6121703f, 0.01348623f, 0.4583614f,
            -0.06432604f, 0.2839819f, 0.6056686f, 0.5513188f, 0.7591225f } },
        { { 0.03f, -0.02f, 0.01f },
          { -0.03f, 0.025f, 0.015f },
          { 0.6918742f, -0.20808f, 0.3705957f, -0.171637f, -0.6133079f, 0.0003976772f, 1,
            -0.03809435f, 0.2816112f, 1, 0.5865374f, 0.7590909f } },
        { { -0.1f, 0.08f, 0.05f },
          { 0.1f, -0.07f, 0.02f },
          { -0.4152603f, -0.2065717f, -0.102557f, -0.6864286f, -0.5703874f, -0.3175194f,
            -0.2991821f, -0.07538215f, -0.1804014f, -0.220949f, 0.5945446f, 0.1440302f } },
        { { 0.9f, -0.8f, 0.5f },
          { -0.5f, 0.3f, 0.1f },
          { 1, -0.1352002f, 1, 1, -0.7900058f, 0.1422685f, 1, 0.2390099f, 0.9456652f, 1, 0.7194511f,
            1 } },
        { { 0.4f, 0.2f, -1 },
          { 0, 0, 0 },
          { 0.3149337f, -0.1451826f, 0.6027755f, -0.501928f, -0.6795332f, 0.04514464f, 0.9451887f,
            0.3500513f, 0.914545f, 0.9239308f, 0.9070266f, 0.964708f } },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct augment_draw draw = augment_identity();
        float out[12];
        memcpy(draw.stain_scale, cases[i].scale, sizeof draw.stain_scale);
        memcpy(draw.stain_shift, cases[i].shift, sizeof draw.stain_shift);
        augment_batch(pixels, &draw, 1, 2, DTYPE_F32, 3, out);
        for (int k = 0; k < 12; k++)
            cr_assert_float_eq(out[k], cases[i].want[k], 8e-6f, "case %zu value %d: %.7g, not %.7g",
                               i, k, (double)out[k], (double)cases[i].want[k]);
    }
}

Test(augment, stains_leave_windows_alone_that_are_almost_black_or_white)
{
    /* 0.05 * 255 is 12.75, and 0.95 * 255 is 242.25 */
    static const struct {
        uint8_t three, last[3]; /* three pixels of one byte, then one of these */
        bool changes;
    } cases[] = {
        { 12, { 12, 12, 12 }, false },    { 13, { 13, 13, 13 }, true },
        { 13, { 12, 12, 12 }, true },     { 13, { 12, 12, 11 }, false },
        { 242, { 242, 242, 242 }, true }, { 243, { 243, 243, 243 }, false },
        { 242, { 243, 243, 243 }, true }, { 242, { 243, 243, 244 }, false },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct augment_draw draw = augment_orientation(1);
        uint8_t pixels[12];
        float plain[12], stained[12];
        memset(pixels, cases[i].three, 9);
        memcpy(pixels + 9, cases[i].last, 3);
        augment_batch(pixels, &draw, 1, 2, DTYPE_F32, 3, plain);
        draw.stain_shift[0] = 0.1f;
        augment_batch(pixels, &draw, 1, 2, DTYPE_F32, 3, stained);
        cr_assert_eq(memcmp(plain, stained, sizeof plain) != 0, cases[i].changes, "case %zu", i);
    }
}

Test(augment, turning_a_window_changes_no_bit_of_its_colors)
{
    enum { W = 75, AREA = W * W };
    uint8_t *pixels = make_pixels(AREA, 2);
    float *unturned = malloc(AREA * 3 * sizeof *unturned),
          *turned = malloc(AREA * 3 * sizeof *turned);
    struct augment_draw draw = make_draw(0, 3);
    make_stains(&draw, 1);
    augment_batch(pixels, &draw, 1, W, DTYPE_F32, 3, unturned);
    draw.quarter_turns = 1;
    augment_batch(pixels, &draw, 1, W, DTYPE_F32, 3, turned);
    for (int y = 0; y < W; y++)
        for (int x = 0; x < W; x++)
            cr_assert_arr_eq(turned + 3 * (y * W + x), unturned + 3 * (x * W + W - 1 - y),
                             3 * sizeof *turned);
    free(unturned);
    free(turned);
    free(pixels);
}

Test(augment, identity_is_exactly_two_p_over_255_minus_one)
{
    enum { W = 16 };
    uint8_t pixels[W * W * 3];
    float out[W * W * 3];
    const struct augment_draw draw = augment_identity();
    for (int i = 0; i < W * W; i++) {
        pixels[3 * i] = (uint8_t)i;
        pixels[3 * i + 1] = (uint8_t)(i * 37);
        pixels[3 * i + 2] = (uint8_t)(255 - i);
    }
    augment_batch(pixels, &draw, 1, W, DTYPE_F32, 3, out);
    for (int i = 0; i < W * W * 3; i++) {
        const float p = pixels[i];
        cr_assert(out[i] == 2 * (p / 255) - 1, "p = %d", pixels[i]);
    }
}

/* Made with TensorFlow 2.21 on a CPU: for draw {brightness, saturation, hue, contrast} and the
 * float32 image / 255, x = tf.image.adjust_brightness(x, b); x = tf.image.adjust_saturation(x, s);
 * x = tf.image.adjust_hue(x, h) x = tf.image.adjust_contrast(x, c); 2 * tf.clip_by_value(x, 0, 1) -
 * 1                       (printed as %.7g) */
Test(augment, agrees_with_values_recorded_from_tensorflow)
{
    static const uint8_t pixels[12] = { 255, 0, 0, 12, 200, 77, 128, 128, 128, 250, 251, 3 };
    static const struct {
        float draw[4], want[12];
    } cases[] = {
        { { 0, 1, 0, 1 },
          { 1, -1, -1, -0.9058824f, 0.5686275f, -0.3960785f, 0.003921628f, 0.003921628f,
            0.003921628f, 0.9607846f, 0.9686275f, -0.9764706f } },
        { { 0.2f, 1, 0, 1 },
          { 1, -0.5999999f, -0.5999999f, -0.5058824f, 0.9686275f, 0.003921509f, 0.4039216f,
            0.4039216f, 0.4039216f, 1, 1, -0.5764706f } },
        { { -0.2f, 1.25f, 0, 1 },
          { 0.6f, -1, -1, -1, 0.1686275f, -0.5959533f, -0.3960783f, -0.3960783f, -0.3960783f,
            0.5623026f, 0.5686275f, -1 } },
        { { 0, 0.75f, 0.04f, 1 },
          { 1, -0.1400003f, -0.5f, -0.5372548f, 0.5686275f, 0.1105099f, 0.003921628f, 0.003921628f,
            0.003921628f, 0.6126276f, 0.9686275f, -0.4901961f } },
        { { 0.1f, 1.2f, -0.04f, 1.5f },
          { 1, -1, -0.4478687f, -1, 1, -0.9593338f, 0.109314f, 0.2272012f, 0.5660145f, 1,
            0.9066707f, -1 } },
        { { -0.25f, 0.8f, 0.03f, 0.25f },
          { -0.02457356f, -0.3116545f, -0.8001724f, -0.3995736f, -0.1119976f, -0.6597162f,
            -0.2735932f, -0.2531741f, -0.6741921f, -0.09998536f, -0.01199758f, -0.8001724f } },
        { { 0.25f, 1.25f, 0.4f, 1.75f },
          { -1, 1, -0.570222f, 1, -1, 1, 1, 0.5601716f, 0.3116424f, -1, 0.5292894f, 1 } },
        { { -0.6f, 1.1f, -0.45f, 1.2f },
          { -1, -0.3461962f, -0.1151569f, -0.5779589f, -1, -0.9184511f, -1, -1, -1, -0.7398868f, -1,
            -0.152804f } },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const float *d = cases[i].draw;
        const struct augment_draw draw = {
            .brightness = d[0], .saturation = d[1], .hue = d[2], .contrast = d[3]
        };
        float out[12];
        augment_batch(pixels, &draw, 1, 2, DTYPE_F32, 3, out);
        for (int k = 0; k < 12; k++)
            cr_assert_float_eq(out[k], cases[i].want[k], 3e-6f, "case %zu value %d: %.7g, not %.7g",
                               i, k, (double)out[k], (double)cases[i].want[k]);
    }
}

Test(augment, orientation_is_rot90_then_left_right_then_top_bottom)
{
    /* numpy: a = [[0, 1], [2, 3]]; rot90(a, k), then [:, ::-1] if flip_x, then [::-1] if flip_y */
    static const struct {
        int turns, flip_x, flip_y;
        uint8_t want[4];
    } cases[] = {
        { 0, 0, 0, { 0, 1, 2, 3 } }, { 1, 0, 0, { 1, 3, 0, 2 } }, { 2, 0, 0, { 3, 2, 1, 0 } },
        { 3, 0, 0, { 2, 0, 3, 1 } }, { 0, 1, 0, { 1, 0, 3, 2 } }, { 0, 0, 1, { 2, 3, 0, 1 } },
        { 1, 1, 0, { 3, 1, 2, 0 } }, { 1, 0, 1, { 0, 2, 1, 3 } }, { 3, 1, 1, { 1, 3, 0, 2 } },
    };
    uint8_t pixels[12];
    for (int i = 0; i < 12; i++) pixels[i] = (uint8_t)(i / 3);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct augment_draw draw = augment_identity();
        float out[12];
        draw.quarter_turns = cases[i].turns;
        draw.flip_x = cases[i].flip_x;
        draw.flip_y = cases[i].flip_y;
        augment_batch(pixels, &draw, 1, 2, DTYPE_F32, 3, out);
        for (int k = 0; k < 12; k++)
            cr_assert(out[k] == 2 * ((float)cases[i].want[k / 3] / 255) - 1, "case %zu", i);
    }
}

Test(augment, bf16_is_the_rounded_f32)
{
    enum { W = 75, VALUES = 3 * W * W };
    uint8_t *pixels = make_pixels(W * W, 3);
    float *full = malloc(VALUES * sizeof *full);
    uint16_t *half = malloc(VALUES * sizeof *half);
    for (int k = 0; k < 16; k++) {
        const struct augment_draw draw = make_draw(k, (uint64_t)k);
        double *want = reference(pixels, &draw, W);
        augment_batch(pixels, &draw, 1, W, DTYPE_F32, 3, full);
        augment_batch(pixels, &draw, 1, W, DTYPE_BF16, 3, half);
        for (int i = 0; i < VALUES; i++) {
            const double got = (double)bf16_to_float(half[i]);
            cr_assert_eq(half[i], bf16_from_float(full[i]));
            cr_assert_leq(fabs(got - want[i]), fabs(want[i]) / 256 + 2e-6);
        }
        free(want);
    }
    free(full);
    free(half);
    free(pixels);
}

Test(augment, further_channels_are_zero_and_nothing_behind_the_batch_is_touched)
{
    enum { W = 9, N = 3, AREA = W * W };
    static const enum dtype dtypes[] = { DTYPE_F32, DTYPE_BF16 };
    uint8_t *pixels = make_pixels(N * AREA, 4);
    for (int channels = 3; channels <= 8; channels++) {
        for (int d = 0; d < 2; d++) {
            const size_t size = dtype_bytes(dtypes[d]),
                         bytes = (size_t)(N * AREA * channels) * size;
            uint8_t *narrow = malloc((size_t)(N * AREA * 3) * size), *wide = malloc(bytes + GUARD);
            const struct augment_draw draws[N] = { make_draw(0, 0), make_draw(5, 1),
                                                   make_draw(15, 2) };
            const uint8_t zeros[32] = { 0 };
            memset(wide, 0xa5, bytes + GUARD);
            augment_batch(pixels, draws, N, W, dtypes[d], 3, narrow);
            augment_batch(pixels, draws, N, W, dtypes[d], channels, wide);
            for (int i = 0; i < N * AREA; i++) {
                const uint8_t *pixel = wide + (size_t)(i * channels) * size;
                cr_assert_arr_eq(pixel, narrow + (size_t)(i * 3) * size, 3 * size);
                cr_assert_arr_eq(pixel + 3 * size, zeros, (size_t)(channels - 3) * size);
            }
            for (int i = 0; i < GUARD; i++) cr_assert_eq(wide[bytes + (size_t)i], 0xa5);
            free(narrow);
            free(wide);
        }
    }
    free(pixels);
}

/* ---- draws ---- */

static const struct config_augment usual = { .rotate = true,
                                             .flip = true,
                                             .brightness = 0.25098,
                                             .saturation = 0.25,
                                             .hue = 0.04,
                                             .contrast = 0.75 };

static bool same(struct augment_draw a, struct augment_draw b)
{
    return a.quarter_turns == b.quarter_turns && a.flip_x == b.flip_x && a.flip_y == b.flip_y &&
           a.brightness == b.brightness && a.saturation == b.saturation && a.hue == b.hue &&
           a.contrast == b.contrast &&
           memcmp(a.stain_scale, b.stain_scale, sizeof a.stain_scale) == 0 &&
           memcmp(a.stain_shift, b.stain_shift, sizeof a.stain_shift) == 0;
}

Test(draws, come_in_the_documented_order)
{
    struct config_augment config = usual;
    config.per_tower = true;
    struct augment_draw draws[TOWERS_MAX];
    augment_draw(&config, 2, 11, 5, 99, draws);

    struct random random = random_init(11, 5, 99, RANDOM_AUGMENT);
    const uint32_t word = random_u32(&random);
    for (int t = 0; t < 2; t++) {
        struct augment_draw want = { .quarter_turns = (int)(word % 4),
                                     .flip_x = word / 4 % 2,
                                     .flip_y = word / 8 % 2 };
        want.brightness = random_uniform(&random, -0.25098f, 0.25098f);
        want.saturation = random_uniform(&random, 0.75f, 1.25f);
        want.hue = random_uniform(&random, -0.04f, 0.04f);
        want.contrast = random_uniform(&random, 0.25f, 1.75f);
        cr_assert(same(draws[t], want), "tower %d", t);
    }
}

Test(draws, stains_come_from_a_stream_of_their_own)
{
    struct config_augment config = usual;
    struct augment_draw plain[TOWERS_MAX], draws[TOWERS_MAX], shared[TOWERS_MAX];
    config.per_tower = true;
    augment_draw(&config, 2, 11, 5, 99, plain);
    config.hed = 0.1;
    augment_draw(&config, 2, 11, 5, 99, draws);
    struct random random = random_init(11, 5, 99, RANDOM_STAIN);
    for (int t = 0; t < 2; t++) {
        for (int k = 0; k < 3; k++) {
            plain[t].stain_scale[k] = random_uniform(&random, -0.1f, 0.1f);
            plain[t].stain_shift[k] = random_uniform(&random, -0.1f, 0.1f);
        }
        cr_assert(same(draws[t], plain[t]), "tower %d", t);
    }
    config.per_tower = false;
    augment_draw(&config, 2, 11, 5, 99, shared);
    cr_assert(same(shared[0], draws[0]) && same(shared[1], draws[0]));
}

Test(draws, towers_share_everything_or_with_per_tower_the_orientation_alone)
{
    struct config_augment config = usual;
    for (uint64_t k = 0; k < 100; k++) {
        struct augment_draw shared[TOWERS_MAX], own[TOWERS_MAX];
        config.per_tower = false;
        augment_draw(&config, 3, 1, 0, k, shared);
        config.per_tower = true;
        augment_draw(&config, 3, 1, 0, k, own);
        cr_assert(same(shared[0], own[0]));
        for (int t = 1; t < 3; t++) {
            cr_assert(same(shared[t], shared[0]));
            cr_assert_eq(own[t].quarter_turns, own[0].quarter_turns);
            cr_assert_eq(own[t].flip_x, own[0].flip_x);
            cr_assert_eq(own[t].flip_y, own[0].flip_y);
            cr_assert(own[t].brightness != own[t - 1].brightness);
        }
    }
}

Test(draws, fill_their_ranges_and_use_all_orientations_alike)
{
    enum { N = 16000 };
    int orientations[16] = { 0 };
    double low[4] = { 9, 9, 9, 9 }, high[4] = { -9, -9, -9, -9 };
    for (uint64_t k = 0; k < N; k++) {
        struct augment_draw d[TOWERS_MAX];
        augment_draw(&usual, 1, 3, 1, k, d);
        orientations[d->quarter_turns + 4 * d->flip_x + 8 * d->flip_y]++;
        const float values[4] = { d->brightness, d->saturation, d->hue, d->contrast };
        for (int i = 0; i < 4; i++) {
            low[i] = fmin(low[i], (double)values[i]);
            high[i] = fmax(high[i], (double)values[i]);
        }
    }
    const double middle[4] = { 0, 1, 0, 1 }, reach[4] = { 0.25098, 0.25, 0.04, 0.75 };
    for (int i = 0; i < 4; i++) {
        cr_assert_geq(low[i], middle[i] - reach[i] - 1e-7);
        cr_assert_leq(high[i], middle[i] + reach[i] + 1e-7);
        cr_assert_leq(low[i], middle[i] - 0.998 * reach[i]);
        cr_assert_geq(high[i], middle[i] + 0.998 * reach[i]);
    }
    for (int i = 0; i < 16; i++) /* five standard deviations */
        cr_assert_leq(abs(orientations[i] - N / 16), 5 * (int)sqrt(N / 16.0 * 15 / 16));
}

Test(draws, an_option_that_is_off_leaves_the_others_as_they_were)
{
    struct augment_draw all[TOWERS_MAX], some[TOWERS_MAX];
    struct config_augment config = usual;
    config.rotate = config.flip = false;
    config.saturation = config.hue = 0;
    augment_draw(&usual, 1, 1, 2, 3, all);
    augment_draw(&config, 1, 1, 2, 3, some);
    const struct augment_draw want = { .brightness = all[0].brightness,
                                       .saturation = 1,
                                       .contrast = all[0].contrast };
    cr_assert(same(some[0], want));
    augment_draw(&(struct config_augment) { 0 }, 1, 1, 2, 3, some);
    cr_assert(same(some[0], augment_identity()));
}

Test(draws, the_eight_orientations_of_the_square_differ)
{
    uint8_t pixels[27];
    float out[8][27];
    for (int i = 0; i < 27; i++) pixels[i] = (uint8_t)i;
    for (int k = 0; k < 8; k++) {
        const struct augment_draw draw = augment_orientation(k);
        cr_assert(draw.brightness == 0 && draw.saturation == 1 && draw.hue == 0 &&
                  draw.contrast == 1);
        augment_batch(pixels, &draw, 1, 3, DTYPE_F32, 3, out[k]);
        for (int j = 0; j < k; j++) cr_assert(memcmp(out[j], out[k], sizeof out[0]));
    }
    cr_assert(out[1][0] == 2 * (6.0f / 255) - 1,
              "one quarter turn brings the top right pixel first");
}
