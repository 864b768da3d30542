/* Checkpoints are safetensors whose metadata is text of our own: YAML, JSON, numbers. */
#include "fuzz.h"
#include "micromet/run/checkpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static struct checkpoint checkpoint;
    struct error err = { 0 };
    if (checkpoint_open(&checkpoint, fuzz_file(bytes, size), &err)) checkpoint_release(&checkpoint);
    return 0;
}
