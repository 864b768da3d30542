/* ASAP polygons: every pixel against the textbook's point in polygon, groups and holes;
 * and which files are refused. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>

#include "annotation_fixture.h"
#include "micromet/base/random.h"
#include "micromet/base/size.h"

TestSuite(asap_xml, .init = begin, .fini = end);

static char xml[1 << 16];

static void xml_begin(void)
{
    snprintf(xml, sizeof xml, "<?xml version=\"1.0\"?>\n<ASAP_Annotations>\n<Annotations>\n");
}

static void xml_add(const char *format, ...)
{
    const size_t used = strlen(xml);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(xml + used, sizeof xml - used, format, arguments);
    va_end(arguments);
}

/* A polygon of `count` points x, y, x, y …; group NULL = no such attribute. */
static void xml_polygon(const char *type, const char *group, const double *points, int count)
{
    xml_add("<Annotation Name=\"Annotation 0\" Type=\"%s\"", type);
    if (group) xml_add(" PartOfGroup=\"%s\"", group);
    xml_add(" Color=\"#F4FA58\">\n<Coordinates>\n");
    for (int i = 0; i < count; i++)
        xml_add("<Coordinate Order=\"%d\" X=\"%.17g\" Y=\"%.17g\" />\n", i, points[2 * i],
                points[2 * i + 1]);
    xml_add("</Coordinates>\n</Annotation>\n");
}

static void xml_end(void)
{
    xml_add("</Annotations>\n<AnnotationGroups><Group Name=\"Tumor\" PartOfGroup=\"None\" "
            "Color=\"#00ff00\"><Attributes /></Group></AnnotationGroups>\n</ASAP_Annotations>\n");
    test_write(path, folder, "a.xml", xml);
}

static const double square[] = { 10, 10, 30, 10, 30, 30, 10, 30 };
static const double inner[] = { 15, 15, 20, 15, 20, 25, 15, 25 };

Test(asap_xml, polygons_are_tumor_or_holes_by_their_group)
{
    static const struct {
        const char *group;
        int64_t tumor_pixels;
    } cases[] = { { "_2", 350 },     { "Exclusion", 350 }, { "None", 350 }, { "exclusion", 350 },
                  { "Tumor", 400 },  { "_0", 400 },        { "_1", 400 },   { NULL, 400 },
                  { "normal", 350 }, { "metastases", 400 } };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        xml_begin();
        xml_polygon("Polygon", cases[i].group, inner, 4); /* holes cut whatever comes later, too */
        xml_polygon("Spline", "Tumor", square, 4);
        xml_end();
        open_for(100, 50);
        cr_assert_eq(facts.tumor_pixels, cases[i].tumor_pixels, "%s", cases[i].group);
        cr_assert_eq(facts.polygon_count, 2);
        cr_assert_not(facts.is_mask);
        cr_assert_eq(any(15, 15, 20, 25), cases[i].tumor_pixels == 400);
        cr_assert(any(29, 29, 200, 200));
        cr_assert_not(any(30, 0, 200, 200));
        cr_assert_eq(scan().area, (double)cases[i].tumor_pixels);
        annotation_release(annotation);
        annotation = NULL;
    }
}

Test(asap_xml, a_pixel_counts_by_its_center)
{
    const double covers[] = { 2.4, 3.4, 2.6, 3.4, 2.6, 3.6, 2.4, 3.6 };
    const double misses[] = { 5.6, 3, 6.4, 3, 6.4, 5, 5.6, 5 };
    xml_begin();
    xml_polygon("Polygon", "Tumor", covers, 4);
    xml_polygon("Polygon", "Tumor", misses, 4);
    xml_end();
    open_for(10, 10);
    cr_assert_eq(facts.tumor_pixels, 1);
    cr_assert(any(2, 3, 3, 4));
}

Test(asap_xml, polygons_that_share_an_edge_leave_no_gap)
{
    const double left[] = { 3.3, 2.2, 41.7, 7.1, 20.5, 45.9 };
    const double right[] = { 41.7, 7.1, 46.2, 44.4, 20.5, 45.9 };
    const double both[] = { 3.3, 2.2, 41.7, 7.1, 46.2, 44.4, 20.5, 45.9 };
    int64_t parts, holes;
    xml_begin();
    xml_polygon("Polygon", "Tumor", left, 3);
    xml_polygon("Polygon", "Tumor", right, 3);
    xml_end();
    open_for(50, 50);
    parts = facts.tumor_pixels;
    annotation_release(annotation);
    xml_begin();
    xml_polygon("Polygon", "Tumor", both, 4);
    xml_end();
    open_for(50, 50);
    cr_assert_eq(parts, facts.tumor_pixels);
    annotation_release(annotation);
    xml_begin();
    xml_polygon("Polygon", "Tumor", both, 4);
    xml_polygon("Polygon", "_2", left, 3);
    xml_polygon("Polygon", "_2", right, 3);
    xml_end();
    open_for(50, 50);
    holes = facts.tumor_pixels;
    cr_assert_eq(holes, 0);
}

/* Whether the outline winds about the point, which sees all its edges under angles that add up. */
static bool inside(const double *p, int count, double x, double y)
{
    double turns = 0;
    for (int i = 0, j = count - 1; i < count; j = i++) {
        const double ax = p[2 * j] - x, ay = p[2 * j + 1] - y;
        const double bx = p[2 * i] - x, by = p[2 * i + 1] - y;
        turns += atan2(ax * by - ay * bx, ax * bx + ay * by) / (2 * acos(-1));
    }
    return fabs(turns) > 0.5;
}

Test(asap_xml, tangled_polygons_are_filled_even_odd_joined_and_cut)
{
    enum { WIDTH = 60, HEIGHT = 45, POINTS = 9 };
    struct random random = random_init(3, 0, 0, RANDOM_TEST);
    for (int round = 0; round < 30; round++) {
        double points[3][2 * POINTS];
        int wrong = 0, tumors = 0;
        xml_begin();
        for (int i = 0; i < 3; i++) {
            for (int j = 0; j < 2 * POINTS; j++)
                points[i][j] = random_unit(&random) * (j % 2 ? HEIGHT + 20 : WIDTH + 20) - 10;
            xml_polygon("Polygon", i < 2 ? "Tumor" : "_2", points[i], POINTS);
        }
        xml_end();
        open_for(WIDTH, HEIGHT);
        for (int y = 0; y < HEIGHT; y++)
            for (int x = 0; x < WIDTH; x++) {
                const bool tumor = (inside(points[0], POINTS, x + 0.5, y + 0.5) ||
                                    inside(points[1], POINTS, x + 0.5, y + 0.5)) &&
                                   !inside(points[2], POINTS, x + 0.5, y + 0.5);
                wrong += any(x, y, x + 1, y + 1) != tumor;
                tumors += tumor;
            }
        cr_assert_eq(wrong, 0, "round %d", round);
        cr_assert_eq(facts.tumor_pixels, tumors);
        annotation_release(annotation);
        annotation = NULL;
    }
}

Test(asap_xml, shapes_without_area_are_left_out)
{
    xml_begin();
    xml_polygon("Dot", "Tumor", square, 1);
    xml_polygon("Polygon", "Tumor", inner, 4);
    xml_polygon("Polygon", "Lymphocytes", square, 4);
    xml_end();
    open_for(100, 50);
    cr_assert_eq(facts.polygon_count, 1);
    cr_assert_eq(facts.tumor_pixels, 50);
}

Test(asap_xml, a_file_without_polygons_has_no_tumor)
{
    xml_begin();
    xml_end();
    open_for(100, 50);
    cr_assert_not_null(annotation);
    cr_assert_eq(facts.tumor_pixels, 0);
}

Test(asap_xml, polygons_in_unknown_groups_alone_are_refused)
{
    xml_begin();
    xml_polygon("Polygon", "Stroma", square, 4);
    xml_polygon("Polygon", "None", inner, 4);
    xml_end();
    refuses(100, 50,
            "1 are in hole groups (_2, Exclusion, None, normal), 1 in others such as 'Stro");
}

/* As of a normal slide, on which parts were cut out. */
Test(asap_xml, a_file_of_holes_has_no_tumor)
{
    xml_begin();
    xml_polygon("Polygon", "Exclusion", square, 4);
    xml_polygon("Polygon", "normal", inner, 4);
    xml_end();
    open_for(100, 50);
    cr_assert_eq(facts.polygon_count, 2);
    cr_assert_eq(facts.tumor_pixels, 0);
}

Test(asap_xml, bad_xml_is_refused_with_its_line)
{
    static const struct {
        const char *text, *what;
    } cases[] = {
        { "<ASAP_Annotations>\n<Annotations>\n</ASAP_Annotations>", ".xml:3: not well-formed" },
        { "<Other/>", "begins with <Other>, not with <ASAP_Annotations>" },
        { "<annotations/>", "NDP.view" },
        { "\n", "neither a picture, XML nor JSON" },
        { "no XML", "neither a picture, XML nor JSON" },
        { "<ASAP_Annotations><Annotation Type=\"Polygon\">\n<Coordinate X=\"1\" Y=\"nan\"/>",
          ".xml:2: Y=\"nan\" is not a number" },
        { "<ASAP_Annotations><Annotation><Coordinate Y=\"1\"/>", "X=\"\" is not a number" },
        { "<ASAP_Annotations><Annotation><Coordinate X=\"1e300\" Y=\"1\"/>",
          " is not a number of pixels" },
        { "<ASAP_Annotations><Annotation><Coordinate X=\"1 2\" Y=\"1\"/>",
          " is not a number of pixels" },
        { "<ASAP_Annotations><Annotation><Coordinate X=\"1,5\" Y=\"1\"/>", "not a comma" },
        { "<ASAP_Annotations><Annotation><Coordinate X=\"-inf\" Y=\"1\"/>", "X=\"-inf\"" },
        { "<ASAP_Annotations><Annotation>\n<Coordinate Order=\"1\" X=\"1\" Y=\"1\"/>"
          "<Coordinate Order=\"1\" X=\"2\" Y=\"1\"/></Annotation></ASAP_Annotations>",
          ".xml:2: two of the outline's coordinates have the Order 1" },
        { "<ASAP_Annotations><Annotation><Coordinate Order=\"1\" X=\"1\" Y=\"1\"/>"
          "<Coordinate X=\"2\" Y=\"1\"/></Annotation></ASAP_Annotations>",
          "have no Order" },
        { "<ASAP_Annotations><Annotation><Coordinate Order=\"a\" X=\"1\" Y=\"1\"/>",
          "Order=\"a\"" },
        { "<ASAP_Annotations><Annotation Name=\"&#x9b;2J\" Type=\"Ellipse\"/>",
          "'\\u009b2J' is of the unknown type 'Ellipse'" },
        { "<!DOCTYPE a [<!ENTITY x \"1\">]>\n<ASAP_Annotations/>", "document type" },
        { "<!DOCTYPE a SYSTEM \"file:///etc/passwd\">\n<ASAP_Annotations/>", "document type" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        test_write(path, folder, "a.xml", cases[i].text);
        refuses(100, 50, cases[i].what);
    }
}

Test(asap_xml, endless_work_is_refused)
{
    double points[400];
    for (int i = 0; i < 200; i++) points[2 * i] = i, points[2 * i + 1] = i % 2 ? 0 : 4e6;
    xml_begin();
    for (int i = 0; i < 3; i++) xml_polygon("Polygon", "Tumor", points, 200);
    xml_end();
    refuses(4000000, 4000000, "too complex");
}

/* The annotation's tumour, with one polygon of a type and group. */
static int64_t pixels_of(const char *type, const char *group, const double *points, int count)
{
    xml_begin();
    xml_polygon(type, group, points, count);
    xml_end();
    open_for(100, 50);
    const int64_t pixels = facts.tumor_pixels;
    close_it();
    return pixels;
}

Test(asap_xml, an_outline_keeps_its_inside_however_it_is_drawn)
{
    const double twice[] = { 10, 10, 30, 10, 30, 30, 10, 30, 10, 10, 30, 10, 30, 30, 10, 30 };
    const double back[] = { 10, 30, 30, 30, 30, 10, 10, 10 };
    /* two loops that share [15, 25)², the second inside the first */
    const double loop[] = { 10, 10, 30, 10, 30, 30, 10, 30, 10, 10,
                            15, 15, 25, 15, 25, 25, 15, 25, 15, 15 };
    const double bow_tie[] = { 10, 10, 30, 30, 30, 10, 10, 30 };
    cr_assert_eq(pixels_of("Polygon", "Tumor", twice, 8), 400);
    cr_assert_eq(pixels_of("Polygon", "Tumor", back, 4), 400);
    cr_assert_eq(pixels_of("Polygon", "Tumor", loop, 10), 400);
    cr_assert_eq(pixels_of("Polygon", "Tumor", bow_tie, 4), 200); /* half of 20 × 20 */
}

Test(asap_xml, holes_cut_and_tumors_unite_whatever_their_direction)
{
    static const double inner_back[] = { 15, 25, 20, 25, 20, 15, 15, 15 };
    const double *const holes[] = { inner, inner_back };
    for (int i = 0; i < 2; i++) {
        xml_begin();
        xml_polygon("Polygon", "Tumor", square, 4);
        xml_polygon("Polygon", "Tumor", holes[1 - i], 4);
        xml_polygon("Polygon", "Exclusion", holes[i], 4);
        xml_end();
        open_for(100, 50);
        cr_assert_eq(facts.tumor_pixels, 350);
        close_it();
    }
}

Test(asap_xml, two_corners_make_a_rectangle)
{
    const double corners[] = { 30, 10, 10, 30 };
    cr_assert_eq(pixels_of("Rectangle", "Tumor", corners, 2), 400);
    cr_assert_eq(pixels_of("rectangle", NULL, square, 4), 400);
    cr_assert_eq(pixels_of("Polygon", "Tumor", corners, 2), 0);
}

Test(asap_xml, points_are_put_into_their_order)
{
    static const int orders[] = { 2, 0, 9, 1 };
    static const double corners[] = { 30, 30, 10, 10, 10, 30, 30, 10 };
    xml_begin();
    xml_add("<Annotation Type=\"Polygon\" PartOfGroup=\"Tumor\"><Coordinates>");
    for (int i = 0; i < 4; i++)
        xml_add("<Coordinate Order=\"%d\" X=\"%g\" Y=\"%g\"/>", orders[i], corners[2 * i],
                corners[2 * i + 1]);
    xml_add("</Coordinates></Annotation>");
    xml_end();
    open_for(100, 50);
    cr_assert_eq(facts.tumor_pixels, 400);
}

Test(asap_xml, tumor_beside_the_slide_is_refused)
{
    xml_begin();
    xml_polygon("Polygon", "Tumor", square, 4);
    xml_polygon("Polygon", "_2", inner, 4);
    xml_end();
    refuses(10, 50, "wholly outside the slide of 10 x 50 px, at x 10 to 30 and y 10 to 30");
    open_for(20, 20); /* a quarter of it, and no hole's pixel is lost */
    cr_assert_eq(facts.tumor_pixels, 100 - 25);
}

/* Write the XML in UTF-16 with its mark, without a name that tells what it is. */
static void write_utf16(bool big_endian)
{
    static uint8_t wide[2 * sizeof xml];
    size_t size = 0;
    wide[size++] = big_endian ? 0xfe : 0xff;
    wide[size++] = big_endian ? 0xff : 0xfe;
    for (const char *c = strchr(xml, '\n'); *c; c++, size += 2) {
        wide[size + big_endian] = (uint8_t)*c;
        wide[size + !big_endian] = 0;
    }
    test_path(path, folder, "annotation.dat");
    cr_assert(file_write_atomic(path, wide, size, &err));
}

Test(asap_xml, its_content_tells_it_in_any_encoding)
{
    xml_begin();
    xml_polygon("Polygon", "Tumor", square, 4);
    xml_end();
    for (int big_endian = 0; big_endian < 2; big_endian++) {
        write_utf16(big_endian);
        open_for(100, 50);
        cr_assert_eq(facts.tumor_pixels, 400);
        close_it();
    }
}
