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
#include "micromet/base/text.h"
#include "micromet/report/plot.h"
#include "micromet/slide/annotation.h"
#include "micromet/slide/scale.h"
#include "micromet/slide/tissue.h"

enum { THUMBNAIL_SIDE_MAX = 1600 };

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
    printf("slide         %s\n", SHOWN(slide->path));
    printf("vendor        %s, quickhash %s\n", SHOWN(slide->vendor), SHOWN(slide->quickhash));
    for (int i = 0; i < slide->level_count; i++) {
        const struct slide_level *level = &slide->levels[i];
        printf("level %-2d      %lld×%lld px, downsample %.7g", i, (long long)level->width,
               (long long)level->height, level->downsample);
        if (level->tile_width && level->tile_height)
            printf(", tiles %d×%d", level->tile_width, level->tile_height);
        if (slide->mpp_x > 0) printf(", %.4g µm/px", slide->mpp_x * level->downsample);
        if (level->missing_tiles)
            printf(", %lld tile%s missing%s", (long long)level->missing_tiles,
                   level->missing_tiles == 1 ? "" : "s",
                   level->has_holes ? ", where level 0 has pixels: background there" : "");
        printf("\n");
    }
    if (*slide->remark) warn(slide->remark);
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

/* Whether the mask has one value at most besides 0, so that it is beyond doubt which is tumour. */
static bool values_fit(const struct annotation_facts *facts)
{
    return facts->value_count <= 1 + (facts->values[0] == 0);
}

/* Shares of the tumour's area that is tissue, and of the tissue's that is tumour; NaN without. */
static void compare_areas(const struct overview *overview, double *tumor_on_tissue,
                          double *tissue_in_tumor)
{
    double tumor = 0, tissue = 0, both = 0;
    for (size_t i = 0; i < (size_t)overview->width * (size_t)overview->height; i++) {
        const double share = overview->tumor_share[i] / 255.0;
        tumor += share;
        tissue += overview->tissue[i];
        both += overview->tissue[i] ? share : 0;
    }
    *tumor_on_tissue = tumor > 0 ? both / tumor : (double)NAN;
    *tissue_in_tumor = tissue > 0 ? both / tissue : (double)NAN;
}

static void print_facts(const char *path, const struct annotation_facts *facts)
{
    char values[ANNOTATION_TEXT_MAX];
    printf("annotation    %s\n", SHOWN(path));
    if (facts->is_mask) {
        annotation_say_values(facts, values);
        printf("mask          %lld×%lld px, each %.6g×%.6g level-0 px\n", (long long)facts->width,
               (long long)facts->height, facts->pixel_level0, facts->pixel_level0);
        printf("values        %s\n", values);
    } else {
        printf("format        %s\n", facts->format);
        printf("polygons      %d\n", facts->polygon_count);
        if (*facts->names) printf("names         %s\n", facts->names);
    }
    if (facts->ignored_pixels)
        printf("ignored       %lld px of it\n", (long long)facts->ignored_pixels);
    printf("tumor         %lld px of it, %.4g %%\n", (long long)facts->tumor_pixels,
           100 * (double)facts->tumor_pixels / ((double)facts->width * (double)facts->height));
}

static void print_annotation(const struct overview *overview, const char *path, bool values_said)
{
    const struct annotation_facts *facts = &overview->facts;
    double tumor_on_tissue, tissue_in_tumor;
    compare_areas(overview, &tumor_on_tissue, &tissue_in_tumor);
    print_facts(path, facts);
    if (!isnan(tumor_on_tissue))
        printf("over tissue   %.1f %% of the tumor\n", 100 * tumor_on_tissue);
    if (facts->is_mask && facts->pixel_level0 != round(facts->pixel_level0))
        warn("the mask is not a whole fraction of the slide; is it of this slide?");
    if (facts->is_mask && !values_said && !values_fit(facts))
        warn("the mask has several values besides 0, all of which are drawn here; which are tumor, "
             "data.mask_values must say");
    if (facts->tumor_pixels == 0) warn("the annotation marks no tumor at all");
    const char *doubt = annotation_doubt(tumor_on_tissue, tissue_in_tumor);
    if (doubt) warn(doubt);
}

static bool load(struct overview *overview, const char *path, const char *annotation,
                 double mask_downsample, const struct config_data *data, double mpp,
                 struct error *err)
{
    if (!slide_open(&overview->slide, path, mpp, err) ||
        !annotation_open(&overview->annotation, annotation, mask_downsample, &overview->slide, data,
                         err) ||
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
    printf("picture       %s\n", SHOWN(path));
    return true;
}

bool inspect_slide(const char *path, const char *annotation, double mask_downsample,
                   const struct config_data *data, double mpp, const char *out_folder,
                   struct error *err)
{
    struct overview overview = { 0 };
    bool ok = load(&overview, path, annotation, mask_downsample, data, mpp, err);
    if (ok) print_slide(&overview.slide);
    ok = ok && print_tissue(&overview, err);
    if (ok && overview.annotation) print_annotation(&overview, annotation, data != NULL);
    ok = ok && write_picture(&overview, out_folder, err);
    overview_release(&overview);
    return ok;
}
