/* Lists the instruction sets to test; see isas.h. */
#include "isas.h"

int test_isas(const struct isa *sets[TEST_ISAS_MAX])
{
    int count = isa_available(sets);
#ifdef __x86_64__
    if (count > 1) sets[count++] = &isa_wide; /* built for AVX2 */
#endif
    return count;
}

bool isa_fuses(const struct isa *isa)
{
#ifdef __x86_64__
    return isa == &isa_avx2 || isa == &isa_avx512;
#elif defined __aarch64__
    return isa == &isa_plain;
#else
    (void)isa;
    return false;
#endif
}
