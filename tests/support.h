/* Shared helpers of the tests: temporary folders, files in them, and a block of random numbers. */
#ifndef MICROMET_TESTS_SUPPORT_H
#define MICROMET_TESTS_SUPPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "micromet/base/file.h"

/* Create an empty folder under $TMPDIR or /tmp. Aborts the test on failure. */
void test_folder_make(char folder[PATH_MAX_BYTES]);
/* Remove the folder and its content. */
void test_folder_remove(const char *folder);
/* Number of entries in a folder. */
int test_folder_count(const char *folder);

/* path = folder/name. */
void test_path(char path[PATH_MAX_BYTES], const char *folder, const char *name);
/* Write text to folder/name, and return that in `path`. */
void test_write(char path[PATH_MAX_BYTES], const char *folder, const char *name, const char *text);
/* A whole file as text, malloc'ed. */
char *test_read(const char *path);

/* path = MICROMET_SHARED_DATA/name. False if the real data is absent: then cr_skip(). */
bool test_shared_data(char path[PATH_MAX_BYTES], const char *name);

enum { TEST_RANDOM_BLOCK = 1 << 22 };

/* TEST_RANDOM_BLOCK numbers between 0.5 and 1.5, always the same. Arrays that are windows of this
 * block have distinct values at every place. */
const float *test_random_block(void);

#endif
