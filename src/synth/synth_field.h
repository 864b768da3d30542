/* The smooth fields of a synthetic slide: what the tissue consists of at a point. The texture is
 * painted from them. */
#ifndef MICROMET_SYNTH_SYNTH_FIELD_H
#define MICROMET_SYNTH_SYNTH_FIELD_H

#include "synth_scene.h"

/* In painting order. */
enum synth_object_kind {
    SYNTH_FIBRE,
    SYNTH_SPINDLE,
    SYNTH_SMALL,
    SYNTH_LARGE,
    SYNTH_FAT,
    SYNTH_OBJECTS
};

/* The fields at one point. */
struct synth_node {
    float tissue, tumor;        /* px inside the border; < 0 outside */
    float hematoxylin, eosin;   /* concentrations between the nuclei */
    float thickness;            /* 1, more in a fold */
    float ink;                  /* px inside the pen stroke */
    float angle;                /* of fibres and spindle cells */
    float share[SYNTH_OBJECTS]; /* probability that a grid cell holds its object */
};

/* Compute all fields. */
void synth_node_fill(const struct synth_scene *scene, double x, double y, struct synth_node *node);
/* Compute only the distances, which is all that the mask needs. */
void synth_node_truth(const struct synth_scene *scene, double x, double y, struct synth_node *node);

static inline float synth_clamp(float x)
{
    return x < 0 ? 0 : x > 1 ? 1 : x;
}

static inline float synth_mix(float a, float b, float t)
{
    return a + t * (b - a);
}

/* Smooth step from 0 at `low` to 1 at `high`, constant outside; low may exceed high. */
static inline float synth_ramp(float low, float high, float x)
{
    float t = synth_clamp((x - low) / (high - low));
    return t * t * (3 - 2 * t);
}

#endif
