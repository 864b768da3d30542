/* Cache of results of the simulated cuDNN, for tests that enable it with
 * simulated_dnn_remember(). */
#ifndef MICROMET_TESTS_CUDNN_MEMO_H
#define MICROMET_TESTS_CUDNN_MEMO_H

#include <stddef.h>

struct memo_part {
    const void *data;
    size_t bytes;
};

enum { MEMO_PARTS_MAX = 8 };

/* The cached result for the same inputs, NULL if there is none. Valid until the
 * next memo_keep(). */
const void *memo_find(const struct memo_part *parts, int count);
/* Copy the inputs and return memory for their result, evicting the oldest entries if necessary.
 * NULL if caching is off or they do not fit. */
void *memo_keep(const struct memo_part *parts, int count, size_t result_bytes);

#endif
