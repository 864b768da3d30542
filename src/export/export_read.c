/* Reads an exported ONNX file back as a model. Its batch norms are already folded, but the model
 * still has batch norms, so these are set to add the folded bias and change nothing else. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/base/size.h"
#include "micromet/export/export.h"
#include "micromet/format/onnx.h"
#include "micromet/nn/inception_v3.h"

bool export_open(struct checkpoint *checkpoint, const char *path, struct error *err)
{
    *checkpoint = (struct checkpoint) { 0 };
    snprintf(checkpoint->path, sizeof checkpoint->path, "%s", path);
    if (!onnx_read_weights(&checkpoint->weights, path, err)) return false;
    const char *format = weights_metadata(&checkpoint->weights, "format");
    if (!format || strcmp(format, "micromet model") != 0) {
        error_set(err, EXIT_CODE_FAILED,
                  "%s: is an ONNX graph of another program; only those of `micromet export` can be "
                  "run here",
                  path);
        goto fail;
    }
    if (!checkpoint_parse_model(checkpoint, err)) goto fail;
    const char *threshold = weights_metadata(&checkpoint->weights, "threshold");
    checkpoint->state.threshold = strtod(threshold ? threshold : "nan", NULL);
    return true;
fail:
    checkpoint_release(checkpoint);
    return false;
}

/* Copy an array of the file into the model's; trailing dimensions of 1 are ignored. */
static bool write_array(struct checkpoint *c, struct model *model, int index, const char *name,
                        struct error *err)
{
    const struct parameter *p = model_parameter(model, index);
    const struct weight_array *array = weights_find(&c->weights, name);
    if (!weights_fit(array, p->dims, p->torch_shape))
        return error_set(err, EXIT_CODE_FAILED,
                         "%s: its array '%s' is missing or of another shape; was the graph changed "
                         "after `micromet export`?",
                         c->path, name);
    float *converted;
    const float *values = weights_floats(array, &converted, err);
    const bool done = values && model_write(model, index, PART_VALUE, values, err);
    free(converted);
    return done;
}

static bool write_constant(struct model *model, int index, float value, struct error *err)
{
    const int64_t count = model_parameter(model, index)->count;
    float *floats = malloc((size_t)count * sizeof *floats);
    if (!floats) return error_set(err, EXIT_CODE_FAILED, "no memory for batch norm");
    for (int64_t i = 0; i < count; i++) floats[i] = value;
    const bool done = model_write(model, index, PART_VALUE, floats, err);
    free(floats);
    return done;
}

static bool write_parameter(struct checkpoint *c, struct model *model, int index, struct error *err)
{
    static const struct {
        const char *ours, *graphs; /* graphs: NULL = use the constant */
        float constant;
    } parts[] = {
        { ".conv.weight", ".weight", 0 },
        { ".bn.bias", ".bias", 0 },
        { ".bn.running_mean", NULL, 0 },
        { ".bn.running_var", NULL, 1 }, /* minus epsilon */
    };
    const char *name = model_parameter(model, index)->name;
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        const size_t length = strlen(name), tail = strlen(parts[i].ours);
        char graphs[128];
        if (length < tail || strcmp(name + length - tail, parts[i].ours) != 0) continue;
        if (!parts[i].graphs)
            return write_constant(model, index, parts[i].constant ? 1 - inception_epsilon : 0, err);
        snprintf(graphs, sizeof graphs, "%.*s%s", (int)(length - tail), name, parts[i].graphs);
        return write_array(c, model, index, graphs, err);
    }
    return write_array(c, model, index, name, err);
}

bool export_model(struct checkpoint *checkpoint, struct backend *backend, int batch,
                  struct model **model, struct error *err)
{
    const bool bf16 = checkpoint->config.compute.precision == PRECISION_BF16;
    struct model_spec spec = model_spec_from_config(&checkpoint->config,
                                                    bf16 ? DTYPE_BF16 : DTYPE_F32, false, false);
    spec.batch = batch;
    spec.fixed = true;
    bool done = model_init(model, backend, &spec, err);
    for (int i = 0; done && i < model_parameter_count(*model); i++)
        done = write_parameter(checkpoint, *model, i, err);
    if (done && model_refresh(*model, err)) return true;
    model_release(*model);
    *model = NULL;
    return false;
}
