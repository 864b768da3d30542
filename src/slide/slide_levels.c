/* Settles the scale of each level, and which pages are no levels.
 *
 * OpenSlide takes the mean of the ratios of width and height for a level's downsample. That is
 * wrong where levels are padded to whole tiles, and where a page is not of this slide at all. Sizes
 * say which downsamples are possible; coarse content says which of these is true, and whether the
 * page belongs to the slide. */
#include "slide_levels.h"

#include <math.h>
#include <stdio.h>

#include "micromet/base/size.h"

enum {
    OPTIONS_MAX = 16,
    INTEGERS_MAX = 8,     /* more whole factors than these are possible: only powers of two */
    FACTOR_MAX = 1 << 20, /* of a downsample */
    CACHE_BYTES = 32 << 20,
    DEEP_BRIGHTEST_MIN = 64, /* of 255: 14 bits and fewer in 16 stay below */
};
static const double rounding_px = 1.5;     /* of a level: sizes are rounded up, down and in steps */
static const double rounding_share = 2e-4; /* or level 0 was cropped by some pixels afterwards */

/* The downsamples that make `level_side` of `side`, give or take some rounding. */
static void narrow_rounded(int64_t side, int64_t level_side, double *low, double *high)
{
    const double px = fmax(rounding_px, rounding_share * (double)level_side);
    *low = fmax(*low, (double)side / ((double)level_side + px));
    if ((double)level_side > px) *high = fmin(*high, (double)side / ((double)level_side - px));
}

/* Whether width and height are of one downsample but for rounding. */
static bool is_isotropic(const struct slide_level *level0, const struct slide_level *level)
{
    double low = 0, high = INFINITY;
    narrow_rounded(level0->width, level->width, &low, &high);
    narrow_rounded(level0->height, level->height, &low, &high);
    return low <= high;
}

/* The downsamples [*low, *high) that fill just `tiles` tiles of `tile` px with `side` px. */
static void narrow(int64_t side, int64_t tile, int64_t tiles, double *low, double *high)
{
    *low = fmax(*low, (double)side / (double)(tile * tiles));
    if (tiles > 1) *high = fmin(*high, (double)side / (double)(tile * (tiles - 1)));
}

/* Whole downsamples above `least` that explain a level padded to whole tiles. */
static int padded_options(const struct slide_level *level0, const struct tiff_page *page,
                          double least, double options[OPTIONS_MAX])
{
    double low = floor(least) + 1, high = FACTOR_MAX;
    int count = 0;
    if (page->width % page->tile_width || page->height % page->tile_height) return 0;
    narrow(level0->width, page->tile_width, page->tiles_across, &low, &high);
    narrow(level0->height, page->tile_height, page->tiles_down, &low, &high);
    if (low >= high) return 0;
    const int first = (int)ceil(low), end = (int)ceil(high); /* at most FACTOR_MAX */
    const bool few = end - first <= INTEGERS_MAX;
    for (int factor = few ? first : 1; factor < end && count < OPTIONS_MAX;
         factor = few ? factor + 1 : 2 * factor)
        if (factor >= first) options[count++] = factor;
    return count;
}

static bool is_power_of_two(double value)
{
    return log2(value) == round(log2(value));
}

/* The downsamples that the level's size allows: OpenSlide's own if it is isotropic, and nothing
 * else if that is a power of two but for rounding. */
static int size_options(const struct slide *slide, const struct tiff_page *page, int index,
                        double least, double options[OPTIONS_MAX + 1])
{
    const struct slide_level *level = &slide->levels[index];
    const double longer = (double)(level->width > level->height ? level->width : level->height);
    const double own = level->downsample;
    const bool isotropic = is_isotropic(&slide->levels[0], level);
    double padded[OPTIONS_MAX];
    int count = 0;
    if (isotropic) options[count++] = own;
    if (isotropic && is_power_of_two(round(own)) &&
        longer * fabs(own / round(own) - 1) <= rounding_px)
        return count;
    const int padded_count = padded_options(&slide->levels[0], page, least, padded);
    for (int i = 0; i < padded_count; i++)
        if (!isotropic || longer * fabs(own / padded[i] - 1) > rounding_px)
            options[count++] = padded[i];
    return count;
}

static const char other_content[] =
    "it is no shrunken copy of level 0 (a label, a macro, another slide?)";
static const char unclear_scale[] =
    "it is padded to whole tiles, and its pixels do not tell by which factor it is shrunk";

static bool refuse_stretched(const struct slide *slide, const struct tiff_page *page, int level,
                             struct error *err)
{
    const struct slide_level *level0 = &slide->levels[0];
    return error_set(
        err, EXIT_CODE_FAILED,
        "%s: level %d (TIFF directory %d, %lld x %lld px) is shrunk by %.6g across and "
        "%.6g down, which neither rounding nor padding to whole tiles explains; make "
        "the pyramid anew: `vips tiffsave IN OUT.tif --tile --pyramid --bigtiff`",
        slide->path, level, page->directory, (long long)page->width, (long long)page->height,
        (double)level0->width / (double)page->width, (double)level0->height / (double)page->height);
}

/* Choose among the options for a level by comparing it with `reference`. *option: the choice, or -1
 * with the reason why there is none. */
static bool choose(const struct levels_view *view, int reference, int level, const double *options,
                   int count, int *option, const char **reason, struct error *err)
{
    const struct slide_level *level0 = &view->slide->levels[0], *own = &view->slide->levels[level];
    double best = INFINITY, second = INFINITY;
    bool told = false, alike = false;
    *option = -1;
    for (int i = 0; i < count; i++) {
        struct likeness likeness;
        const bool is_own = options[i] == own->downsample; /* then the level shows all of level 0 */
        const double across = is_own ? (double)level0->width / (double)own->width : options[i];
        const double down = is_own ? (double)level0->height / (double)own->height : options[i];
        if (!levels_view_compare(view, reference, level, across, down, &likeness, err))
            return false;
        told = told || likeness.told;
        if (!likeness.told) continue;
        if (likeness.difference < best) {
            second = best, best = likeness.difference;
            alike = likeness.alike;
            *option = i;
        } else if (likeness.difference < second) {
            second = likeness.difference;
        }
    }
    if (!told && count == 1) *option = 0;
    if (told && !alike) *option = -1;
    if (count > 1 && second < 2 * best + 1) *option = -1;
    *reason = told && !alike ? other_content : unclear_scale;
    return true;
}

/* The level has the downsample `factor`, which is not OpenSlide's, and is padded. */
static void set_padded(struct slide *slide, const struct tiff_page *page, int index, double factor)
{
    const struct slide_level *level0 = &slide->levels[0];
    struct slide_level *level = &slide->levels[index];
    const int64_t width = (int64_t)ceil((double)level0->width / factor);
    const int64_t height = (int64_t)ceil((double)level0->height / factor);
    level->downsample = factor;
    if (width < level->width) level->width = width;
    if (height < level->height) level->height = height;
    /* OpenSlide would move the pixels by fractions, because of its own downsample. */
    if (page->for_libtiff) level->directory = page->directory;
}

/* Settle one level. *reason: NULL, or why the page is no level. */
static bool settle(struct levels_view *view, int reference, int index, const char **reason,
                   struct error *err)
{
    struct slide *slide = view->slide;
    const struct tiff_page *page = &view->pages->pages[index];
    const double least = slide->levels[reference].downsample;
    double options[OPTIONS_MAX + 1];
    int option;
    const int count = size_options(slide, page, index, least, options);

    *reason = NULL;
    if (!count) {
        struct likeness likeness;
        if (!levels_view_compare(
                view, reference, index, (double)slide->levels[0].width / (double)page->width,
                (double)slide->levels[0].height / (double)page->height, &likeness, err))
            return false;
        if (!likeness.told || likeness.alike) return refuse_stretched(slide, page, index, err);
        *reason = other_content;
        return true;
    }
    if (!choose(view, reference, index, options, count, &option, reason, err)) return false;
    if (option < 0) return true;
    *reason = NULL;
    if (options[option] != slide->levels[index].downsample)
        set_padded(slide, page, index, options[option]);
    return true;
}

/* A page that is no level, among the levels: their numbers are in doubt. */
static bool refuse_among(const struct slide *slide, const struct tiff_page *page, int level,
                         const char *reason, struct error *err)
{
    return error_set(
        err, EXIT_CODE_FAILED,
        "%s: TIFF directory %d (%lld x %lld px) stands among the levels, as level %d, "
        "but %s; remove it, as with `tiffcp FILE,0,1,2 OUT`, which keeps directories 0, "
        "1 and 2",
        slide->path, page->directory, (long long)page->width, (long long)page->height, level,
        reason);
}

static bool settle_all(struct levels_view *view, struct error *err)
{
    struct slide *slide = view->slide;
    const struct tiff_page *page = view->pages->pages;
    const char *reasons[SLIDE_LEVELS_MAX] = { 0 };
    int last = 0, first_bad = 0;
    for (int i = 1; i < slide->level_count; i++) {
        if (!settle(view, last, i, &reasons[i], err)) return false;
        if (!reasons[i] && first_bad)
            return refuse_among(slide, &page[first_bad], first_bad, reasons[first_bad], err);
        if (!reasons[i]) last = i;
        if (reasons[i] && !first_bad) first_bad = i;
    }
    if (!first_bad) return true;
    snprintf(slide->remark, sizeof slide->remark,
             "level %d of OpenSlide (TIFF directory %d, %lld x %lld px)%s left out: %s", first_bad,
             page[first_bad].directory, (long long)page[first_bad].width,
             (long long)page[first_bad].height,
             first_bad == slide->level_count - 1 ? " is" : " and those below are",
             reasons[first_bad]);
    slide->level_count = first_bad;
    return true;
}

static bool check_depth(const struct levels_view *view, struct error *err)
{
    int brightest = 0;
    if (!view->pages->pages[0].deep) return true;
    if (!levels_view_brightest(view, &brightest, err)) return false;
    if (brightest >= DEEP_BRIGHTEST_MIN) return true;
    return error_set(
        err, EXIT_CODE_FAILED,
        "%s: samples of 16 bits, but the brightest among those looked at is %d of 255 "
        "when scaled to 8 bits: the image uses fewer bits; scale it to 8 bits, as with "
        "`vips linear IN 'OUT.tif[tile,pyramid,bigtiff]' 0.0625 0 --uchar` for 12 bits",
        view->slide->path, brightest);
}

static bool settle_plain(struct slide *slide, const struct tiff_pages *pages, struct error *err)
{
    struct levels_view view = { .slide = slide, .pages = pages };
    if (slide->level_count == 1 && !pages->pages[0].deep) return true;
    const bool ok = slide_cache_init(&view.cache, slide, CACHE_BYTES, err) &&
                    levels_view_choose_spots(&view, err) && check_depth(&view, err) &&
                    settle_all(&view, err);
    slide_cache_release(view.cache);
    return ok;
}

/* The tiles [*first, *end) of `tile` px, `tiles` in number, that lie wholly or in part between two
 * level-0 px. */
static void tiles_between(double from, double to, int64_t tile, int64_t tiles, int64_t *first,
                          int64_t *end)
{
    *first = from > 0 ? (int64_t)(from / (double)tile) : 0;
    *end = to > 0 ? (int64_t)ceil(to / (double)tile) : 0;
    if (*end > tiles) *end = tiles;
}

/* Whether level 0 has pixels where the tile (column, row) of another level is missing. Tiles that
 * the two only share a seam with do not count. */
static bool is_hole(const struct tiff_page *page0, const struct tiff_page *page, double downsample,
                    int64_t column, int64_t row)
{
    const double width = (double)page->tile_width * downsample;
    const double height = (double)page->tile_height * downsample, seam = 2 * downsample;
    int64_t column0, column1, row0, row1;
    tiles_between((double)column * width + seam, (double)(column + 1) * width - seam,
                  page0->tile_width, page0->tiles_across, &column0, &column1);
    tiles_between((double)row * height + seam, (double)(row + 1) * height - seam,
                  page0->tile_height, page0->tiles_down, &row0, &row1);
    for (int64_t y = row0; y < row1; y++)
        for (int64_t x = column0; x < column1; x++)
            if (!page0->is_missing || !page0->is_missing[y * page0->tiles_across + x]) return true;
    return false;
}

static bool has_holes(const struct tiff_page *page0, const struct tiff_page *page,
                      double downsample)
{
    if (!page->is_missing) return false;
    for (int64_t row = 0; row < page->tiles_down; row++)
        for (int64_t column = 0; column < page->tiles_across; column++)
            if (page->is_missing[row * page->tiles_across + column] &&
                is_hole(page0, page, downsample, column, row))
                return true;
    return false;
}

bool slide_settle_levels(struct slide *slide, const struct tiff_pages *pages, struct error *err)
{
    const struct tiff_page *page = pages->pages;
    if (!pages->count) return true;
    if (pages->count != slide->level_count)
        return error_set(err, EXIT_CODE_FAILED, "%s: OpenSlide finds %d levels, libtiff %d",
                         slide->path, slide->level_count, pages->count);
    for (int i = 0; i < slide->level_count; i++) {
        struct slide_level *level = &slide->levels[i];
        if (pages->plain && (level->width != page[i].width || level->height != page[i].height))
            return error_set(err, EXIT_CODE_FAILED,
                             "%s: OpenSlide and libtiff differ about the size of level %d",
                             slide->path, i);
        level->directory = page[i].by_libtiff ? page[i].directory : -1;
        level->missing_tiles = page[i].missing;
    }
    snprintf(slide->remark, sizeof slide->remark, "%s", pages->remark);
    if (pages->plain && !settle_plain(slide, pages, err)) return false;
    /* What OpenSlide makes of Aperio's missing tiles comes from finer levels. */
    for (int i = 1; i < slide->level_count; i++)
        if (!pages->plain || page[i].by_libtiff)
            slide->levels[i].has_holes = has_holes(&page[0], &page[i], slide->levels[i].downsample);
    return true;
}
