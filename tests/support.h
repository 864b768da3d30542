/* Small helpers that tests share: temporary folders, files in them, and a block
 * of random numbers. */
#ifndef MICROMET_TESTS_SUPPORT_H
#define MICROMET_TESTS_SUPPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "micromet/base/file.h"

/* A fresh folder under $TMPDIR or /tmp. Ends the test where that fails. */
void test_folder_make(char folder[PATH_MAX_BYTES]);
/* Remove the folder and all in it. */
void test_folder_remove(const char *folder);
/* Number of entries in a folder. */
int test_folder_count(const char *folder);

/* folder/name. */
void test_path(char path[PATH_MAX_BYTES], const char *folder, const char *name);
/* Write a text to folder/name, whose path is returned in `path`. */
void test_write(char path[PATH_MAX_BYTES], const char *folder, const char *name, const char *text);
/* Whole file as malloc'ed text. */
char *test_read(const char *path);

/* MICROMET_SHARED_DATA/name; false where the real data is absent: then cr_skip(). */
bool test_shared_data(char path[PATH_MAX_BYTES], const char *name);

enum { TEST_RANDOM_BLOCK = 1 << 22 };

/* As many numbers between 0.5 and 1.5, always the same: arrays that are windows of it have values
 * of their own at every place. */
const float *test_random_block(void);

#endif
