/* Run a fuzz target once on each file of the folders named: replay FOLDER... */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "fuzz.h"
#include "micromet/base/file.h"

enum { FILE_BYTES_MAX = 1 << 26 };

static int replay(const char *folder)
{
    struct dirent **entries;
    int files = 0;
    const int count = scandir(folder, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        struct error err = { 0 };
        char path[PATH_MAX_BYTES], *bytes;
        size_t size;
        if (entries[i]->d_name[0] != '.') {
            if (!path_join(path, folder, entries[i]->d_name, &err) ||
                !file_read(path, FILE_BYTES_MAX, &bytes, &size, &err)) {
                fprintf(stderr, "%s\n", err.message);
                exit(EXIT_FAILURE);
            }
            /* A copy without file_read()'s final NUL, so that a read beyond the end is detected. */
            uint8_t *exact = malloc(size ? size : 1);
            for (size_t b = 0; exact && b < size; b++) exact[b] = (uint8_t)bytes[b];
            printf("%s\n", path);
            LLVMFuzzerTestOneInput(exact, size);
            free(exact);
            free(bytes);
            files++;
        }
        free(entries[i]);
    }
    if (count >= 0) free(entries);
    return files;
}

int main(int argc, char **argv)
{
    int files = 0;
    for (int i = 1; i < argc; i++) files += replay(argv[i]);
    printf("%d files\n", files);
    return files ? EXIT_SUCCESS : EXIT_FAILURE;
}
