/* How many times smaller than the slide a mask is.
 *
 * A mask is a level of a pyramid: its own, or the slide's. So its size is the slide's divided by a
 * number, rounded down or up, padded to whole tiles, or cut a little short. Stretching it over the
 * slide would shift its right and bottom by the padding; instead, the number is sought that
 * explains width and height both, and the corners are one. */
#include <math.h>

#include "annotation_parts.h"
#include "micromet/base/log.h"
#include "micromet/base/size.h"

enum { TIMES_MAX = 1 << 16, SLIDE_TILE_MAX = 1024, SLIDE_TILE_MIN = 64 };
static const double slack_max = 0.015;     /* share of a side that may be missing, or too much */
static const double padding_max = 0.1;     /* the same, of a slide that was padded to its tiles */
static const double tight_max = 0.025;     /* share of a side that is little padding */
static const double resolution_max = 0.01; /* by how much resolution tags may be wrong */
/* um/px of masks; what is above, such as 72 or 300 dpi, is a printer's or a program's default. */
static const double mask_mpp_max = 40;

struct side {
    double mask, slide; /* px, level-0 px */
    double tile;        /* px of the mask, if it consists of whole tiles; else 0 */
};

/* Whether the side is the slide's, divided by `times` and rounded down or up. */
static bool rounded(const struct side *side, double times)
{
    return fabs(side->mask - side->slide / times) < fmax(1, 1 / times);
}

/* Whether the side is the slide's, slightly padded to tiles that slides have, and divided. */
static bool padded_slide(const struct side *side, double times)
{
    const double level0 = side->mask * times, more = level0 - side->slide;
    if (more < 0 || more > padding_max * side->slide) return false;
    for (int tile = SLIDE_TILE_MAX; tile >= SLIDE_TILE_MIN; tile /= 2)
        if (more < tile && fmod(level0, tile) == 0) return true;
    return false;
}

/* As rounded(), but padded to the mask's own tiles or the slide's, or slightly cut or enlarged. */
static bool padded(const struct side *side, double times)
{
    const double exact = side->slide / times, more = side->mask - exact;
    return rounded(side, times) || fabs(more) <= slack_max * exact ||
           (more > 0 && more < side->tile) || padded_slide(side, times);
}

struct fit {
    const struct side *sides; /* (2) */
    bool (*side_fits)(const struct side *side, double times);
    double hint;        /* what resolution tags say; 0 = nothing */
    double best, other; /* the first that fitted, and another; 0 = none */
    double unlikely;    /* another that need not be asked for */
    int kind;           /* of the best: its row in offers */
};

/* Whether a pixel at the slide's far end moves by more than one of the mask's. */
static bool shifts(const struct side sides[2], double times, double other)
{
    const double longer = fmax(sides[0].slide, sides[1].slide);
    return fabs(longer / times - longer / other) > 1;
}

static void offer(struct fit *fit, double times)
{
    if (!fit->side_fits(&fit->sides[0], times) || !fit->side_fits(&fit->sides[1], times)) return;
    if (fit->hint > 0 && fabs(times / fit->hint - 1) > resolution_max) return;
    if (!(fit->best > 0))
        fit->best = times;
    else if (!(fit->other > 0) && shifts(fit->sides, fit->best, times))
        fit->other = times;
}

/* Downsamples of levels, the slide's or a pyramid's of its own. */
static void offer_levels(struct fit *fit, const struct slide *slide)
{
    for (int i = 0; i < slide->level_count; i++) offer(fit, slide->levels[i].downsample);
    for (int power = -4; power <= 16; power++) offer(fit, ldexp(1, power));
}

static void offer_integers(struct fit *fit, const struct slide *slide)
{
    (void)slide;
    for (int times = 3; times <= TIMES_MAX; times++) offer(fit, times);
}

/* Whether the side has hardly any padding: a share that chance gives both sides in one of some
 * hundred masks of another scale. */
static bool tight(const struct side *side, double times)
{
    const double exact = side->slide / times;
    return fabs(side->mask - exact) <= fmax(1, tight_max * exact);
}

/* What is much padded may be padded by less, and of another scale: the whole numbers that explain
 * it, too. */
static void doubt(struct fit *fit, const struct slide *slide)
{
    offer_integers(fit, slide);
    if (!(fit->other > 0) || !tight(&fit->sides[0], fit->best) || !tight(&fit->sides[1], fit->best))
        return;
    fit->unlikely = fit->other;
    fit->other = 0;
}

/* The likelier first: a number of the second row is only sought if none of the first fits. */
static void (*const offers[])(struct fit *fit, const struct slide *slide) = {
    offer_levels,
    offer_integers,
};
enum { OFFER_INTEGERS = 1, OFFERS = COUNT_OF(offers) };

static struct fit find(const struct side sides[2], double hint, const struct slide *slide,
                       bool (*side_fits)(const struct side *side, double times))
{
    struct fit fit = { .sides = sides, .side_fits = side_fits, .hint = hint };
    for (; fit.kind < OFFERS; fit.kind++) {
        offers[fit.kind](&fit, slide);
        if (fit.best > 0) break;
    }
    return fit;
}

/* The downsample of the level that has exactly the mask's size; 0 if there is none. */
static double same_as_level(const struct mask_form *form, const struct slide *slide)
{
    for (int i = 0; i < slide->level_count; i++)
        if (slide->levels[i].width == form->width && slide->levels[i].height == form->height)
            return slide->levels[i].downsample;
    return 0;
}

/* The whole number by which the slide's size divided is the mask's; 0 if there is none. */
static double whole_ratio(const struct side sides[2])
{
    const double times = sides[0].slide / sides[0].mask;
    return times == floor(times) && times * sides[1].mask == sides[1].slide ? times : 0;
}

/* The mask as a picture that was shrunk to a given size: the ratio of the longer side, which
 * rounding has changed least. 0 if the other side contradicts. */
static double shrunk(const struct side sides[2])
{
    for (int i = 0; i < 2; i++) {
        const struct side *side = &sides[sides[0].mask >= sides[1].mask ? i : 1 - i];
        const double times = side->slide / side->mask;
        if (times >= 1 && rounded(&sides[0], times) && rounded(&sides[1], times)) return times;
    }
    return 0;
}

static bool refuse(const struct mask_form *form, const struct slide *slide, const struct fit *fit,
                   const char *path, struct error *err)
{
    const struct slide_level *level0 = &slide->levels[0];
    if (fit->best > 0)
        return error_set(
            err, EXIT_CODE_FAILED,
            "%s: the mask of %lld x %lld px may be %.6g or %.6g times smaller than %s "
            "(%lld x %lld px), and padded; say which by a column mask_downsample in the "
            "manifest (heatmap, inspect: --mask-downsample), or save it without "
            "padding, or with its um/px in its resolution tags",
            path, (long long)form->width, (long long)form->height, fit->best, fit->other,
            slide->path, (long long)level0->width, (long long)level0->height);
    return error_set(
        err, EXIT_CODE_FAILED,
        "%s: the mask of %lld x %lld px has not the aspect ratio of %s (%lld x %lld px), nor is "
        "it a whole fraction of it that was padded to tiles; is it of another slide?",
        path, (long long)form->width, (long long)form->height, slide->path,
        (long long)level0->width, (long long)level0->height);
}

/* For a mask that is not just a level, rounded. What was padded and what was shrunk `shrink` times
 * (0: it was not) look alike if the padding has the slide's proportions; then only resolution
 * tags tell. */
static struct fit find_loose(const struct side sides[2], double shrink, double hint,
                             const struct slide *slide)
{
    struct fit fit = { 0 };
    const bool told = hint > 0 && fabs(shrink / hint - 1) <= resolution_max;
    if (hint > 0) fit = find(sides, hint, slide, padded);
    if (fit.best > 0 && !(told && fit.kind == OFFER_INTEGERS)) return fit;
    if (told) return (struct fit) { .best = shrink };
    fit = find(sides, 0, slide, padded);
    if (fit.best > 0 && !(fit.other > 0)) doubt(&fit, slide);
    if (!(shrink > 0)) return fit;
    if (!(fit.best > 0) || fit.kind == OFFER_INTEGERS) return (struct fit) { .best = shrink };
    if (!(fit.other > 0) && shifts(sides, fit.best, shrink)) fit.other = shrink;
    return fit;
}

/* Whether a mask that is said to be so much smaller covers the slide. */
static bool check_told(const struct side sides[2], double told, const char *path, struct error *err)
{
    for (int i = 0; i < 2; i++)
        if (sides[i].mask * told < sides[i].slide * (1 - slack_max) - told)
            return error_set(err, EXIT_CODE_FAILED,
                             "%s: the mask of %g x %g px is said to be %.6g times smaller than the "
                             "slide of %g x %g px (mask_downsample), but then it does not cover it",
                             path, sides[0].mask, sides[1].mask, told, sides[0].slide,
                             sides[1].slide);
    return true;
}

bool mask_scale(double *pixel_level0, double told, const struct mask_form *form,
                const struct slide *slide, const char *path, struct error *err)
{
    const struct slide_level *level0 = &slide->levels[0];
    /* A mask that is padded to its tiles is so on both sides. */
    const bool tiles = form->tile_width && form->tile_height &&
                       form->width % form->tile_width == 0 && form->height % form->tile_height == 0;
    const struct side sides[2] = {
        { (double)form->width, (double)level0->width, tiles ? (double)form->tile_width : 0 },
        { (double)form->height, (double)level0->height, tiles ? (double)form->tile_height : 0 },
    };
    const double hint = slide->mpp_x > 0 && form->mpp <= mask_mpp_max ? form->mpp / slide->mpp_x
                                                                      : 0;

    *pixel_level0 = told;
    if (told > 0) return check_told(sides, told, path, err);
    *pixel_level0 = same_as_level(form, slide);
    if (*pixel_level0 > 0) return true;
    const double whole = whole_ratio(sides);
    struct fit fit = find(sides, 0, slide, rounded);
    const bool one = fit.best > 0 && !(fit.other > 0);
    if (!one || fit.kind == OFFER_INTEGERS)
        fit = find_loose(sides, whole > 0 ? whole : one ? fit.best : shrunk(sides), hint, slide);
    else if (whole > 0 && !shifts(sides, fit.best, whole))
        fit.best = whole;
    *pixel_level0 = fit.best;
    if (!(fit.best > 0) || fit.other > 0) return refuse(form, slide, &fit, path, err);
    if (fit.unlikely > 0)
        log_warning("%s: the mask of %lld x %lld px is taken as %.6g times smaller than the slide, "
                    "and padded; if it is %.6g, say so by mask_downsample",
                    path, (long long)form->width, (long long)form->height, fit.best, fit.unlikely);
    else if (!rounded(&sides[0], fit.best) || !rounded(&sides[1], fit.best))
        log_info("%s: the mask of %lld x %lld px is taken as %.6g times smaller than the slide, "
                 "and padded or cut",
                 path, (long long)form->width, (long long)form->height, fit.best);
    return true;
}
