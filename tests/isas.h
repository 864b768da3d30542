/* The instruction sets that a test can run the CPU backend's inner loops with. */
#ifndef MICROMET_TESTS_ISAS_H
#define MICROMET_TESTS_ISAS_H

#include "cpu/isa.h"

enum { TEST_ISAS_MAX = ISA_COUNT_MAX + 1 };

/* On x86-64: the loops of AVX-512 for processors without it, on vectors of 16 floats that the
 * compiler splits into two of AVX2. */
extern const struct isa isa_wide;

/* The sets of the processor, plain first, and isa_wide if it can run. Returns their number. */
int test_isas(const struct isa *sets[TEST_ISAS_MAX]);

/* Whether multiply-adds are fused, that is, round once. */
bool isa_fuses(const struct isa *isa);

#endif
