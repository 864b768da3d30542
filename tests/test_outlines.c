/* Outlines of QuPath, ImageScope and HALO, what their names mean, and masks that are PNGs. */
#include <criterion/criterion.h>
#include <math.h>
#include <png.h>
#include <stdlib.h>
#include <zlib.h>

#include "annotation_fixture.h"
#include "micromet/base/size.h"
#include "micromet/slide/grid.h"
#include "micromet/slide/outline_convert.h"

TestSuite(outlines, .init = begin, .fini = end);

#define SQUARE "[[10, 10], [30, 10], [30, 30], [10, 30], [10, 10]]"
#define INNER  "[[15, 15], [20, 15], [20, 25], [15, 25], [15, 15]]"

#define TUMOR "\"properties\": {\"classification\": {\"name\": \"Tumor\", \"color\": [9, 0, 0]}}"

#define POLYGON(rings) "\"geometry\": {\"type\": \"Polygon\", \"coordinates\": [" rings "]}"

#define FEATURE(geometry, properties) "{\"type\": \"Feature\", " geometry ", " properties "}"

static void label(const char *said)
{
    char *const overrides[] = { (char *)said };
    cr_assert(config_override(&config, 1, overrides, &err), "%s", err.message);
}

static char override[64];

static int64_t pixels_of(const char *text)
{
    test_write(path, folder, "a.txt", text);
    open_for(100, 50);
    const int64_t pixels = facts.tumor_pixels;
    close_it();
    return pixels;
}

static void file_refuses(const char *text, const char *what)
{
    test_write(path, folder, "a.txt", text);
    refuses(100, 50, what);
}

/* --- GeoJSON ---------------------------------------------------------------------------------- */

Test(outlines, geojson_has_many_forms)
{
    static const char *const forms[] = {
        FEATURE(POLYGON(SQUARE), TUMOR),
        "[" FEATURE(POLYGON(SQUARE), TUMOR) "]",
        "{\"type\": \"FeatureCollection\", \"features\": [" FEATURE(POLYGON(SQUARE), TUMOR) "]}",
        "\xef\xbb\xbf\n{\"features\": [" FEATURE(POLYGON(SQUARE), TUMOR) "], \"x\": [[{}], 1e9]}",
        "{" TUMOR ", \"geometry\": {\"coordinates\": [" SQUARE "], \"type\": \"Polygon\"}}",
        FEATURE("\"geometry\": {\"type\": \"MultiPolygon\", \"coordinates\": [[" SQUARE "]]}",
                TUMOR),
        FEATURE(POLYGON("[[10,10,5],[30,10,5],[30,30,5],[1e1,30,5.5]]"), TUMOR), /* open, with z */
        FEATURE(POLYGON(SQUARE), "\"properties\": {\"classification\": \"tumor\"}"),
        FEATURE(POLYGON(SQUARE), "\"properties\": {\"name\": \"Metastasis\"}"),
        FEATURE(POLYGON(SQUARE),
                "\"properties\": {\"name\": \"1\", \"classification\": {\"color\": "
                "[1, 2, 3], \"name\": \"T\\u0075mo\\u0072\"}}"),
        FEATURE(POLYGON(SQUARE), "\"properties\": {\"classification\": {\"names\": [\"Tumor\"]}}"),
    };
    for (size_t i = 0; i < COUNT_OF(forms); i++) {
        cr_expect_eq(pixels_of(forms[i]), 400, "form %zu", i);
        cr_expect_eq(facts.polygon_count, 1);
        cr_expect_str_eq(facts.format, "GeoJSON");
    }
}

Test(outlines, geojson_may_be_packed_by_gzip)
{
    static const char text[] = FEATURE(POLYGON(SQUARE), TUMOR);
    test_path(path, folder, "a.geojson.gz");
    gzFile file = gzopen(path, "wb");
    cr_assert_gt(gzwrite(file, text, sizeof text - 1), 0);
    gzclose(file);
    open_for(100, 50);
    cr_assert_eq(facts.tumor_pixels, 400);
    close_it();
    char *bytes;
    size_t size;
    cr_assert(file_read(path, 1 << 20, &bytes, &size, &err));
    cr_assert(file_write_atomic(path, bytes, size - 9, &err)); /* without its checksum */
    free(bytes);
    refuses(100, 50, "is cut short");
}

/* A hole is cut out of its own polygon: what lies in it is tumour if another outline says so. */
Test(outlines, a_polygons_holes_are_its_own)
{
    label("data.labels={Tumor: tumor, Stroma: normal}");
    cr_expect_eq(pixels_of(FEATURE(POLYGON(SQUARE ", " INNER), TUMOR)), 350);
    cr_expect_eq(pixels_of("[" FEATURE(POLYGON(SQUARE ", " INNER), TUMOR) ", " FEATURE(
                     POLYGON("[[16, 16], [18, 16], [18, 20], [16, 20]]"), TUMOR) "]"),
                 358);
    cr_expect_eq(
        pixels_of(FEATURE("\"geometry\": {\"type\": \"MultiPolygon\", \"coordinates\": [[" SQUARE
                          ", " INNER "], [[[16, 16], [18, 16], [18, 20], [16, 20]]]]}",
                          TUMOR)),
        358);
    cr_expect_eq(pixels_of("[" FEATURE(POLYGON(SQUARE ", " INNER), TUMOR) ", " FEATURE(
                     POLYGON("[[12, 12], [18, 12], [18, 20], [12, 20]]"),
                     "\"properties\": {\"name\": \"Stroma\"}") "]"),
                 350 - (48 - 15));
}

/* The numbers are winding numbers about the pixels' centres by NumPy. Shapely counts as many, but
 * for those whose centre lies on the border: 63, 79, 105, which it leaves out. */
Test(outlines, real_files_have_the_pixels_that_others_count)
{
    static const struct {
        const char *name, *labels;
        int64_t pixels;
        int polygons;
    } files[] = {
        { "qupath_hole.geojson", "data.labels={\"\": tumor}", 7827741, 1 },
        { "qupath05.geojson", "data.labels={UT: tumor, I: skip}", 51700, 1 },
        { "qupath05.geojson", "data.labels={UT: ignore, I: tumor}", 71158 + 46149, 3 },
        { "imagescope.xml", "data.labels={\"\": tumor}", 8301404, 1 }, /* crosses itself */
    };
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        snprintf(path, sizeof path, MICROMET_SOURCE "/tests/fixtures/annotations/%s",
                 files[i].name);
        label(files[i].labels);
        open_for(24000, 48000);
        cr_expect_eq(facts.tumor_pixels, files[i].pixels, "%s: %lld", files[i].name,
                     (long long)facts.tumor_pixels);
        cr_expect_eq(facts.polygon_count, files[i].polygons);
        close_it();
    }
}

Test(outlines, qupath_counts_from_the_slides_bounds)
{
    slide.bounds_x = 40, slide.bounds_y = 5;
    test_write(path, folder, "a.txt", FEATURE(POLYGON(SQUARE), TUMOR));
    open_for(100, 50);
    cr_assert(any(50, 15, 51, 16));
    cr_assert_not(any(0, 0, 50, 50));
    cr_assert_not(any(50, 0, 100, 15));
    slide.bounds_x = slide.bounds_y = 0;
}

Test(outlines, what_has_no_area_is_left_out)
{
    static const char point[] = FEATURE(
        "\"geometry\": {\"type\": \"Point\", \"coordinates\": [1, 2]}", "\"properties\": {}");
    static const char line[] = FEATURE(
        "\"geometry\": {\"type\": \"LineString\", \"coordinates\": [[1, 2], [3, 4]]}",
        "\"properties\": {\"name\": \"line\"}");
    static const char nothing[] = FEATURE("\"geometry\": null", "\"properties\": null");
    char text[2048];
    snprintf(text, sizeof text, "[%s, %s, %s, " FEATURE(POLYGON(SQUARE), TUMOR) "]", point, line,
             nothing);
    cr_expect_eq(pixels_of(text), 400);
    cr_expect_eq(pixels_of("{\"type\": \"FeatureCollection\", \"features\": []}"), 0);
    cr_expect_eq(pixels_of("[]"), 0);
    cr_expect_eq(pixels_of(FEATURE(POLYGON(""), TUMOR)), 0);
}

Test(outlines, bad_geojson_is_refused_with_its_line)
{
    static const struct {
        const char *text, *what;
    } cases[] = {
        { "[1]", ":1: not GeoJSON: a feature that is no object" },
        { "{\"a\": 1}", "it has neither features nor a geometry" },
        { "{\"geometry\":\n{\"type\": \"Polygon\", \"coordinates\": [[[1, 2], [3\n]]]}}",
          ":3: a position that is not two numbers" },
        { "{\"geometry\": {\"type\": \"Polygon\", \"coordinates\": [[1, 2], [3, 4]]}}",
          "not nested as a Polygon's" },
        { "{\"geometry\": {\"type\": \"Polygon\", \"coordinates\": [[[1, 2], [[3, 4]]]]}}",
          "coordinates of different depths" },
        { "{\"geometry\": {\"type\": \"Polygon\", \"coordinates\": [[[[[1, 2]]]]]}}",
          "no arrays of positions" },
        { "{\"geometry\": {\"type\": \"Polygon\", \"coordinates\": [[[1, 1e9]]]}}",
          "not two numbers of pixels" },
        { "{\"geometry\": {\"type\": \"Polygon\", \"coordinates\": [[[1, \"2\"]]]}}",
          "a coordinate that is no number" },
        { "{\"geometry\": {\"type\": \"Circle\\u001b[2J\", \"coordinates\": []}}",
          "a geometry of the type 'Circle\\x1b[2J'" },
        { "{\"geometry\": {\"coordinates\": [[[1, 2]]]}}", "a geometry of the type ''" },
        { "[{}", ":1: the JSON is cut short" },
        { "{\"a\": [1, 2}", "a comma or a bracket was expected" },
        { "{a: 1}", "a key in double quotes was expected" },
        { "{\"a\" 1}", "a colon was expected" },
        { "[{\"a\": 01}]", "a value was expected" },
        { "[{\"a\": NaN}]", "a value was expected" },
        { "[{\"a\": \"\\u0000\"}]", "a bad escape" },
        { "[{\"a\": \"\\ud800x\"}]", "half of a surrogate pair" },
        { "[{\"a\": \"\xff\"}]", "not UTF-8" },
        { "[{\"a\": \"b", "a string without an end" },
        { "[{}] 1", "more behind the JSON's end" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) file_refuses(cases[i].text, cases[i].what);
    char deep[80] = "[{\"a\": ";
    memset(deep + strlen(deep), '[', 70);
    file_refuses(deep, "nested more than 64 deep");
}

/* --- ImageScope and HALO ---------------------------------------------------------------------- */

#define REGION(type, negative, corners)                                                            \
    "<Region Type=\"" type "\" NegativeROA=\"" negative "\" Text=\"\"><Vertices>" corners          \
    "</Vertices></Region>"
#define LAYER(name, regions)                                                                       \
    "<Annotation Id=\"1\" Name=\"" name "\" LineColor=\"65280\"><Regions>" regions                 \
    "</Regions></Annotation>"
#define CORNER(element, x, y) "<" element " X=\"" #x "\" Y=\"" #y "\"/>"
#define BOX(e, x0, y0, x1, y1)                                                                     \
    CORNER(e, x0, y0) CORNER(e, x1, y0) CORNER(e, x1, y1) CORNER(e, x0, y1)
#define TWO(e, x0, y0, x1, y1) CORNER(e, x0, y0) CORNER(e, x1, y1)

Test(outlines, imagescope_and_halo_cut_negative_regions_out_of_their_layer)
{
    static const struct {
        const char *text;
        int64_t pixels;
    } cases[] = {
        { "<Annotations>" LAYER("Tumor", REGION("0", "0", BOX("Vertex", 10, 10, 30, 30))), 400 },
        { "<Annotations>" LAYER("Tumor", REGION("0", "1", BOX("Vertex", 15, 15, 20, 25))
                                             REGION("1", "0", BOX("Vertex", 10, 10, 30, 30))),
          350 },
        /* another layer of that name is not cut */
        { "<Annotations>" LAYER("Tumor", REGION("0", "1", BOX("Vertex", 15, 15, 20, 25))
                                             REGION("0", "0", BOX("Vertex", 10, 10, 30, 30)))
              LAYER("Tumor", REGION("0", "0", BOX("Vertex", 16, 16, 18, 20))),
          358 },
        { "<Annotations>" LAYER("tumor", REGION("Polygon", "0", BOX("V", 10, 10, 30, 30))
                                             REGION("Rectangle", "1", TWO("V", 20, 25, 15, 15))),
          350 },
        { "<Annotations>" LAYER("tumor", REGION("Pin", "0", CORNER("V", 1, 1))
                                             REGION("Ruler", "0", TWO("V", 1, 1, 9, 9)) REGION(
                                                 "Rectangle", "0", TWO("V", 30, 10, 10, 30))),
          400 },
        { "<Annotations>" LAYER("", "")
              LAYER("Tumor", REGION("3", "0", TWO("Vertex", 1, 1, 5, 5))
                                 REGION("1", "0", TWO("Vertex", 10, 10, 30, 30))),
          400 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char text[2048];
        snprintf(text, sizeof text, "%s</Annotations>", cases[i].text);
        cr_expect_eq(pixels_of(text), cases[i].pixels, "case %zu", i);
        cr_expect_str_eq(facts.format, strstr(text, "<V ") ? "HALO XML" : "ImageScope XML");
    }
}

Test(outlines, ellipses_fill_their_box)
{
    static const char *const texts[] = {
        "<Annotations>" LAYER("Tumor",
                              REGION("2", "0", TWO("Vertex", 5, 10, 95, 45))) "</Annotations>",
        "<Annotations>" LAYER("Tumor",
                              REGION("Ellipse", "0", TWO("V", 95, 10, 5, 45))) "</Annotations>",
    };
    int64_t inside = 0; /* pixels whose centre is clearly in it, or at its border */
    int64_t border = 0;
    for (int y = 0; y < 50; y++)
        for (int x = 0; x < 100; x++) {
            const double r = hypot((x + 0.5 - 50) / 45, (y + 0.5 - 27.5) / 17.5);
            inside += r < 0.998;
            border += r >= 0.998 && r <= 1;
        }
    for (int i = 0; i < 2; i++) {
        const int64_t pixels = pixels_of(texts[i]);
        cr_expect(pixels >= inside && pixels <= inside + border, "%lld", (long long)pixels);
    }
}

Test(outlines, bad_regions_are_refused_with_their_line)
{
    file_refuses("<Annotations>\n<Region/></Annotations>", ":2: a Region outside an Annotation");
    file_refuses("<Annotations>" LAYER("Tumor", REGION("Blob", "0", "")), "unknown type 'Blob'");
    file_refuses("<Annotations>" LAYER("Tumor", REGION("0", "0", "<Vertex X=\"1\" Y=\"x\"/>")),
                 "Y=\"x\" is not a number of pixels");
    file_refuses("<Annotations>" LAYER("Tumor", ""), "not well-formed XML");
}

/* --- Names ------------------------------------------------------------------------------------ */

#define NAMED(name, rings) FEATURE(POLYGON(rings), "\"properties\": {\"name\": \"" name "\"}")

Test(outlines, names_that_are_not_said_are_listed)
{
    static const char text[] = "[" NAMED("Tumor", SQUARE) ", " NAMED("Region*", INNER) ", " NAMED(
        "Region*", INNER) ", " NAMED("", INNER) "]";
    file_refuses(text, "what its names mean is not said: 'Tumor' (1), 'Region*' (2), '' (1); say "
                       "what they mean (tumor, normal, ignore or skip), such as data.labels: "
                       "{Tumor: tumor, \"Region*\": ignore, \"\": ignore}");
    file_refuses(NAMED("1", SQUARE), "'1' (1)");
    label("data.labels={TUMOR: tumor, \"\": skip}");
    file_refuses(text, "data.labels lacks names that it has: 'Region*' (2); say");
    label("data.labels.Region*=skip");
    cr_assert_eq(pixels_of(text), 400);
    cr_assert_eq(facts.polygon_count, 1);
    cr_assert_str_eq(facts.names, "'Tumor' (1), 'Region*' (2), '' (1)");
}

Test(outlines, asaps_groups_are_as_labels_say_if_they_say_anything)
{
    static const char text[] =
        "<ASAP_Annotations><Annotation PartOfGroup=\"_2\"><Coordinate X=\"10\" Y=\"10\"/>"
        "<Coordinate X=\"30\" Y=\"10\"/><Coordinate X=\"30\" Y=\"30\"/><Coordinate X=\"10\" "
        "Y=\"30\"/>"
        "</Annotation></ASAP_Annotations>";
    cr_assert_eq(pixels_of(text), 0);
    label("data.labels={_2: tumor}");
    cr_assert_eq(pixels_of(text), 400);
    label("data.labels={Tumor: tumor}");
    file_refuses(text, "data.labels lacks names that it has: '_2' (1)");
}

Test(outlines, no_window_touches_what_is_ignored)
{
    struct grid grid;
    uint8_t *labels;
    label("data.labels={Tumor: tumor, Fold: ignore}");
    test_write(path, folder, "a.txt",
               "[" NAMED("Tumor", "[[0, 0], [1000, 0], [1000, 300], [0, 300]]") ", " NAMED(
                   "Fold", "[[395, 0], [405, 0], [405, 100], [395, 100]]") "]");
    open_for(1000, 1000);
    cr_assert_eq(facts.ignored_pixels, 1000);
    cr_assert_eq(facts.tumor_pixels, 300000 - 1000);
    cr_assert_not(any(395, 0, 405, 100));
    config.data.level_count = 1, config.data.levels[0] = 0;
    config.data.window = 80, config.data.center = 50, config.data.stride = 50;
    cr_assert(grid_init(&grid, &slide, &config.data, 0, &err), "%s", err.message);
    cr_assert(grid_label(&grid, &slide, &config.data, annotation, &labels, &err));
    for (int64_t row = 0; row < grid.rows; row++)
        for (int64_t column = 0; column < grid.columns; column++) {
            const int64_t x = grid_x_level0(&grid, column), y = grid_y_level0(&grid, row);
            const bool ignored = x - 40 < 405 && x + 40 > 395 && y - 40 < 100;
            const int expected = ignored ? GRID_IGNORED : y - 25 < 300;
            cr_expect_eq(labels[row * grid.columns + column], expected, "%lld %lld", (long long)x,
                         (long long)y);
        }
    free(labels);
}

/* --- PNG -------------------------------------------------------------------------------------- */

/* A PNG of 6 × 2 px with these bytes a row. */
static void write_png(int bits, int color, int interlace, const uint8_t *rows, size_t row_bytes)
{
    test_path(path, folder, "mask.png");
    FILE *file = fopen(path, "wb");
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    static const png_color palette[4] = { { 255, 255, 255 }, { 1, 2, 3 }, { 9, 9, 9 } };
    png_init_io(png, file);
    png_set_IHDR(png, info, 6, 2, bits, color, interlace, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    if (color == PNG_COLOR_TYPE_PALETTE) png_set_PLTE(png, info, palette, 4);
    png_write_info(png, info);
    for (int pass = 0; pass < (interlace ? 7 : 1); pass++)
        for (int y = 0; y < 2; y++) png_write_row(png, rows + (size_t)y * row_bytes);
    png_write_end(png, NULL);
    png_destroy_write_struct(&png, &info);
    fclose(file);
}

Test(outlines, a_png_is_a_mask_of_its_stored_values)
{
    static const uint8_t gray8[12] = { 0, 1, 1, 2, 0, 0, 0, 0, 2, 2, 2, 0 };
    static const uint8_t index2[4] = { 0x16, 0x00, 0x0a, 0x80 }; /* the same: 2 bits each */
    uint8_t gray16[24] = { 0 }, rgba[48];
    static const int64_t pixels[] = { 2, 4 }; /* of the values 1 and 2 */
    for (int i = 0; i < 12; i++) gray16[2 * i] = gray8[i] ? 1 : 0, gray16[2 * i + 1] = gray8[i];
    for (int value = 1; value <= 2; value++) {
        snprintf(override, sizeof override, "data.mask_values=[%d]", value);
        label(override);
        write_png(8, PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_NONE, gray8, 6);
        open_for(6, 2);
        cr_expect_eq(facts.tumor_pixels, pixels[value - 1]);
        cr_expect_str_eq(facts.format, "mask PNG");
        close_it();
        write_png(2, PNG_COLOR_TYPE_PALETTE, PNG_INTERLACE_NONE, index2, 2);
        open_for(6, 2);
        cr_expect_eq(facts.tumor_pixels, pixels[value - 1]);
        close_it();
        snprintf(override, sizeof override, "data.mask_values=[%d]", 256 + value);
        label(override);
        write_png(16, PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_NONE, gray16, 12);
        open_for(6, 2);
        cr_expect_eq(facts.tumor_pixels, pixels[value - 1]);
        close_it();
    }
    label("data.mask_values=[]");
    for (int i = 0; i < 12; i++) memcpy(rgba + 4 * i, (uint8_t[]) { i < 3 ? 200 : 0, 0, 0, 9 }, 4);
    write_png(8, PNG_COLOR_TYPE_RGB_ALPHA, PNG_INTERLACE_NONE, rgba, 24);
    open_for(12, 4); /* half the slide's size */
    cr_expect_eq(facts.tumor_pixels, 3);
    cr_expect_eq(facts.pixel_level0, 2);
    close_it();
    rgba[3] = 255; /* transparent elsewhere */
    write_png(8, PNG_COLOR_TYPE_RGB_ALPHA, PNG_INTERLACE_NONE, rgba, 24);
    refuses(6, 2, "sample 4 of its pixels (alpha");
    write_png(8, PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_ADAM7, gray8, 6);
    refuses(6, 2, "an interlaced PNG");
}

Test(outlines, labels_say_what_a_masks_values_mean)
{
    static const uint8_t values[12] = { 0, 1, 1, 2, 3, 3, 3, 0, 2, 2, 2, 0 };
    write_png(8, PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_NONE, values, 6);
    label("data.labels={1: tumor, 3: ignore, 02: tumor}");
    refuses(6, 2,
            "data.labels lacks names that it has: 2 (4 px); say what they mean (tumor, normal, "
            "ignore or skip), such as data.labels: {2: ignore}");
    label("data.labels={1: tumor, 2: normal, 3: ignore}");
    open_for(6, 2);
    cr_assert_eq(facts.tumor_pixels, 2);
    cr_assert_eq(facts.ignored_pixels, 3);
    close_it();
    label("data.labels={1: normal, 2: normal, 3: ignore}");
    open_for(6, 2);
    char why[ANNOTATION_TEXT_MAX];
    annotation_say_empty(annotation, why);
    cr_assert(strstr(why, "none of the values that data.labels calls tumor is in its mask"), "%s",
              why);
}

/* --- Conversion ------------------------------------------------------------------------------- */

Test(outlines, they_go_from_format_to_format_and_lose_nothing)
{
    static const char source[] = "[" FEATURE(
        "\"geometry\": {\"type\": \"MultiPolygon\", \"coordinates\": [[" SQUARE ", " INNER
        "], [[[16, 16], [18, 16], [18, 20], [16, 20]]]]}",
        TUMOR) ", " NAMED("Stro&ma \\\"\\u00e4\\\"", "[[0.1, 1e-7], [12345.678901234567, "
                                                     "3], [40, 41.25]]") "]";
    char other[PATH_MAX_BYTES], back[PATH_MAX_BYTES], first[PATH_MAX_BYTES];
    struct conversion facts_of;
    test_write(path, folder, "a.geojson", source);
    test_path(first, folder, "first.geojson");
    test_path(other, folder, "other");
    test_path(back, folder, "back.geojson");
    cr_assert(outlines_convert(path, first, OUTLINES_GEOJSON, NULL, &facts_of, &err));
    cr_assert_eq(facts_of.areas, 3);
    cr_assert_eq(facts_of.holes, 1);
    char *wanted = test_read(first);
    for (const char *part =
             "0.1, 1e-07], [12345.678901234567\0MultiPolygon\0[9, 0, 0]\0ma \\\"\xc3\xa4\0";
         *part; part += strlen(part) + 1)
        cr_assert(strstr(wanted, part), "%s lacks %s", wanted, part);
    free(wanted);
    label("data.labels={Tumor: tumor, 'Stro&ma \"\xc3\xa4\"': skip}");
    for (int format = 0; outline_format_names[format]; format++) {
        cr_assert(outlines_convert(path, other, (enum outline_format)format, NULL, &facts_of, &err),
                  "%s", err.message);
        cr_assert(outlines_convert(other, back, OUTLINES_GEOJSON, NULL, &facts_of, &err), "%s",
                  err.message);
        cr_expect_eq((int)facts_of.from, format);
        cr_expect_eq(facts_of.areas, 3);
        cr_expect_eq(facts_of.holes, 1);
        char *text = test_read(back);
        cr_expect(strstr(text, "[[[0.1, 1e-07], [12345.678901234567, 3], [40, 41.25], [0.1, 1e-07]"
                               "]]"),
                  "%s", text);
        cr_expect(strstr(text, "\"classification\": {\"name\": \"Tumor\", \"color\": [9, 0, 0]}"));
        free(text);
        snprintf(path, sizeof path, "%s", other);
        open_for(100, 50);
        cr_expect_eq(facts.tumor_pixels, 358, "%s", outline_format_names[format]);
        close_it();
        test_path(path, folder, "a.geojson");
    }
}

Test(outlines, conversion_moves_qupaths_coordinates_by_the_slides_bounds)
{
    char out[PATH_MAX_BYTES];
    struct conversion facts_of;
    slide.bounds_x = 40, slide.bounds_y = 5;
    test_write(path, folder, "a.geojson", FEATURE(POLYGON(SQUARE), TUMOR));
    test_path(out, folder, "a.xml");
    cr_assert(outlines_convert(path, out, OUTLINES_ASAP, &slide, &facts_of, &err));
    char *text = test_read(out);
    cr_expect(strstr(text, "X=\"50\" Y=\"15\""), "%s", text);
    free(text);
    cr_assert(outlines_convert(out, path, OUTLINES_GEOJSON, &slide, &facts_of, &err));
    text = test_read(path);
    cr_expect(strstr(text, "[[[10, 10], [30, 10], [30, 30], [10, 30], [10, 10]]]"), "%s", text);
    free(text);
    slide.bounds_x = slide.bounds_y = 0;
}
