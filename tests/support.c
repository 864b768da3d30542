/* Temporary folders, files and random numbers for tests; see support.h. */
#include "support.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/base/random.h"

void test_folder_make(char folder[PATH_MAX_BYTES])
{
    const char *base = getenv("TMPDIR");
    snprintf(folder, PATH_MAX_BYTES, "%s/micromet-test-XXXXXX", base && *base ? base : "/tmp");
    cr_assert(mkdtemp(folder), "cannot make %s", folder);
}

static int remove_entry(const char *path, const struct stat *facts, int type, struct FTW *place)
{
    (void)facts;
    (void)type;
    (void)place;
    return remove(path);
}

void test_folder_remove(const char *folder)
{
    nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

int test_folder_count(const char *folder)
{
    DIR *listing = opendir(folder);
    cr_assert(listing, "cannot list %s", folder);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(listing));)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(listing);
    return count;
}

void test_path(char path[PATH_MAX_BYTES], const char *folder, const char *name)
{
    struct error err = { 0 };
    cr_assert(path_join(path, folder, name, &err), "%s", err.message);
}

void test_write(char path[PATH_MAX_BYTES], const char *folder, const char *name, const char *text)
{
    struct error err = { 0 };
    test_path(path, folder, name);
    cr_assert(file_write_atomic(path, text, strlen(text), &err), "%s", err.message);
}

char *test_read(const char *path)
{
    struct error err = { 0 };
    char *text;
    size_t size;
    cr_assert(file_read(path, (size_t)1 << 30, &text, &size, &err), "%s", err.message);
    return text;
}

bool test_shared_data(char path[PATH_MAX_BYTES], const char *name)
{
    test_path(path, MICROMET_SHARED_DATA, name);
    return file_exists(path);
}

const float *test_random_block(void)
{
    static float *values;
    if (values) return values;
    values = malloc(TEST_RANDOM_BLOCK * sizeof *values);
    cr_assert(values);
    struct random random = random_init(5, 0, 0, RANDOM_TEST);
    for (int i = 0; i < TEST_RANDOM_BLOCK; i++) values[i] = random_uniform(&random, 0.5f, 1.5f);
    return values;
}
