/* The options --labels and --mask-values of commands that draw an annotation: the keys data.labels
 * and data.mask_values, of which one takes the other's place. */
#include <stdio.h>

#include "cli.h"

bool mask_values_set(struct config *config, const char *values, const char *labels,
                     struct error *err)
{
    char override[CONFIG_VALUE_MAX];
    char *const overrides[] = { override, *values ? "data.labels={}" : "data.mask_values=[]" };
    if (*values && *labels)
        return error_set(
            err, EXIT_CODE_USAGE,
            "--mask-values and --labels: give one; --labels \"1: tumor\" says the same");
    if (!*values && !*labels) return true;
    const int length = *values
                           ? snprintf(override, sizeof override, "data.mask_values=[%s]", values)
                           : snprintf(override, sizeof override, "data.labels={%s}", labels);
    if (length < 0 || (size_t)length >= sizeof override)
        return error_set(err, EXIT_CODE_USAGE, "--mask-values, --labels: more than can be needed");
    return config_override(config, 2, overrides, err);
}
