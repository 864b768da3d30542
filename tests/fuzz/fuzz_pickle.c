/* The input is a pickle, read alone, and as data.pkl of an archive whose checksums fit. */
#include "forged_zip.h"
#include "format/pickle.h"
#include "format/weights_parts.h"
#include "fuzz.h"
#include "micromet/base/size.h"

static void read_alone(const uint8_t *bytes, size_t size)
{
    struct pickle pickle;
    struct error err = { 0 };
    if (pickle_read(&pickle, bytes, size, "input", &err)) pickle_get(pickle.root, "state_dict");
    pickle_release(&pickle);
}

/* Beside storages of the sizes that the seeds name. */
static void read_in_archive(const uint8_t *bytes, size_t size)
{
    static const struct {
        const char *name;
        size_t size;
    } storages[] = {
        { "a/data/0", 24 }, { "a/data/1", 8 },   { "a/data/2", 8 },  { "a/data/3", 8 },
        { "a/data/4", 8 },  { "a/data/5", 480 }, { "a/data/6", 96 },
    };
    static const uint8_t values[512] = { 1, 2, 3, 4, 5, 6, 7, 8 };
    struct forged_zip zip = { 0 };
    forged_zip_add(&zip, "a/data.pkl", bytes, size);
    for (size_t i = 0; i < COUNT_OF(storages); i++)
        forged_zip_add(&zip, storages[i].name, values, storages[i].size);
    forged_zip_end(&zip);
    struct weights weights;
    struct error err = { 0 };
    if (weights_zip_read(&weights, fuzz_file(zip.bytes, zip.size), &err)) fuzz_use(&weights);
    forged_zip_release(&zip);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    read_alone(bytes, size);
    read_in_archive(bytes, size);
    return 0;
}
