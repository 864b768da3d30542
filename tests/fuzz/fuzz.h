/* What the fuzz targets share. A target is one LLVMFuzzerTestOneInput(); libFuzzer drives it
 * (tools/fuzz), or replay.c over the files of corpus/<target>, as a test of the ordinary build. */
#ifndef MICROMET_TESTS_FUZZ_H
#define MICROMET_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "micromet/format/weights.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* The path of a file in memory that holds these bytes, until the next call. */
const char *fuzz_file(const uint8_t *bytes, size_t size);

/* What a user of weights does with them: look at every name and every value, then let go. */
void fuzz_use(struct weights *weights);

/* Copy libFuzzer's coverage counters to `memory`, or back from it; nothing in
 * the ordinary build. */
enum { FUZZ_COUNTERS_MAX = 1 << 20 };
void fuzz_counters_copy(uint8_t *memory, bool out);

#endif
