/* What makes two files the same, and what is seen of an edit: in small files every byte, in large
 * ones spots, whose places are computed here from what the header says. */
#include "micromet/slide/identity.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "temporary.h"
#include "tiny_slide.h"

TestSuite(identity, .init = temporary_begin, .fini = temporary_end);

enum { SPOTS = 4096, SPOT_BYTES = 4096 };

static struct file_identity of_slide(const char *name)
{
    struct file_identity identity;
    struct error err = { 0 };
    cr_assert(identity_of_slide(&identity, temporary_path(name), &err), "%s", err.message);
    return identity;
}

static struct file_identity of_annotation(const char *name)
{
    struct file_identity identity;
    struct error err = { 0 };
    cr_assert(identity_of_annotation(&identity, temporary_path(name), &err), "%s", err.message);
    return identity;
}

/* Change a byte; the time of the file then is `seconds`. */
static void edit(const char *name, off_t offset, int seconds)
{
    const struct timespec times[2] = { { .tv_sec = seconds }, { .tv_sec = seconds } };
    uint8_t byte;
    const int file = open(temporary_path(name), O_RDWR);
    cr_assert(file >= 0);
    cr_assert_eq(pread(file, &byte, 1, offset), 1);
    byte ^= 1;
    cr_assert_eq(pwrite(file, &byte, 1, offset), 1);
    cr_assert_eq(futimens(file, times), 0);
    close(file);
}

Test(identity, a_small_file_is_read_whole)
{
    static const struct tiny_level levels[] = { { 300, 200 }, { 75, 50 } };
    size_t size;
    tiny_write(temporary_path("a.tif"), levels, 2, 3, tiny_tissue, NULL);
    uint8_t *bytes = temporary_read("a.tif", &size);
    const XXH128_hash_t hash = XXH3_128bits(bytes, size);
    const struct file_identity before = of_slide("a.tif");
    cr_expect_eq(before.bytes, size);
    cr_expect_eq(before.hash[0], hash.low64);
    cr_expect_eq(before.hash[1], hash.high64);
    cr_expect_eq(before.mtime_ns, 0, "times say nothing of a whole file");

    temporary_write("b.tif", bytes, size);
    const struct file_identity copy = of_slide("b.tif");
    cr_expect(identity_same(&before, &copy));
    cr_expect_not(identity_doubtful(&before, &copy));
    for (size_t at = 0; at < size; at += 997) {
        edit("b.tif", (off_t)at, 7);
        const struct file_identity edited = of_annotation("b.tif");
        cr_expect_not(identity_same(&before, &edited), "byte %zu", at);
        edit("b.tif", (off_t)at, 7);
    }
    const struct file_identity again = of_annotation("b.tif");
    cr_expect(identity_same(&before, &again));
    free(bytes);
}

static uint64_t of_picture(const char *name)
{
    struct slide slide;
    uint64_t hash;
    struct error err = { 0 };
    cr_assert(slide_open(&slide, temporary_path(name), 0, &err), "%s", err.message);
    cr_assert(identity_of_picture(&hash, &slide, &err), "%s", err.message);
    slide_release(&slide);
    return hash;
}

static void one_colour(const void *context, int level, int x, int y, uint8_t *pixel)
{
    (void)context, (void)level, (void)x, (void)y;
    memset(pixel, 250, 3);
}

Test(identity, a_picture_is_the_same_with_other_metadata)
{
    static const struct tiny_level levels[] = { { 300, 200 }, { 150, 100 } };
    static uint8_t rgb[150 * 150 * 3];
    const int64_t sides[2] = { 300, 200 };
    const XXH64_hash_t seed = XXH3_64bits(sides, sizeof sides);
    tiny_write(temporary_path("a.tif"), levels, 2, 3, tiny_tissue, NULL);
    tiny_window(tiny_tissue, 1, levels[1], 0, 0, 150, rgb); /* its first 100 rows are the level */
    cr_expect_eq(of_picture("a.tif"), XXH3_64bits_withSeed(rgb, 150 * 100 * 3, seed));

    tiny_write(temporary_path("b.tif"), levels, 2, 3, tiny_tissue, NULL);
    TIFF *tiff = TIFFOpen(temporary_path("b.tif"), "r+");
    TIFFSetField(tiff, TIFFTAG_IMAGEDESCRIPTION, "anonymous");
    cr_assert(TIFFRewriteDirectory(tiff));
    TIFFClose(tiff);
    const struct file_identity a = of_slide("a.tif"), b = of_slide("b.tif");
    cr_expect_not(identity_same(&a, &b));
    cr_expect_eq(of_picture("a.tif"), of_picture("b.tif"));
    tiny_write(temporary_path("c.tif"), levels, 2, 3, one_colour, NULL);
    cr_expect_eq(of_picture("c.tif"), 0, "empty slides look alike");
}

Test(identity, no_annotation_is_nothing)
{
    static const struct file_identity nothing;
    struct file_identity identity = { .bytes = 1 };
    struct error err = { 0 };
    cr_assert(identity_of_annotation(&identity, "", &err));
    cr_expect_eq(memcmp(&identity, &nothing, sizeof nothing), 0);
    cr_assert_not(identity_of_annotation(&identity, temporary_path("none.xml"), &err));
    cr_expect(strstr(err.message, "none.xml: cannot be opened"), "%s", err.message);
}

/* A file of 80 MiB that takes no room. */
static void write_sparse(const char *name, const void *start, size_t bytes)
{
    temporary_write(name, start, bytes);
    cr_assert_eq(truncate(temporary_path(name), 80 << 20), 0);
}

Test(identity, a_large_annotation_that_is_no_compressed_tiff_is_read_whole)
{
    write_sparse("a.xml", "<ASAP_Annotations>", 18);
    const struct file_identity before = of_annotation("a.xml");
    cr_expect_eq(before.mtime_ns, 0, "times say nothing of a whole file");
    edit("a.xml", (79 << 20) + 12345, 7);
    const struct file_identity after = of_annotation("a.xml");
    cr_expect_eq(after.bytes, 80 << 20);
    cr_expect_not(identity_same(&before, &after));
}

/* A TIFF with level 0 and a level 1 of small tiles, all of `compression`; bytes that no decoder has
 * made. The size of tile k of level 0 is sizes(k). */
static void write_raw(const char *name, int compression, int tiles, tmsize_t (*size_of)(int tile))
{
    static uint8_t bytes[(256 << 10) + 1];
    TIFF *tiff = TIFFOpen(temporary_path(name), "w");
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i * 7);
    for (int level = 0; level < 2; level++) {
        const int count = level ? 4 : tiles, side = 256;
        TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, side);
        TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, side * count);
        TIFFSetField(tiff, TIFFTAG_TILEWIDTH, side);
        TIFFSetField(tiff, TIFFTAG_TILELENGTH, side);
        TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, 8);
        TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, 4);
        TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
        TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_RGB);
        TIFFSetField(tiff, TIFFTAG_COMPRESSION, compression);
        for (int tile = 0; tile < count; tile++) {
            const tmsize_t size = level ? 1000 : size_of(tile);
            cr_assert_eq(TIFFWriteRawTile(tiff, (uint32_t)tile, bytes, size), size);
        }
        cr_assert(TIFFWriteDirectory(tiff));
    }
    TIFFClose(tiff);
}

static tmsize_t all_equal(int tile)
{
    (void)tile;
    return 256 << 10;
}

static tmsize_t two_others(int tile)
{
    return (256 << 10) + (tile == 100) - (tile == 101);
}

Test(identity, a_large_compressed_tiff_is_known_by_the_sizes_of_its_tiles)
{
    enum { TILES = 300, TILE = 256 << 10 };
    write_raw("a.tif", COMPRESSION_ADOBE_DEFLATE, TILES, all_equal);
    write_raw("b.tif", COMPRESSION_ADOBE_DEFLATE, TILES, two_others);
    const struct file_identity a = of_slide("a.tif"), b = of_slide("b.tif");
    cr_expect_eq(a.bytes, b.bytes);
    cr_expect_eq(a.mtime_ns, 0);
    cr_expect_not(identity_same(&a, &b));

    edit("a.tif", 8 + TILES * TILE + 50, 7); /* level 1: all of so small a level is read */
    const struct file_identity other_level = of_annotation("a.tif");
    cr_expect_not(identity_same(&a, &other_level));
    edit("a.tif", 8 + TILES * TILE + 50, 8);
    const struct file_identity back = of_slide("a.tif");
    cr_expect(identity_same(&a, &back));
    cr_expect_not(identity_doubtful(&a, &back));
}

Test(identity, of_a_large_plain_tiff_spots_are_read_and_the_time_makes_doubtful)
{
    enum { TILES = 300, TILE = 256 << 10 };
    const uint64_t last = (uint64_t)TILES * TILE - SPOT_BYTES; /* start of the last spot */
    write_raw("a.tif", COMPRESSION_NONE, TILES, all_equal);
    const struct file_identity before = of_slide("a.tif");
    cr_expect_neq(before.mtime_ns, 0);
    for (uint64_t spot = 0; spot < SPOTS; spot += 455) {             /* the last is the 4096th */
        const off_t inside = 8 + (off_t)(last * spot / (SPOTS - 1)); /* a tile may end behind it */
        edit("a.tif", inside, 7);
        const struct file_identity edited = of_slide("a.tif");
        cr_expect_not(identity_same(&before, &edited), "spot %d", (int)spot);
        edit("a.tif", inside, 7);
    }
    edit("a.tif", 8 + (off_t)(last * 1000 / (SPOTS - 1)) + SPOT_BYTES + 5000, 8); /* between */
    const struct file_identity unseen = of_slide("a.tif"), as_mask = of_annotation("a.tif");
    cr_expect(identity_same(&before, &unseen));
    cr_expect(identity_doubtful(&before, &unseen));
    cr_expect_eq(unseen.mtime_ns, 8000000000);
    cr_expect_eq(as_mask.mtime_ns, 0, "a mask is read whole");
}
