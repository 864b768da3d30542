/* What a file is by its content, whatever its name: so that what was derived from it can be told
 * to be out of date, and the same slide under two names to be the same.
 *
 * Reading all of a gigapixel slide on a file server would take minutes, so large files are
 * sampled:
 *
 *   - A file of at most 64 MiB is read whole. So is an annotation of any size that is no
 *     compressed TIFF, such as ASAP's XML.
 *   - Of a larger TIFF, the size of every tile or strip of every directory is taken, and the
 *     bytes at spots that are spread evenly over the tiles of each directory and over the file:
 *     64 spots of 16 KiB, or 4096 of 4 KiB if its tiles are not compressed.
 *   - Slides that are no TIFFs (MIRAX, VMS, DICOM) may be many files: besides spots of the file
 *     that is named, decoded pixels are taken, at 16 places of each level.
 *
 * What this sees: other tiles anywhere in a compressed TIFF, since some tile then has another
 * size; a level that was replaced, in any format, even if size and time of the file stay the same.
 * What it cannot see: an edit between the spots of a large file whose tiles are not compressed, or
 * of a slide that is no TIFF. There, and only there, the time of the last change is kept, which
 * tells that something may have changed; elsewhere it would only make copied and touched files look
 * changed. The same picture in another compression is another content. */
#ifndef MICROMET_SLIDE_IDENTITY_H
#define MICROMET_SLIDE_IDENTITY_H

#include <stdint.h>

#include "micromet/base/error.h"
#include "micromet/slide/slide.h"

/* As stored in packs; all zero = there is no file. */
struct file_identity {
    uint64_t bytes;
    uint64_t hash[2]; /* XXH3-128 of what was read: low, high */
    int64_t mtime_ns; /* since 1970; 0 where who has the same hash has the same content */
};

/* Read a slide's, or an annotation's. `path` of an annotation may be empty: there is none. */
bool identity_of_slide(struct file_identity *identity, const char *path, struct error *err);
bool identity_of_annotation(struct file_identity *identity, const char *path, struct error *err);

/* XXH3-64 of a slide's sides and the pixels of its coarsest level of at least 4096: the same for
 * copies with other metadata, or in another lossless compression. 0 = unknown: the level has more
 * than 16 million pixels, or one colour, or cannot be read. */
bool identity_of_picture(uint64_t *hash, const struct slide *slide, struct error *err);

enum { IDENTITY_TEXT_BYTES = 80 };
/* All of it as text: for what is cheap to make again, and so not kept in doubt. */
void identity_print(const struct file_identity *identity, char text[IDENTITY_TEXT_BYTES]);
/* Whether both are of the same content, as far as it was read. The time is not compared. */
bool identity_same(const struct file_identity *a, const struct file_identity *b);
/* Whether two that are the same may differ by a small edit, as their times do. */
bool identity_doubtful(const struct file_identity *a, const struct file_identity *b);

#endif
