/* Files that are bad on purpose, and that no shell writes in a line or two: make_file KIND PATH. */
#include <hdf5.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tiffio.h>

/* One strip of 8 bits a pixel: zeros, and in the middle rows of `value`, under which as many
 * of 1 if it is another one. */
static bool write_mask(const char *path, uint32_t side, uint8_t value)
{
    TIFF *tiff = TIFFOpen(path, "w");
    uint8_t *pixels = calloc(side, side);
    bool ok = tiff && pixels;
    if (ok && value) {
        memset(pixels + side / 4 * side, value, (size_t)side * (side / 4));
        memset(pixels + side / 2 * side, 1, (size_t)side * (side / 4));
    }
    if (ok) {
        TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, side);
        TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, side);
        TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, 8);
        TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, 1);
        TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_MINISBLACK);
        TIFFSetField(tiff, TIFFTAG_ROWSPERSTRIP, side);
        ok = TIFFWriteEncodedStrip(tiff, 0, pixels, (tmsize_t)side * side) > 0;
    }
    if (tiff) TIFFClose(tiff);
    free(pixels);
    return ok;
}

/* A mask without tumour for the fixture's slides, and, being striped, no slide for OpenSlide. */
static bool zero_mask(const char *path)
{
    return write_mask(path, 768, 0);
}

/* A quarter of 2, a quarter of 1. */
static bool two_values_mask(const char *path)
{
    return write_mask(path, 768, 2);
}

/* A slide of 768 px, and half as large the same in white, which nothing marks as a level. */
static bool unmarked_level(const char *path)
{
    static uint8_t white[256 * 256 * 3];
    TIFF *tiff = TIFFOpen(path, "w");
    bool ok = tiff != NULL;
    memset(white, 255, sizeof white);
    for (uint32_t side = 768; ok && side >= 384; side /= 2) {
        TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, side);
        TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, side);
        TIFFSetField(tiff, TIFFTAG_TILEWIDTH, 256);
        TIFFSetField(tiff, TIFFTAG_TILELENGTH, 256);
        TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, 8);
        TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, 3);
        TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
        TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_RGB);
        for (uint32_t tile = 0; ok && tile < TIFFNumberOfTiles(tiff); tile++)
            ok = TIFFWriteEncodedTile(tiff, tile, white, sizeof white) > 0;
        ok = ok && TIFFWriteDirectory(tiff);
    }
    if (tiff) TIFFClose(tiff);
    return ok;
}

static bool write_name(hid_t object, const char *attribute, const char *name)
{
    const hsize_t one = 1;
    const hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate_simple(1, &one, NULL);
    H5Tset_size(type, strlen(name) + 1);
    const hid_t names = H5Acreate2(object, attribute, type, space, H5P_DEFAULT, H5P_DEFAULT);
    const bool ok = H5Awrite(names, type, name) >= 0;
    H5Aclose(names);
    H5Sclose(space);
    H5Tclose(type);
    return ok;
}

/* Keras weights of a network that has one dense layer and no convolution. */
static bool dense_hdf5(const char *path)
{
    static const float values[32][32];
    const hsize_t shape[2] = { 32, 32 };
    const hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    const hid_t layer = H5Gcreate2(file, "dense_1", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    const hid_t space = H5Screate_simple(2, shape, NULL);
    const hid_t kernel = H5Dcreate2(layer, "kernel:0", H5T_IEEE_F32LE, space, H5P_DEFAULT,
                                    H5P_DEFAULT, H5P_DEFAULT);
    const bool ok = write_name(file, "layer_names", "dense_1") &&
                    write_name(layer, "weight_names", "kernel:0") &&
                    H5Dwrite(kernel, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0;
    H5Dclose(kernel);
    H5Sclose(space);
    H5Gclose(layer);
    return H5Fclose(file) >= 0 && ok;
}

static const struct {
    const char *name;
    bool (*make)(const char *path);
} kinds[] = { { "zero_mask", zero_mask },
              { "two_values_mask", two_values_mask },
              { "unmarked_level", unmarked_level },
              { "dense_hdf5", dense_hdf5 } };

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 3 && i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(argv[1], kinds[i].name) == 0) return kinds[i].make(argv[2]) ? 0 : 1;
    fprintf(stderr, "usage: make_file zero_mask|two_values_mask|unmarked_level|dense_hdf5 PATH\n");
    return 2;
}
