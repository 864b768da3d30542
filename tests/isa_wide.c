/* AVX-512's loops in vectors that the compiler splits; see isas.h. Built with AVX2's multiply-adds
 * on x86-64, so that they round as AVX-512's do. */
#include "isas.h"

#define VECTOR_FLOATS 16
#define ISA_NAME      "wide"
#define ISA_TABLE     isa_wide
#include "cpu/isa.inc"
