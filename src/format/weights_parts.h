/* What the readers of weights share among themselves. */
#ifndef MICROMET_FORMAT_WEIGHTS_PARTS_H
#define MICROMET_FORMAT_WEIGHTS_PARTS_H

#include "micromet/format/weights.h"

/* Map a whole file, read-only, as weights->storage; NULL where it is empty. */
bool weights_map(struct weights *weights, const char *path, struct error *err);

/* Is there a name, and nothing in it that a terminal would act on? */
bool weights_plain_name(const char *name);

/* Refuses two arrays of one name. */
bool weights_check_names(const struct weights *weights, const char *path, struct error *err);

/* Formats that are zip archives: does the archive look like one, and read it. On failure the caller
 * releases `weights`. */
struct archive;
bool keras_zip_sniff(const struct archive *archive);
bool keras_zip_read(struct weights *weights, const struct archive *archive, struct error *err);
bool torch_zip_sniff(const struct archive *archive);
bool torch_zip_read(struct weights *weights, const struct archive *archive, struct error *err);

/* Any of them, by what the archive holds. */
bool weights_zip_read(struct weights *weights, const char *path, struct error *err);

#endif
