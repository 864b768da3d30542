/* .pth and .keras as whole archives. */
#include "format/weights_parts.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct weights weights;
    struct error err = { 0 };
    if (weights_zip_read(&weights, fuzz_file(bytes, size), &err)) fuzz_use(&weights);
    return 0;
}
