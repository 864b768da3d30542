/* A temporary folder for each test of a suite, with .init = temporary_begin
 * and .fini = temporary_end. */
#ifndef MICROMET_TESTS_TEMPORARY_H
#define MICROMET_TESTS_TEMPORARY_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/base/file.h"
#include "support.h"

static char temporary_folder[PATH_MAX_BYTES];

static inline void temporary_begin(void)
{
    test_folder_make(temporary_folder);
}

static inline void temporary_end(void)
{
    test_folder_remove(temporary_folder);
}

/* Path of `name` in the folder; valid until the fourth call after this one. */
static inline const char *temporary_path(const char *name)
{
    static char paths[4][PATH_MAX_BYTES];
    static int next;
    char *path = paths[next++ % 4];
    test_path(path, temporary_folder, name);
    return path;
}

static inline void temporary_write(const char *name, const void *bytes, size_t size)
{
    FILE *file = fopen(temporary_path(name), "wb");
    cr_assert(file);
    cr_assert_eq(fwrite(bytes, 1, size, file), size);
    cr_assert_eq(fclose(file), 0);
}

/* Read a whole file, malloc'ed. */
static inline uint8_t *temporary_read(const char *name, size_t *size)
{
    struct error err = { 0 };
    char *bytes;
    cr_assert(file_read(temporary_path(name), 1 << 28, &bytes, size, &err), "%s", err.message);
    return (uint8_t *)bytes;
}

static inline int temporary_count(void)
{
    return test_folder_count(temporary_folder);
}

#endif
