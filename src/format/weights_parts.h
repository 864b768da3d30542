/* Shared by the weight readers. */
#ifndef MICROMET_FORMAT_WEIGHTS_PARTS_H
#define MICROMET_FORMAT_WEIGHTS_PARTS_H

#include "micromet/format/weights.h"

/* Map a whole file read-only as weights->storage; NULL if the file is empty. */
bool weights_map(struct weights *weights, const char *path, struct error *err);

/* Whether the name is non-empty and has no control characters. */
bool weights_plain_name(const char *name);

/* Fails if two arrays have the same name. */
bool weights_check_names(const struct weights *weights, const char *path, struct error *err);

/* Formats stored in zip archives: recognise one, and read it. On failure the caller
 * releases `weights`. */
struct archive;
bool keras_zip_sniff(const struct archive *archive);
bool keras_zip_read(struct weights *weights, const struct archive *archive, struct error *err);
bool torch_zip_sniff(const struct archive *archive);
bool torch_zip_read(struct weights *weights, const struct archive *archive, struct error *err);

/* Read a zip archive in whichever of these formats it is. */
bool weights_zip_read(struct weights *weights, const char *path, struct error *err);

#endif
