/* Reports on a slide and its annotation, with warnings about what looks wrong, before any time is
 * spent on training with them.
 *
 * Shares of area are estimated on a thumbnail of at most 1600 px; exact values come from the
 * slide and annotation modules. */
#include "inspect.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "micromet/base/size.h"
#include "micromet/report/plot.h"
#include "micromet/slide/annotation.h"
#include "micromet/slide/scale.h"
#include "micromet/slide/tissue.h"

enum { THUMBNAIL_SIDE_MAX = 1600 };
static const double over_tissue_min = 0.5; /* of the tumour area; warn below */

struct overview {
    struct slide slide;
    struct annotation *annotation;
    struct annotation_facts facts;
    int width, height;
    uint8_t *rgb;         /* (height, width, 3) */
    uint8_t *tissue;      /* (height, width), 1 = tissue by the paper's rule */
    uint8_t *tumor_share; /* (height, width), NULL without annotation */
};

static void overview_release(struct overview *overview)
{
    free(overview->rgb);
    free(overview->tissue);
    free(overview->tumor_share);
    annotation_release(overview->annotation);
    slide_release(&overview->slide);
}

static void warn(const char *what)
{
    printf("warning       %s\n", what);
}

static void print_slide(const struct slide *slide)
{
    printf("slide         %s\n", slide->path);
    printf("vendor        %s, quickhash %s\n", slide->vendor, slide->quickhash);
    for (int i = 0; i < slide->level_count; i++) {
        const struct slide_level *level = &slide->levels[i];
        printf("level %-2d      %lld×%lld px, downsample %.7g", i, (long long)level->width,
               (long long)level->height, level->downsample);
        if (level->tile_width && level->tile_height)
            printf(", tiles %d×%d", level->tile_width, level->tile_height);
        if (slide->mpp_x > 0) printf(", %.4g µm/px", slide->mpp_x * level->downsample);
        printf("\n");
    }
    if (slide->mpp_x > 0)
        printf("pixel size    %.4g×%.4g µm\n", slide->mpp_x, slide->mpp_y);
    else if (slide->mpp_absurd != 0)
        printf("pixel size    unknown: it says %.4g µm, which no microscope has; give --mpp\n",
               slide->mpp_absurd);
    else
        printf("pixel size    unknown: give --mpp\n");
    if (slide->mpp_x != slide->mpp_own[0] && slide->mpp_own[0] > 0)
        printf("it says       %.4g×%.4g µm\n", slide->mpp_own[0], slide->mpp_own[1]);
    if (!scale_is_square(slide->mpp_x, slide->mpp_y))
        warn("its pixels are not square; no model takes it unless told otherwise by --mpp");
    printf("background    #%02x%02x%02x\n", slide->background[0], slide->background[1],
           slide->background[2]);
}

static bool print_tissue(const struct overview *overview, struct error *err)
{
    static const struct {
        const char *name;
        enum tissue_method method;
    } rules[] = { { "gray", TISSUE_GRAY }, { "otsu", TISSUE_OTSU } };
    struct config config;
    config_defaults(&config);

    for (size_t i = 0; i < COUNT_OF(rules); i++) {
        struct tissue_rule rule;
        config.data.tissue.method = rules[i].method;
        if (!tissue_rule_init(&rule, &config.data, &overview->slide, err)) return false;
        printf("tissue        %.2f %% (%s: grey at most %.4f)\n",
               100 * (double)tissue_share(&rule, overview->rgb, overview->width, overview->height,
                                          3 * (size_t)overview->width),
               rules[i].name, (double)rule.gray_max / GRAY_MAX);
        if (rules[i].method != TISSUE_GRAY) continue;
        for (size_t p = 0; p < (size_t)overview->width * (size_t)overview->height; p++)
            overview->tissue[p] = tissue_gray(overview->rgb + 3 * p) <= rule.gray_max;
    }
    return true;
}

/* Whether the mask has the size of a level, or of the slide divided by a whole number. */
static bool size_fits(const struct slide *slide, int64_t width, int64_t height)
{
    const int64_t slide_width = slide->levels[0].width, slide_height = slide->levels[0].height;
    const int64_t times = llround((double)slide_width / (double)width);
    for (int i = 0; i < slide->level_count; i++)
        if (slide->levels[i].width == width && slide->levels[i].height == height) return true;
    return times >= 1 && llabs(width * times - slide_width) < times &&
           llabs(height * times - slide_height) < times;
}

/* Whether the mask's values are 0/1 or 0/255, or only one of these. */
static bool values_fit(const struct annotation_facts *facts)
{
    const uint8_t last = facts->values[facts->value_count == 1 ? 0 : 1];
    if (facts->value_count > 2 || (facts->value_count == 2 && facts->values[0] != 0)) return false;
    return last == 0 || last == 1 || last == 255;
}

/* Share of the tumour area that is tissue; NaN without tumour. */
static double tumor_over_tissue(const struct overview *overview)
{
    double tumor = 0, over = 0;
    for (size_t i = 0; i < (size_t)overview->width * (size_t)overview->height; i++) {
        tumor += overview->tumor_share[i];
        over += overview->tissue[i] ? overview->tumor_share[i] : 0;
    }
    return tumor > 0 ? over / tumor : (double)NAN;
}

static void print_facts(const char *path, const struct annotation_facts *facts)
{
    printf("annotation    %s\n", path);
    if (facts->is_mask) {
        printf("mask          %lld×%lld px, %d value%s:", (long long)facts->width,
               (long long)facts->height, facts->value_count, facts->value_count == 1 ? "" : "s");
        for (int i = 0; i < facts->value_count && i < 8; i++) printf(" %d", facts->values[i]);
        printf("%s\n", facts->value_count > 8 ? " ..." : "");
    } else {
        printf("polygons      %d\n", facts->polygon_count);
    }
    printf("tumor         %lld px of it, %.4g %%\n", (long long)facts->tumor_pixels,
           100 * (double)facts->tumor_pixels / ((double)facts->width * (double)facts->height));
}

static void print_annotation(const struct overview *overview, const char *path)
{
    const struct annotation_facts *facts = &overview->facts;
    const double over = tumor_over_tissue(overview);

    print_facts(path, facts);
    if (!isnan(over)) printf("over tissue   %.1f %% of the tumor\n", 100 * over);
    if (facts->is_mask && !size_fits(&overview->slide, facts->width, facts->height))
        warn("the mask is neither as large as a level nor a whole fraction of the slide; is it of "
             "this slide?");
    if (facts->is_mask && !values_fit(facts))
        warn("the mask's values are not 0/1 or 0/255; every value but 0 counts as tumor");
    if (facts->tumor_pixels == 0) warn("the annotation marks no tumor at all");
    if (over < over_tissue_min)
        warn("less than half of the tumor lies on tissue; is the annotation of this slide?");
}

static bool load(struct overview *overview, const char *path, const char *annotation, double mpp,
                 struct error *err)
{
    if (!slide_open(&overview->slide, path, mpp, err) ||
        !annotation_open(&overview->annotation, annotation, &overview->slide, err) ||
        !annotation_describe(overview->annotation, &overview->facts, err) ||
        !slide_thumbnail(&overview->slide, THUMBNAIL_SIDE_MAX, &overview->rgb, &overview->width,
                         &overview->height, err))
        return false;
    const size_t pixels = (size_t)overview->width * (size_t)overview->height;
    overview->tissue = malloc(pixels);
    if (overview->annotation) overview->tumor_share = malloc(pixels);
    if (!overview->tissue || (overview->annotation && !overview->tumor_share))
        return error_set(err, EXIT_CODE_FAILED, "%s: out of memory for a picture", path);
    return !overview->annotation || annotation_draw(overview->annotation, overview->width,
                                                    overview->height, overview->tumor_share, err);
}

static bool write_picture(const struct overview *overview, const char *out_folder,
                          struct error *err)
{
    const struct slide *slide = &overview->slide;
    char stem[PATH_MAX_BYTES], name[PATH_MAX_BYTES + 16], path[PATH_MAX_BYTES];
    path_stem(stem, slide->path);
    snprintf(name, sizeof name, "%s.inspect.png", stem);
    if (!folder_create(out_folder, err) || !path_join(path, out_folder, name, err) ||
        !plot_slide(path, stem, overview->rgb, overview->width, overview->height, overview->tissue,
                    overview->tumor_share, (double)slide->levels[0].width / (double)overview->width,
                    slide->mpp_x, err))
        return false;
    printf("picture       %s\n", path);
    return true;
}

bool inspect_slide(const char *path, const char *annotation, double mpp, const char *out_folder,
                   struct error *err)
{
    struct overview overview = { 0 };
    bool ok = load(&overview, path, annotation, mpp, err);
    if (ok) print_slide(&overview.slide);
    ok = ok && print_tissue(&overview, err);
    if (ok && overview.annotation) print_annotation(&overview, annotation);
    ok = ok && write_picture(&overview, out_folder, err);
    overview_release(&overview);
    return ok;
}
