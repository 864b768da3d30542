/* What the tissue is made of at a point: the slow fields from which the texture is painted. */
#ifndef MICROMET_SYNTH_SYNTH_FIELD_H
#define MICROMET_SYNTH_SYNTH_FIELD_H

#include "synth_scene.h"

/* In the order in which they are painted. */
enum synth_object_kind {
    SYNTH_FIBRE,
    SYNTH_SPINDLE,
    SYNTH_SMALL,
    SYNTH_LARGE,
    SYNTH_FAT,
    SYNTH_OBJECTS
};

/* The slow fields at one point. */
struct synth_node {
    float tissue, tumor;        /* px inside */
    float hematoxylin, eosin;   /* concentrations between the nuclei */
    float thickness;            /* 1, more in a fold */
    float ink;                  /* px inside the pen's stroke */
    float angle;                /* of fibres and spindle cells */
    float share[SYNTH_OBJECTS]; /* probability that a cell of the grid holds its object */
};

/* All of a node. */
void synth_node_fill(const struct synth_scene *scene, double x, double y, struct synth_node *node);
/* The distances alone: all that the mask needs. */
void synth_node_truth(const struct synth_scene *scene, double x, double y, struct synth_node *node);

static inline float synth_clamp(float x)
{
    return x < 0 ? 0 : x > 1 ? 1 : x;
}

static inline float synth_mix(float a, float b, float t)
{
    return a + t * (b - a);
}

/* 0 at low and before, 1 at high and beyond, smooth between; low may be the greater one. */
static inline float synth_ramp(float low, float high, float x)
{
    float t = synth_clamp((x - low) / (high - low));
    return t * t * (3 - 2 * t);
}

#endif
