/* What the samples of a mask's pixels mean: whole numbers of any type become values; colours, alpha
 * and the like are read only where they leave no doubt.
 *
 * A gray pixel's value is its samples', which are equal. One colour besides black is a value, too,
 * that of its largest sample: red or green on black. All else, such as two colours, may mean
 * anything and is refused. */
#include "mask_pixels.h"

#include <stdlib.h>
#include <string.h>

#include "micromet/base/size.h"

#define READER(name, type)                                                                         \
    static double name(const uint8_t *sample)                                                      \
    {                                                                                              \
        type value;                                                                                \
        memcpy(&value, sample, sizeof value);                                                      \
        return (double)value;                                                                      \
    }
READER(read_u8, uint8_t)
READER(read_u16, uint16_t)
READER(read_u32, uint32_t)
READER(read_u64, uint64_t)
READER(read_i8, int8_t)
READER(read_i16, int16_t)
READER(read_i32, int32_t)
READER(read_i64, int64_t)
READER(read_f32, float)
READER(read_f64, double)
#undef READER

static const struct {
    uint16_t format, bits;
    double (*read)(const uint8_t *sample);
} readers[] = {
    { SAMPLEFORMAT_UINT, 8, read_u8 },     { SAMPLEFORMAT_UINT, 16, read_u16 },
    { SAMPLEFORMAT_UINT, 32, read_u32 },   { SAMPLEFORMAT_UINT, 64, read_u64 },
    { SAMPLEFORMAT_INT, 8, read_i8 },      { SAMPLEFORMAT_INT, 16, read_i16 },
    { SAMPLEFORMAT_INT, 32, read_i32 },    { SAMPLEFORMAT_INT, 64, read_i64 },
    { SAMPLEFORMAT_IEEEFP, 32, read_f32 }, { SAMPLEFORMAT_IEEEFP, 64, read_f64 },
    { SAMPLEFORMAT_UINT, 1, NULL },        { SAMPLEFORMAT_UINT, 2, NULL },
    { SAMPLEFORMAT_UINT, 4, NULL }, /* several samples a byte: see unpack() */
};

static const struct {
    uint16_t photometric;
    int colors; /* 0: refused */
    const char *name;
} photometrics[] = {
    { PHOTOMETRIC_MINISBLACK, 1, "gray" },
    { PHOTOMETRIC_MINISWHITE, 1, "gray, 0 is white" },
    { PHOTOMETRIC_PALETTE, 1, "a palette" }, /* the index is the value */
    { PHOTOMETRIC_MASK, 1, "a transparency mask" },
    { PHOTOMETRIC_RGB, 3, "RGB" },
    { PHOTOMETRIC_YCBCR, 3, "YCbCr" },
    { PHOTOMETRIC_SEPARATED, 0, "CMYK" },
    { PHOTOMETRIC_CIELAB, 0, "CIELAB" },
    { PHOTOMETRIC_ICCLAB, 0, "ICCLAB" },
    { PHOTOMETRIC_ITULAB, 0, "ITULAB" },
    { PHOTOMETRIC_CFA, 0, "a colour filter array" },
    { PHOTOMETRIC_LOGL, 0, "LogL" },
    { PHOTOMETRIC_LOGLUV, 0, "LogLuv" },
};

static const struct {
    uint16_t compression;
    const char *name;
} lossy_compressions[] = {
    { COMPRESSION_JPEG, "JPEG" },
    { COMPRESSION_OJPEG, "JPEG" },
    { COMPRESSION_WEBP, "WebP" },
    { 34712, "JPEG 2000" },
    { 34892, "JPEG" },
};

static const char to_gray[] = "save it as gray, one whole number a pixel (0 = no tumor)";

/* In these, 0 is white by the standard. Elsewhere tifffile, for one, writes NumPy's true as 1 under
 * a tag that makes it black. */
static bool is_fax(uint16_t compression)
{
    return compression == COMPRESSION_CCITTRLE || compression == COMPRESSION_CCITTRLEW ||
           compression == COMPRESSION_CCITTFAX3 || compression == COMPRESSION_CCITTFAX4;
}

static bool set_photometric(struct mask_pixels *pixels, TIFF *tiff, struct error *err)
{
    uint16_t photometric = PHOTOMETRIC_MINISBLACK, compression;
    TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &photometric);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_COMPRESSION, &compression);
    if (!TIFFIsCODECConfigured(compression))
        return error_set(err, EXIT_CODE_FAILED,
                         "%s: its compression, number %d, is none that libtiff reads here; save it "
                         "with Deflate or LZW",
                         pixels->path, compression);
    for (size_t i = 0; i < COUNT_OF(lossy_compressions); i++)
        if (lossy_compressions[i].compression == compression)
            pixels->lossy = lossy_compressions[i].name;
    pixels->inverted = photometric == PHOTOMETRIC_MINISWHITE;
    if (pixels->inverted && pixels->bits == 1 && !is_fax(compression))
        return error_set(err, EXIT_CODE_FAILED,
                         "%s: one bit a pixel, of which 0 is white: programs that write this do "
                         "not agree which of the two is tumor; save it as gray of 8 bits (0 = no "
                         "tumor)",
                         pixels->path);
    if (photometric == PHOTOMETRIC_YCBCR) {
        if (compression != COMPRESSION_JPEG)
            return error_set(err, EXIT_CODE_FAILED, "%s: a mask in YCbCr without JPEG; %s",
                             pixels->path, to_gray);
        TIFFSetField(tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
    }
    for (size_t i = 0; i < COUNT_OF(photometrics); i++) {
        if (photometrics[i].photometric != photometric) continue;
        pixels->colors = photometrics[i].colors;
        if (pixels->colors) return true;
        return error_set(err, EXIT_CODE_FAILED, "%s: a mask in %s; %s", pixels->path,
                         photometrics[i].name, to_gray);
    }
    return error_set(err, EXIT_CODE_FAILED, "%s: pixels of the unknown kind %d; %s", pixels->path,
                     photometric, to_gray);
}

static bool set_reader(struct mask_pixels *pixels, TIFF *tiff, struct error *err)
{
    uint16_t format;
    TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLEFORMAT, &format);
    if (format == SAMPLEFORMAT_VOID) format = SAMPLEFORMAT_UINT;
    for (size_t i = 0; i < COUNT_OF(readers); i++) {
        if (readers[i].format != format || readers[i].bits != pixels->bits) continue;
        pixels->read = readers[i].read;
        if (!pixels->read && pixels->samples > 1) break;
        if (pixels->inverted && (format != SAMPLEFORMAT_UINT || pixels->bits > 16)) break;
        return true;
    }
    return error_set(err, EXIT_CODE_FAILED,
                     "%s: %d samples a pixel of %d bits%s%s cannot be read as a mask; %s",
                     pixels->path, pixels->samples, pixels->bits,
                     format == SAMPLEFORMAT_IEEEFP ? " (floating point)" : "",
                     pixels->inverted ? ", 0 is white," : "", to_gray);
}

bool mask_pixels_init(struct mask_pixels *pixels, TIFF *tiff, const char *path, struct error *err)
{
    uint16_t samples, planar, orientation;
    *pixels = (struct mask_pixels) { .path = path };
    TIFFGetFieldDefaulted(tiff, TIFFTAG_BITSPERSAMPLE, &pixels->bits);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLESPERPIXEL, &samples);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_PLANARCONFIG, &planar);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_ORIENTATION, &orientation);
    pixels->samples = samples;
    pixels->planar = planar == PLANARCONFIG_SEPARATE && samples > 1;
    if (orientation > ORIENTATION_TOPLEFT)
        return error_set(err, EXIT_CODE_FAILED,
                         "%s: its tag Orientation (%d) turns or mirrors it; save it upright, "
                         "without the tag",
                         path, orientation);
    if (!set_photometric(pixels, tiff, err)) return false;
    if (samples < pixels->colors || samples > MASK_SAMPLES_MAX)
        return error_set(err, EXIT_CODE_FAILED, "%s: %d samples a pixel; %s", path, samples,
                         to_gray);
    return set_reader(pixels, tiff, err);
}

void mask_pixels_init_plain(struct mask_pixels *pixels, const char *path, int bits, int samples)
{
    *pixels = (struct mask_pixels) { .path = path,
                                     .bits = (uint16_t)bits,
                                     .samples = samples,
                                     .colors = samples < 3 ? 1 : 3,
                                     .read = bits == 8    ? read_u8
                                             : bits == 16 ? read_u16
                                                          : NULL };
}

/* --- Rows ------------------------------------------------------------------------------------- */

static bool refuse_value(const struct mask_pixels *pixels, double value, struct error *err)
{
    return error_set(err, EXIT_CODE_FAILED,
                     "%s: a pixel has the value %g; a mask holds whole numbers from 0 to 65535",
                     pixels->path, value);
}

/* Samples of 1, 2 or 4 bits, the first in the highest bits. */
static void unpack(const uint8_t *row, int bits, uint32_t width, uint16_t *values)
{
    const uint32_t per_byte = 8 / (uint32_t)bits, mask = (1u << bits) - 1;
    for (uint32_t x = 0; x < width; x++)
        values[x] = (uint16_t)(row[x / per_byte] >> (8 - bits * (int)(x % per_byte + 1)) & mask);
}

static bool read_plain(const struct mask_pixels *pixels, const uint8_t *row, uint32_t width,
                       uint16_t *values, struct error *err)
{
    const size_t bytes = pixels->bits / 8;
    if (!pixels->read) {
        unpack(row, pixels->bits, width, values);
    } else if (pixels->read == read_u8) {
        for (uint32_t x = 0; x < width; x++) values[x] = row[x];
    } else if (pixels->read == read_u16) {
        memcpy(values, row, 2 * (size_t)width);
    } else {
        for (uint32_t x = 0; x < width; x++) {
            const double value = pixels->read(row + x * bytes);
            if (!(value >= 0 && value <= UINT16_MAX) || value != (uint16_t)value)
                return refuse_value(pixels, value, err);
            values[x] = (uint16_t)value;
        }
    }
    if (!pixels->inverted) return true;
    for (uint32_t x = 0; x < width; x++) values[x] ^= (uint16_t)((1u << pixels->bits) - 1);
    return true;
}

static bool refuse_colors(const struct mask_pixels *pixels, struct error *err)
{
    return error_set(err, EXIT_CODE_FAILED,
                     "%s: its pixels have several colours%s%s, which say not what is tumor; %s",
                     pixels->path, pixels->lossy ? ", perhaps by its compression " : "",
                     pixels->lossy ? pixels->lossy : "", to_gray);
}

/* The value of a pixel's colours; false if they cannot be one. */
static bool value_of_colors(struct mask_pixels *pixels, const uint16_t *samples, uint16_t *value)
{
    *value = samples[0];
    bool gray = true;
    for (int s = 1; s < pixels->colors; s++) {
        gray = gray && samples[s] == samples[0];
        if (samples[s] > *value) *value = samples[s];
    }
    const size_t bytes = (size_t)pixels->colors * sizeof *samples;
    if (gray) {
        pixels->any_gray |= *value != 0;
    } else if (!pixels->any_tint) {
        pixels->any_tint = true;
        memcpy(pixels->tint, samples, bytes);
    } else {
        return !memcmp(pixels->tint, samples, bytes);
    }
    return true;
}

static void note_extra(struct mask_pixels *pixels, const uint16_t *samples, uint16_t value)
{
    for (int s = pixels->colors; s < pixels->samples; s++) {
        if (!pixels->any_pixel) pixels->extra[s] = samples[s];
        pixels->extra_varies[s] |= samples[s] != pixels->extra[s];
        pixels->extra_differs[s] |= samples[s] != value;
    }
    pixels->any_pixel = true;
}

static bool read_samples(struct mask_pixels *pixels, const uint8_t *row, size_t plane_bytes,
                         uint32_t width, uint16_t *values, struct error *err)
{
    const size_t bytes = pixels->bits / 8;
    const size_t step = pixels->planar ? bytes : bytes * (size_t)pixels->samples;
    for (uint32_t x = 0; x < width; x++) {
        uint16_t samples[MASK_SAMPLES_MAX];
        for (int s = 0; s < pixels->samples; s++) {
            const double value = pixels->read(row + x * step +
                                              (size_t)s * (pixels->planar ? plane_bytes : bytes));
            if (!(value >= 0 && value <= UINT16_MAX) || value != (uint16_t)value)
                return refuse_value(pixels, value, err);
            samples[s] = (uint16_t)value;
            if (pixels->inverted && s < pixels->colors)
                samples[s] ^= (uint16_t)((1u << pixels->bits) - 1);
        }
        if (!value_of_colors(pixels, samples, &values[x])) return refuse_colors(pixels, err);
        note_extra(pixels, samples, values[x]);
    }
    return true;
}

bool mask_pixels_row(struct mask_pixels *pixels, const uint8_t *row, size_t plane_bytes,
                     uint32_t width, uint16_t *values, struct error *err)
{
    return pixels->samples == 1 ? read_plain(pixels, row, width, values, err)
                                : read_samples(pixels, row, plane_bytes, width, values, err);
}

bool mask_pixels_check(const struct mask_pixels *pixels, struct error *err)
{
    if (pixels->any_tint && pixels->any_gray) return refuse_colors(pixels, err);
    for (int s = pixels->colors; s < pixels->samples; s++)
        if (pixels->extra_varies[s] && pixels->extra_differs[s])
            return error_set(err, EXIT_CODE_FAILED,
                             "%s: sample %d of its pixels (alpha, or another channel) says "
                             "something else than the %s; %s",
                             pixels->path, s + 1, pixels->colors > 1 ? "colours" : "first",
                             to_gray);
    return true;
}
