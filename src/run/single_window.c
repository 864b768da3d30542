/* Geometry of the one large window that contains the windows of all towers; see the header. */
#include "micromet/run/single_window.h"

#include <math.h>

#include "micromet/slide/scale.h"

bool single_window_of(const struct checkpoint *checkpoint, struct single_window *single,
                      struct error *err)
{
    const struct config_data *data = &checkpoint->config.data;
    const double *downsamples = checkpoint->input.downsamples;
    char text[2][TOWER_TEXT_BYTES];
    *single = (struct single_window) { 0 };
    for (int t = 0; t < data->level_count; t++) {
        const double ratio = downsamples[t] / downsamples[0];
        single->ratios[t] = (int)lround(ratio);
        if (!(fabs(ratio / single->ratios[t] - 1) <= 0.01))
            return error_set(err, EXIT_CODE_FAILED,
                             "%s: %s is shrunk %.6g times against %s; one window can be cut for "
                             "all towers only where that is an integer",
                             checkpoint->path, tower_text(data, t, text[0]), ratio,
                             tower_text(data, 0, text[1]));
    }
    /* The centre of a window is its pixel window/2, so an odd window extends one pixel further
     * after its centre than before it. */
    const int towers = data->level_count, even = towers > 1 ? data->window % 2 : 0;
    single->side = (data->window + even) * single->ratios[towers - 1];
    for (int t = 0; t < towers; t++)
        single->corners[t] = single->side / 2 - data->window / 2 * single->ratios[t];
    return true;
}

void single_window_cut(const struct single_window *single, int window, int tower,
                       const uint8_t *rgb, uint8_t *out)
{
    const size_t side = (size_t)single->side;
    const int ratio = single->ratios[tower], corner = single->corners[tower];
    const unsigned area = (unsigned)(ratio * ratio);
    for (int y = 0; y < window; y++)
        for (int x = 0; x < 3 * window; x++) {
            unsigned sum = area / 2;
            for (int j = 0; j < ratio; j++)
                for (int i = 0; i < ratio; i++) {
                    const int row = corner + y * ratio + j, column = corner + x / 3 * ratio + i;
                    sum += rgb[((size_t)row * side + (size_t)column) * 3 + (size_t)(x % 3)];
                }
            out[y * 3 * window + x] = (uint8_t)(sum / area);
        }
}
