/* Augmentation parameters of one sample for one tower. In a header of its own so that CUDA sources
 * can include it. */
#ifndef MICROMET_DATA_AUGMENT_DRAW_H
#define MICROMET_DATA_AUGMENT_DRAW_H

#include <stdint.h>

/* The identity is {0, false, false, 0, 1, 0, 1}, with zeros behind. */
struct augment_draw {
    /* counter-clockwise rotations by 90 degrees, as numpy.rot90; come first */
    int32_t quarter_turns;
    int32_t flip_x; /* then mirror left-right */
    int32_t flip_y; /* then mirror top-bottom */
    float brightness, saturation, hue, contrast;
    /* sigma and beta of haematoxylin, eosin and DAB; come before the other colours */
    float stain_scale[3], stain_shift[3];
};

#endif
