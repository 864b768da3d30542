/* Outlines of one annotation program, written for another. */
#ifndef MICROMET_SLIDE_OUTLINE_CONVERT_H
#define MICROMET_SLIDE_OUTLINE_CONVERT_H

#include "micromet/slide/annotation.h"

struct conversion {
    enum outline_format from;
    long long areas, holes, left_out; /* left_out: without area, or holes of nothing */
};

/* Read the outlines of `in`, whatever its format, and write them to `out`. Names, colours, holes
 * and every digit of the coordinates stay; what a format has no place for goes: measurements and
 * identifiers of QuPath, names of single outlines in HALO. slide: QuPath counts from its bounds,
 * the others from its corner; NULL = nothing is moved. */
bool outlines_convert(const char *in, const char *out, enum outline_format format,
                      const struct slide *slide, struct conversion *facts, struct error *err);

#endif
