/* Random draws for augmentation. Every parameter has a fixed position in the stream, so switching
 * one option does not change the others. */
#include "micromet/data/augment.h"

static void draw_color(struct random *random, const struct config_augment *augment,
                       struct augment_draw *draw)
{
    const float b = (float)augment->brightness, s = (float)augment->saturation;
    const float h = (float)augment->hue, c = (float)augment->contrast;

    draw->brightness = random_uniform(random, -b, b);
    draw->saturation = random_uniform(random, 1 - s, 1 + s);
    draw->hue = random_uniform(random, -h, h);
    draw->contrast = random_uniform(random, 1 - c, 1 + c);
}

static void draw_stain(struct random *random, const struct config_augment *augment,
                       struct augment_draw *draw)
{
    const float bound = (float)augment->hed;
    if (bound == 0) return;
    for (int k = 0; k < 3; k++) {
        draw->stain_scale[k] = random_uniform(random, -bound, bound);
        draw->stain_shift[k] = random_uniform(random, -bound, bound);
    }
}

void augment_draw(const struct config_augment *augment, int towers, uint64_t seed, uint32_t epoch,
                  uint64_t sample, struct augment_draw draws[TOWERS_MAX])
{
    struct random random = random_init(seed, epoch, sample, RANDOM_AUGMENT);
    struct random stain = random_init(seed, epoch, sample, RANDOM_STAIN);
    const uint32_t orientation = random_u32(&random);

    for (int t = 0; t < towers; t++) {
        if (t > 0 && !augment->per_tower) {
            draws[t] = draws[0];
            continue;
        }
        draws[t] = augment_identity();
        draws[t].quarter_turns = augment->rotate ? (int32_t)(orientation & 3) : 0;
        draws[t].flip_x = augment->flip && (orientation & 4);
        draws[t].flip_y = augment->flip && (orientation & 8);
        draw_color(&random, augment, &draws[t]);
        draw_stain(&stain, augment, &draws[t]);
    }
}

struct augment_draw augment_identity(void)
{
    return (struct augment_draw) { .saturation = 1, .contrast = 1 };
}

struct augment_draw augment_orientation(int k)
{
    struct augment_draw draw = augment_identity();
    draw.quarter_turns = k & 3;
    draw.flip_x = (k & 4) != 0;
    return draw;
}
