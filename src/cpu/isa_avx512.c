/* The inner loops for AVX-512; see isa.inc. */
#define ISA_NAME  "AVX512"
#define ISA_TABLE isa_avx512
#include "isa.inc"
