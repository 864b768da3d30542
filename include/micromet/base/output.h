/* What a command is going to write, checked before its work begins, so that hours of computing do
 * not end in "permission denied" or "file name too long", or over another input's results. */
#ifndef MICROMET_BASE_OUTPUT_H
#define MICROMET_BASE_OUTPUT_H

#include "micromet/base/error.h"

/* Whether a file can be written at `path`: no name in it is too long, it is no folder, and its
 * folder takes a new file (which is tried) or can be made. `remedy` says what to do otherwise:
 * "give another --out". */
bool output_check(const char *path, const char *remedy, struct error *err);

/* Refuse an output that is one of the inputs, by whatever path. */
bool output_check_inputs(const char *path, char *const *inputs, int count, struct error *err);

/* Refuse a path at which there is a file that is_own() does not know: it is something else, and
 * would be lost. `what` this command writes: "a batch script". Empty files, devices and pipes may
 * be written to. */
bool output_check_own(const char *path, bool (*is_own)(const char *path), const char *what,
                      struct error *err);
/* For is_own(): whether the file begins with `start`, and has `mark` in its first 4096 bytes. */
bool output_holds(const char *path, const char *start, const char *mark);

/* Refuse two inputs with the same name but for folder and last extension: their outputs, which are
 * named by it, would be one file. */
bool output_check_stems(char *const *inputs, int count, struct error *err);

/* Whether two paths name the same file, which is there. */
bool output_is_same_file(const char *a, const char *b);

#endif
