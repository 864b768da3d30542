/* Which slides may be in one training, and which packs are of the files that are there. */
#include "micromet/data/survey.h"

#include <unistd.h>

#include "micromet/base/size.h"
#include "micromet/slide/scale.h"
#include "temporary.h"
#include "tiny_slide.h"

#define FOLDER .init = temporary_begin, .fini = temporary_end

Test(scale, the_first_of_row_override_slide_and_default_holds)
{
    const struct {
        double row, override, own, fallback, holds;
    } table[] = {
        { 0, 0, 0, 0, 0 },         { 0, 0, 0, 0.4, 0.4 },       { 0, 0, 0.3, 0.4, 0.3 },
        { 0, 0.2, 0.3, 0.4, 0.2 }, { 0.1, 0.2, 0.3, 0.4, 0.1 }, { 0.1, 0, 0.3, 0, 0.1 },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        const struct manifest_row row = { .mpp = table[i].row };
        const struct config_data data = { .mpp = table[i].fallback,
                                          .mpp_override = table[i].override };
        const double own[2] = { table[i].own, table[i].own };
        double mpp[2];
        scale_of_row(mpp, &row, &data, own);
        cr_expect_eq(mpp[0], table[i].holds, "row %zu", i);
        cr_expect_eq(mpp[1], table[i].holds, "row %zu", i);
    }
}

Test(scale, pixels_are_square_to_3_percent)
{
    cr_expect(scale_is_square(0.2425, 0.2426));
    cr_expect(scale_is_square(0.25, 0.2574));
    cr_expect_not(scale_is_square(0.25, 0.2576));
    cr_expect_not(scale_is_square(0.5, 0.25));
    cr_expect(scale_is_square(0, 0));
}

/* --- Comparing ------------------------------------------------------------------------------- */

enum { SLIDES = 3 };

/* Three slides of two towers, with 0.25 µm/px and downsamples 1 and 4, and different contents. */
struct three {
    struct manifest manifest;
    struct manifest_row rows[SLIDES];
    struct config config;
    struct pack_header facts[SLIDES];
    bool known[SLIDES];
};

static struct three *make_three(void)
{
    static const char *const names[SLIDES] = { "/s/a.tif", "/s/b.tif", "/s/c.tif" };
    struct three *three = calloc(1, sizeof *three);
    three->manifest = (struct manifest) { .path = "m.csv", .rows = three->rows, .count = SLIDES };
    three->config.data.level_count = 2;
    three->config.data.levels[1] = 2;
    for (int i = 0; i < SLIDES; i++) {
        strcpy(three->rows[i].slide, names[i]);
        three->rows[i].line = 2 + i;
        three->rows[i].split = (enum split)i;
        three->known[i] = true;
        three->facts[i].slide = (struct file_identity) { .bytes = 9, .hash = { 5, (uint64_t)i } };
        three->facts[i].mpp_own[0] = three->facts[i].mpp_own[1] = 0.25;
        three->facts[i].downsamples[0] = 1;
        three->facts[i].downsamples[1] = 4;
    }
    return three;
}

static void set_mpp(struct three *three, int slide, double mpp)
{
    three->facts[slide].mpp_own[0] = three->facts[slide].mpp_own[1] = mpp;
}

static void agree(struct three *three)
{
    struct error err = { 0 };
    cr_expect(survey_compare(&three->manifest, &three->config, three->facts, three->known, &err),
              "%s", err.message);
    free(three);
}

static void refused(struct three *three, const char *part)
{
    struct error err = { 0 };
    cr_expect_not(
        survey_compare(&three->manifest, &three->config, three->facts, three->known, &err));
    cr_expect_eq(err.code, EXIT_CODE_USAGE);
    cr_expect(strstr(err.message, part), "\"%s\" has no \"%s\"", err.message, part);
    free(three);
}

Test(survey, a_tower_has_one_scale_to_10_percent)
{
    struct three *three = make_three();
    set_mpp(three, 2, 0.274);
    agree(three);

    three = make_three();
    set_mpp(three, 2, 0.276);
    refused(three, "m.csv: level 0 has 0.25 µm/px in a.tif (line 2) and 0.276 µm/px in c.tif (line "
                   "4)");

    three = make_three(); /* ×1 ×2 and ×1 ×4 */
    three->facts[1].downsamples[1] = 2;
    refused(three, "level 2 has 0.5 µm/px in b.tif (line 3) and 1 µm/px in a.tif (line 2)");

    three = make_three(); /* another scanner, the same scale at the level that is used */
    three->config.data.level_count = 1;
    set_mpp(three, 1, 0.5);
    for (int i = 0; i < SLIDES; i++) three->facts[i].downsamples[0] = i == 1 ? 2 : 4;
    agree(three);
}

Test(survey, a_slide_that_could_not_be_opened_is_not_compared)
{
    struct three *three = make_three();
    set_mpp(three, 1, 5);
    three->facts[1].slide = three->facts[0].slide;
    three->known[1] = false;
    agree(three);
}

Test(survey, slides_that_say_their_scale_do_not_mix_with_slides_that_do_not)
{
    struct three *three = make_three();
    set_mpp(three, 1, 0);
    refused(three, "a.tif (line 2) says how many µm a pixel has, b.tif (line 3) does not");

    three = make_three();
    set_mpp(three, 1, 0);
    three->config.data.mpp = 0.26;
    agree(three);

    three = make_three();
    set_mpp(three, 1, 0);
    three->rows[1].mpp = 0.5;
    refused(three, "level 0 has 0.25 µm/px in a.tif (line 2) and 0.5 µm/px in b.tif (line 3)");

    three = make_three();
    set_mpp(three, 1, 7);
    three->config.data.mpp_override = 0.5;
    agree(three);
}

Test(survey, where_none_says_it_downsamples_are_compared)
{
    struct three *three = make_three();
    for (int i = 0; i < SLIDES; i++) set_mpp(three, i, 0);
    three->facts[1].downsamples[1] = 4.0000963;
    agree(three);

    three = make_three();
    for (int i = 0; i < SLIDES; i++) set_mpp(three, i, 0);
    three->facts[1].downsamples[1] = 2;
    refused(three, "level 2 has 2 as its downsample in b.tif (line 3) and 4 as its downsample in "
                   "a.tif (line 2)");
}

Test(survey, pixels_that_are_not_square_are_refused_unless_told)
{
    struct three *three = make_three();
    three->facts[2].mpp_own[1] = 0.5;
    refused(three, "m.csv:4: /s/c.tif has 0.25 x 0.5 µm/px, so its pixels are not square");
    three = make_three();
    three->facts[2].mpp_own[1] = 0.5;
    three->rows[2].mpp = 0.25;
    agree(three);
}

Test(survey, the_same_content_is_refused_whatever_its_name)
{
    struct three *three = make_three();
    three->facts[2].slide = three->facts[0].slide;
    three->facts[2].slide.mtime_ns = 77;
    refused(three,
            "m.csv: lines 2 (train) and 4 (test): a.tif and c.tif hold the same slide, in two "
            "splits");
    three = make_three();
    three->facts[2].slide = three->facts[0].slide;
    three->rows[2].split = SPLIT_TRAIN;
    refused(three, "a.tif and c.tif hold the same slide; leave one out");
    three = make_three();
    three->facts[2].slide = three->facts[0].slide;
    three->facts[2].slide.bytes++;
    agree(three);

    three = make_three();
    three->facts[1].picture_hash = three->facts[2].picture_hash = 9;
    refused(three, "lines 3 (validation) and 4 (test): b.tif and c.tif are other files, but show "
                   "the same slide, in two splits");
    three = make_three(); /* which one is a copy of which, if any, nobody can tell */
    three->facts[1].picture_hash = three->facts[2].picture_hash = 9;
    three->facts[2].mpp_own[0] = three->facts[2].mpp_own[1] = 0.26;
    agree(three);
}

/* --- Packs ------------------------------------------------------------------------------------ */

static const struct tiny_level level[] = { { 300, 200 } };

static void tumor(const void *context, int level_index, int x, int y, uint8_t *pixel)
{
    (void)context, (void)level_index;
    pixel[0] = x >= 60 && x < 160 && y >= 50 && y < 150;
}

static void others(const void *context, int level_index, int x, int y, uint8_t *pixel)
{
    tiny_tissue(context, level_index + *(const int *)context, x, y, pixel);
    if (x < 150)
        for (int i = 0; i < 3; i++) pixel[i] /= 2; /* so that it looks like something */
}

/* t.tif for training, n.tif for validation, v.tif for tests, and the packs of the first two. */
static struct manifest make_packs(struct config *config)
{
    static const char csv[] = "slide,annotation,label,split\nt.tif,m.tif,tumor,train\n"
                              "n.tif,,normal,validation\nv.tif,,normal,test\n";
    static const char *const names[] = { "t.tif", "n.tif", "v.tif" };
    const struct select_options options = { .threads = 1 };
    struct manifest manifest;
    struct pack_header header;
    struct error err = { 0 };
    for (int i = 0; i < 3; i++) tiny_write(temporary_path(names[i]), level, 1, 3, others, &i);
    tiny_write(temporary_path("m.tif"), level, 1, 1, tumor, NULL);
    temporary_write("slides.csv", csv, sizeof csv - 1);
    cr_assert(manifest_load(&manifest, temporary_path("slides.csv"), &err), "%s", err.message);
    config_defaults(config);
    config->compute.threads = 2;
    config->data.level_count = 1;
    config->data.levels[0] = 0;
    snprintf(config->data.pack, sizeof config->data.pack, "%s", temporary_path("packs"));
    for (int i = 0; i < 2; i++)
        cr_assert(pack_build(&manifest.rows[i], config, &options, &header, &err), "%s",
                  err.message);
    return manifest;
}

static void training_refused(const struct manifest *manifest, const struct config *config,
                             enum exit_code code, const char *part)
{
    struct error err = { 0 };
    cr_expect_not(survey_training(manifest, config, &err));
    cr_expect_eq(err.code, code);
    cr_expect(strstr(err.message, part), "\"%s\" has no \"%s\"", err.message, part);
}

Test(survey, packs_of_other_files_are_refused, FOLDER)
{
    struct config config;
    struct manifest manifest = make_packs(&config);
    struct error err = { 0 };
    const int another = 9, first = 0;
    cr_assert(survey_training(&manifest, &config, &err), "%s", err.message);

    tiny_write(temporary_path("t.tif"), level, 1, 3, others, &another); /* of the same size */
    training_refused(&manifest, &config, EXIT_CODE_FAILED,
                     "/t.tif: is another file than its pack in");
    cr_expect(survey_packs(&manifest, &config, SPLIT_VALIDATION, &err), "%s", err.message);
    cr_expect_not(survey_packs(&manifest, &config, SPLIT_TRAIN, &err));

    tiny_write(temporary_path("t.tif"), level, 1, 3, others, &first);
    tiny_write(temporary_path("m.tif"), level, 1, 1, tiny_dot, (const int[2]) { 5, 5 });
    training_refused(&manifest, &config, EXIT_CODE_FAILED, "/m.tif: is another file than its pack");
    temporary_write("t.tif", "", 0);
    training_refused(&manifest, &config, EXIT_CODE_FAILED, "/t.tif: is another file than its pack");
    unlink(temporary_path("m.tif")); /* packs alone are enough */
    unlink(temporary_path("t.tif"));
    unlink(temporary_path("v.tif"));
    cr_expect(survey_training(&manifest, &config, &(struct error) { 0 }));
    manifest_release(&manifest);
}

Test(survey, a_test_slide_without_a_pack_is_compared_by_its_own_header, FOLDER)
{
    struct config config;
    struct manifest manifest = make_packs(&config);
    const int first = 0, another = 9;
    tiny_write(temporary_path("v.tif"), level, 1, 3, others, &first); /* a copy of t.tif */
    training_refused(&manifest, &config, EXIT_CODE_USAGE,
                     "lines 2 (train) and 4 (test): t.tif and v.tif hold the same slide");
    config.data.source = DATA_SOURCE_SLIDES;
    training_refused(&manifest, &config, EXIT_CODE_USAGE, "t.tif and v.tif hold the same slide");
    manifest.rows[2].mpp = 0.5;
    tiny_write(temporary_path("v.tif"), level, 1, 3, others, &another);
    training_refused(&manifest, &config, EXIT_CODE_USAGE,
                     "v.tif (line 4) says how many µm a pixel has, t.tif (line 2) does not");
    manifest_release(&manifest);
}

/* Of 300 × 200 px, cut by (5, 3) px. */
static void cut(const void *context, int level_index, int x, int y, uint8_t *pixel)
{
    others(context, level_index, x + 5, y + 3, pixel);
}

Test(survey, a_copy_that_was_cut_is_refused_in_packs_and_slides, FOLDER)
{
    static const struct tiny_level smaller[] = { { 295, 197 } };
    struct config config;
    struct manifest manifest = make_packs(&config);
    struct error err = { 0 };
    const int first = 0;
    tiny_write(temporary_path("v.tif"), smaller, 1, 3, cut, &first);
    training_refused(&manifest, &config, EXIT_CODE_USAGE,
                     "lines 2 (train) and 4 (test): t.tif and v.tif are other files, but show the "
                     "same slide (of 9 spots of the one, 9 are in the other), in two splits");
    config.data.source = DATA_SOURCE_SLIDES;
    training_refused(&manifest, &config, EXIT_CODE_USAGE, "show the same slide (of 9 spots");
    manifest.count = 2; /* without it, the others may be used */
    cr_expect(survey_training(&manifest, &config, &err), "%s", err.message);
    manifest_release(&manifest);
}
