/* Evaluation with a real network on small slides: windows of the dataset and whole slides agree,
 * bad slides are skipped, and slides that do not match the model's training are refused. */
#include <math.h>

#include "micromet/run/evaluate.h"
#include "micromet/run/heatmap.h"
#include "temporary.h"
#include "tiny_slide.h"

enum { WIDTH = 420, HEIGHT = 300, TISSUE_WIDTH = 300 };
static const struct tiny_level size[] = { { WIDTH, HEIGHT } };

/* Tissue on the left, glass on the right. */
static void half_tissue(const void *context, int level, int x, int y, uint8_t *pixel)
{
    tiny_tissue(context, level, x, y, pixel);
    if (x >= TISSUE_WIDTH) memset(pixel, 250, 3);
}

static void tumor(const void *context, int level, int x, int y, uint8_t *pixel)
{
    (void)context, (void)level;
    pixel[0] = x >= 60 && x < 120 && y >= 100 && y < 160;
}

/* One tower on level 0, all tissue windows, read from the slides. */
static void configure(struct config *config)
{
    config_defaults(config);
    snprintf(config->data.manifest, sizeof config->data.manifest, "%s",
             temporary_path("slides.csv"));
    config->data.level_count = 1;
    config->data.levels[0] = 0;
    config->data.stride = 40;
    config->data.normals_per_tumor = 1e6;
    config->data.max_normal = 0;
    config->data.source = DATA_SOURCE_SLIDES;
    config->model.head_count = 1;
    config->model.head[0] = 4;
    config->compute.backend = BACKEND_CPU;
    config->compute.precision = PRECISION_FP32;
    config->compute.threads = 1;
    config->data.reader_threads = 2;
}

/* A checkpoint of random weights whose metadata give `downsample`. */
static void write_checkpoint(const char *path, double downsample)
{
    struct config config;
    struct backend *backend;
    struct model *model;
    struct error err = { 0 };
    configure(&config);
    struct model_spec spec = model_spec_from_config(&config, DTYPE_F32, false, false);
    spec.batch = 1;
    cr_assert(cpu_backend_open(&config.compute, 1, NULL, &backend, &err), "%s", err.message);
    cr_assert(model_init(&model, backend, &spec, &err), "%s", err.message);
    cr_assert(model_randomize(model, 3, &err), "%s", err.message);
    const struct training_state state = { .step = 7, .best_auc = NAN, .threshold = 0.25 };
    const struct checkpoint_input input = { .downsamples = { downsample } };
    cr_assert(checkpoint_write(path, model, &config, &state, &input, &err), "%s", err.message);
    model_release(model);
    backend_close(backend);
}

static void write_slides(void)
{
    static const char manifest[] = "slide,annotation,label,split\n"
                                   "t.tif,t_mask.tif,tumor,test\n"
                                   "gone.tif,,normal,test\n"
                                   "n.tif,,normal,test\n"
                                   "lie.tif,,normal,validation\n";
    temporary_write("slides.csv", manifest, sizeof manifest - 1);
    tiny_write(temporary_path("t.tif"), size, 1, 3, half_tissue, NULL);
    tiny_write(temporary_path("t_mask.tif"), size, 1, 1, tumor, NULL);
    tiny_write(temporary_path("n.tif"), size, 1, 3, half_tissue, NULL);
}

static struct evaluation evaluate(struct checkpoint *checkpoint, bool whole, int batch)
{
    const struct evaluate_options options = {
        .split = SPLIT_TEST, .whole_slides = whole, .orientations = 1, .batch = batch
    };
    struct evaluation e;
    struct error err = { 0 };
    cr_assert(evaluate_run(&e, checkpoint, &options, &err), "%s", err.message);
    return e;
}

static void expect_same(const struct evaluation *a, const struct evaluation *b)
{
    cr_assert_eq(a->slide_count, b->slide_count);
    cr_assert_eq(a->count, b->count);
    for (int64_t i = 0; i < a->count; i++) {
        cr_expect_eq(a->windows[i].x_level0, b->windows[i].x_level0);
        cr_expect_eq(a->windows[i].y_level0, b->windows[i].y_level0);
        cr_expect_eq(a->labels[i], b->labels[i]);
        cr_expect_float_eq(a->probabilities[i], b->probabilities[i], 1e-5,
                           "window %d: %.9g and %.9g", (int)i, a->probabilities[i],
                           b->probabilities[i]);
    }
}

TestSuite(evaluate_run, .init = temporary_begin, .fini = temporary_end, .timeout = 600);

Test(evaluate_run, dataset_and_whole_slides_give_the_same_windows_the_same_probability)
{
    struct checkpoint checkpoint;
    struct error err = { 0 };
    write_slides();
    write_checkpoint(temporary_path("c.safetensors"), 1);
    cr_assert(checkpoint_open(&checkpoint, temporary_path("c.safetensors"), &err), "%s",
              err.message);
    struct evaluation windows = evaluate(&checkpoint, false, 4);
    struct evaluation whole = evaluate(&checkpoint, true, 3);

    cr_assert_eq(windows.slide_count, 2);
    cr_expect_eq(windows.bad_slides, 1);
    cr_expect_eq(whole.bad_slides, 1);
    cr_expect_eq(windows.threshold, 0.25);
    /* centres at 40 + 40k: 9×6; a window holds 75 % tissue up to centre 280 (column 6) */
    cr_expect_eq(windows.count, 2 * 7 * 6);
    expect_same(&windows, &whole);
    for (int s = 0; s < 2; s++) {
        cr_expect_eq(whole.slides[s].with_background.count, 9 * 6);
        cr_expect_eq(whole.slides[s].background[0], 2 * 6);
        cr_expect_eq(windows.slides[s].with_background.count, 7 * 6);
    }
    /* central squares of 50 px that touch x 60..119, y 100..159: columns 1, 2 and 0 (15..65), 3 no
     * (135); rows 2 (95..145), 3 (135..185) and 1 (55..105) */
    cr_expect_eq(windows.slides[0].windows.tumor_count, 3 * 3);
    cr_expect_eq(windows.slides[1].windows.tumor_count, 0);
    cr_expect(!isnan(windows.slide_auc));
    cr_expect(windows.slides[0].score > 0 && windows.slides[0].score < 1);
    evaluation_release(&windows);
    evaluation_release(&whole);
    checkpoint_release(&checkpoint);
}

/* Change the finished map of n.tif: every probability is 0.75, with a correct checksum. */
static void forge_finished_map(const char *path)
{
    struct weights weights;
    struct error err = { 0 };
    cr_assert(safetensors_read(&weights, path, &err), "%s", err.message);
    struct weight_array map = *weights_find(&weights, "probabilities");
    float *values = malloc((size_t)map.count * sizeof *values);
    for (int64_t i = 0; i < map.count; i++)
        values[i] = isnan(((const float *)map.data)[i]) ? NAN : 0.75f;
    map.data = values;
    const char *const metadata[] = { "identity", weights_metadata(&weights, "identity"), NULL };
    cr_assert(safetensors_write(path, &map, 1, metadata, &err), "%s", err.message);
    free(values);
    weights_release(&weights);
}

Test(evaluate_run, whole_slides_go_on_behind_those_that_an_earlier_try_finished)
{
    struct checkpoint checkpoint;
    struct error err = { 0 };
    struct evaluate_options options = {
        .split = SPLIT_TEST, .whole_slides = true, .orientations = 1, .batch = 4
    };
    char folder[PATH_MAX_BYTES], map[PATH_MAX_BYTES];
    struct evaluation first, second, other;
    write_slides();
    write_checkpoint(temporary_path("c.safetensors"), 1);
    test_path(folder, temporary_folder, "out");
    test_path(map, folder, "finished/n.map.safetensors");
    options.folder = folder;
    cr_assert(checkpoint_open(&checkpoint, temporary_path("c.safetensors"), &err), "%s",
              err.message);
    cr_assert(evaluate_run(&first, &checkpoint, &options, &err), "%s", err.message);
    forge_finished_map(map); /* to see that it is used */
    cr_assert(evaluate_run(&second, &checkpoint, &options, &err), "%s", err.message);
    cr_assert_eq(second.slide_count, 2);
    cr_expect_eq(second.slides[0].score, first.slides[0].score);
    cr_expect_eq(second.slides[1].score, 0.75);
    cr_expect_eq(second.slides[1].count, first.slides[1].count);
    cr_expect_eq(second.slides[1].background[0], first.slides[1].background[0]);
    options.orientations = 4; /* is another map */
    cr_assert(evaluate_run(&other, &checkpoint, &options, &err), "%s", err.message);
    cr_expect_neq(other.slides[1].score, 0.75);
    cr_assert(evaluation_write(&other, &checkpoint, &options, folder, &err), "%s", err.message);
    cr_expect_eq(test_folder_count(folder), 4, "kept maps go when the results are written");
    evaluation_release(&first);
    evaluation_release(&second);
    evaluation_release(&other);
    checkpoint_release(&checkpoint);
}

static const struct tiny_level two_sizes[] = { { WIDTH, HEIGHT }, { WIDTH / 4, HEIGHT / 4 } };

/* `context`: whether a pixel of level 0 is another. OpenSlide hashes the smallest level. */
static void half_tissue_edited(const void *context, int level, int x, int y, uint8_t *pixel)
{
    half_tissue(NULL, level, x, y, pixel);
    if (*(const bool *)context && level == 0 && x == 50 && y == 50) pixel[1] ^= 1;
}

static void write_n(bool edited)
{
    tiny_write(temporary_path("n.tif"), two_sizes, 2, 3, half_tissue_edited, &edited);
}

Test(evaluate_run, the_kept_map_of_a_slide_that_was_edited_is_computed_again)
{
    struct checkpoint checkpoint;
    struct error err = { 0 };
    struct evaluate_options options = {
        .split = SPLIT_TEST, .whole_slides = true, .orientations = 1, .batch = 4
    };
    char folder[PATH_MAX_BYTES], map[PATH_MAX_BYTES];
    struct evaluation e;
    write_slides();
    write_n(false);
    write_checkpoint(temporary_path("c.safetensors"), 1);
    test_path(folder, temporary_folder, "out");
    test_path(map, folder, "finished/n.map.safetensors");
    options.folder = folder;
    cr_assert(checkpoint_open(&checkpoint, temporary_path("c.safetensors"), &err), "%s",
              err.message);
    for (int edited = 0; edited < 2; edited++) {
        cr_assert(evaluate_run(&e, &checkpoint, &options, &err), "%s", err.message);
        cr_expect_neq(e.slides[1].score, 0.75);
        evaluation_release(&e);
        forge_finished_map(map); /* to see that it is used */
        cr_assert(evaluate_run(&e, &checkpoint, &options, &err), "%s", err.message);
        cr_expect_eq(e.slides[1].score, 0.75);
        evaluation_release(&e);
        write_n(!edited);
    }
    checkpoint_release(&checkpoint);
}

/* The score of n.tif, with finished rows in n.partial. */
static double draw(const struct checkpoint *checkpoint, struct predictor *predictor)
{
    const struct heatmap_options options = { .min_tissue = -1,
                                             .threads = 1,
                                             .partial = temporary_path("n.partial") };
    struct slide slide;
    struct heatmap heatmap;
    struct error err = { 0 };
    cr_assert(slide_open(&slide, temporary_path("n.tif"), 0, &err), "%s", err.message);
    cr_assert(heatmap_compute(&heatmap, checkpoint, predictor, &slide, &options, &err), "%s",
              err.message);
    const double score = heatmap.score;
    heatmap_release(&heatmap);
    slide_release(&slide);
    return score;
}

/* Make every probability of n.partial 0.75. */
static void forge_partial(void)
{
    char *bytes;
    size_t length;
    struct error err = { 0 };
    const float forged = 0.75f;
    cr_assert(file_read(temporary_path("n.partial"), 1 << 20, &bytes, &length, &err));
    const size_t rows = strcspn(bytes, "\n") + 1;
    cr_assert_gt(length, rows);
    for (size_t at = rows; at < length; at += sizeof forged)
        memcpy(bytes + at, &forged, sizeof forged);
    temporary_write("n.partial", bytes, length);
    free(bytes);
}

Test(evaluate_run, an_interrupted_map_goes_on_only_on_the_same_slide)
{
    struct checkpoint checkpoint;
    struct config config;
    struct backend *backend;
    struct model *model;
    struct predictor predictor;
    struct error err = { 0 };
    configure(&config);
    write_n(false);
    write_checkpoint(temporary_path("c.safetensors"), 1);
    cr_assert(checkpoint_open(&checkpoint, temporary_path("c.safetensors"), &err), "%s",
              err.message);
    cr_assert(cpu_backend_open(&config.compute, 1, NULL, &backend, &err), "%s", err.message);
    cr_assert(checkpoint_model(&checkpoint, backend, 4, &model, &err), "%s", err.message);
    cr_assert(predictor_init(&predictor, model, 1, &err), "%s", err.message);

    const double score = draw(&checkpoint, &predictor);
    cr_expect_neq(score, 0.75);
    forge_partial(); /* to see that it is used */
    cr_expect_eq(draw(&checkpoint, &predictor), 0.75);
    write_n(true);
    cr_expect_neq(draw(&checkpoint, &predictor), 0.75);
    predictor_release(&predictor);
    model_release(model);
    backend_close(backend);
    checkpoint_release(&checkpoint);
}

Test(evaluate_run, slides_of_another_downsample_are_refused)
{
    struct checkpoint checkpoint;
    struct error err = { 0 };
    struct evaluation e;
    const struct evaluate_options windows = { .split = SPLIT_TEST, .orientations = 1, .batch = 4 };
    const struct evaluate_options whole = {
        .split = SPLIT_TEST, .whole_slides = true, .orientations = 1, .batch = 4
    };
    write_slides();
    write_checkpoint(temporary_path("c.safetensors"), 2);
    cr_assert(checkpoint_open(&checkpoint, temporary_path("c.safetensors"), &err), "%s",
              err.message);
    cr_assert(!evaluate_run(&e, &checkpoint, &windows, &err));
    cr_expect(strstr(err.message, "t.tif: level 0 is downsampled by 1; the model was trained on 2"),
              "%s", err.message);
    err = (struct error) { 0 };
    cr_assert(!evaluate_run(&e, &checkpoint, &whole, &err));
    cr_expect(strstr(err.message, "none of the test slides can be evaluated"), "%s", err.message);
    checkpoint_release(&checkpoint);
}
