/* Which file a cell of a manifest means. */
#ifndef SLIDE_MANIFEST_PATH_H
#define SLIDE_MANIFEST_PATH_H

#include "micromet/base/error.h"
#include "micromet/base/file.h"

/* The file `name` as seen from `folder`, as it stands if there is such a file. Else the first that
 * exists: with slashes for backslashes, with "~/" and "$NAME" expanded, without blanks at its ends.
 * Refuses paths of Windows, variables that are not set, and a name of which the file is there in
 * other bytes (Unicode's NFC and NFD). A file that is not there is no error. */
bool manifest_path(char path[PATH_MAX_BYTES], const char *folder, const char *name,
                   struct error *err);

#endif
