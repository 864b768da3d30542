/* Pictures of a run, as data URIs (RFC 2397). */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "micromet/format/json.h"
#include "report_parts.h"

/* Of pictures there are at most so many, of so many bytes each; larger ones are left out. */
enum { PICTURES_MAX = 16, PICTURE_BYTES_MAX = 4 << 20 };
static const char prefix[] = "data:image/png;base64,";

/* RFC 4648, section 4. Returns the end. */
static char *print_base64(char *out, const unsigned char *bytes, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t at = 0; at < size; at += 3) {
        const size_t left = size - at;
        const unsigned three = (unsigned)bytes[at] << 16 |
                               (left > 1 ? (unsigned)bytes[at + 1] << 8 : 0) |
                               (left > 2 ? bytes[at + 2] : 0u);
        *out++ = digits[three >> 18];
        *out++ = digits[three >> 12 & 63];
        *out++ = left > 1 ? digits[three >> 6 & 63] : '=';
        *out++ = left > 2 ? digits[three & 63] : '=';
    }
    return out;
}

static void add_picture(json_t *pictures, const char *path, const char *name)
{
    static const char signature[] = "\x89PNG\r\n\x1a\n";
    struct error ignored = { 0 };
    char *bytes;
    size_t size;
    if (json_array_size(pictures) >= PICTURES_MAX ||
        !file_read(path, PICTURE_BYTES_MAX, &bytes, &size, &ignored))
        return;
    char *uri = malloc(strlen(prefix) + (size + 2) / 3 * 4 + 1);
    if (uri && size > strlen(signature) && memcmp(bytes, signature, strlen(signature)) == 0) {
        strcpy(uri, prefix);
        *print_base64(uri + strlen(prefix), (const unsigned char *)bytes, size) = '\0';
        json_array_append_new(pictures,
                              json_pack("{s:o, s:s}", "name", json_name(name), "data", uri));
    }
    free(uri);
    free(bytes);
}

static int is_shown(const struct dirent *entry)
{
    const size_t length = strlen(entry->d_name);
    const bool picture = length > 4 && strcmp(entry->d_name + length - 4, ".png") == 0;
    return entry->d_name[0] != '.' &&
           (picture || strncmp(entry->d_name, "evaluation", strlen("evaluation")) == 0);
}

/* In the order of their names; `below` is the folder's name in the run's. */
static void add_folder(json_t *pictures, const char *folder, const char *below)
{
    struct dirent **entries;
    const int count = scandir(folder, &entries, is_shown, alphasort);
    for (int i = 0; i < count; i++) {
        char path[PATH_MAX_BYTES], name[PATH_MAX_BYTES];
        struct error ignored = { 0 };
        struct stat status;
        if (path_join(path, folder, entries[i]->d_name, &ignored) &&
            path_join(name, below, entries[i]->d_name, &ignored) && stat(path, &status) == 0) {
            if (S_ISREG(status.st_mode)) add_picture(pictures, path, name);
            if (S_ISDIR(status.st_mode) && !*below) add_folder(pictures, path, name);
        }
        free(entries[i]);
    }
    if (count >= 0) free(entries);
}

json_t *report_pictures(const char *run_folder)
{
    json_t *pictures = json_array();
    add_folder(pictures, run_folder, "");
    return pictures;
}
