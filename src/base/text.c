/* Edit distance (with transpositions), for the suggestions in error messages. */
#include "micromet/base/text.h"

#include <stdio.h>
#include <string.h>

enum { LENGTH_MAX = 64 };

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

int text_distance(const char *a, const char *b)
{
    const int m = (int)strnlen(a, LENGTH_MAX), n = (int)strnlen(b, LENGTH_MAX);
    /* rows[i % 3][j]: distance between the first i bytes of a and the first j of b. */
    int rows[3][LENGTH_MAX + 1];
    for (int j = 0; j <= n; j++) rows[0][j] = j;
    for (int i = 1; i <= m; i++) {
        int *row = rows[i % 3];
        const int *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];
        row[0] = i;
        for (int j = 1; j <= n; j++) {
            const int replaced = above[j - 1] + (a[i - 1] != b[j - 1]);
            row[j] = smaller(replaced, smaller(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = smaller(row[j], above2[j - 2] + 1);
        }
    }
    return rows[m % 3][n];
}

struct text_nearest text_nearest_init(const char *word)
{
    const int third = (int)strnlen(word, LENGTH_MAX) / 3;
    return (struct text_nearest) { .word = word, .distance = (third < 2 ? 2 : third) + 1 };
}

void text_nearest_offer(struct text_nearest *nearest, const char *candidate)
{
    const int distance = text_distance(nearest->word, candidate);
    if (distance >= nearest->distance) return;
    nearest->distance = distance;
    snprintf(nearest->best, sizeof(nearest->best), "%s", candidate);
}
