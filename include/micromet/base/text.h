/* The nearest of several names by edit distance, for "did you mean ...?". */
#ifndef MICROMET_BASE_TEXT_H
#define MICROMET_BASE_TEXT_H

/* Edit distance: insertions, deletions, replacements and swaps of neighbours (optimal string
 * alignment). Only the first 64 bytes of each text are compared. */
int text_distance(const char *a, const char *b);

enum { NEAREST_MAX = 128 };

/* Offer candidates one by one; `best` then holds the nearest one, or "" if none is near enough to
 * be a typing error (a distance of at most a third of the word's letters, or 2). */
struct text_nearest {
    const char *word;
    int distance;
    char best[NEAREST_MAX];
};

struct text_nearest text_nearest_init(const char *word);
void text_nearest_offer(struct text_nearest *nearest, const char *candidate);

#endif
