/* Writers of outlines. */
#ifndef SLIDE_OUTLINE_WRITE_H
#define SLIDE_OUTLINE_WRITE_H

#include <stdio.h>

#include "micromet/slide/annotation.h"
#include "outlines.h"

/* Errors of the stream are the caller's to find. */
void outlines_write(const struct outlines *set, enum outline_format format, FILE *stream);

/* Which holes of its area an outline has: true for what shares a point with it. */
bool outline_has_hole(const struct outlines *set, const struct outline *outline,
                      const struct outline *hole);

#endif
