/* The instruction sets whose loops a test can run. */
#ifndef MICROMET_TESTS_ISAS_H
#define MICROMET_TESTS_ISAS_H

#include "cpu/isa.h"

enum { TEST_ISAS_MAX = ISA_COUNT_MAX + 1 };

/* On x86-64: AVX-512's loops for processors without it, in vectors of 16 floats that the compiler
 * splits in two for AVX2. */
extern const struct isa isa_wide;

/* Those of the processor, plain first, and isa_wide where it runs. Returns how many. */
int test_isas(const struct isa *sets[TEST_ISAS_MAX]);

/* Does a multiply-add round once? */
bool isa_fuses(const struct isa *isa);

#endif
