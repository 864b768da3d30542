/* The model for PyTorch: its arrays unchanged, and a module that loads them. The module is
 * export_module.py with @MODEL@ replaced by the model's constants. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "export_module.h"
#include "export_parts.h"
#include "micromet/format/json.h"

static const char optimizer_prefix[] = "optimizer.", placeholder[] = "@MODEL@\n";

struct copy {
    struct checkpoint *checkpoint;
    const struct weight_array **arrays;
};

static bool fill(void *context, int index, void *values, struct error *err)
{
    const struct copy *copy = context;
    const struct weight_array *array = copy->arrays[index];
    (void)err;
    memcpy(values, array->data, (size_t)array->count * weights_dtype_bytes(array->dtype));
    weights_let_go(&copy->checkpoint->weights, array);
    return true;
}

bool export_arrays(struct checkpoint *checkpoint, const struct export_facts *facts,
                   const char *path, struct error *err)
{
    const struct weights *weights = &checkpoint->weights;
    const size_t most = (size_t)weights->count + 1;
    struct copy copy = { checkpoint, calloc(most, sizeof *copy.arrays) };
    struct weight_array *arrays = calloc(most, sizeof *arrays);
    int count = 0;
    bool done = (copy.arrays && arrays) ||
                error_set(err, EXIT_CODE_FAILED, "%s: no memory for the list of arrays", path);
    for (int i = 0; i < weights->count && done; i++) {
        const struct weight_array *array = &weights->arrays[i];
        if (strncmp(array->name, optimizer_prefix, strlen(optimizer_prefix)) == 0) continue;
        copy.arrays[count] = array;
        arrays[count++] = *array;
    }
    done = done && safetensors_write_filled(path, arrays, count, facts->pairs, fill, &copy, err);
    free(copy.arrays);
    free(arrays);
    return done;
}

/* A Python tuple: "(1, 2)", "(1,)". */
static void put_tuple(FILE *stream, const char *name, const int *values, int count)
{
    fprintf(stream, "%s = (", name);
    for (int i = 0; i < count; i++) fprintf(stream, "%s%d", i ? ", " : "", values[i]);
    fprintf(stream, "%s)\n", count == 1 ? "," : "");
}

static void put_numbers(FILE *stream, const char *name, const double *values, int count,
                        const char *comment)
{
    fprintf(stream, "%s = (", name);
    for (int i = 0; i < count; i++)
        if (values[i] > 0)
            fprintf(stream, "%s%.9g", i ? ", " : "", values[i]);
        else
            fprintf(stream, "%sNone", i ? ", " : "");
    fprintf(stream, "%s)  # %s\n", count == 1 ? "," : "", comment);
}

/* A line with a string of JSON, which is one of Python too. */
static void put_string(FILE *stream, const char *text)
{
    json_t *string = json_name(text);
    json_dumpf(string, stream, JSON_ENCODE_ANY);
    json_decref(string);
    fputc('\n', stream);
}

static void put_figures(FILE *stream, const struct checkpoint *c, const struct export_facts *facts,
                        const char *weights)
{
    const struct config *config = &c->config;
    const int towers = config->data.level_count;
    fputs("WEIGHTS = ", stream);
    put_string(stream, weights);
    fprintf(stream, "CLASS_NAMES = (\"normal\", \"tumor\")\n");
    if (isnan(c->state.threshold))
        fprintf(stream, "THRESHOLD = None  # training chose none\n");
    else
        fprintf(stream, "THRESHOLD = %.9g  # chosen on validation\n", c->state.threshold);
    if (facts->measured.known)
        fprintf(stream, "SPLIT_THRESHOLD = %.9g  # for split(), chosen on validation\n",
                facts->measured.threshold);
    else if (config->data.shrink_from == SHRINK_FROM_FINEST)
        fprintf(stream, "SPLIT_THRESHOLD = THRESHOLD  # split() makes what training saw\n");
    else
        fprintf(stream, "SPLIT_THRESHOLD = None  # for split(); not measured\n");
    fprintf(stream, "TOWERS = %d\nWINDOW = %d  # px\n", towers, config->data.window);
    if (config->data.um_per_px_count)
        fprintf(stream, "LEVELS = None  # means of %s, with UM_PER_PX\n",
                config->data.shrink_from == SHRINK_FROM_FINEST ? "the finest tower's pixels"
                                                               : "the coarsest level fine enough");
    else
        put_tuple(stream, "LEVELS", config->data.levels, towers);
    put_numbers(stream, "DOWNSAMPLES", c->input.downsamples, towers,
                config->data.um_per_px_count ? "to the finest tower" : "of the levels, to level 0");
    put_numbers(stream, "UM_PER_PX", c->input.um_per_px, towers,
                config->data.um_per_px_count ? "of the towers" : "of the levels; None: unknown");
    put_tuple(stream, "HEAD", config->model.head, config->model.head_count);
    fprintf(stream, "DROPOUT = %.9g\n", config->model.dropout);
    fprintf(stream, "BATCH_NORM_SCALES = %s\n", c->gamma ? "True" : "False");
    fprintf(stream, "POOLS_COUNT_PADDING = %s\n",
            config->model.pool_padding == POOL_PADDING_INCLUDE ? "True" : "False");
    if (facts->has_single) {
        fprintf(stream, "SIDE = %d  # px of the finest level, for split()\n", facts->single.side);
        put_tuple(stream, "CORNERS", facts->single.corners, towers);
        put_tuple(stream, "RATIOS", facts->single.ratios, towers);
    } else {
        fprintf(stream, "CORNERS = RATIOS = None  # split(): the levels' ratio is no integer\n");
    }
}

bool export_module(const struct checkpoint *checkpoint, const struct export_facts *facts,
                   const char *path, const char *weights, struct error *err)
{
    struct atomic_file file = { 0 };
    const char *place = strstr(export_module_text, placeholder);
    CHECK(place);
    if (!atomic_file_open(&file, path, err)) return false;
    fwrite(export_module_text, 1, (size_t)(place - export_module_text), file.stream);
    put_figures(file.stream, checkpoint, facts, weights);
    fputs(place + strlen(placeholder), file.stream);
    const bool done = atomic_file_commit(&file, err);
    atomic_file_release(&file);
    return done;
}
