/* Opens the initial weights of a run and warns if they do not match its configuration. */
#include "initial_weights.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/base/log.h"

static void warn_of_pools(const struct pretrained *pretrained, const struct config *config)
{
    if (config->model.pool_padding == pretrained->pool_padding) return;
    log_warning("%s: was trained with average pools that %s padding; model.pool_padding says "
                "otherwise (auto does as the weights' writer did)",
                pretrained->path, pool_padding_name(pretrained->pool_padding));
}

/* Starting a tower from weights of another magnification works, but is unlikely to be intended. */
static void warn_of_levels(const struct pretrained *pretrained, const struct config *config)
{
    const char *text = weights_metadata(&pretrained->weights, "towers");
    json_t *towers = text && pretrained->ours ? json_loads(text, 0, NULL) : NULL;
    const struct config_data *data = &config->data;
    for (int t = 0; t < data->level_count; t++) {
        const int from = pretrained->from[t];
        const json_t *tower = json_array_get(towers, (size_t)from);
        const json_t *level = json_object_get(tower, "level");
        const double um = json_number_value(json_object_get(tower, "um_per_px"));
        if (data->um_per_px_count && um > 0 && fabs(um / data->um_per_px[t] - 1) > 0.1)
            log_warning("%s: its tower %d was trained on %.4g µm/px; here tower %d goes on from it "
                        "on %.4g µm/px",
                        pretrained->path, from, um, t, data->um_per_px[t]);
        if (!data->um_per_px_count && json_is_integer(level) &&
            json_integer_value(level) != data->levels[t])
            log_warning("%s: its tower %d was trained on level %d; here tower %d goes on from it "
                        "on level %d",
                        pretrained->path, from, (int)json_integer_value(level), t, data->levels[t]);
    }
    json_decref(towers);
}

bool initial_weights_open(struct pretrained *pretrained, struct config *config, struct error *err)
{
    if (!pretrained_open(pretrained, config->model.weights, err))
        return error_prefix(err, "model.weights (a file, or 'random')");
    if (config->model.pool_padding == POOL_PADDING_AUTO)
        config->model.pool_padding = pretrained->pool_padding;
    warn_of_pools(pretrained, config);
    warn_of_levels(pretrained, config);
    return true;
}

void initial_weights_log(const struct pretrained *pretrained, int towers, bool head_taken,
                         bool verbose)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    if (!stream) return;
    (verbose ? pretrained_report : pretrained_summary)(pretrained, towers, head_taken, stream);
    fclose(stream);
    for (char *rest = text, *line; (line = strsep(&rest, "\n")) != NULL;)
        if (*line) log_info("%s", line);
    free(text);
}
