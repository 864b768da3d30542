/* The points of an outline that a reader of XML collects before it knows what they make. */
#include <stdlib.h>

#include "outline_formats.h"

enum { POINTS_MAX = 1 << 24 };

const char *outline_reader_point(struct outline_reader *reader, struct numbered_point point)
{
    if (reader->scratch_count >= POINTS_MAX) return "more than 16777216 coordinates";
    if (reader->scratch_count == reader->scratch_capacity) {
        const int64_t larger = reader->scratch_capacity ? 2 * reader->scratch_capacity : 256;
        void *moved = realloc(reader->scratch, (size_t)larger * sizeof point);
        if (!moved) return "out of memory";
        reader->scratch = moved;
        reader->scratch_capacity = larger;
    }
    reader->scratch[reader->scratch_count++] = point;
    return NULL;
}
