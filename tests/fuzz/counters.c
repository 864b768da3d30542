/* libFuzzer's coverage counters, one byte for each place in the code, stand between two symbols
 * that the linker makes. This file itself must not be instrumented: the compiler would define
 * symbols of the same names for it. */
#include <string.h>

#include "fuzz.h"

extern uint8_t begin[] __asm__("__start___sancov_cntrs") __attribute__((weak));
extern uint8_t end[] __asm__("__stop___sancov_cntrs") __attribute__((weak));

void fuzz_counters_copy(uint8_t *memory, bool out)
{
    size_t size = (size_t)(end - begin);
    if (size > FUZZ_COUNTERS_MAX) size = FUZZ_COUNTERS_MAX;
    if (size) memcpy(out ? memory : begin, out ? begin : memory, size);
}
