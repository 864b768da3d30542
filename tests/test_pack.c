/* Which windows are selected, the bytes of a pack, its reuse, and every way in
 * which a pack can be wrong. */
#include "micromet/slide/pack.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "micromet/base/random.h"
#include "micromet/base/size.h"
#include "micromet/slide/tissue.h"
#include "temporary.h"
#include "tiny_slide.h"

#define FOLDER .init = temporary_begin, .fini = temporary_end

enum { WIDTH = 1300, HEIGHT = 900 };
static const struct tiny_level slide_levels[] = { { WIDTH, HEIGHT }, { 433, 300 } };
static const struct tiny_level mask_levels[] = { { WIDTH / 2, HEIGHT / 2 } };

/* Tissue with white holes of all sizes. */
static void holes(const void *context, int level, int x, int y, uint8_t *pixel)
{
    const int step = level ? 30 : 90;
    tiny_tissue(context, level, x, y, pixel);
    if (tiny_hash(7, x / step, y / step) % 3 == 0) memset(pixel, 255, 3);
}

static void white(const void *context, int level, int x, int y, uint8_t *pixel)
{
    (void)context, (void)level, (void)x, (void)y;
    memset(pixel, 250, 3);
}

/* A tumour of 150×100 px of the mask. */
static void tumor(const void *context, int level, int x, int y, uint8_t *pixel)
{
    (void)context, (void)level;
    pixel[0] = x >= 200 && x < 350 && y >= 120 && y < 220;
}

static void empty(const void *context, int level, int x, int y, uint8_t *pixel)
{
    (void)context, (void)level, (void)x, (void)y;
    pixel[0] = 0;
}

static struct config make_config(void)
{
    struct config config;
    config_defaults(&config);
    config.seed = 11;
    config.data.levels[0] = 0;
    config.data.levels[1] = 1;
    config.data.level_count = 2;
    config.data.window = 80;
    config.data.center = 50;
    config.data.stride = 31;
    config.data.origin[0] = config.data.origin[1] = -1;
    config.data.mpp = 0;
    config.data.tissue.method = TISSUE_GRAY;
    config.data.tissue.threshold = 0.8;
    config.data.tissue.min_normal = 0.75;
    config.data.normals_per_tumor = 1;
    config.data.max_tumor = config.data.max_normal = 0;
    snprintf(config.data.pack, sizeof config.data.pack, "%s", temporary_path("packs"));
    return config;
}

static struct manifest_row make_row(const char *slide, const char *annotation, int label)
{
    struct manifest_row row = { .label = label, .line = 2 };
    snprintf(row.slide, sizeof row.slide, "%s", temporary_path(slide));
    if (*annotation)
        snprintf(row.annotation, sizeof row.annotation, "%s", temporary_path(annotation));
    return row;
}

static void write_files(void)
{
    tiny_write(temporary_path("a.tif"), slide_levels, 2, 3, holes, NULL);
    tiny_write(temporary_path("a_mask.tif"), mask_levels, 1, 1, tumor, NULL);
}

static struct pack_header build(const struct manifest_row *row, const struct config *config,
                                int threads, size_t cache_bytes)
{
    const struct select_options options = { .threads = threads, .cache_bytes = cache_bytes };
    struct pack_header header;
    struct error err = { 0 };
    cr_assert(pack_build(row, config, &options, &header, &err), "%s", err.message);
    return header;
}

static void build_fails(const struct manifest_row *row, const struct config *config,
                        const char *part)
{
    const struct select_options options = { .threads = 2 };
    struct pack_header header;
    struct error err = { 0 };
    cr_assert_not(pack_build(row, config, &options, &header, &err));
    cr_assert_eq(err.code, EXIT_CODE_FAILED);
    cr_assert_not_null(strstr(err.message, part), "\"%s\" has no \"%s\"", err.message, part);
    cr_assert_eq(err.message[0], '/', "no path before \"%s\"", err.message);
}

/* --- The choice ------------------------------------------------------------------------------ */

struct expected {
    int64_t index;
    uint64_t priority;
    float tissue;
};

static int by_priority(const void *a, const void *b)
{
    const struct expected *left = a, *right = b;
    return left->priority < right->priority ? -1 : left->priority > right->priority;
}

static int by_index(const void *a, const void *b)
{
    const struct expected *left = a, *right = b;
    return left->index < right->index ? -1 : left->index > right->index;
}

static uint64_t priority_of(uint64_t seed, const char *name, int64_t index)
{
    struct random random = random_init(seed ^ XXH3_64bits(name, strlen(name)), 0, (uint64_t)index,
                                       RANDOM_SELECT_NORMAL);
    const uint64_t high = random_u32(&random);
    return high << 32 | random_u32(&random);
}

/* Share of tissue, computed from the formula of the image. */
static float tissue_of(int64_t x0, int64_t y0)
{
    int count = 0;
    for (int y = 0; y < 80; y++)
        for (int x = 0; x < 80; x++) {
            uint8_t pixel[3];
            holes(NULL, 0, (int)x0 + x, (int)y0 + y, pixel);
            count += 0.2125 * pixel[0] + 0.7154 * pixel[1] + 0.0721 * pixel[2] <= 0.8 * 255;
        }
    return (float)count / 6400;
}

/* All candidate windows of `label`, by descending priority; level 0 alone, downsample 1. */
static int expect_class(const struct config *config, int label, struct expected *out)
{
    const int64_t stride = config->data.stride;
    const int64_t columns = (WIDTH - 80) / stride + 1, rows = (HEIGHT - 80) / stride + 1;
    int count = 0;
    for (int64_t i = 0; i < columns * rows; i++) {
        const int64_t x0 = i % columns * stride, y0 = i / columns * stride;
        /* the central square [x0 + 15, x0 + 65) against the tumour [400, 700) × [240, 440) */
        const int in = x0 + 65 > 400 && x0 + 15 < 700 && y0 + 65 > 240 && y0 + 15 < 440;
        const float tissue = tissue_of(x0, y0);
        if (in != label || (!label && tissue < 0.75f)) continue;
        out[count++] = (struct expected) { i, priority_of(config->seed, "a.tif", i), tissue };
    }
    qsort(out, (size_t)count, sizeof *out, by_priority);
    return count;
}

static void check_choice(const struct config *config, int64_t tumors_max, int64_t normals_max)
{
    static struct expected expected[4000];
    const struct manifest_row row = make_row("a.tif", "a_mask.tif", 1);
    struct pack pack;
    struct error err = { 0 };
    int tumors = expect_class(config, 1, expected);
    if (tumors_max && tumors > tumors_max) tumors = (int)tumors_max;
    int normals = expect_class(config, 0, expected + tumors);
    const int with_tissue = normals;
    cr_assert(normals > normals_max, "the test needs something to choose from");
    normals = (int)normals_max;
    qsort(expected, (size_t)(tumors + normals), sizeof *expected, by_index);

    const struct pack_header header = build(&row, config, 2, 0);
    cr_assert_eq(header.tumor_count, tumors);
    cr_assert_eq(header.count, tumors + normals);
    cr_assert_eq(header.tissue_windows, with_tissue);
    cr_assert(pack_open(&pack, temporary_path("packs/a.pack"), true, &err), "%s", err.message);
    const int64_t columns = header.grid_columns;
    for (int i = 0; i < tumors + normals; i++) {
        const struct window *window = &pack.windows[i];
        cr_assert_eq(window->x_level0, expected[i].index % columns * config->data.stride + 40);
        cr_assert_eq(window->y_level0, expected[i].index / columns * config->data.stride + 40);
        cr_assert_eq(window->tissue, expected[i].tissue);
    }
    pack_release(&pack);
}

Test(pack, keeps_all_tumour_and_the_seeded_share_of_normal_windows, FOLDER)
{
    struct config config = make_config();
    write_files();
    static struct expected expected[4000];
    const int tumors = expect_class(&config, 1, expected);
    cr_assert(tumors > 50);
    config.data.normals_per_tumor = 0.5;
    check_choice(&config, 0, (int64_t)rint(tumors * 0.5));
    config.seed = 12;
    check_choice(&config, 0, (int64_t)rint(tumors * 0.5));
}

Test(pack, caps_bound_both_classes, FOLDER)
{
    struct config config = make_config();
    write_files();
    config.data.max_tumor = 20;
    config.data.normals_per_tumor = 3;
    config.data.max_normal = 17;
    check_choice(&config, 20, 17);
    config.data.max_normal = 0;
    check_choice(&config, 20, 60); /* of those that are kept */
}

Test(pack, a_normal_slide_keeps_max_normal_or_all, FOLDER)
{
    struct config config = make_config();
    const struct manifest_row row = make_row("a.tif", "", 0);
    write_files();
    const struct pack_header all = build(&row, &config, 2, 0);
    cr_assert_eq(all.count, all.tissue_windows);
    cr_assert_eq(all.tumor_count, 0);
    config.data.max_normal = 33;
    const struct pack_header some = build(&row, &config, 2, 0);
    cr_assert_eq(some.count, 33);
    cr_assert_eq(some.tissue_windows, all.tissue_windows);
}

Test(pack, only_tumour_when_no_normal_windows_are_wanted, FOLDER)
{
    struct config config = make_config();
    const struct manifest_row row = make_row("a.tif", "a_mask.tif", 1);
    write_files();
    config.data.normals_per_tumor = 0;
    const struct pack_header header = build(&row, &config, 1, 0);
    cr_assert_gt(header.count, 50);
    cr_assert_eq(header.count, header.tumor_count);
}

/* --- Bytes ----------------------------------------------------------------------------------- */

Test(pack, bytes_do_not_depend_on_threads_or_cache, FOLDER)
{
    const struct config config = make_config();
    const struct manifest_row row = make_row("a.tif", "a_mask.tif", 1);
    size_t size, other_size;
    write_files();
    build(&row, &config, 1, 0);
    uint8_t *bytes = temporary_read("packs/a.pack", &size);
    const struct {
        int threads;
        size_t cache_bytes;
    } ways[] = { { 2, 0 }, { 5, 64 << 20 }, { 3, 1 } };
    for (size_t i = 0; i < COUNT_OF(ways); i++) {
        build(&row, &config, ways[i].threads, ways[i].cache_bytes);
        uint8_t *other = temporary_read("packs/a.pack", &other_size);
        cr_assert_eq(size, other_size);
        cr_assert_eq(memcmp(bytes, other, size), 0);
        free(other);
    }
    free(bytes);
}

Test(pack, holds_the_pixels_of_both_towers_around_each_center, FOLDER)
{
    const struct config config = make_config();
    const struct manifest_row row = make_row("a.tif", "a_mask.tif", 1);
    struct pack pack;
    struct error err = { 0 };
    write_files();
    build(&row, &config, 2, 0);
    cr_assert(pack_open(&pack, temporary_path("packs/a.pack"), true, &err), "%s", err.message);
    const double downsamples[] = { 1, (1300.0 / 433 + 3) / 2 };
    for (int64_t i = 0; i < pack.header.count; i += 7)
        for (int tower = 0; tower < 2; tower++) {
            const uint8_t *pixels = pack_pixels(&pack, i, tower);
            const int left = (int)lround(pack.windows[i].x_level0 / downsamples[tower]) - 40;
            const int top = (int)lround(pack.windows[i].y_level0 / downsamples[tower]) - 40;
            uint8_t expected[80 * 80 * 3];
            tiny_window(holes, tower, slide_levels[tower], left, top, 80, expected);
            cr_assert_eq(memcmp(pixels, expected, sizeof expected), 0);
        }
    cr_assert_float_eq(pack.header.downsamples[1], downsamples[1], 1e-12);
    pack_release(&pack);
}

/* --- Reuse ----------------------------------------------------------------------------------- */

static bool is_current(const struct manifest_row *row, const struct config *config)
{
    struct pack_state state;
    struct error err = { 0 };
    cr_assert(pack_current(row, config, &state, &err), "%s", err.message);
    cr_assert_eq(state.grid_windows, 40 * 27);
    return state.current;
}

static void made_again(const struct manifest_row *row, const struct config *config,
                       const char *part)
{
    struct pack_state state;
    struct error err = { 0 };
    cr_assert(pack_current(row, config, &state, &err), "%s", err.message);
    cr_assert_not(state.current);
    cr_assert(strstr(state.reason, part), "\"%s\" has no \"%s\"", state.reason, part);
}

Test(pack, is_reused_only_while_nothing_that_shaped_it_changed, FOLDER)
{
    const struct config config = make_config();
    const struct manifest_row row = make_row("a.tif", "a_mask.tif", 1);
    write_files();
    cr_assert_not(is_current(&row, &config));
    const struct pack_header header = build(&row, &config, 2, 0);
    cr_assert(is_current(&row, &config));

    struct config other = config;
    other.data.tissue.min_normal = 0.5;
    cr_assert_not(is_current(&row, &other));
    other = config;
    other.data.center = 40;
    cr_assert_not(is_current(&row, &other));
    other = config;
    other.data.mpp = 0.25;
    made_again(&row, &other, "the slide's µm/px has changed");
    other.data.mpp = 0;
    other.data.mpp_override = 0.25;
    made_again(&row, &other, "the slide's µm/px has changed");
    struct manifest_row told = row;
    told.mask_downsample = 2;
    made_again(&told, &config, "the manifest's mask_downsample has changed");
    struct pack_header want;
    struct error err = { 0 };
    other = config;
    other.seed++;
    cr_assert(pack_header_expected(&row, &other, NULL, &want, &err));
    cr_assert_str_eq(pack_difference(&header, &want), "seed");
    other.seed--;
    other.data.levels[1] = 0;
    cr_assert(pack_header_expected(&row, &other, NULL, &want, &err));
    cr_assert_str_eq(pack_difference(&header, &want), "data.levels");
    cr_assert(pack_header_expected(&row, &config, NULL, &want, &err));
    cr_assert_null(pack_difference(&header, &want));

    const int dot[2] = { 300, 200 };
    tiny_write(temporary_path("a_mask.tif"), mask_levels, 1, 1, tiny_dot, dot);
    made_again(&row, &config, "the annotation's content has changed"); /* same name and size */
}

Test(pack, of_a_copy_is_reused, FOLDER)
{
    const struct config config = make_config();
    const struct manifest_row row = make_row("a.tif", "a_mask.tif", 1);
    const struct timespec times[2] = { { .tv_sec = 1 }, { .tv_sec = 2 } };
    struct pack_state state;
    struct error err = { 0 };
    write_files();
    build(&row, &config, 2, 0);
    cr_assert_eq(utimensat(AT_FDCWD, row.slide, times, 0), 0);
    cr_assert(pack_current(&row, &config, &state, &err), "%s", err.message);
    cr_assert(state.current);
    cr_assert_not(state.doubtful); /* so small a file is compared as a whole */
}

Test(pack, of_a_changed_slide_is_not_reused, FOLDER)
{
    const struct config config = make_config();
    const struct manifest_row row = make_row("a.tif", "", 0);
    write_files();
    build(&row, &config, 2, 0);
    cr_assert(is_current(&row, &config));
    tiny_write(temporary_path("a.tif"), slide_levels, 2, 3, tiny_tissue, NULL);
    made_again(&row, &config, "the slide's content has changed"); /* the size has not */
}

/* What OpenSlide's own hash of a slide cannot see: it takes the smallest level. */
static void others_in_level_0(const void *context, int level, int x, int y, uint8_t *pixel)
{
    holes(context, level, x, y, pixel);
    if (level == 0 && x < 64 && y < 64) pixel[0] ^= 1;
}

Test(pack, of_a_slide_with_another_finest_level_is_not_reused, FOLDER)
{
    const struct config config = make_config();
    const struct manifest_row row = make_row("a.tif", "", 0);
    struct stat facts;
    struct slide before, after;
    struct error err = { 0 };
    write_files();
    build(&row, &config, 2, 0);
    cr_assert_eq(stat(row.slide, &facts), 0);
    cr_assert(slide_open(&before, row.slide, 0, &err), "%s", err.message);
    slide_release(&before);
    tiny_write(temporary_path("a.tif"), slide_levels, 2, 3, others_in_level_0, NULL);
    const struct timespec times[2] = { facts.st_atim, facts.st_mtim };
    cr_assert_eq(utimensat(AT_FDCWD, row.slide, times, 0), 0);
    cr_assert(slide_open(&after, row.slide, 0, &err), "%s", err.message);
    slide_release(&after);
    cr_assert_str_eq(before.quickhash, after.quickhash);
    made_again(&row, &config, "the slide's content has changed");
}

/* --- What goes wrong ------------------------------------------------------------------------- */

/* A pack with few windows, as packs/a.pack and as malloc'ed bytes to be corrupted. */
static uint8_t *build_small(struct pack_header *header, size_t *size)
{
    const struct manifest_row row = make_row("a.tif", "a_mask.tif", 1);
    struct config config = make_config();
    write_files();
    config.data.stride = 100;
    *header = build(&row, &config, 1, 0);
    return temporary_read("packs/a.pack", size);
}

static int count_unreadable(const struct pack *pack)
{
    static uint8_t pixels[80 * 80 * 3];
    int count = 0;
    for (int64_t i = 0; i < pack->header.count; i++)
        for (int tower = 0; tower < pack->header.tower_count; tower++) {
            struct error err = { 0 };
            if (pack_read(pack, i, tower, pixels, &err)) continue;
            cr_assert_not_null(strstr(err.message, "is damaged, its checksum does not fit"));
            count++;
        }
    return count;
}

Test(pack, a_flipped_bit_anywhere_is_found, FOLDER)
{
    size_t size;
    struct pack pack;
    struct pack_header header;
    uint8_t *bytes = build_small(&header, &size);
    const size_t pixels = pack_pixels_offset(&header);
    const struct {
        size_t at;
        bool found_unverified;
    } flips[] = {
        { 3, true }, /* magic */
        { offsetof(struct pack_header, version), true },
        { offsetof(struct pack_header, slide_name) + 1, true },
        { offsetof(struct pack_header, count), true },
        { offsetof(struct pack_header, table_hash), true },
        { offsetof(struct pack_header, header_hash) + 7, true },
        { 4000, true }, /* after the header */
        { 4096 + offsetof(struct window, label), true },
        { 4096 + offsetof(struct window, x_level0), true },
        { pixels - 1, true }, /* the gap after the table */
        { pixels, false },
        { size - 1, false },
    };
    for (size_t i = 0; i < COUNT_OF(flips); i++) {
        bytes[flips[i].at] ^= 1;
        temporary_write("packs/a.pack", bytes, size);
        bytes[flips[i].at] ^= 1;
        struct error err = { 0 };
        cr_assert_not(pack_open(&pack, temporary_path("packs/a.pack"), true, &err), "flip %zu", i);
        cr_assert_not_null(strstr(err.message, "packs/a.pack: "), "%s", err.message);
        error_clear(&err);
        cr_assert_eq(!pack_open(&pack, temporary_path("packs/a.pack"), false, &err),
                     flips[i].found_unverified, "flip %zu", i);
        if (!flips[i].found_unverified)
            cr_assert_eq(count_unreadable(&pack), 1, "flip %zu is found by who reads it", i);
        pack_release(&pack);
    }
    free(bytes);
}

Test(pack, a_file_that_is_cut_off_or_no_pack_is_refused, FOLDER)
{
    size_t size;
    struct pack pack;
    struct pack_header header;
    uint8_t *bytes = build_small(&header, &size);
    const struct {
        size_t size;
        const char *part;
    } cuts[] = { { size - 1, "cut off" },
                 { 5000, "cut off" },
                 { 4096, "cut off" },
                 { 4095, "is not a window pack" },
                 { 0, "is not a window pack" } };
    for (size_t i = 0; i < COUNT_OF(cuts); i++) {
        struct error err = { 0 };
        temporary_write("packs/a.pack", bytes, cuts[i].size);
        cr_assert_not(pack_open(&pack, temporary_path("packs/a.pack"), false, &err));
        cr_assert_not_null(strstr(err.message, cuts[i].part), "%s", err.message);
    }
    struct error err = { 0 };
    cr_assert_not(pack_open(&pack, temporary_path("none.pack"), false, &err));
    cr_assert_not_null(strstr(err.message, "none.pack: cannot be opened: No such file"));
    error_clear(&err);
    cr_assert_not(pack_open(&pack, temporary_path("packs"), false, &err));
    free(bytes);
}

/* Headers with a correct hash but wrong numbers. */
Test(pack, a_header_that_lies_is_refused, FOLDER)
{
    size_t size;
    struct pack pack;
    struct pack_header good;
    uint8_t *bytes = build_small(&good, &size);
    struct pack_header lies[6];
    for (int i = 0; i < 6; i++) lies[i] = good;
    lies[0].count = INT64_MAX;
    lies[1].count = -1;
    lies[2].tower_count = 5;
    lies[3].window = 1 << 30;
    lies[4].tumor_count++;
    memset(lies[5].slide_name, 'x', sizeof lies[5].slide_name);
    for (int i = 0; i < 6; i++) {
        struct error err = { 0 };
        lies[i].header_hash = XXH3_64bits(&lies[i], offsetof(struct pack_header, header_hash));
        memcpy(bytes, &lies[i], sizeof lies[i]);
        temporary_write("packs/a.pack", bytes, size);
        cr_assert_not(pack_open(&pack, temporary_path("packs/a.pack"), false, &err), "lie %d", i);
    }
    free(bytes);
}

Test(pack, a_full_disk_is_reported_and_leaves_nothing, FOLDER)
{
    const struct config config = make_config();
    const struct manifest_row row = make_row("a.tif", "a_mask.tif", 1);
    write_files();
    tiny_write(temporary_path("b.tif"), slide_levels, 2, 3, holes, NULL);
    const struct manifest_row earlier = make_row("b.tif", "a_mask.tif", 1);
    build(&earlier, &config, 1, 0);

    const struct rlimit small = { 1 << 20, 1 << 20 };
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    build_fails(&row, &config, "cannot be written: File too large");
    cr_assert_not(file_exists(temporary_path("packs/a.pack")));
    struct pack pack;
    struct error err = { 0 };
    cr_assert(pack_open(&pack, temporary_path("packs/b.pack"), true, &err), "%s", err.message);
    pack_release(&pack);
    cr_assert_eq(test_folder_count(temporary_path("packs")), 1);
}

Test(pack, slides_and_labels_that_contradict_each_other_are_refused, FOLDER)
{
    struct config config = make_config();
    write_files();
    tiny_write(temporary_path("empty_mask.tif"), mask_levels, 1, 1, empty, NULL);
    struct manifest_row row = make_row("a.tif", "empty_mask.tif", 1);
    build_fails(&row, &config, "its annotation is empty (all zero)");
    row = make_row("a.tif", "", 1);
    build_fails(&row, &config, "names no annotation");
    row = make_row("a.tif", "a_mask.tif", 0);
    build_fails(&row, &config, "labelled normal, but its annotation marks tumor");
    const int dot[2] = { 120,
                         120 }; /* level-0 px 240, 241: between the squares [215, 225), [315, … */
    tiny_write(temporary_path("dot_mask.tif"), mask_levels, 1, 1, tiny_dot, dot);
    row = make_row("a.tif", "dot_mask.tif", 1);
    config.data.center = 10;
    config.data.stride = 100;
    config.data.origin[0] = config.data.origin[1] = 120;
    build_fails(&row, &config, "the central square of no window touches");
    cr_assert_not(file_exists(temporary_path("packs/a.pack")));
}

/* Glass but for the left half. */
static void half(const void *context, int level, int x, int y, uint8_t *pixel)
{
    tiny_tissue(context, level, x, y, pixel);
    if (x >= slide_levels[level].width / 2) memset(pixel, 250, 3);
}

static void inverted(const void *context, int level, int x, int y, uint8_t *pixel)
{
    tumor(context, level, x, y, pixel);
    pixel[0] = !pixel[0];
}

Test(pack, a_mask_in_which_0_means_tumor_is_refused, FOLDER)
{
    struct config config = make_config();
    struct pack_header header;
    struct error err = { 0 };
    const struct select_options options = { .threads = 1 };
    struct manifest_row row = make_row("half.tif", "inverted.tif", 1);
    tiny_write(temporary_path("half.tif"), slide_levels, 2, 3, half, NULL);
    tiny_write(temporary_path("inverted.tif"), mask_levels, 1, 1, inverted, NULL);
    build_fails(&row, &config, "does 0 mean tumor in its mask?");
    tiny_write(temporary_path("mask.tif"), mask_levels, 1, 1, tumor, NULL);
    row = make_row("half.tif", "mask.tif", 1);
    cr_assert(pack_build(&row, &config, &options, &header, &err), "%s", err.message);
}

Test(pack, slides_without_tissue_or_level_or_file_are_refused, FOLDER)
{
    struct config config = make_config();
    tiny_write(temporary_path("white.tif"), slide_levels, 2, 3, white, NULL);
    struct manifest_row row = make_row("white.tif", "", 0);
    build_fails(&row, &config, "is tissue by at least 75 %");
    config.data.levels[1] = 7;
    build_fails(&row, &config, "data.levels asks for level 7");
    config.data.levels[1] = 1;
    row = make_row("none.tif", "", 0);
    build_fails(&row, &config, "none.tif");
}
