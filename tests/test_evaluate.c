/* Evaluation: metrics of given predictions against values computed by hand, the files written, and
 * which overrides are allowed. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/base/size.h"
#include "micromet/run/evaluate.h"
#include "temporary.h"

static const int64_t no_background[2] = { 0, 0 };

/* A slide of `count` windows; window i is centred at (10*i, 7). */
static void add(struct evaluation *e, const char *path, int label, const float *probabilities,
                const uint8_t *labels, int64_t count, const int64_t background[2])
{
    struct window windows[16] = { { 0 } };
    struct error err = { 0 };
    cr_assert_leq(count, 16);
    for (int i = 0; i < count; i++)
        windows[i] = (struct window) { .x_level0 = 10 * i, .y_level0 = 7, .label = labels[i] };
    cr_assert(evaluation_add(e, path, label, windows, probabilities, count, background, &err), "%s",
              err.message);
}

/* A tumour slide of four windows and a normal one of three. */
static struct evaluation two_slides(double threshold, const int64_t background[2])
{
    static const float tumor[] = { 0.9f, 0.4f, 0.6f, 0.1f };
    static const uint8_t tumor_labels[] = { 1, 1, 0, 0 };
    static const float normal[] = { 0.2f, 0.7f, 0.3f };
    static const uint8_t normal_labels[] = { 0, 0, 0 };
    struct evaluation e;
    struct error err = { 0 };
    evaluation_init(&e, threshold);
    add(&e, "/slides/tumor.tif", 1, tumor, tumor_labels, 4, background);
    add(&e, "/slides/normal, old.tif", 0, normal, normal_labels, 3, no_background);
    cr_assert(evaluation_finish(&e, &err), "%s", err.message);
    return e;
}

static void expect_confusion(const struct evaluation_row *row, int64_t true_positive,
                             int64_t false_positive, int64_t true_negative, int64_t false_negative)
{
    cr_expect_eq(row->at.confusion.true_positive, true_positive);
    cr_expect_eq(row->at.confusion.false_positive, false_positive);
    cr_expect_eq(row->at.confusion.true_negative, true_negative);
    cr_expect_eq(row->at.confusion.false_negative, false_negative);
}

/* --- figures ---------------------------------------------------------------------------------- */

Test(evaluate, each_slide_is_measured_by_its_own_windows)
{
    struct evaluation e = two_slides(0.5, no_background);
    const struct evaluation_row *tumor = &e.slides[0].windows, *normal = &e.slides[1].windows;
    cr_assert_eq(e.slide_count, 2);
    cr_expect_eq(tumor->count, 4);
    cr_expect_eq(tumor->tumor_count, 2);
    expect_confusion(tumor, 1, 1, 1, 1);
    cr_expect_eq(tumor->auc, 0.75); /* 0.9 beats both, 0.4 beats 0.1 alone */
    cr_expect_float_eq(tumor->average_precision, (1 + 2.0 / 3) / 2, 1e-12);
    cr_expect_eq(normal->count, 3);
    expect_confusion(normal, 0, 1, 2, 0);
    cr_expect(isnan(normal->auc) && isnan(normal->average_precision));
    cr_expect(isnan(normal->at.sensitivity));
    cr_expect_float_eq(normal->at.specificity, 2.0 / 3, 1e-12);
    evaluation_release(&e);
}

Test(evaluate, overall_pools_the_windows_of_all_slides)
{
    struct evaluation e = two_slides(0.5, no_background);
    cr_expect_eq(e.overall.count, 7);
    cr_expect_eq(e.overall.tumor_count, 2);
    expect_confusion(&e.overall, 1, 2, 3, 1);
    /* tumour 0.9 beats 5 of 5; 0.4 beats 0.1, 0.2 and 0.3 */
    cr_expect_float_eq(e.overall.auc, 8.0 / 10, 1e-12);
    cr_expect_float_eq(e.overall.average_precision, (1 + 2.0 / 4) / 2, 1e-12);
    cr_expect_float_eq(e.overall.at.precision, 1.0 / 3, 1e-12);
    cr_expect_float_eq(e.overall.at.accuracy, 4.0 / 7, 1e-12);
    evaluation_release(&e);
}

Test(evaluate, a_single_input_is_compared_window_by_window)
{
    static const float single[] = { 0.8f, 0.6f, 0.45f, 0.1f, 0.2f, 0.9f, 0.3f };
    struct evaluation e = two_slides(0.5, no_background);
    struct error err = { 0 };
    cr_assert(evaluation_compare_single(&e, single, 160, true, &err), "%s", err.message);
    const struct single_comparison *s = &e.single;
    cr_expect(s->measured && s->side == 160);
    cr_expect_eq(s->flipped, 2); /* 0.4 to 0.6, and 0.6 to 0.45 */
    cr_expect_float_eq(s->mean_difference, (0.1 + 0.2 + 0.15 + 0.2) / 7, 1e-7);
    cr_expect_float_eq(s->max_difference, 0.2, 1e-7);
    cr_expect_float_eq(s->row.auc, 8.0 / 10, 1e-12); /* both beat all but 0.9 */
    expect_confusion(&s->row, 2, 1, 4, 0);
    cr_expect_eq(s->own.at.threshold, 0.6f); /* finds both tumour windows, and 0.9 */
    expect_confusion(&s->own, 2, 1, 4, 0);
    cr_assert(evaluation_compare_single(&e, single, 160, false, &err), "%s", err.message);
    cr_expect(isnan(e.single.own.at.threshold), "only validation chooses a threshold");
    evaluation_release(&e);
}

Test(evaluate, background_counts_as_probability_zero)
{
    struct evaluation e = two_slides(0.5, (const int64_t[]) { 3, 1 });
    const struct evaluation_row *all = &e.slides[0].with_background;
    cr_expect_eq(e.slides[0].windows.count, 4);
    cr_expect_eq(all->count, 8);
    cr_expect_eq(all->tumor_count, 3);
    expect_confusion(all, 1, 1, 4, 2);
    /* of 15 pairs: 0.9 wins 5, 0.4 wins 4, background tumour ties with 3 at zero */
    cr_expect_float_eq(all->auc, (5 + 4 + 1.5) / 15, 1e-12);
    cr_expect_eq(e.overall.count, 7);
    cr_expect_eq(e.overall_with_background.count, 11);
    expect_confusion(&e.overall_with_background, 1, 2, 6, 2);
    evaluation_release(&e);
}

Test(evaluate, without_background_both_rows_are_the_same)
{
    struct evaluation e = two_slides(0.5, no_background);
    cr_expect_eq(e.overall.auc, e.overall_with_background.auc);
    cr_expect_eq(e.overall.count, e.overall_with_background.count);
    evaluation_release(&e);
}

Test(evaluate, a_window_at_the_threshold_is_tumor)
{
    struct evaluation e = two_slides(0.6f, no_background);
    expect_confusion(&e.slides[0].windows, 1, 1, 1, 1);
    evaluation_release(&e);
    e = two_slides(nextafter(0.6f, 1), no_background);
    expect_confusion(&e.slides[0].windows, 1, 0, 2, 1);
    evaluation_release(&e);
}

Test(evaluate, slides_are_ranked_by_their_largest_probability)
{
    struct evaluation e = two_slides(0.5, no_background);
    cr_expect_eq((float)e.slides[0].score, 0.9f);
    cr_expect_eq((float)e.slides[1].score, 0.7f);
    cr_expect_eq(e.slide_auc, 1);
    evaluation_release(&e);
}

Test(evaluate, slides_of_one_kind_have_no_slide_auc)
{
    struct evaluation e;
    struct error err = { 0 };
    evaluation_init(&e, 0.5);
    add(&e, "a.tif", 1, (const float[]) { 0.9f, 0.1f }, (const uint8_t[]) { 1, 0 }, 2,
        no_background);
    cr_assert(evaluation_finish(&e, &err));
    cr_expect(isnan(e.slide_auc));
    cr_expect_eq(e.overall.auc, 1);
    evaluation_release(&e);
}

/* The slides of two_slides(), and one without tissue. */
static struct evaluation three_slides(int label)
{
    struct evaluation e = two_slides(0.5, (const int64_t[]) { 3, 1 });
    struct error err = { 0 };
    add(&e, "empty.tif", label, NULL, NULL, 0, (const int64_t[]) { 9, 2 });
    cr_assert(evaluation_finish(&e, &err), "%s", err.message);
    return e;
}

Test(evaluate, a_slide_without_tissue_has_no_score_and_no_part_in_the_figures)
{
    for (int label = 0; label <= 1; label++) {
        struct evaluation e = three_slides(label);
        cr_expect(isnan(e.slides[2].score));
        cr_expect_eq(e.slides[2].windows.count, 0);
        expect_confusion(&e.slides[2].with_background, 0, 0, 9, 2);
        cr_expect_eq(e.unscored_slides, 1);
        cr_expect_eq(e.slide_auc, 1);
        cr_expect_eq(e.overall.count, 7);
        cr_expect_eq(e.overall_with_background.count, 11);
        evaluation_release(&e);
    }
}

Test(evaluate, slides_without_tissue_alone_have_no_figures)
{
    struct evaluation e;
    struct error err = { 0 };
    evaluation_init(&e, 0.5);
    add(&e, "a.tif", 0, NULL, NULL, 0, (const int64_t[]) { 9, 0 });
    add(&e, "b.tif", 1, NULL, NULL, 0, (const int64_t[]) { 9, 1 });
    cr_assert(evaluation_finish(&e, &err), "%s", err.message);
    cr_expect_eq(e.unscored_slides, 2);
    cr_expect(isnan(e.slide_auc) && isnan(e.overall.auc));
    cr_expect(isnan(e.overall_with_background.at.accuracy));
    evaluation_release(&e);
}

Test(evaluate, a_threshold_for_slides_is_chosen_from_their_scores)
{
    struct evaluation e = three_slides(1);
    struct error err = { 0 };
    cr_expect(isnan(e.slide_threshold), "only where it is asked for");
    cr_assert(evaluation_choose_slide_threshold(&e, &err), "%s", err.message);
    cr_expect_gt(e.slide_threshold, 0.7f); /* the normal slide's score */
    cr_expect_leq(e.slide_threshold, 0.9f);
    evaluation_release(&e);
}

Test(evaluate, without_a_stored_threshold_half_is_used_and_said)
{
    struct evaluation e = two_slides(NAN, no_background);
    cr_expect_eq(e.threshold, 0.5);
    cr_expect(!e.threshold_stored);
    expect_confusion(&e.overall, 1, 2, 3, 1);
    evaluation_release(&e);
    e = two_slides(0.65, no_background);
    cr_expect(e.threshold_stored);
    expect_confusion(&e.overall, 1, 1, 4, 1);
    evaluation_release(&e);
}

Test(evaluate, a_probability_that_is_nan_is_refused_with_the_slide)
{
    struct evaluation e;
    struct error err = { 0 };
    evaluation_init(&e, 0.5);
    add(&e, "a.tif", 0, (const float[]) { 0.5f }, (const uint8_t[]) { 0 }, 1, no_background);
    add(&e, "b.tif", 0, (const float[]) { NAN }, (const uint8_t[]) { 0 }, 1, no_background);
    cr_assert(!evaluation_finish(&e, &err));
    cr_expect(strncmp(err.message, "b.tif: ", 7) == 0, "%s", err.message);
    evaluation_release(&e);
}

/* --- files ------------------------------------------------------------------------------------ */

static void make_checkpoint(struct checkpoint *checkpoint)
{
    *checkpoint = (struct checkpoint) { .path = "best.safetensors",
                                        .program = "micromet test",
                                        .state = { .step = 1234, .epoch = 5 } };
    config_defaults(&checkpoint->config);
    strcpy(checkpoint->config.data.manifest, "/slides/slides.csv");
}

static const struct evaluate_options windows_of_test = { .split = SPLIT_TEST, .orientations = 4 };
static const struct evaluate_options whole_slides = {
    .split = SPLIT_VALIDATION, .whole_slides = true, .orientations = 1, .stride = 128
};

static json_t *json_of(const struct evaluation *e, const struct evaluate_options *options)
{
    struct checkpoint checkpoint;
    make_checkpoint(&checkpoint);
    char *text = evaluation_json(e, &checkpoint, options);
    cr_assert(text);
    json_t *object = json_loads(text, 0, NULL);
    cr_assert(json_is_object(object));
    free(text);
    return object;
}

static const json_t *at(const json_t *object, const char *first, const char *second)
{
    object = json_object_get(object, first);
    return second ? json_object_get(object, second) : object;
}

static void expect_text(const json_t *value, const char *text)
{
    cr_assert(json_is_string(value));
    cr_expect_str_eq(json_string_value(value), text);
}

Test(evaluate, json_says_what_was_evaluated)
{
    struct evaluation e = two_slides(NAN, no_background);
    json_t *object = json_of(&e, &windows_of_test);
    expect_text(at(object, "checkpoint", NULL), "best.safetensors");
    expect_text(at(object, "program", NULL), "micromet test");
    expect_text(at(object, "manifest", NULL), "/slides/slides.csv");
    expect_text(at(object, "split", NULL), "test");
    expect_text(at(object, "windows_of", NULL), "packs");
    expect_text(at(object, "threshold_from", NULL), "default");
    cr_expect_eq(json_integer_value(at(object, "step", NULL)), 1234);
    cr_expect_eq(json_integer_value(at(object, "epoch", NULL)), 5);
    cr_expect_eq(json_integer_value(at(object, "stride", NULL)), 50);
    cr_expect_eq(json_integer_value(at(object, "orientations", NULL)), 4);
    cr_expect_eq(json_real_value(at(object, "threshold", NULL)), 0.5);
    cr_expect(!at(object, "with_background", NULL));
    json_decref(object);
    evaluation_release(&e);
}

Test(evaluate, json_holds_figures_and_null_for_what_is_undefined)
{
    struct evaluation e = two_slides(0.5, no_background);
    json_t *object = json_of(&e, &windows_of_test);
    const json_t *slides = at(object, "slides", NULL);
    const json_t *tumor = json_array_get(slides, 0), *normal = json_array_get(slides, 1);
    cr_assert_eq(json_array_size(slides), 2);
    expect_text(at(tumor, "slide", NULL), "/slides/tumor.tif");
    expect_text(at(tumor, "label", NULL), "tumor");
    expect_text(at(normal, "label", NULL), "normal");
    cr_expect_eq(json_real_value(at(tumor, "windows", "auc")), 0.75);
    cr_expect_eq(json_real_value(at(tumor, "windows", "recall")), 0.5);
    cr_expect_eq(json_integer_value(at(at(tumor, "windows", NULL), "confusion", "false_negative")),
                 1);
    cr_expect(json_is_null(at(normal, "windows", "auc")));
    cr_expect(json_is_null(at(normal, "windows", "sensitivity")));
    cr_expect_eq(json_integer_value(at(object, "windows", "count")), 7);
    cr_expect_float_eq(json_real_value(at(object, "windows", "auc")), 0.8, 1e-8);
    /* samples give no score of a slide */
    cr_expect_eq(json_real_value(at(object, "largest_of_samples_auc", NULL)), 1);
    cr_expect_float_eq(json_real_value(at(tumor, "largest_of_samples", NULL)), 0.9f, 1e-8);
    cr_expect_null(at(object, "slide_auc", NULL));
    cr_expect_null(at(tumor, "score", NULL));
    cr_expect_null(at(object, "slide_threshold", NULL));
    json_decref(object);
    evaluation_release(&e);
}

Test(evaluate, json_of_whole_slides_has_the_figures_with_background)
{
    struct evaluation e = two_slides(0.5, (const int64_t[]) { 3, 1 });
    json_t *object = json_of(&e, &whole_slides);
    expect_text(at(object, "windows_of", NULL), "whole_slides");
    expect_text(at(object, "threshold_from", NULL), "validation");
    cr_expect_eq(json_integer_value(at(object, "stride", NULL)), 128);
    cr_expect_eq(json_integer_value(at(object, "with_background", "count")), 11);
    cr_expect_eq(json_integer_value(at(object, "windows", "count")), 7);
    const json_t *tumor = json_array_get(at(object, "slides", NULL), 0);
    cr_expect_eq(json_integer_value(at(tumor, "with_background", "tumor")), 3);
    cr_expect_float_eq(json_real_value(at(tumor, "score", NULL)), 0.9f, 1e-8);
    cr_expect_eq(json_real_value(at(object, "slide_auc", NULL)), 1);
    cr_expect(json_is_null(at(object, "slide_threshold", NULL)));
    cr_expect_eq(json_integer_value(at(object, "slides_without_windows", NULL)), 0);
    json_decref(object);
    evaluation_release(&e);
}

Test(evaluate, json_gives_no_tissue_as_null_and_names_of_any_bytes)
{
    struct evaluation e = three_slides(0);
    struct error err = { 0 };
    add(&e, "/slides/gr\xf6sse \033[31m\n.tif", 0, NULL, NULL, 0, no_background);
    cr_assert(evaluation_finish(&e, &err), "%s", err.message);
    json_t *object = json_of(&e, &whole_slides);
    const json_t *slides = at(object, "slides", NULL);
    cr_expect(json_is_null(at(json_array_get(slides, 2), "score", NULL)));
    cr_expect_eq(json_integer_value(at(object, "slides_without_windows", NULL)), 2);
    expect_text(at(json_array_get(slides, 3), "slide", NULL), "/slides/gr\\xf6sse \033[31m\n.tif");
    json_decref(object);
    evaluation_release(&e);
}

Test(evaluate, the_table_shows_names_in_one_line_without_control_characters)
{
    struct evaluation e = three_slides(0);
    struct error err = { 0 };
    struct checkpoint checkpoint;
    char *text = NULL;
    size_t size = 0;
    add(&e, "/slides/\033[31m\n.tif", 0, NULL, NULL, 0, no_background);
    cr_assert(evaluation_finish(&e, &err), "%s", err.message);
    make_checkpoint(&checkpoint);
    FILE *stream = open_memstream(&text, &size);
    cr_assert(stream);
    evaluation_print(&e, &checkpoint, &whole_slides, stream);
    fclose(stream);
    cr_expect(strstr(text, "\n\\x1b[31m\\n.tif "), "%s", text);
    cr_expect(!strchr(text, '\033'));
    cr_expect(strstr(text, "no tissue, no score: 2 slides left out of all figures"), "%s", text);
    free(text);
    evaluation_release(&e);
}

Test(evaluate, table_has_a_line_for_each_slide_and_tells_the_threshold)
{
    struct evaluation e = two_slides(0.5, no_background);
    struct checkpoint checkpoint;
    char *text = NULL;
    size_t size = 0;
    make_checkpoint(&checkpoint);
    FILE *stream = open_memstream(&text, &size);
    cr_assert(stream);
    evaluation_print(&e, &checkpoint, &windows_of_test, stream);
    fclose(stream);
    static const char *const parts[] = {
        "step 1234, epoch 5; test slides",
        "threshold 0.5000, chosen on validation",
        "tumor.tif        tumor          4         2  0.7500  0.8333  0.5000  0.5000",
        "normal, old.tif  normal         3         0       -       -       -  0.6667",
        "overall: tumor 1 found, 1 missed; normal 2 flagged, 3 passed",
        "slides: AUC 1.0000",
    };
    for (size_t i = 0; i < COUNT_OF(parts); i++)
        cr_expect(strstr(text, parts[i]), "'%s' is not in\n%s", parts[i], text);
    free(text);
    evaluation_release(&e);
}

TestSuite(evaluate_files, .init = temporary_begin, .fini = temporary_end);

Test(evaluate_files, csv_lists_every_window_and_quotes_names_with_commas)
{
    struct evaluation e = two_slides(0.5, (const int64_t[]) { 3, 1 });
    struct checkpoint checkpoint;
    struct error err = { 0 };
    make_checkpoint(&checkpoint);
    cr_assert(evaluation_write(&e, &checkpoint, &whole_slides, temporary_path("out"), &err), "%s",
              err.message);
    char *csv = test_read(temporary_path("out/predictions.csv"));
    cr_expect_str_eq(csv, "slide,x_level0,y_level0,label,probability\n"
                          "tumor.tif,0,7,1,0.899999976\n"
                          "tumor.tif,10,7,1,0.400000006\n"
                          "tumor.tif,20,7,0,0.600000024\n"
                          "tumor.tif,30,7,0,0.100000001\n"
                          "\"normal, old.tif\",0,7,0,0.200000003\n"
                          "\"normal, old.tif\",10,7,0,0.699999988\n"
                          "\"normal, old.tif\",20,7,0,0.300000012\n");
    free(csv);
    evaluation_release(&e);
}

Test(evaluate_files, a_folder_holds_json_csv_and_two_curves)
{
    struct evaluation e = two_slides(0.5, no_background);
    struct checkpoint checkpoint;
    struct error err = { 0 };
    make_checkpoint(&checkpoint);
    cr_assert(evaluation_write(&e, &checkpoint, &windows_of_test, temporary_path("a/b"), &err),
              "%s", err.message);
    cr_expect_eq(test_folder_count(temporary_path("a/b")), 4);
    cr_expect(file_exists(temporary_path("a/b/roc.png")));
    cr_expect(file_exists(temporary_path("a/b/precision_recall.png")));
    char *expected = evaluation_json(&e, &checkpoint, &windows_of_test);
    char *written = test_read(temporary_path("a/b/evaluation.json"));
    cr_expect_str_eq(written, expected);
    free(expected);
    free(written);
    evaluation_release(&e);
}

Test(evaluate_files, one_class_alone_still_gives_all_files)
{
    struct evaluation e;
    struct checkpoint checkpoint;
    struct error err = { 0 };
    make_checkpoint(&checkpoint);
    evaluation_init(&e, 0.5);
    add(&e, "n.tif", 0, (const float[]) { 0.9f, 0.1f }, (const uint8_t[]) { 0, 0 }, 2,
        no_background);
    cr_assert(evaluation_finish(&e, &err));
    cr_assert(evaluation_write(&e, &checkpoint, &windows_of_test, temporary_path("out"), &err),
              "%s", err.message);
    cr_expect_eq(test_folder_count(temporary_path("out")), 4);
    evaluation_release(&e);
}

/* --- overrides -------------------------------------------------------------------------------- */

static bool configure(const char *override, struct config *config, struct error *err)
{
    char text[256];
    char *const overrides[] = { text };
    snprintf(text, sizeof text, "%s", override);
    config_defaults(config);
    *err = (struct error) { 0 };
    return evaluation_configure(config, 1, overrides, err);
}

Test(evaluate, overrides_of_what_the_model_is_or_sees_are_refused)
{
    static const struct {
        const char *override, *message;
    } refused[] = {
        { "data.levels=[3, 4]",
          "data.levels: cannot be overridden here: the model knows its input" },
        { "data.levels=[2]", "data.levels: cannot be overridden here: the model knows its input" },
        { "data={window: 96}",
          "data.window: cannot be overridden here: the model knows its input" },
        { "model.dropout=0.5", "model.dropout: cannot be overridden here: the model is what it" },
        { "model={pool_padding: include}", "model.pool_padding: cannot be overridden here" },
        { "train.batch=3", "train.batch: cannot be overridden here: an evaluation does not train" },
        { "augment.hue=0.1", "augment.hue: cannot be overridden here: an evaluation does not aug" },
        { "data.wndow=80", "data.wndow: unknown key; did you mean data.window?" },
        { "data.stride=0", "data.stride: 0 is below 1" },
        { "data.center=81", "data.center: 81 is above data.window" },
    };
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        struct config config;
        struct error err;
        cr_expect(!configure(refused[i].override, &config, &err), "%s", refused[i].override);
        cr_expect_eq(err.code, EXIT_CODE_USAGE);
        cr_expect(strstr(err.message, refused[i].message), "'%s' instead of '%s'", err.message,
                  refused[i].message);
    }
}

Test(evaluate, overrides_of_data_reach_the_configuration)
{
    struct config config;
    struct error err;
    cr_expect(configure("data.manifest=/other/slides.csv", &config, &err), "%s", err.message);
    cr_expect_str_eq(config.data.manifest, "/other/slides.csv");
    cr_expect(configure("data={stride: 25, max_normal: 7}", &config, &err), "%s", err.message);
    cr_expect_eq(config.data.stride, 25);
    cr_expect_eq(config.data.max_normal, 7);
    cr_expect(configure("data.source=slides", &config, &err), "%s", err.message);
    cr_expect_eq(config.data.source, DATA_SOURCE_SLIDES);
}

Test(evaluate, an_override_with_the_stored_value_is_no_mismatch)
{
    struct config config;
    struct error err;
    cr_expect(configure("data.levels=[2,3]", &config, &err), "%s", err.message);
    cr_expect(configure("model={head: [256, 128], freeze: keras:150}", &config, &err), "%s",
              err.message);
}

Test(evaluate, differences_between_configurations_are_named_in_order)
{
    struct config a, b;
    int index = 0;
    config_defaults(&a);
    b = a;
    cr_expect_null(config_difference(&a, &b, &index));
    b.seed = 2;
    b.data.level_count = 1;
    b.optimizer.epsilon = nextafter(b.optimizer.epsilon, 1);
    index = 0;
    cr_expect_str_eq(config_difference(&a, &b, &index), "seed");
    cr_expect_str_eq(config_difference(&a, &b, &index), "data.levels");
    cr_expect_str_eq(config_difference(&a, &b, &index), "optimizer.epsilon");
    cr_expect_null(config_difference(&a, &b, &index));
}

Test(evaluate_files, a_folder_with_another_evaluation_is_refused_and_the_same_one_is_not)
{
    struct evaluation e = two_slides(0.5, no_background);
    struct evaluate_options options = windows_of_test;
    struct checkpoint checkpoint;
    struct error err = { 0 };
    char folder[PATH_MAX_BYTES];
    test_path(folder, temporary_folder, "out");
    make_checkpoint(&checkpoint);
    cr_assert(evaluation_check_outputs(&checkpoint, &options, folder, &err), "%s", err.message);
    cr_assert(evaluation_write(&e, &checkpoint, &options, folder, &err), "%s", err.message);
    checkpoint.state.step++;
    options.orientations = 1;
    cr_assert(evaluation_check_outputs(&checkpoint, &options, folder, &err), "%s", err.message);

    options.split = SPLIT_VALIDATION;
    cr_expect(!evaluation_check_outputs(&checkpoint, &options, folder, &err));
    cr_expect(strstr(err.message, "split is test there, and validation here"), "%s", err.message);
    options = windows_of_test;
    strcpy(checkpoint.path, "other.safetensors");
    err = (struct error) { 0 };
    cr_expect(!evaluation_check_outputs(&checkpoint, &options, folder, &err));
    cr_expect(strstr(err.message, "checkpoint is best.safetensors there"), "%s", err.message);
    evaluation_release(&e);
}
