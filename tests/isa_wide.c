/* AVX-512's loops for processors that only have AVX2; see isas.h. */
#ifdef __x86_64__
#include "isas.h"

#define VECTOR_FLOATS 16
#define ISA_NAME      "wide"
#define ISA_TABLE     isa_wide
#include "cpu/isa.inc"
#endif
