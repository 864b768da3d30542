/* Opens a slide and copies what OpenSlide knows of it into a struct of checked numbers.
 *
 * OpenSlide says little when it refuses a file, so the common reasons (missing, truncated, striped,
 * unknown) are determined here. */
#include "micromet/slide/slide.h"

#include <errno.h>
#include <math.h>
#include <openslide.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "micromet/base/size.h"
#include "micromet/slide/shrink.h"
#include "slide_levels.h"
#include "tiff_pages.h"
#include "tiff_source.h"

enum { HASH_END_BYTES = 1 << 20, BLOCK_NEAR = 512, TILE_MAX = 4096 };

static const char formats_read[] =
    "OpenSlide reads Aperio (.svs), Hamamatsu (.ndpi, .vms), Leica (.scn), MIRAX (.mrxs), Philips "
    "(.tiff), Sakura (.svslide), Trestle, Ventana (.bif) and tiled TIFF; `vips tiffsave IN OUT.tif "
    "--tile --pyramid --bigtiff` converts others";

static bool check_file(const char *path, struct error *err)
{
    struct stat facts;
    if (stat(path, &facts))
        return error_set(err, EXIT_CODE_FAILED, "%s: %s", path, strerror(errno));
    if (S_ISDIR(facts.st_mode))
        return error_set(err, EXIT_CODE_FAILED, "%s: a folder, not a slide", path);
    if (facts.st_size == 0) return error_set(err, EXIT_CODE_FAILED, "%s: the file is empty", path);
    FILE *file = fopen(path, "rb");
    if (!file) return error_set(err, EXIT_CODE_FAILED, "%s: %s", path, strerror(errno));
    fclose(file);
    return true;
}

static bool refuse_unknown(const char *path, struct error *err)
{
    struct tiff_source source;
    struct error ignored = { 0 };
    const char *kind = "";
    if (tiff_source_open(&source, path, &ignored)) {
        kind = !TIFFIsTiled(source.tiff)      ? " (it is a TIFF, but not a tiled one)"
               : TIFFIsBigEndian(source.tiff) ? " (it is a tiled TIFF, but a big-endian one)"
                                              : " (it is a tiled TIFF, but with pixels of another "
                                                "kind)";
        tiff_source_release(&source);
    }
    return error_set(err, EXIT_CODE_FAILED, "%s: OpenSlide does not recognise this file%s; %s",
                     path, kind, formats_read);
}

static bool open_handle(struct slide *slide, struct tiff_pages *pages, struct error *err)
{
    tiff_silence();
    if (!check_file(slide->path, err) || !tiff_check_whole(slide->path, err)) return false;
    const char *vendor = openslide_detect_vendor(slide->path);
    if (!vendor) return refuse_unknown(slide->path, err);
    if (!tiff_pages_read(pages, slide->path, vendor, err)) return false;
    openslide_t *handle = slide->handle = openslide_open(slide->path);
    if (!handle) return refuse_unknown(slide->path, err);
    const char *complaint = openslide_get_error(handle);
    if (!complaint) return true;
    return error_set(err, EXIT_CODE_FAILED,
                     "%s: OpenSlide cannot open it: %s; is it complete, with its companion files?",
                     slide->path, complaint);
}

static double property_number(const struct slide *slide, const char *name)
{
    const char *text = openslide_get_property_value(slide->handle, name);
    char *end;
    if (!text) return 0;
    const double value = strtod(text, &end);
    return end != text && isfinite(value) ? value : 0;
}

static int tile_side(const struct slide *slide, int level, const char *side)
{
    char name[64];
    snprintf(name, sizeof name, "openslide.level[%d].tile-%s", level, side);
    const double tile = property_number(slide, name);
    return tile >= 1 && tile <= INT32_MAX ? (int)tile : 0;
}

/* About 512 px in whole tiles, so that no tile is decoded for two blocks. */
static int block_side(int tile)
{
    if (tile < 1 || tile > TILE_MAX) return BLOCK_NEAR;
    const int tiles = (BLOCK_NEAR + tile / 2) / tile;
    return tile * (tiles > 1 ? tiles : 1);
}

static bool read_levels(struct slide *slide, struct error *err)
{
    slide->level_count = openslide_get_level_count(slide->handle);
    if (slide->level_count < 1 || slide->level_count > SLIDE_LEVELS_MAX)
        return error_set(err, EXIT_CODE_FAILED, "%s: %d levels; 1 to %d are supported", slide->path,
                         slide->level_count, SLIDE_LEVELS_MAX);
    for (int i = 0; i < slide->level_count; i++) {
        struct slide_level *level = &slide->levels[i];
        openslide_get_level_dimensions(slide->handle, i, &level->width, &level->height);
        level->downsample = openslide_get_level_downsample(slide->handle, i);
        level->openslide_downsample = level->downsample;
        level->directory = -1;
        level->tile_width = tile_side(slide, i, "width");
        level->tile_height = tile_side(slide, i, "height");
        level->block_width = block_side(level->tile_width);
        level->block_height = block_side(level->tile_height);
        if (level->width < 1 || level->height < 1 || level->width > INT32_MAX ||
            level->height > INT32_MAX || !(level->downsample >= 1) || !isfinite(level->downsample))
            return error_set(err, EXIT_CODE_FAILED,
                             "%s: level %d has an impossible size: %lld x %lld", slide->path, i,
                             (long long)level->width, (long long)level->height);
    }
    return true;
}

bool slide_mpp_plausible(double mpp)
{
    return mpp >= SLIDE_MPP_MIN && mpp <= SLIDE_MPP_MAX;
}

/* What is stated for one side, if it is plausible; else 0, and slide->mpp_absurd is what is
 * stated. */
static double plausible_mpp(struct slide *slide, double mpp)
{
    if (slide_mpp_plausible(mpp)) return mpp;
    if (mpp != 0) slide->mpp_absurd = mpp;
    return 0;
}

static double mpp_of(struct slide *slide, const char *name, const char *tiff_resolution)
{
    static const struct {
        const char *name;
        double um;
    } units[] = { { "centimeter", 1e4 }, { "inch", 25400 } };

    const double mpp = plausible_mpp(slide, property_number(slide, name));
    const double resolution = property_number(slide, tiff_resolution);
    const char *unit = openslide_get_property_value(slide->handle, "tiff.ResolutionUnit");
    if (mpp > 0 || resolution <= 0 || !unit) return mpp;
    for (size_t i = 0; i < COUNT_OF(units); i++)
        if (!strcmp(unit, units[i].name)) return plausible_mpp(slide, units[i].um / resolution);
    return 0;
}

static void read_mpp(struct slide *slide, double mpp)
{
    double *own = slide->mpp_own;
    own[0] = mpp_of(slide, OPENSLIDE_PROPERTY_NAME_MPP_X, "tiff.XResolution");
    own[1] = mpp_of(slide, OPENSLIDE_PROPERTY_NAME_MPP_Y, "tiff.YResolution");
    if (!(own[0] > 0)) own[0] = own[1];
    if (!(own[1] > 0)) own[1] = own[0];
    slide->mpp_x = mpp > 0 ? mpp : own[0];
    slide->mpp_y = mpp > 0 ? mpp : own[1];
}

static bool read_background(struct slide *slide)
{
    const char *text = openslide_get_property_value(slide->handle,
                                                    OPENSLIDE_PROPERTY_NAME_BACKGROUND_COLOR);
    unsigned rgb[3] = { 255, 255, 255 };
    if (text && sscanf(text, "%2x%2x%2x", &rgb[0], &rgb[1], &rgb[2]) != 3)
        rgb[0] = rgb[1] = rgb[2] = 255;
    for (int i = 0; i < 3; i++) slide->background[i] = (uint8_t)rgb[i];
    return true;
}

/* 0 if the slide does not say it. */
static int64_t bound(const struct slide *slide, const char *name)
{
    const double value = property_number(slide, name);
    return value >= 0 && value <= INT32_MAX ? (int64_t)value : 0;
}

static bool read_bounds(struct slide *slide)
{
    slide->bounds_x = bound(slide, OPENSLIDE_PROPERTY_NAME_BOUNDS_X);
    slide->bounds_y = bound(slide, OPENSLIDE_PROPERTY_NAME_BOUNDS_Y);
    return true;
}

/* XXH3-128 of the file's size, first MiB and last MiB, for formats without a quickhash. */
static bool hash_ends(struct slide *slide, struct error *err)
{
    struct stat facts;
    bool ok = false;
    FILE *file = fopen(slide->path, "rb");
    uint8_t *bytes = malloc(HASH_END_BYTES);
    XXH3_state_t *state = XXH3_createState();
    if (!file || !bytes || !state || fstat(fileno(file), &facts)) goto done;

    const uint64_t size = (uint64_t)facts.st_size;
    const off_t last = facts.st_size > HASH_END_BYTES ? facts.st_size - HASH_END_BYTES : 0;
    XXH3_128bits_reset(state);
    XXH3_128bits_update(state, &size, sizeof size);
    XXH3_128bits_update(state, bytes, fread(bytes, 1, HASH_END_BYTES, file));
    if (fseeko(file, last, SEEK_SET)) goto done;
    XXH3_128bits_update(state, bytes, fread(bytes, 1, HASH_END_BYTES, file));
    const XXH128_hash_t hash = XXH3_128bits_digest(state);
    snprintf(slide->quickhash, sizeof slide->quickhash, "xxh3-%016llx%016llx",
             (unsigned long long)hash.high64, (unsigned long long)hash.low64);
    ok = !ferror(file);
done:
    if (!ok) error_set(err, EXIT_CODE_FAILED, "%s: cannot be read for its hash", slide->path);
    XXH3_freeState(state);
    free(bytes);
    if (file) fclose(file);
    return ok;
}

static bool read_identity(struct slide *slide, struct error *err)
{
    const char *vendor = openslide_get_property_value(slide->handle,
                                                      OPENSLIDE_PROPERTY_NAME_VENDOR);
    const char *hash = openslide_get_property_value(slide->handle,
                                                    OPENSLIDE_PROPERTY_NAME_QUICKHASH1);
    snprintf(slide->vendor, sizeof slide->vendor, "%s", vendor ? vendor : "unknown");
    if (!hash) return hash_ends(slide, err);
    snprintf(slide->quickhash, sizeof slide->quickhash, "%s", hash);
    return true;
}

bool slide_open(struct slide *slide, const char *path, double mpp, struct error *err)
{
    *slide = (struct slide) { 0 };
    if (strlen(path) >= sizeof slide->path)
        return error_set(err, EXIT_CODE_FAILED, "%.64s...: the path is longer than %d bytes", path,
                         PATH_MAX_BYTES - 1);
    snprintf(slide->path, sizeof slide->path, "%s", path);
    struct tiff_pages pages = { 0 };
    const bool ok = open_handle(slide, &pages, err) && read_levels(slide, err) &&
                    read_background(slide) && read_bounds(slide) &&
                    slide_settle_levels(slide, &pages, err) && read_identity(slide, err);
    tiff_pages_release(&pages);
    if (ok)
        read_mpp(slide, mpp);
    else
        slide_release(slide);
    return ok;
}

void slide_release(struct slide *slide)
{
    if (slide->handle) openslide_close(slide->handle);
    slide->handle = NULL;
}

/* Blocks of a made level are about as large as those of its source, but no larger than the sums
 * from which they are made should be, and no smaller than is worth a block. */
static int made_block_side(int source_side, double ratio)
{
    enum { SIDE_MIN = 16, SIDE_MAX = 128 };
    const long side = lround(source_side / ratio);
    return side < SIDE_MIN ? SIDE_MIN : side > SIDE_MAX ? SIDE_MAX : (int)side;
}

int slide_make_level(struct slide *slide, int source, double ratio)
{
    CHECK(source >= 0 && source < slide->level_count + slide->made_count);
    const struct slide_level *fine = &slide->levels[source];
    CHECK(slide->made_count < SLIDE_MADE_MAX && !(slide->levels[fine->source].ratio > 0));
    CHECK(ratio > 1 && ratio <= SHRINK_RATIO_MAX);
    const int index = slide->level_count + slide->made_count++;
    slide->levels[index] = (struct slide_level) {
        .width = shrink_length(ratio, fine->width),
        .height = shrink_length(ratio, fine->height),
        .downsample = fine->downsample * ratio,
        .block_width = made_block_side(fine->block_width, ratio),
        .block_height = made_block_side(fine->block_height, ratio),
        .source = source,
        .ratio = ratio,
    };
    return index;
}

void slide_window_corner(const struct slide *slide, int level, int64_t x_level0, int64_t y_level0,
                         int window, int64_t *x_level, int64_t *y_level)
{
    CHECK(level >= 0 && level < slide->level_count + slide->made_count);
    const double downsample = slide->levels[level].downsample;
    *x_level = llround((double)x_level0 / downsample) - window / 2;
    *y_level = llround((double)y_level0 / downsample) - window / 2;
}
