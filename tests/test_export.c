/* Exported models: the graph is well-formed and computes the same as the checkpoint, windows cut
 * from one larger picture match the towers' own, files include what the model expects as input, and
 * no file is overwritten unless requested. */
#include <jansson.h>
#include <math.h>
#include <unistd.h>

#include "micromet/export/export.h"
#include "micromet/format/image.h"
#include "micromet/format/onnx.h"
#include "micromet/run/predict_files.h"
#include "micromet/run/single_window.h"
#include "micromet/slide/slide.h"
#include "onnx/onnx.pb-c.h"
#include "temporary.h"
#include "tiny_slide.h"

enum { WINDOW = 76, BATCH = 2 };

static struct config config_of(int towers, enum pool_padding padding)
{
    struct config config;
    config_defaults(&config);
    snprintf(config.name, sizeof config.name, "test \"model\"");
    config.data.window = WINDOW;
    config.data.center = 32;
    config.data.level_count = towers;
    for (int t = 0; t < towers; t++) config.data.levels[t] = t;
    config.model.head_count = 1;
    config.model.head[0] = 4;
    config.model.pool_padding = padding;
    config.compute.backend = BACKEND_CPU;
    config.compute.precision = PRECISION_FP32;
    config.compute.threads = 1;
    return config;
}

static void backend_begin(struct backend **backend, const struct config *config)
{
    struct error err = { 0 };
    cr_assert(cpu_backend_open(&config->compute, config->data.level_count, NULL, backend, &err),
              "%s", err.message);
}

/* Change the batch norms from their initial values, so that folding them makes a difference. */
static void disturb(struct model *model)
{
    struct error err = { 0 };
    for (int i = 0; i < model_parameter_count(model); i++) {
        const struct parameter *p = model_parameter(model, i);
        if (!strstr(p->name, ".bn.")) continue;
        float *values = malloc((size_t)p->count * sizeof *values);
        for (int64_t k = 0; k < p->count; k++) {
            const float small = (float)(tiny_hash(i, (int)k, 0) % 100) / 200;
            values[k] = strstr(p->name, "mean") || strstr(p->name, "bias") ? small - 0.25f
                                                                           : 0.75f + small;
        }
        cr_assert(model_write(model, i, PART_VALUE, values, &err), "%s", err.message);
        free(values);
    }
}

static void write_checkpoint(const char *path, const struct config *config, bool gamma,
                             const struct checkpoint_input *input, double threshold)
{
    struct error err = { 0 };
    struct backend *backend;
    struct model *model;
    struct model_spec spec = model_spec_from_config(config, DTYPE_F32, gamma, false);
    spec.batch = 1;
    backend_begin(&backend, config);
    cr_assert(model_init(&model, backend, &spec, &err), "%s", err.message);
    cr_assert(model_randomize(model, 3, &err), "%s", err.message);
    disturb(model);
    const struct training_state state = { .step = 7, .best_auc = NAN, .threshold = threshold };
    cr_assert(checkpoint_write(path, model, config, &state, input, &err), "%s", err.message);
    model_release(model);
    backend_close(backend);
}

static void open_checkpoint(struct checkpoint *checkpoint, int towers, enum pool_padding padding,
                            bool gamma, double threshold)
{
    struct error err = { 0 };
    const struct config config = config_of(towers, padding);
    const struct checkpoint_input input = { .downsamples = { 1, 2.001 },
                                            .um_per_px = { 0.25, 0.5 } };
    write_checkpoint(temporary_path("c.safetensors"), &config, gamma, &input, threshold);
    cr_assert(checkpoint_open(checkpoint, temporary_path("c.safetensors"), &err), "%s",
              err.message);
}

static void export(struct checkpoint *checkpoint, const char *name, struct export_options options)
{
    struct error err = { 0 };
    char written[2 * PATH_MAX_BYTES];
    cr_assert(export_write(checkpoint, &options, temporary_path(name), written, &err), "%s",
              err.message);
    cr_expect(strstr(written, name));
}

static void expect_refusal(struct checkpoint *checkpoint, const char *name,
                           struct export_options options, const char *reason)
{
    struct error err = { 0 };
    char written[2 * PATH_MAX_BYTES];
    cr_expect(!export_write(checkpoint, &options, temporary_path(name), written, &err),
              "expected: %s", reason);
    cr_expect(strstr(err.message, reason), "expected '%s' in: %s", reason, err.message);
}

TestSuite(export, .init = temporary_begin, .fini = temporary_end, .timeout = 300);

/* --- The graph -------------------------------------------------------------------------------- */

static int count_nodes(const Onnx__GraphProto *graph, const char *op)
{
    int count = 0;
    for (size_t i = 0; i < graph->n_node; i++) count += !strcmp(graph->node[i]->op_type, op);
    return count;
}

static bool is_defined(const Onnx__GraphProto *graph, const char *name, size_t before)
{
    for (size_t i = 0; i < graph->n_input; i++)
        if (strcmp(graph->input[i]->name, name) == 0) return true;
    for (size_t i = 0; i < graph->n_initializer; i++)
        if (strcmp(graph->initializer[i]->name, name) == 0) return true;
    for (size_t i = 0; i < before; i++)
        if (strcmp(graph->node[i]->output[0], name) == 0) return true;
    return false;
}

static Onnx__ModelProto *parse(const char *name)
{
    size_t size;
    uint8_t *bytes = temporary_read(name, &size);
    Onnx__ModelProto *model = onnx__model_proto__unpack(NULL, size, bytes);
    cr_assert(model && model->graph);
    free(bytes);
    return model;
}

/* Nodes come after their inputs, and each layer has its nodes. */
static void expect_graph(const char *name, int towers, bool pads)
{
    Onnx__ModelProto *model = parse(name);
    const Onnx__GraphProto *graph = model->graph;
    const int several = towers > 1;
    for (size_t i = 0; i < graph->n_node; i++)
        for (size_t k = 0; k < graph->node[i]->n_input; k++)
            cr_expect(is_defined(graph, graph->node[i]->input[k], i), "%s of %s",
                      graph->node[i]->input[k], graph->node[i]->name);
    cr_expect_eq(count_nodes(graph, "Conv"), towers * 94 + 2);
    cr_expect_eq(count_nodes(graph, "Relu"), towers * 94 + 1);
    cr_expect_eq(count_nodes(graph, "MaxPool"), towers * 4);
    cr_expect_eq(count_nodes(graph, "AveragePool"), towers * 9 + several, "one shrinks a window");
    cr_expect_eq(count_nodes(graph, "Pad"), pads ? towers * 9 : 0);
    cr_expect_eq(count_nodes(graph, "Concat"), towers * 11 + several);
    cr_expect_eq(count_nodes(graph, "Slice"), several, "the coarsest window is the whole one");
    cr_expect_eq(graph->n_input, 1);
    cr_expect_eq(graph->input[0]->type->tensor_type->shape->dim[1]->dim_value, towers * WINDOW);
    cr_expect_str_eq(graph->output[0]->name, "logit");
    cr_expect_str_eq(graph->output[1]->name, "probability");
    onnx__model_proto__free_unpacked(model, NULL);
}

/* --- What it computes ------------------------------------------------------------------------- */

/* Predict the probabilities of pictures with a checkpoint or an ONNX file. */
static void predict(const char *name, bool onnx, char *const *pictures, int count,
                    double *probabilities, int examples)
{
    struct error err = { 0 };
    struct checkpoint checkpoint;
    struct backend *backend;
    struct model *model;
    char *text = NULL;
    size_t size;
    cr_assert((onnx ? export_open : checkpoint_open)(&checkpoint, temporary_path(name), &err), "%s",
              err.message);
    backend_begin(&backend, &checkpoint.config);
    cr_assert((onnx ? export_model : checkpoint_model)(&checkpoint, backend, BATCH, &model, &err),
              "%s", err.message);
    FILE *csv = open_memstream(&text, &size);
    const struct predict_files_options options = { .orientations = 1, .threads = 1 };
    cr_assert(predict_files(&checkpoint, model, pictures, count, &options, csv, &err), "%s",
              err.message);
    fclose(csv);
    const char *line = strchr(text, '\n') + 1;
    for (int i = 0; i < examples; i++, line = strchr(line, '\n') + 1) {
        cr_assert(*line, "a line for each example");
        cr_expect_eq(strncmp(line, pictures[i * count / examples], 20), 0, "%s", line);
        probabilities[i] = atof(strrchr(strndup(line, strcspn(line, "\n")), ',') + 1);
    }
    cr_expect_eq(*line, '\0');
    free(text);
    model_release(model);
    backend_close(backend);
    checkpoint_release(&checkpoint);
}

static char *write_picture(const char *name, int size, int seed)
{
    struct error err = { 0 };
    uint8_t *rgb = malloc((size_t)size * (size_t)size * 3);
    for (int i = 0; i < size * size; i++)
        tiny_tissue(NULL, seed, i % size / 9, i / size / 9, rgb + 3 * i);
    cr_assert(image_write_png(temporary_path(name), rgb, size, size, &err), "%s", err.message);
    free(rgb);
    return strdup(temporary_path(name));
}

/* Half floats must be the nearest to the folded weights. */
static void expect_nearest(const char *full_name, const char *half_name)
{
    struct error err = { 0 };
    struct weights full, half;
    cr_assert(weights_read(&full, temporary_path(full_name), &err), "%s", err.message);
    cr_assert(weights_read(&half, temporary_path(half_name), &err), "%s", err.message);
    cr_assert_eq(full.count, 2 * (2 * 94 + 2));
    cr_assert_eq(half.count, full.count);
    double worst = 0;
    for (int a = 0; a < full.count; a++) {
        float *converted;
        const float *exact = full.arrays[a].data;
        const float *rounded = weights_floats(&half.arrays[a], &converted, &err);
        cr_assert_str_eq(half.arrays[a].dtype, "F16");
        for (int64_t i = 0; i < full.arrays[a].count; i++) {
            const double unit = fmax(fabs(exact[i]) * 0x1p-11, 0x1p-25); /* half a step */
            const double error = fabs((double)rounded[i] - exact[i]) / unit;
            worst = error > worst ? error : worst; /* fmax() here makes gcc 12 fail on arm64 */
        }
        free(converted);
    }
    cr_expect(worst <= 1 && worst > 0.5, "%g half steps", worst);
    weights_release(&full);
    weights_release(&half);
}

Test(export, an_exported_graph_computes_what_the_checkpoint_computes)
{
    enum { EXAMPLES = 3 };
    struct checkpoint checkpoint;
    double expected[EXAMPLES], full[EXAMPLES], half[EXAMPLES];
    char *pictures[2 * EXAMPLES], name[16];
    for (int i = 0; i < 2 * EXAMPLES; i++) {
        snprintf(name, sizeof name, "%d.png", i);
        pictures[i] = write_picture(name, WINDOW, i);
    }
    open_checkpoint(&checkpoint, 2, POOL_PADDING_EXCLUDE, true, NAN);
    export(&checkpoint, "full.onnx", (struct export_options) { 0 });
    export(&checkpoint, "half.onnx",
           (struct export_options) { .half = true, .single_input = true });
    checkpoint_release(&checkpoint);
    expect_graph("half.onnx", 2, false);
    expect_nearest("full.onnx", "half.onnx");
    predict("c.safetensors", false, pictures, 2 * EXAMPLES, expected, EXAMPLES);
    predict("full.onnx", true, pictures, 2 * EXAMPLES, full, EXAMPLES);
    predict("half.onnx", true, pictures, 2 * EXAMPLES, half, EXAMPLES);
    cr_expect(fabs(expected[0] - expected[1]) > 1e-3, "windows differ: %g, %g", expected[0],
              expected[1]);
    for (int i = 0; i < EXAMPLES; i++) {
        cr_expect_float_eq(full[i], expected[i], 2e-6, "%.9g %.9g", full[i], expected[i]);
        cr_expect_float_eq(half[i], expected[i], 1e-2, "%.9g %.9g", half[i], expected[i]);
        cr_expect_neq(half[i], expected[i]);
    }
}

/* --- One window for all towers ---------------------------------------------------------------- */

/* For centres that all levels share, the cut windows are the slide's own. */
static void expect_concentric(int window, const double *downsamples, int towers)
{
    struct checkpoint checkpoint = { .config.data = { .window = window, .level_count = towers } };
    struct slide slide = { .level_count = towers };
    struct single_window single;
    struct error err = { 0 };
    const int64_t x_level0 = 4800, y_level0 = 9600;
    int64_t x0, y0, x, y;
    for (int t = 0; t < towers; t++) {
        slide.levels[t].downsample = checkpoint.input.downsamples[t] = downsamples[t];
        checkpoint.config.data.levels[t] = t;
    }
    cr_assert(single_window_of(&checkpoint, &single, &err), "%s", err.message);
    slide_window_corner(&slide, 0, x_level0, y_level0, single.side, &x0, &y0);
    for (int t = 0; t < towers; t++) {
        const int ratio = single.ratios[t], corner = single.corners[t];
        slide_window_corner(&slide, t, x_level0, y_level0, window, &x, &y);
        cr_expect_eq(x0 + corner, x * ratio, "window %d, tower %d", window, t);
        cr_expect_eq(y0 + corner, y * ratio, "window %d, tower %d", window, t);
        cr_expect(corner >= 0 && corner + ratio * window <= single.side, "window %d, tower %d",
                  window, t);
    }
}

Test(export, one_larger_window_holds_those_of_all_towers)
{
    static const double pairs[] = { 1, 2 }, three[] = { 2, 4, 32 }, thirds[] = { 4, 12 };
    expect_concentric(80, pairs, 2);
    expect_concentric(299, pairs, 2);
    expect_concentric(80, three, 3);
    expect_concentric(299, three, 3);
    expect_concentric(75, thirds, 2);
    expect_concentric(299, thirds, 1);
}

/* A tower's pixels are the means of the squares that they stand for, one half rounded up. */
Test(export, a_cut_window_holds_rounded_means)
{
    enum { CUT = 5, SQUARE = 24 };
    static uint8_t rgb[SQUARE][SQUARE][3], out[CUT][CUT][3];
    const struct single_window single = { .side = SQUARE,
                                          .ratios = { 1, 2, 4 },
                                          .corners = { 10, 8, 4 } };
    for (int i = 0; i < SQUARE * SQUARE * 3; i++) (&rgb[0][0][0])[i] = (uint8_t)(i * 7919 >> 4);
    for (int t = 0; t < 3; t++) {
        const int ratio = single.ratios[t], corner = single.corners[t];
        single_window_cut(&single, CUT, t, &rgb[0][0][0], &out[0][0][0]);
        for (int y = 0; y < CUT; y++)
            for (int x = 0; x < CUT; x++)
                for (int c = 0; c < 3; c++) {
                    double sum = 0;
                    for (int k = 0; k < ratio * ratio; k++)
                        sum +=
                            rgb[corner + y * ratio + k / ratio][corner + x * ratio + k % ratio][c];
                    cr_expect_eq(out[y][x][c], (int)floor(sum / (ratio * ratio) + 0.5),
                                 "tower %d, row %d, column %d", t, y, x);
                }
    }
}

Test(export, levels_without_an_integer_ratio_are_refused)
{
    struct error err = { 0 };
    struct single_window single;
    struct checkpoint checkpoint = {
        .path = "c.safetensors",
        .config.data = { .window = 80, .level_count = 2, .levels = { 3, 6 } },
        .input.downsamples = { 8, 57.375 }
    };
    cr_assert(!single_window_of(&checkpoint, &single, &err));
    cr_expect(strstr(err.message, "level 6 is shrunk 7.17188 times against level 3"), "%s",
              err.message);
    checkpoint.input.downsamples[1] = 32.0008;
    error_clear(&err);
    cr_expect(single_window_of(&checkpoint, &single, &err), "%s", err.message);
    cr_expect_eq(single.side, 320);
}

/* --- Files ------------------------------------------------------------------------------------ */

static void expect_in(const char *text, const char *part)
{
    cr_expect(strstr(text, part), "expected '%s' in: %s", part, text);
}

static char *read_text(const char *name)
{
    return test_read(temporary_path(name));
}

Test(export, every_format_says_what_the_model_expects)
{
    struct checkpoint checkpoint;
    struct error err = { 0 };
    struct weights weights;
    open_checkpoint(&checkpoint, 1, POOL_PADDING_INCLUDE, true, 0.25);
    export(&checkpoint, "m.onnx", (struct export_options) { .single_input = true, .half = true });
    export(&checkpoint, "t.safetensors", (struct export_options) { .format = EXPORT_SAFETENSORS });
    export(&checkpoint, "wsinfer", (struct export_options) { .format = EXPORT_WSINFER });
    export(&checkpoint, "repository",
           (struct export_options) { .format = EXPORT_TRITON, .half = true });

    expect_graph("m.onnx", 1, true);
    cr_assert(weights_read(&weights, temporary_path("m.onnx"), &err), "%s", err.message);
    cr_expect_str_eq(weights_metadata(&weights, "threshold"), "0.25");
    cr_expect_str_eq(weights_metadata(&weights, "window"), "76");
    cr_expect_str_eq(weights_metadata(&weights, "single_input_px"), "76");
    cr_expect_str_eq(weights_metadata(&weights, "pool_padding"), "include");
    cr_expect_str_eq(weights_metadata(&weights, "towers"),
                     weights_metadata(&checkpoint.weights, "towers"));
    weights_release(&weights);

    cr_assert(weights_read(&weights, temporary_path("t.safetensors"), &err), "%s", err.message);
    cr_expect_eq(weights.count, 94 * 5 + 4);
    cr_expect_str_eq(weights_metadata(&weights, "class_names"), "[\"normal\",\"tumor\"]");
    for (int i = 0; i < weights.count; i++) {
        const struct weight_array *array = &weights.arrays[i];
        const struct weight_array *own = weights_find(&checkpoint.weights, array->name);
        cr_assert(own, "%s", array->name);
        cr_assert_eq(memcmp(array->data, own->data, (size_t)array->count * sizeof(float)), 0, "%s",
                     array->name);
    }
    weights_release(&weights);
    char *module = read_text("t.py");
    expect_in(module, "WEIGHTS = \"t.safetensors\"\n");
    expect_in(module, "THRESHOLD = 0.25 ");
    expect_in(module, "BATCH_NORM_SCALES = True\nPOOLS_COUNT_PADDING = True\nSIDE = 76 ");
    expect_in(module, "HEAD = (4,)\n");

    json_t *config = json_load_file(temporary_path("wsinfer/config.json"), 0, NULL);
    cr_assert(config);
    cr_expect_eq(json_integer_value(json_object_get(config, "patch_size_pixels")), WINDOW);
    cr_expect_float_eq(json_number_value(json_object_get(config, "spacing_um_px")), 0.25, 1e-9);
    json_decref(config);
    cr_expect(file_exists(temporary_path("wsinfer/make_torchscript.py")));

    char *triton = read_text("repository/test__model_/config.pbtxt");
    expect_in(triton, "name: \"test__model_\"\n");
    expect_in(triton, "input { name: \"tower0\" data_type: TYPE_UINT8 dims: [76, 76, 3] }");
    expect_in(triton,
              "parameters { key: \"name\" value { string_value: \"test \\\"model\\\"\" } }");
    cr_expect(file_exists(temporary_path("repository/test__model_/1/model.onnx")));
    checkpoint_release(&checkpoint);
}

Test(export, what_is_not_known_is_not_told_and_nothing_is_written_over_unasked)
{
    struct checkpoint checkpoint;
    struct error err = { 0 };
    struct weights weights;
    const struct export_options wsinfer = { .format = EXPORT_WSINFER };
    open_checkpoint(&checkpoint, 1, POOL_PADDING_EXCLUDE, false, NAN);
    checkpoint.input.um_per_px[0] = 0;
    expect_refusal(&checkpoint, "w", wsinfer, "WSInfer needs the µm/px");
    cr_expect_eq(temporary_count(), 1, "only the checkpoint is there");

    temporary_write("m.onnx", "of others", 9);
    expect_refusal(&checkpoint, "m.onnx", (struct export_options) { 0 },
                   "m.onnx: is there already");
    export(&checkpoint, "m.onnx", (struct export_options) { .force = true, .half = true });
    cr_assert(weights_read(&weights, temporary_path("m.onnx"), &err), "%s", err.message);
    cr_expect_null(weights_metadata(&weights, "threshold"));
    weights_release(&weights);

    export(&checkpoint, "w", (struct export_options) { .format = EXPORT_WSINFER, .mpp = 0.5 });
    json_t *config = json_load_file(temporary_path("w/config.json"), 0, NULL);
    cr_expect_float_eq(json_number_value(json_object_get(config, "spacing_um_px")), 0.5, 1e-9);
    json_decref(config);
    expect_refusal(&checkpoint, "w", wsinfer, "w/config.json: is there already");
    expect_refusal(&checkpoint, "t.pt", (struct export_options) { .format = EXPORT_SAFETENSORS },
                   "name a file that ends in .safetensors");
    checkpoint_release(&checkpoint);
}
