/* The option --mask-values of commands that draw an annotation: the key data.mask_values. */
#include <stdio.h>

#include "cli.h"

bool mask_values_set(struct config *config, const char *values, struct error *err)
{
    char override[256];
    char *const overrides[] = { override };
    if (!*values) return true;
    const int length = snprintf(override, sizeof override, "data.mask_values=[%s]", values);
    if (length < 0 || (size_t)length >= sizeof override)
        return error_set(err, EXIT_CODE_USAGE, "--mask-values: more values than a mask can need");
    return config_override(config, 1, overrides, err);
}
