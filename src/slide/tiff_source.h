/* TIFF files opened for reading with libtiff, whose messages become errors instead of
 * lines on stderr. */
#ifndef SLIDE_TIFF_SOURCE_H
#define SLIDE_TIFF_SOURCE_H

#include <tiffio.h>

#include "micromet/base/error.h"

/* Keep libtiff from writing to stderr wherever no handler of ours is set: within OpenSlide. */
void tiff_silence(void);

/* Must not be moved while open: libtiff holds its address. */
struct tiff_source {
    const char *path;
    TIFF *tiff;
    char complaint[256]; /* libtiff's first message */
};

bool tiff_source_open(struct tiff_source *source, const char *path, struct error *err);
void tiff_source_release(struct tiff_source *source);

/* Refuse a TIFF whose directories or pixel data lie beyond the end of the file, as after an
 * interrupted download. True for complete files, and for files that are not TIFFs. */
bool tiff_check_whole(const char *path, struct error *err);

#endif
