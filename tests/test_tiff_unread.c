/* Pages of TIFFs of which OpenSlide makes no level: what is said of them, and what is refused. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <tiffio.h>

#include "micromet/base/size.h"
#include "slide_fixture.h"

enum { TILE = 64, WIDTH = 512, HEIGHT = 384 };

TestSuite(tiff_unread, .init = begin, .fini = end);

struct page {
    int shrunk; /* times; 0 = the file ends */
    int samples;
    uint32_t kind; /* NewSubfileType */
    bool striped;
    int inner; /* SubIFDs that follow it */
};

static void write_page(TIFF *tiff, const struct page *page)
{
    static uint8_t white[WIDTH * HEIGHT * 3];
    uint64_t offsets[2] = { 0 };
    const uint32_t width = (uint32_t)(WIDTH / page->shrunk);
    const uint32_t height = (uint32_t)(HEIGHT / page->shrunk);
    memset(white, 200, sizeof white);
    TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, width);
    TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, height);
    TIFFSetField(tiff, TIFFTAG_SUBFILETYPE, page->kind);
    TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, 8);
    TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, page->samples);
    TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
    TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC,
                 page->samples == 1 ? PHOTOMETRIC_MINISBLACK : PHOTOMETRIC_RGB);
    if (page->inner) TIFFSetField(tiff, TIFFTAG_SUBIFD, page->inner, offsets);
    if (page->striped) {
        TIFFSetField(tiff, TIFFTAG_ROWSPERSTRIP, height);
        TIFFWriteEncodedStrip(tiff, 0, white, (tmsize_t)width * (tmsize_t)height * page->samples);
    } else {
        TIFFSetField(tiff, TIFFTAG_TILEWIDTH, TILE);
        TIFFSetField(tiff, TIFFTAG_TILELENGTH, TILE);
        for (uint32_t tile = 0; tile < TIFFNumberOfTiles(tiff); tile++)
            TIFFWriteEncodedTile(tiff, tile, white, (tmsize_t)TILE * TILE * page->samples);
    }
    cr_assert(TIFFWriteDirectory(tiff));
}

static bool open_pages(const struct page *pages)
{
    TIFF *tiff = TIFFOpen(path, "w");
    for (; pages->shrunk; pages++) write_page(tiff, pages);
    TIFFClose(tiff);
    slide_release(&slide);
    err = (struct error) { 0 };
    return slide_open(&slide, path, 0, &err);
}

Test(tiff_unread, pages_that_look_like_levels_are_said)
{
    static const struct {
        struct page pages[5];
        int levels;
        const char *says; /* NULL = nothing */
    } cases[] = {
        { { { 1, 3, 0, false, 0 }, { 2, 3, 1, false, 0 } }, 2, NULL },
        { { { 1, 3, 0, false, 0 } }, 1, NULL },
        { { { 1, 3, 0, false, 1 }, { 2, 3, 1, false, 0 } }, 1, "in SubIFDs" },
        { { { 1, 3, 0, false, 0 }, { 2, 3, 0, false, 0 }, { 4, 3, 0, false, 0 } },
          1,
          "directory 1 has the shape of a level, but is not marked" },
        { { { 1, 3, 0, false, 0 }, { 4, 3, 1, true, 0 } },
          1,
          "directory 1 has the shape of a level, "
          "but consists of strips" },
        { { { 1, 3, 0, false, 0 }, { 1, 3, 0, false, 0 } }, 1, "holds 2 images of its size" },
        /* A mask of the image is no image, and a thumbnail beside levels nothing to tell. */
        { { { 1, 1, 0, false, 0 }, { 1, 1, 4, false, 0 } }, 1, NULL },
        { { { 1, 3, 0, false, 0 }, { 2, 3, 1, false, 0 }, { 4, 3, 0, true, 0 } }, 2, NULL },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        cr_assert(open_pages(cases[i].pages), "%zu: %s", i, err.message);
        cr_assert_eq(slide.level_count, cases[i].levels, "%zu", i);
        if (cases[i].says)
            cr_assert(strstr(slide.remark, cases[i].says), "%zu: '%s'", i, slide.remark);
        else
            cr_assert_str_empty(slide.remark, "%zu: '%s'", i, slide.remark);
    }
}

Test(tiff_unread, colours_in_gray_images_of_their_own_are_refused)
{
    const struct page pages[] = {
        { 1, 1, 0, false, 0 }, { 1, 1, 0, false, 0 }, { 1, 1, 0, false, 0 }, { 0 }
    };
    cr_assert_not(open_pages(pages));
    cr_assert(strstr(err.message, "holds 3 gray images of 512 x 384 px"), "%s", err.message);
    cr_assert(strstr(err.message, "bfconvert -merge"), "%s", err.message);
}
