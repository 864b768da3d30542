/* See the header. */
#include "micromet/slide/scale.h"

#include <math.h>

#include "micromet/base/log.h"

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
    return true;
}

bool scale_is_square(double mpp_x, double mpp_y)
{
    return fabs(mpp_x - mpp_y) <= 0.03 * fmin(mpp_x, mpp_y);
}

void scale_log(const struct slide *slide)
{
    const double own = slide->mpp_own[0], holds = slide->mpp_x;
    if (slide->mpp_absurd != 0 && !(own > 0))
        log_warning("%s: says %g µm/px, which no microscope has: %s", slide->path,
                    slide->mpp_absurd,
                    holds > 0 ? "what it was told is taken" : "taken as unknown");
    else if (own > 0 && fabs(holds / own - 1) > 0.01)
        log_info("%s: says %g µm/px; as told, %g is taken", slide->path, own, holds);
}
