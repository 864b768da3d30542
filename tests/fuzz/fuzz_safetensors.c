#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct weights weights;
    struct error err = { 0 };
    if (safetensors_read(&weights, fuzz_file(bytes, size), &err)) fuzz_use(&weights);
    return 0;
}
