/* Directories of a TIFF that OpenSlide does not look at. */
#ifndef SLIDE_TIFF_UNREAD_H
#define SLIDE_TIFF_UNREAD_H

#include "tiff_pages.h"
#include "tiff_source.h"

/* Fill pages->remark, of a file whose other pages were read. Refuses colours that are stored as
 * separate gray images. Leaves the TIFF at another directory. */
bool tiff_unread_find(struct tiff_pages *pages, TIFF *tiff, const char *path, struct error *err);

#endif
