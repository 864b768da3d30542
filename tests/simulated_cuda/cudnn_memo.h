/* What the simulated cuDNN has computed before, where a test asks for it: simulated_dnn_remember().
 */
#ifndef MICROMET_TESTS_CUDNN_MEMO_H
#define MICROMET_TESTS_CUDNN_MEMO_H

#include <stddef.h>

struct memo_part {
    const void *data;
    size_t bytes;
};

enum { MEMO_PARTS_MAX = 8 };

/* The result that was kept for the same parts; NULL if none was. Good until the next memo_keep().
 */
const void *memo_find(const struct memo_part *parts, int count);
/* Copies the parts and gives memory for their result; what is oldest goes where there is no room.
 * NULL if they are not kept. */
void *memo_keep(const struct memo_part *parts, int count, size_t result_bytes);

#endif
