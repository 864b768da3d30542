/* See the header. Paths and data.source are not part of the fingerprint, so that
 * data may be moved or packed. */
#include "dataset_fingerprint.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { NAME_BYTES = 256, CONTENT_BYTES = 33 };

/* The file name as printable UTF-8 for metadata; other characters become '?'. */
static void plain_name(const char *path, char name[NAME_BYTES])
{
    snprintf(name, NAME_BYTES, "%s", path_name(path));
    json_t *text = json_string(name);
    for (char *c = name; *c; c++)
        if ((unsigned char)*c < ' ' || (!text && (unsigned char)*c > '~')) *c = '?';
    json_decref(text);
}

/* The windows and what OpenSlide's hash sees of the slide: all that earlier programs wrote. */
static uint64_t content_hash(const struct dataset_slide *slide)
{
    const uint64_t windows = XXH3_64bits(slide->windows,
                                         (size_t)slide->count * sizeof *slide->windows);
    return XXH3_64bits_withSeed(slide->slide_hash, strlen(slide->slide_hash), windows);
}

static void print_content(const struct file_identity *identity, char content[CONTENT_BYTES])
{
    snprintf(content, CONTENT_BYTES, "%016llx%016llx", (unsigned long long)identity->hash[1],
             (unsigned long long)identity->hash[0]);
}

static void print_slides(FILE *stream, const struct dataset *dataset)
{
    for (int i = 0; i < dataset->slide_count; i++) {
        const struct dataset_slide *slide = &dataset->slides[i];
        char name[NAME_BYTES];
        plain_name(slide->row.slide, name);
        char content[CONTENT_BYTES];
        print_content(&slide->identity, content);
        fprintf(stream, "%s %016llx %s %s\n", split_name(slide->row.split),
                (unsigned long long)content_hash(slide), content, name);
    }
}

char *dataset_fingerprint(const struct dataset *train, const struct dataset *validation)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    if (!stream) return NULL;
    print_slides(stream, train);
    print_slides(stream, validation);
    const bool whole = !ferror(stream);
    if (fclose(stream) == 0 && whole) return text;
    free(text);
    return NULL;
}

struct line {
    char split[16], hash[17], content[CONTENT_BYTES], name[NAME_BYTES];
};

/* Returns the start of the next line. After the end, the strings are empty; `content` is so in
 * lines of earlier programs. */
static const char *read_line(const char *at, struct line *line)
{
    *line = (struct line) { 0 };
    const int fields = sscanf(at, "%15s %16s %32[0-9a-f] %255[^\n]", line->split, line->hash,
                              line->content, line->name);
    if (fields < 4 || strlen(line->content) != CONTENT_BYTES - 1) {
        *line->content = 0;
        sscanf(at, "%15s %16s %255[^\n]", line->split, line->hash, line->name);
    }
    at += strcspn(at, "\n");
    return *at ? at + 1 : at;
}

static void describe(const struct line *had, const struct line *has, int number,
                     char difference[FINGERPRINT_DIFFERENCE_BYTES])
{
    const bool same_name = strcmp(had->name, has->name) == 0;
    if (!*had->name)
        snprintf(difference, FINGERPRINT_DIFFERENCE_BYTES, "%s (%s) was added", has->name,
                 has->split);
    else if (!*has->name)
        snprintf(difference, FINGERPRINT_DIFFERENCE_BYTES, "%s (%s) is no longer used", had->name,
                 had->split);
    else if (same_name && strcmp(had->split, has->split) == 0)
        snprintf(difference, FINGERPRINT_DIFFERENCE_BYTES,
                 "%s (%s) has other windows or pixels, since its slide, its annotation or its pack "
                 "changed",
                 had->name, had->split);
    else
        snprintf(difference, FINGERPRINT_DIFFERENCE_BYTES,
                 "slide %d was %s (%s) and is %s (%s) now", number, had->name, had->split,
                 has->name, has->split);
}

bool dataset_fingerprint_equal(const char *had, const char *has,
                               char difference[FINGERPRINT_DIFFERENCE_BYTES])
{
    for (int number = 1; *had || *has; number++) {
        struct line a, b;
        had = read_line(had, &a);
        has = read_line(has, &b);
        const bool same_content = !*a.content || strcmp(a.content, b.content) == 0;
        if (strcmp(a.split, b.split) == 0 && strcmp(a.hash, b.hash) == 0 && same_content &&
            strcmp(a.name, b.name) == 0)
            continue;
        describe(&a, &b, number, difference);
        return false;
    }
    return true;
}

bool dataset_fingerprint_holds(const char *fingerprint, enum split split,
                               const struct file_identity *identity)
{
    char content[CONTENT_BYTES];
    print_content(identity, content);
    while (*fingerprint) {
        struct line line;
        fingerprint = read_line(fingerprint, &line);
        if (strcmp(line.split, split_name(split)) == 0 && strcmp(line.content, content) == 0)
            return true;
    }
    return false;
}
