/* See the header. */
#include "micromet/slide/scale.h"

#include <math.h>

#include "micromet/base/log.h"
#include "micromet/slide/shrink.h"

_Static_assert((int)SLIDE_MADE_MAX == (int)TOWERS_MAX, "each tower may need a level of its own");

static const double equal_share = 0.01, enlarged_share = 0.1;

static double told(const struct manifest_row *row, const struct config_data *data)
{
    return row->mpp > 0 ? row->mpp : data->mpp_override;
}

void scale_of_row(double mpp[2], const struct manifest_row *row, const struct config_data *data,
                  const double own[2])
{
    for (int side = 0; side < 2; side++)
        mpp[side] = told(row, data) > 0 ? told(row, data) : own[side] > 0 ? own[side] : data->mpp;
}

bool slide_open_row(struct slide *slide, const struct manifest_row *row,
                    const struct config_data *data, struct error *err)
{
    double mpp[2];
    if (!slide_open(slide, row->slide, 0, err)) return false;
    scale_of_row(mpp, row, data, slide->mpp_own);
    slide->mpp_x = mpp[0];
    slide->mpp_y = mpp[1];
    if (scale_settle(slide, data, err)) return true;
    slide_release(slide);
    return false;
}

static bool refuse_unknown(const struct slide *slide, struct error *err)
{
    char says[64] = "does not say how many µm a pixel has";
    if (slide->mpp_absurd != 0)
        snprintf(says, sizeof says, "says %.4g µm/px, which no microscope has", slide->mpp_absurd);
    return error_set(err, EXIT_CODE_FAILED,
                     "%s: %s, and data.um_per_px needs it; say what holds for its level 0: the "
                     "manifest's column mpp, data.mpp, or --mpp of heatmap",
                     slide->path, says);
}

/* The coarsest level without holes of at most this downsample, or level 0. */
static int finer_level(const struct slide *slide, double downsample)
{
    int best = 0;
    for (int i = 1; i < slide->level_count; i++)
        if (slide->levels[i].downsample <= downsample && !slide->levels[i].has_holes &&
            slide->levels[i].downsample > slide->levels[best].downsample)
            best = i;
    return best;
}

static bool settle_tower(struct slide *slide, double um_per_px, int *level, struct error *err)
{
    const int source = finer_level(slide, (1 + equal_share) * um_per_px / slide->mpp_x);
    const double has = slide->mpp_x * slide->levels[source].downsample, ratio = um_per_px / has;
    *level = source;
    if (has / um_per_px - 1 > enlarged_share)
        return error_set(
            err, EXIT_CODE_FAILED,
            "%s: its finest level has %.4g µm/px, coarser than the %.4g of "
            "data.um_per_px, and nothing is enlarged by more than 10 %%; choose coarser "
            "scales, leave the slide out, or, if that is wrong, say what holds by the "
            "manifest's column mpp",
            slide->path, has, um_per_px);
    if (has / um_per_px - 1 > equal_share) slide->in_place_of = um_per_px;
    if (1 - has / um_per_px <= equal_share) return true;
    if (ratio > SHRINK_RATIO_MAX)
        return error_set(
            err, EXIT_CODE_FAILED,
            "%s: %.4g µm/px would be made of %.4g µm/px, shrunk more than %g times; is "
            "the slide's scale right? The manifest's column mpp says what holds",
            slide->path, um_per_px, has, SHRINK_RATIO_MAX);
    *level = slide_make_level(slide, source, ratio);
    return true;
}

/* A coarser tower's level, made of the finest tower's pixels. */
static bool shrink_finest(struct slide *slide, double ratio, int *level, struct error *err)
{
    if (ratio > SHRINK_RATIO_MAX)
        return error_set(err, EXIT_CODE_FAILED,
                         "data.um_per_px: one tower sees more than %g times as many µm a pixel as "
                         "another",
                         SHRINK_RATIO_MAX);
    *level = slide_make_level(slide, slide->tower_levels[0], ratio);
    return true;
}

bool scale_settle(struct slide *slide, const struct config_data *data, struct error *err)
{
    const double *um_per_px = data->um_per_px;
    if (!data->um_per_px_count) return true;
    if (!(slide->mpp_x > 0)) return refuse_unknown(slide, err);
    for (int tower = 0; tower < data->um_per_px_count; tower++) {
        int *level = &slide->tower_levels[tower];
        const bool of_finest = tower > 0 && data->shrink_from == SHRINK_FROM_FINEST;
        if (!(of_finest ? shrink_finest(slide, um_per_px[tower] / um_per_px[0], level, err)
                        : settle_tower(slide, um_per_px[tower], level, err)))
            return false;
        slide->tower_count++;
    }
    return true;
}

int tower_level(const struct slide *slide, const struct config_data *data, int tower)
{
    if (!data->um_per_px_count) return data->levels[tower];
    CHECK(tower < slide->tower_count);
    return slide->tower_levels[tower];
}

const char *tower_text(const struct config_data *data, int tower, char text[TOWER_TEXT_BYTES])
{
    if (data->um_per_px_count)
        snprintf(text, TOWER_TEXT_BYTES, "tower %d (%.4g µm/px)", tower, data->um_per_px[tower]);
    else
        snprintf(text, TOWER_TEXT_BYTES, "level %d", data->levels[tower]);
    return text;
}

bool scale_is_square(double mpp_x, double mpp_y)
{
    return fabs(mpp_x - mpp_y) <= 0.03 * fmin(mpp_x, mpp_y);
}

void scale_log(const struct slide *slide)
{
    const double own = slide->mpp_own[0], holds = slide->mpp_x;
    if (slide->in_place_of > 0)
        log_warning("%s: its finest level has %.4g µm/px and is read in place of %.4g", slide->path,
                    holds, slide->in_place_of);
    if (slide->mpp_absurd != 0 && !(own > 0))
        log_warning("%s: says %g µm/px, which no microscope has: %s", slide->path,
                    slide->mpp_absurd,
                    holds > 0 ? "what it was told is taken" : "taken as unknown");
    else if (own > 0 && fabs(holds / own - 1) > 0.01)
        log_info("%s: says %g µm/px; as told, %g is taken", slide->path, own, holds);
}
