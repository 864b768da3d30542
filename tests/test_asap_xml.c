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

/* Even-odd by a ray to the right, as textbooks have it. */
static bool inside(const double *p, int count, double x, double y)
{
    bool in = false;
    for (int i = 0, j = count - 1; i < count; j = i++)
        if ((p[2 * i + 1] > y) != (p[2 * j + 1] > y) &&
            x < (p[2 * j] - p[2 * i]) * (y - p[2 * i + 1]) / (p[2 * j + 1] - p[2 * i + 1]) +
                    p[2 * i])
            in = !in;
    return in;
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

Test(asap_xml, polygons_in_no_tumor_group_are_refused)
{
    xml_begin();
    xml_polygon("Polygon", "Stroma", square, 4);
    xml_end();
    refuses(100, 50, "such as Stroma");
    xml_begin();
    xml_polygon("Polygon", "None", square, 4);
    xml_end();
    refuses(100, 50, "1 are in hole groups");
}

Test(asap_xml, bad_xml_is_refused_with_its_line)
{
    static const struct {
        const char *text, *what;
    } cases[] = {
        { "<ASAP_Annotations>\n<Annotations>\n</ASAP_Annotations>", ".xml:3: not well-formed" },
        { "<Annotations>\n</Annotations>", "begins with <Annotations>" },
        { "\n", "not well-formed" },
        { "no XML", "not well-formed" },
        { "<ASAP_Annotations><Annotation Type=\"Polygon\">\n<Coordinate X=\"1\" Y=\"nan\"/>",
          ".xml:2: the coordinate Y=\"nan\"" },
        { "<ASAP_Annotations><Annotation><Coordinate Y=\"1\"/>", "the coordinate X=\"\"" },
        { "<ASAP_Annotations><Annotation><Coordinate X=\"1e300\" Y=\"1\"/>", "the coordinate X" },
        { "<ASAP_Annotations><Annotation><Coordinate X=\"1 2\" Y=\"1\"/>", "the coordinate X" },
        { "<ASAP_Annotations><Annotation><Coordinate Order=\"1\" X=\"1\" Y=\"1\"/>"
          "<Coordinate Order=\"0\" X=\"1\" Y=\"1\"/>",
          "order" },
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
