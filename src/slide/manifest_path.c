/* See the header. Whatever is tried, a file of exactly the name that was written comes first. */
#include "manifest_path.h"

#include <dirent.h>
#include <string.h>

#include "micromet/base/size.h"

/* --- Other ways to write a name --------------------------------------------------------------- */

static bool with_slashes(char out[PATH_MAX_BYTES], const char *name, struct error *err)
{
    (void)err;
    snprintf(out, PATH_MAX_BYTES, "%s", name);
    for (char *c = out; *c; c++)
        if (*c == '\\') *c = '/';
    return true;
}

/* A dollar sign within a name may be just that, so only one at the start has to be a variable. */
static bool expanded(char out[PATH_MAX_BYTES], const char *name, struct error *err)
{
    struct error why = { 0 };
    if (path_expand(out, name, &why)) return true;
    snprintf(out, PATH_MAX_BYTES, "%s", name);
    return (*name != '~' && *name != '$') || error_set(err, why.code, "%s", why.message);
}

static bool without_blanks(char out[PATH_MAX_BYTES], const char *name, struct error *err)
{
    static const char blanks[] = " \t\r\n";
    (void)err;
    name += strspn(name, blanks);
    size_t length = strlen(name);
    while (length && strchr(blanks, name[length - 1])) length--;
    snprintf(out, PATH_MAX_BYTES, "%.*s", (int)length, name);
    return true;
}

static bool (*const ways[])(char out[PATH_MAX_BYTES], const char *name, struct error *err) = {
    without_blanks,
    with_slashes,
    expanded,
};

/* --- Names in other bytes --------------------------------------------------------------------- */

static bool is_ascii(const char *text)
{
    while (*text && !(*text & 0x80)) text++;
    return !*text;
}

/* Bytes of the character at `c`; 1 for what is no UTF-8. */
static size_t char_bytes(const char *c)
{
    const unsigned char lead = (unsigned char)*c;
    const size_t bytes = lead < 0xc0 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    return strnlen(c, bytes);
}

/* Whether a mark that combines with the letter before it is there: U+0300 to U+036F, or one of the
 * two of kana, U+3099 and U+309A. */
static bool is_mark(const char *c)
{
    const unsigned char *b = (const unsigned char *)c;
    return b[0] == 0xcc || (b[0] == 0xcd && b[1] < 0xb0) ||
           (b[0] == 0xe3 && b[1] == 0x82 && (b[2] == 0x99 || b[2] == 0x9a));
}

static size_t marks_bytes(const char *c)
{
    size_t bytes = 0;
    while (is_mark(c + bytes)) bytes += char_bytes(c + bytes);
    return bytes;
}

/* Whether two names look the same as far as can be told without Unicode's tables: where they
 * differ, one has a character beyond ASCII and the other a letter with marks. */
static bool look_same(const char *a, const char *b)
{
    while (*a && *b) {
        const size_t of_a = char_bytes(a), of_b = char_bytes(b);
        const size_t marks_a = marks_bytes(a + of_a), marks_b = marks_bytes(b + of_b);
        const size_t all_a = of_a + marks_a, all_b = of_b + marks_b;
        const bool same = all_a == all_b && memcmp(a, b, all_a) == 0;
        if (!same && !(marks_a && !marks_b && of_b > 1) && !(marks_b && !marks_a && of_a > 1))
            return false;
        a += all_a, b += all_b;
    }
    return !*a && !*b;
}

/* Refuse `name`, which is not in `folder`, if one that looks the same is. */
static bool check_looks(const char *folder, const char *name, struct error *err)
{
    bool ok = true;
    DIR *entries = is_ascii(name) ? NULL : opendir(folder);
    if (!entries) return true;
    for (struct dirent *entry; ok && (entry = readdir(entries));)
        if (strcmp(entry->d_name, name) != 0 && look_same(entry->d_name, name))
            ok = error_set(err, EXIT_CODE_USAGE,
                           "%.300s is not in %.300s, but a name that looks the same is, written in "
                           "other bytes (Unicode NFC and NFD); rename it: `convmv -f utf8 -t utf8 "
                           "--nfc --notest -r FOLDER`, or --nfd",
                           name, folder);
    closedir(entries);
    return ok;
}

/* The first part of the path that is not there decides. */
static bool check_parts(const char *path, struct error *err)
{
    char above[PATH_MAX_BYTES], part[PATH_MAX_BYTES];
    snprintf(part, sizeof part, "%s", path);
    for (path_folder(above, part); !file_exists(above) && strcmp(above, part) != 0;
         path_folder(above, part))
        memcpy(part, above, sizeof part);
    return check_looks(above, path_name(part), err);
}

bool manifest_path(char path[PATH_MAX_BYTES], const char *folder, const char *name,
                   struct error *err)
{
    char other[PATH_MAX_BYTES], last[PATH_MAX_BYTES];
    const bool drive = ((name[0] | 0x20) >= 'a' && (name[0] | 0x20) <= 'z') && name[1] == ':' &&
                       (name[2] == '\\' || name[2] == '/');
    if (!path_join(path, folder, name, err)) return false;
    if (file_exists(path)) return true;
    if (drive || strncmp(name, "\\\\", 2) == 0)
        return error_set(err, EXIT_CODE_USAGE,
                         "%s is a path of Windows; write it as this machine sees the file", name);
    snprintf(last, sizeof last, "%s", name);
    for (size_t i = 0; i < COUNT_OF(ways); i++) {
        if (!ways[i](other, last, err)) return false;
        if (!*other) return true; /* blanks alone */
        if (!path_join(path, folder, other, err)) return false;
        if (file_exists(path)) return true;
        memcpy(last, other, sizeof last);
    }
    return check_parts(path, err);
}
