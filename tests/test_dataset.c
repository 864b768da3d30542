/* Packs and slides give the same windows; errors name what is missing or out of date. */
#include "micromet/data/dataset.h"

#include <unistd.h>

#include "temporary.h"
#include "tiny_slide.h"

#define FOLDER .init = temporary_begin, .fini = temporary_end

enum { SLIDES = 3 };
static const struct tiny_level slide_levels[] = { { 900, 700 }, { 300, 233 } };
static const struct tiny_level mask_levels[] = { { 900, 700 } };

static void tumor(const void *context, int level, int x, int y, uint8_t *pixel)
{
    const int left = *(const int *)context;
    (void)level;
    pixel[0] = x >= left && x < left + 200 && y >= 300 && y < 420 ? 255 : 0;
}

/* Three tumour slides for training, one normal slide for validation. */
static struct manifest make_files(struct config *config)
{
    struct manifest manifest;
    struct error err = { 0 };
    char csv[1024] = "slide,annotation,label,split\n";
    for (int i = 0; i < SLIDES; i++) {
        const int left = 100 + 150 * i;
        char slide[32], mask[32], line[128];
        snprintf(slide, sizeof slide, "s%d.tif", i);
        snprintf(mask, sizeof mask, "m%d.tif", i);
        snprintf(line, sizeof line, "%s,%s,tumor,train\n", slide, mask);
        tiny_write(temporary_path(slide), slide_levels, 2, 3, tiny_tissue, NULL);
        tiny_write(temporary_path(mask), mask_levels, 1, 1, tumor, &left);
        strcat(csv, line);
    }
    tiny_write(temporary_path("n.tif"), slide_levels, 2, 3, tiny_tissue, NULL);
    strcat(csv, "n.tif,,normal,validation\n");
    temporary_write("slides.csv", csv, strlen(csv));
    cr_assert(manifest_load(&manifest, temporary_path("slides.csv"), &err), "%s", err.message);

    config_defaults(config);
    config->compute.threads = 2;
    config->data.levels[0] = 0;
    config->data.levels[1] = 1;
    config->data.level_count = 2;
    config->data.window = 80;
    config->data.center = 50;
    config->data.stride = 37;
    config->data.origin[0] = config->data.origin[1] = -1;
    config->data.normals_per_tumor = 2;
    config->data.max_tumor = 20;
    config->data.max_normal = 40;
    snprintf(config->data.pack, sizeof config->data.pack, "%s", temporary_path("packs"));
    return manifest;
}

static void prepare(const struct config *config, const struct manifest *manifest)
{
    const struct select_options options = { .threads = 2 };
    struct pack_header header;
    struct error err = { 0 };
    for (int i = 0; i < manifest->count; i++)
        cr_assert(pack_build(&manifest->rows[i], config, &options, &header, &err), "%s",
                  err.message);
}

static void check_same_pixels(const struct dataset *packs, const struct dataset *slides,
                              size_t cache_bytes)
{
    static uint8_t memory[4][80 * 80 * 3];
    uint8_t *const a[TOWERS_MAX] = { memory[0], memory[1] };
    uint8_t *const b[TOWERS_MAX] = { memory[2], memory[3] };
    struct dataset_reader *from_packs, *from_slides;
    struct error err = { 0 };
    cr_assert(dataset_reader_init(&from_packs, packs, cache_bytes, &err));
    cr_assert(dataset_reader_init(&from_slides, slides, cache_bytes, &err));
    for (int64_t k = 0; k < packs->count; k++) {
        const int slide = (int)(k % packs->slide_count); /* jumps between slides */
        const int64_t window = k * 7 % packs->slides[slide].count;
        cr_assert(dataset_read(from_packs, slide, window, a, &err), "%s", err.message);
        cr_assert(dataset_read(from_slides, slide, window, b, &err), "%s", err.message);
        cr_assert_arr_eq(memory[0], memory[2], sizeof memory[0]);
        cr_assert_arr_eq(memory[1], memory[3], sizeof memory[1]);
        cr_assert(memcmp(memory[0], memory[1], sizeof memory[0]));
    }
    dataset_reader_release(from_packs);
    dataset_reader_release(from_slides);
}

Test(dataset, packs_and_slides_give_the_same_windows_in_the_same_order, FOLDER)
{
    struct config config;
    struct manifest manifest = make_files(&config);
    struct dataset packs, slides;
    struct error err = { 0 };
    int bad;
    prepare(&config, &manifest);
    config.data.source = DATA_SOURCE_PACKS;
    cr_assert(dataset_init(&packs, &config, &manifest, SPLIT_TRAIN, &bad, &err), "%s", err.message);
    cr_assert_eq(bad, 0);
    config.data.source = DATA_SOURCE_SLIDES;
    cr_assert(dataset_init(&slides, &config, &manifest, SPLIT_TRAIN, &bad, &err), "%s",
              err.message);
    cr_assert_eq(bad, 0);

    cr_assert_eq(packs.slide_count, SLIDES);
    cr_assert_eq(slides.slide_count, SLIDES);
    cr_assert_eq(packs.count, SLIDES * (20 + 40));
    cr_assert_eq(packs.tumor_count, SLIDES * 20);
    cr_assert_eq(slides.count, packs.count);
    cr_assert_eq(slides.tumor_count, packs.tumor_count);
    for (int i = 0; i < SLIDES; i++) {
        const struct dataset_slide *a = &packs.slides[i], *b = &slides.slides[i];
        cr_assert_eq(a->count, b->count);
        cr_assert_eq(memcmp(a->windows, b->windows, (size_t)a->count * sizeof *a->windows), 0);
        cr_assert_eq(memcmp(a->downsamples, b->downsamples, sizeof a->downsamples), 0);
        cr_assert_eq(a->mpp[0], b->mpp[0]);
        for (int64_t k = 1; k < a->count; k++) /* raster order */
            cr_assert(a->windows[k - 1].y_level0 < a->windows[k].y_level0 ||
                      (a->windows[k - 1].y_level0 == a->windows[k].y_level0 &&
                       a->windows[k - 1].x_level0 < a->windows[k].x_level0));
    }
    check_same_pixels(&packs, &slides, 64 << 20);
    check_same_pixels(&packs, &slides, 1); /* one slide at a time, no room for blocks */
    dataset_release(&packs);
    dataset_release(&slides);
    manifest_release(&manifest);
}

Test(dataset, opens_only_its_split_and_needs_no_slides_for_packs, FOLDER)
{
    struct config config;
    struct manifest manifest = make_files(&config);
    struct dataset dataset;
    struct error err = { 0 };
    int bad;
    prepare(&config, &manifest);
    unlink(temporary_path("n.tif"));
    cr_assert(dataset_init(&dataset, &config, &manifest, SPLIT_VALIDATION, &bad, &err));
    cr_assert_eq(dataset.slide_count, 1);
    cr_assert_eq(dataset.count, 40);
    cr_assert_eq(dataset.tumor_count, 0);
    dataset_release(&dataset);
    cr_assert_not(dataset_init(&dataset, &config, &manifest, SPLIT_TEST, &bad, &err));
    cr_assert_not_null(strstr(err.message, "names no test slide"), "%s", err.message);
    manifest_release(&manifest);
}

Test(dataset, a_missing_or_stale_pack_asks_for_prepare, FOLDER)
{
    struct config config;
    struct manifest manifest = make_files(&config);
    struct dataset dataset;
    struct error err = { 0 };
    int bad;
    prepare(&config, &manifest);
    config.data.stride++;
    cr_assert_not(dataset_init(&dataset, &config, &manifest, SPLIT_TRAIN, &bad, &err));
    cr_assert_not_null(strstr(err.message, "packs/s0.pack: was made with another value of "
                                           "data.stride; run `micromet prepare`"));
    config.data.stride--;
    error_clear(&err);
    unlink(temporary_path("packs/s1.pack"));
    cr_assert_not(dataset_init(&dataset, &config, &manifest, SPLIT_TRAIN, &bad, &err));
    cr_assert_not_null(strstr(err.message, "packs/s1.pack: no such pack; run `micromet prepare`"));
    manifest_release(&manifest);
}

Test(dataset, bad_slides_are_counted_and_the_others_used, FOLDER)
{
    struct config config;
    struct manifest manifest = make_files(&config);
    struct dataset dataset;
    struct error err = { 0 };
    int bad;
    config.data.source = DATA_SOURCE_SLIDES;
    temporary_write("s1.tif", "no slide", 8);
    cr_assert(dataset_init(&dataset, &config, &manifest, SPLIT_TRAIN, &bad, &err), "%s",
              err.message);
    cr_assert_eq(bad, 1);
    cr_assert_eq(dataset.slide_count, 2);
    cr_assert_str_eq(path_name(dataset.slides[1].row.slide), "s2.tif");
    dataset_release(&dataset);
    temporary_write("s0.tif", "no slide", 8);
    temporary_write("s2.tif", "no slide", 8);
    cr_assert_not(dataset_init(&dataset, &config, &manifest, SPLIT_TRAIN, &bad, &err));
    cr_assert_eq(bad, 3);
    cr_assert_not_null(strstr(err.message, "none of the train slides can be used"), "%s",
                       err.message);
    manifest_release(&manifest);
}
