/* Which instruction set our kernels use: decided here, once for each backend; see isa.h. */
#include "isa.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "micromet/base/size.h"

static bool processor_has(const struct isa *isa)
{
#ifdef __x86_64__
    if (isa == &isa_avx512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    if (isa == &isa_avx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    return isa == &isa_plain;
}

int isa_available(const struct isa *sets[ISA_COUNT_MAX])
{
    static const struct isa *const all[] = {
        &isa_plain,
#ifdef __x86_64__
        &isa_avx2,
        &isa_avx512,
#endif
    };
    int count = 0;
    for (size_t i = 0; i < COUNT_OF(all); i++)
        if (processor_has(all[i])) sets[count++] = all[i];
    return count;
}

const struct isa *isa_chosen(struct error *err)
{
    const struct isa *sets[ISA_COUNT_MAX];
    const int count = isa_available(sets);
    const char *asked = getenv("MICROMET_CPU_ISA");
    if (!asked) return sets[count - 1];
    char names[64] = "";
    for (int i = 0; i < count; i++) {
        if (strcasecmp(asked, sets[i]->name) == 0) return sets[i];
        const size_t length = strlen(names);
        snprintf(names + length, sizeof names - length, "%s%s", i ? ", " : "", sets[i]->name);
    }
    error_set(err, EXIT_CODE_USAGE, "MICROMET_CPU_ISA=%.32s: this processor has %s", asked, names);
    return NULL;
}
