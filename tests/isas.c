/* See isas.h. */
#include "isas.h"

int test_isas(const struct isa *sets[TEST_ISAS_MAX])
{
    int count = isa_available(sets);
#ifdef __x86_64__
    if (count == 1) return count; /* isa_wide is built for AVX2 */
#endif
    sets[count++] = &isa_wide;
    return count;
}

bool isa_fuses(const struct isa *isa)
{
    (void)isa;
#if defined __x86_64__
    return isa != &isa_plain;
#elif defined __aarch64__ || defined __FP_FAST_FMAF
    return true;
#else
    return false;
#endif
}
