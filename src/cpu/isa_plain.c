/* The inner loops for any processor; see isa.inc. */
#define ISA_NAME  "plain"
#define ISA_TABLE isa_plain
#include "isa.inc"
