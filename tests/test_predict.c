/* Predictions with several batches in flight equal those of each batch alone. If a slot were
 * returned to the readers while its pass is still to be copied or computed, it would hold another
 * batch's pixels and the predictions would be wrong. Runs on the backend under test; the simulated
 * device delays work until something waits for it. */
#include <math.h>
#include <unistd.h>

#include "micromet/data/augment.h"
#include "micromet/run/heatmap.h"
#include "op_case.h"
#include "temporary.h"
#include "tiny_slide.h"

enum { WINDOW = 75, BATCH = 2, STRIDE = 70, WINDOWS = 3 * 3 };
static const struct tiny_level size = { 250, 250 };

/* Noise in patches of colour, so that all windows differ for the network. */
static void patches(const void *context, int level, int x, int y, uint8_t *pixel)
{
    const uint32_t noise = tiny_hash(level, x, y) % 40, color = tiny_hash(level, x / 50, y / 50);
    (void)context;
    for (int c = 0; c < 3; c++) pixel[c] = (uint8_t)(noise + (color >> 8 * c) % 160);
}

struct rig {
    struct backend *backend;
    struct model *model;
    struct checkpoint checkpoint; /* as far as a heat map needs it */
    struct dataset_slide slides[2];
    struct window windows[WINDOWS];
    struct dataset dataset; /* of the first slide */
    struct error err;
};

static void open_slide(struct dataset_slide *slide, const char *name, const struct window *windows,
                       struct error *err)
{
    tiny_write(temporary_path(name), &size, 1, 3, patches, NULL);
    *slide = (struct dataset_slide) { .windows = windows, .count = WINDOWS };
    cr_assert(slide_open(&slide->slide, temporary_path(name), 0, err), "%s", err->message);
}

static void rig_init(struct rig *rig)
{
    *rig = (struct rig) { .backend = op_case_backend(1) };
    struct config *config = &rig->checkpoint.config;
    config_defaults(config);
    config->data.level_count = 1;
    config->data.levels[0] = 0;
    config->data.window = WINDOW;
    config->data.stride = STRIDE;
    config->data.source = DATA_SOURCE_SLIDES;
    config->model.head_count = 1;
    config->model.head[0] = 4;
    rig->checkpoint.input.downsamples[0] = 1;
    struct model_spec spec = model_spec_from_config(config, DTYPE_F32, false, false);
    spec.batch = BATCH;
    cr_assert(model_init(&rig->model, rig->backend, &spec, &rig->err), "%s", rig->err.message);
    cr_assert(model_randomize(rig->model, 5, &rig->err), "%s", rig->err.message);
    for (int s = 0; s < 2; s++)
        open_slide(&rig->slides[s], s ? "b.tif" : "a.tif", rig->windows, &rig->err);
    struct grid grid;
    cr_assert(grid_init(&grid, &rig->slides[0].slide, &config->data, 0, &rig->err));
    cr_assert_eq(grid.rows * grid.columns, WINDOWS);
    for (int i = 0; i < WINDOWS; i++)
        rig->windows[i] = (struct window) {
            .x_level0 = (int32_t)grid_x_level0(&grid, i % grid.columns),
            .y_level0 = (int32_t)grid_y_level0(&grid, i / grid.columns),
            .label = i % 2,
        };
    rig->dataset = (struct dataset) {
        .data = config->data, .slides = rig->slides, .slide_count = 1, .count = WINDOWS
    };
}

static void rig_release(struct rig *rig)
{
    for (int s = 0; s < 2; s++) slide_release(&rig->slides[s].slide);
    model_release(rig->model);
    backend_close(rig->backend);
}

/* Truncate the second slide, so that it cannot be read after its first tiles. */
static void cut_second_slide(void)
{
    cr_assert_eq(truncate(temporary_path("b.tif"), 6 * TINY_TILE * TINY_TILE * 3), 0);
}

/* Predict one batch at a time. Fails if the network gives all windows the same probability. */
static void predict_alone(struct rig *rig, int orientations, float expected[WINDOWS])
{
    static uint8_t pixels[BATCH][WINDOW * WINDOW * 3];
    struct augment_draw draws[BATCH];
    for (int first = 0; first < WINDOWS; first += BATCH) {
        double sums[BATCH] = { 0 };
        const int count = WINDOWS - first < BATCH ? WINDOWS - first : BATCH;
        const struct model_batch batch = { .pixels = { pixels[0] },
                                           .draws = { draws },
                                           .count = count };
        for (int i = 0; i < count; i++) {
            const struct window *w = &rig->windows[first + i];
            tiny_window(patches, 0, size, w->x_level0 - WINDOW / 2, w->y_level0 - WINDOW / 2,
                        WINDOW, pixels[i]);
        }
        for (int o = 0; o < orientations; o++) {
            float probabilities[BATCH];
            for (int i = 0; i < count; i++) draws[i] = augment_orientation(o);
            cr_assert(model_predict(rig->model, &batch, probabilities, &rig->err), "%s",
                      rig->err.message);
            for (int i = 0; i < count; i++) sums[i] += probabilities[i];
        }
        for (int i = 0; i < count; i++) expected[first + i] = (float)(sums[i] / orientations);
    }
    for (int i = 0; i < WINDOWS; i++)
        for (int k = 0; k < i; k++)
            cr_assert(fabsf(expected[i] - expected[k]) > 2e-5f, "windows %d and %d look alike", k,
                      i);
}

static void expect_predictions(struct rig *rig, int orientations, int threads, int ring,
                               const float expected[WINDOWS])
{
    struct predictions p;
    double loss = 0;
    const struct predict_options options = { orientations, threads, ring, NULL, NULL };
    cr_assert(predict_dataset(rig->model, &rig->dataset, &options, &p, &rig->err), "%s",
              rig->err.message);
    cr_assert_eq(p.count, WINDOWS);
    for (int i = 0; i < WINDOWS; i++) {
        cr_expect_eq(p.probabilities[i], expected[i],
                     "%d orientations, ring of %d, window %d: %.9g, alone %.9g", orientations, ring,
                     i, p.probabilities[i], expected[i]);
        cr_expect_eq(p.labels[i], i % 2);
        loss -= log(i % 2 ? expected[i] : 1 - (double)expected[i]);
    }
    cr_expect_eq(p.loss, loss / WINDOWS);
    predictions_release(&p);
}

static bool draw_heatmap(struct rig *rig, struct predictor *predictor, int slide, int threads,
                         struct heatmap *heatmap)
{
    const struct heatmap_options options = { .threads = threads, .min_tissue = 0 };
    return heatmap_compute(heatmap, &rig->checkpoint, predictor, &rig->slides[slide].slide,
                           &options, &rig->err);
}

/* Readers fill batches in any order, and results may be rounded differently in another batch. */
static void expect_heatmap(struct rig *rig, struct predictor *predictor, int threads,
                           const float expected[WINDOWS])
{
    struct heatmap heatmap;
    cr_assert(draw_heatmap(rig, predictor, 0, threads, &heatmap), "%s", rig->err.message);
    cr_assert_eq(heatmap.windows, WINDOWS);
    for (int i = 0; i < WINDOWS; i++) {
        const float found = heatmap.probabilities[i];
        cr_expect(fabsf(found - expected[i]) < 1e-5f, "%d threads, window %d: %.9g, alone %.9g",
                  threads, i, found, expected[i]);
    }
    heatmap_release(&heatmap);
}

TestSuite(predict, .init = temporary_begin, .fini = temporary_end, .timeout = 280);

Test(predict, batches_under_way_give_what_they_give_alone)
{
    struct rig rig;
    float expected[WINDOWS];
    struct predictor predictor;
    rig_init(&rig);
    predict_alone(&rig, 1, expected);
    expect_predictions(&rig, 1, 2, 2, expected);
    cr_assert(predictor_init(&predictor, rig.model, 1, &rig.err));
    expect_heatmap(&rig, &predictor, 4, expected);
    predictor_release(&predictor);
    rig_release(&rig);
}

Test(predict, orientations_are_averaged_window_by_window)
{
    struct rig rig;
    float expected[WINDOWS];
    rig_init(&rig);
    predict_alone(&rig, 4, expected);
    expect_predictions(&rig, 4, 1, PASSES_MAX, expected);
    expect_predictions(&rig, 4, 1, 3, expected);
    rig_release(&rig);
}

Test(predict, a_slide_that_cannot_be_read_leaves_the_network_to_the_next)
{
    struct rig rig;
    float expected[WINDOWS];
    struct predictor predictor;
    struct predictions p;
    struct heatmap heatmap;
    rig_init(&rig);
    predict_alone(&rig, 1, expected);
    cut_second_slide();
    struct dataset both = rig.dataset;
    both.slide_count = 2;
    both.count = 2 * WINDOWS;
    const struct predict_options options = { 1, 2, 4, NULL, NULL };
    cr_assert(!predict_dataset(rig.model, &both, &options, &p, &rig.err));
    cr_expect(strstr(rig.err.message, "b.tif"), "%s", rig.err.message);
    error_clear(&rig.err);
    expect_predictions(&rig, 1, 2, 3, expected);

    cr_assert(predictor_init(&predictor, rig.model, 1, &rig.err));
    slide_release(&rig.slides[1].slide); /* is lost to OpenSlide; see slide_read() */
    open_slide(&rig.slides[1], "b.tif", rig.windows, &rig.err);
    cut_second_slide();
    cr_assert(!draw_heatmap(&rig, &predictor, 1, 2, &heatmap));
    cr_expect(strstr(rig.err.message, "b.tif"), "%s", rig.err.message);
    error_clear(&rig.err);
    expect_heatmap(&rig, &predictor, 2, expected);
    predictor_release(&predictor);
    rig_release(&rig);
}

/* More readers than slots, so that some are waiting for one when the device fails. */
Test(predict, a_device_that_fails_ends_a_heat_map_and_its_readers)
{
    struct rig rig;
    struct predictor predictor;
    struct heatmap heatmap;
    if (!getenv("MICROMET_CUDA_LIBRARY")) cr_skip("only a simulated device can be made to fail");
    setenv("MICROMET_SIMULATED_FAIL", "cudaGraphLaunch:2", 1);
    rig_init(&rig);
    cr_assert(predictor_init(&predictor, rig.model, 1, &rig.err));
    cr_assert(!draw_heatmap(&rig, &predictor, 0, 8, &heatmap));
    cr_expect(strstr(rig.err.message, "cudaGraphLaunch"), "%s", rig.err.message);
    predictor_release(&predictor);
    rig_release(&rig);
}
