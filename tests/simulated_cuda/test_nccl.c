/* The real NCCL, as far as it goes without a GPU: what cuda/nccl_api.c needs of it is there. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "nccl_api.h"

Test(nccl, has_the_functions_and_makes_ids)
{
    struct nccl_api nccl;
    struct error err = { 0 };
    ncclUniqueId ids[2] = { 0 };
    const char *library = getenv("REAL_NCCL");
    if (!library || !*library) cr_skip_test("NCCL is not installed here");
    setenv("MICROMET_NCCL_LIBRARY", library, 1);
    cr_assert(nccl_load(&nccl, &err), "%s", err.message);
    cr_expect_geq(nccl.version, NCCL_VERSION(2, 18, 1));
    for (int i = 0; i < 2; i++)
        cr_assert(NCCL_OK(&nccl, ncclGetUniqueId(&ids[i]), &err), "%s", err.message);
    cr_expect_neq(memcmp(&ids[0], &ids[1], sizeof ids[0]), 0, "two ids are the same");
}

Test(nccl, is_missed_by_its_name)
{
    struct nccl_api nccl;
    struct error err = { 0 };
    setenv("MICROMET_NCCL_LIBRARY", "/nowhere/libnccl.so.2", 1);
    cr_assert_not(nccl_load(&nccl, &err));
    cr_expect_eq(err.code, EXIT_CODE_USAGE);
    cr_expect(strstr(err.message, "several GPUs need NCCL: /nowhere/libnccl.so.2: cannot open"),
              "%s", err.message);
}

Test(nccl, is_not_any_library)
{
    struct nccl_api nccl;
    struct error err = { 0 };
    setenv("MICROMET_NCCL_LIBRARY", "libm.so.6", 1);
    cr_assert_not(nccl_load(&nccl, &err));
    cr_expect_str_eq(err.message, "this NCCL has no ncclGetVersion: install the package libnccl2, "
                                  "2.18 or newer");
}
