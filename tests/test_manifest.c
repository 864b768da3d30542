/* The manifest: what is read, and what is refused with the number of which line. */
#include "micromet/slide/manifest.h"

#include "micromet/base/size.h"
#include "temporary.h"

#define FOLDER .init = temporary_begin, .fini = temporary_end

static bool load(struct manifest *manifest, const char *text, struct error *err)
{
    temporary_write("slides.csv", text, strlen(text));
    *err = (struct error) { 0 };
    return manifest_load(manifest, temporary_path("slides.csv"), err);
}

static void refused(const char *text, const char *part)
{
    struct manifest manifest;
    struct error err;
    cr_assert_not(load(&manifest, text, &err), "%s", text);
    cr_assert_eq(err.code, EXIT_CODE_USAGE);
    cr_assert_not_null(strstr(err.message, part), "\"%s\" has no \"%s\"", err.message, part);
    cr_assert_null(manifest.rows);
}

Test(manifest, reads_columns_in_any_order_and_resolves_paths, FOLDER)
{
    struct manifest manifest;
    struct error err;
    cr_assert(load(&manifest,
                   "\xef\xbb\xbflabel,split,slide,annotation\r\n"
                   "tumor,train,a.tif,masks/a.tif\r\n"
                   "\r\n"
                   "Tumour,validation,/far/b.tif,\"b, with \"\"quotes\"\".xml\"\r\n"
                   "1,test,c.tif,c.xml\n"
                   " normal , train , d e.tif , \n"
                   "0,test,\"f.tif\",",
                   &err),
              "%s", err.message);
    cr_assert_eq(manifest.count, 5);

    const struct {
        const char *slide, *annotation;
        int label;
        enum split split;
        int line;
    } expected[] = {
        { "a.tif", "masks/a.tif", 1, SPLIT_TRAIN, 2 },
        { "/far/b.tif", "b, with \"quotes\".xml", 1, SPLIT_VALIDATION, 4 },
        { "c.tif", "c.xml", 1, SPLIT_TEST, 5 },
        { "d e.tif", "", 0, SPLIT_TRAIN, 6 },
        { "f.tif", "", 0, SPLIT_TEST, 7 },
    };
    for (int i = 0; i < 5; i++) {
        const struct manifest_row *row = &manifest.rows[i];
        cr_assert_str_eq(row->slide, *expected[i].slide == '/' ? expected[i].slide
                                                               : temporary_path(expected[i].slide));
        cr_assert_str_eq(row->annotation,
                         *expected[i].annotation ? temporary_path(expected[i].annotation) : "");
        cr_assert_eq(row->label, expected[i].label);
        cr_assert_eq(row->split, expected[i].split);
        cr_assert_eq(row->line, expected[i].line);
    }
    manifest_release(&manifest);
}

Test(manifest, counts_lines_inside_quotes, FOLDER)
{
    refused("slide,annotation,label,split\n\"a\nb.tif\",,normal,train\nc.tif,,cancer,train\n",
            "slides.csv:4: label 'cancer'");
}

Test(manifest, refuses_what_it_does_not_know, FOLDER)
{
    refused("slide,annotation,label,splt\n",
            "slides.csv:1: column 'splt' is unknown; is 'split' meant?");
    refused("slide,slide,label,split\n", "column 'slide' stands twice");
    refused("slide,label,split\n", "column 'annotation' is missing");
    refused("", "column 'slide' is missing");
    refused("slide,annotation,label,split\n", "names no slide");
    refused("slide,annotation,label,split\na.tif,,normal\n", "slides.csv:2: has 3 fields");
    refused("slide,annotation,label,split\na.tif,,normal,train,x\n", "slides.csv:2: has 5 fields");
    refused("slide,annotation,label,split\n,,normal,train\n", "slides.csv:2: slide is empty");
    refused("slide,annotation,label,split\na.tif,,normal,holdout\n", "split 'holdout'");
    refused("slide,annotation,label,split\n\"a.tif,,normal,train\n", "slides.csv:2: a quote");
    refused("slide,annotation,label,split\n\"a\"b,,normal,train\n", "text behind a closing quote");
    refused("a.tif,,normal,train\nb.tif,,normal,train\n",
            "slides.csv:1: column 'slide' is missing; the first line is "
            "slide,annotation,label,split, and here 'a.tif', '', 'normal', 'train'");
    char many[1024] = "";
    for (int i = 0; i < 300; i++) strcat(many, "a,");
    refused(many, "more than 256 fields");
}

/* --- As programs and people write it ---------------------------------------------------------- */

/* What a.tif with a mask, and b.tif without, look like once they are read. */
static void reads(const void *bytes, size_t size)
{
    struct manifest manifest;
    struct error err = { 0 };
    temporary_write("slides.csv", bytes, size);
    cr_assert(manifest_load(&manifest, temporary_path("slides.csv"), &err), "%s: %.60s",
              err.message, (const char *)bytes);
    cr_assert_eq(manifest.count, 2);
    cr_expect_str_eq(manifest.rows[0].slide, temporary_path("s/a.tif"));
    cr_expect_str_eq(manifest.rows[0].annotation, temporary_path("s/m.tif"));
    cr_expect_eq(manifest.rows[0].label, 1);
    cr_expect_eq(manifest.rows[0].split, SPLIT_TRAIN);
    cr_expect_str_eq(manifest.rows[1].slide, temporary_path("s/b.tif"));
    cr_expect_str_eq(manifest.rows[1].annotation, "");
    cr_expect_eq(manifest.rows[1].label, 0);
    cr_expect_eq(manifest.rows[1].split, SPLIT_VALIDATION);
    manifest_release(&manifest);
}

Test(manifest, reads_what_spreadsheets_and_pandas_write, FOLDER)
{
    static const char *const texts[] = {
        "slide;annotation;label;split\r\ns/a.tif;s/m.tif;tumor;train\r\ns/b.tif;;normal;val\r\n",
        "slide\tannotation\tlabel\tsplit\ns/a.tif\ts/m.tif\ttumor\ttrain\ns/"
        "b.tif\t\tnormal\tvalid\n",
        "slide|annotation|label|split\ns/a.tif|s/m.tif|positive|training\ns/b.tif||negative|val",
        "slide,annotation,label,split\rs/a.tif,s/m.tif,1.0,train\rs/b.tif,NaN,0.0,validation\r",
        "sep=;\nslide;annotation;label;split\ns/a.tif;s/m.tif;tumor;train\ns/b.tif;;normal;val\n",
        ",slide,annotation,label,split\n0,s/a.tif,s/m.tif,1,train\n1,s/b.tif,,0,validation\n",
        "\tslide\tannotation\tlabel\tsplit\n0\ts/a.tif\ts/m.tif\t1\ttrain\n1\ts/"
        "b.tif\tnone\t0\tval\n",
        "slide,annotation,label,split,,\ns/a.tif,s/m.tif,1,train,,\n,,,,,\ns/b.tif,N/"
        "A,0,val,,\n,,,,,",
        "slide,annotation,label,split\ns/a.tif,s/m.tif,1,train,,\ns/b.tif,,0,val\n",
        "# mine, \"of May\nslide,annotation,label,split\n#s/c.tif,,tumor,test\ns/a.tif,s/m.tif,1,"
        "train\n # no\ns/b.tif,,0,val\n",
        "\xc2\xa0slide,annotation "
        "\xc2\xa0,label\xe2\x80\x8b,split\ns/a.tif\xc2\xa0,s/m.tif,1,train\n\xef\xbb\xbfs/"
        "b.tif,\xc2\xa0,0,val\n",
        "#slide,annotation,label,split\ns/a.tif,s/m.tif,1,train\ns/b.tif,,0,val\n",
        "slide,annotation,label,split\ns\\a.tif,s\\m.tif,1,train\ns\\b.tif,,0,val\n",
        "Split,Label,stain,Slide,Annotation,site\ntrain,1,HE,s/a.tif,s/m.tif,x\nval,0,,s/b.tif,,\n",
        "\n  \n\"slide\" , \"annotation\",\"label\",\"split\"\n\"s/a.tif\",\"s/m.tif\",\"1\" "
        ",\"train\"\n"
        "s/b.tif,,0,val",
        "slide,annotation,label,split,mpp,patient\ns/a.tif,s/m.tif,1,train\ns/b.tif,,0,val,,\n",
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++) reads(texts[i], strlen(texts[i]));
}

Test(manifest, reads_utf_16, FOLDER)
{
    static const char text[] = "slide,annotation,label,split\ns/a.tif,s/m.tif,1,train\n"
                               "s/b.tif,,0,val\n";
    uint8_t wide[2 * sizeof text + 2];
    for (int big_endian = 0; big_endian < 2; big_endian++) {
        memset(wide, 0, sizeof wide);
        wide[big_endian] = 0xff, wide[!big_endian] = 0xfe;
        for (size_t i = 0; i < sizeof text - 1; i++)
            wide[2 + 2 * i + (size_t)big_endian] = (uint8_t)text[i];
        reads(wide, 2 * sizeof text);         /* with its byte order mark */
        reads(wide + 2, 2 * sizeof text - 2); /* without */
    }
}

Test(manifest, decodes_names_of_utf_16, FOLDER)
{
    struct manifest manifest;
    struct error err = { 0 };
    char wide[256] = "\xff\xfe";
    const char head[] = "slide,annotation,label,split\n";
    size_t size = 2;
    for (const char *c = head; *c; c++, size += 2) wide[size] = *c;
    const uint8_t name[] = { 0xe4, 0x00, 0x3d, 0xd8, 0x2c, 0xdd }; /* ä, U+1F52C */
    memcpy(wide + size, name, sizeof name);
    size += sizeof name;
    for (const char *c = ",,normal,test\n"; *c; c++, size += 2) wide[size] = *c;
    temporary_write("slides.csv", wide, size);
    cr_assert(manifest_load(&manifest, temporary_path("slides.csv"), &err), "%s", err.message);
    cr_expect_str_eq(manifest.rows[0].slide, temporary_path("\xc3\xa4\xf0\x9f\x94\xac"));
    manifest_release(&manifest);
}

Test(manifest, a_backslash_is_a_slash_unless_there_is_such_a_file, FOLDER)
{
    struct manifest manifest;
    struct error err;
    temporary_write("x\\y.tif", "", 0);
    temporary_write("#z.tif", "", 0);
    temporary_write("nan", "", 0);
    cr_assert(load(&manifest,
                   "slide,annotation,label,split\n.\\s\\a.tif,,0,train\nx\\y.tif,nan,1,train\n"
                   "#z.tif,,0,test\n",
                   &err),
              "%s", err.message);
    cr_assert_eq(manifest.count, 3);
    cr_expect_str_eq(manifest.rows[0].slide, temporary_path("./s/a.tif"));
    cr_expect_str_eq(manifest.rows[1].slide, temporary_path("x\\y.tif"));
    cr_expect_str_eq(manifest.rows[1].annotation, temporary_path("nan"), "it is there");
    cr_expect_str_eq(manifest.rows[2].slide, temporary_path("#z.tif"), "no comment");
    manifest_release(&manifest);
    refused("slide,annotation,label,split\nD:\\s\\a.tif,,0,train\n",
            "slides.csv:2: D:\\s\\a.tif is a path of Windows");
    refused("slide,annotation,label,split\na.tif,\\\\server\\m.tif,1,train\n",
            "\\\\server\\m.tif is a path of Windows");
}

/* The slide that a row names, as far as there are these files. */
static const char *slide_named(const char *cell)
{
    static struct manifest manifest;
    struct error err;
    char text[512];
    snprintf(text, sizeof text, "slide,annotation,label,split\n%s,\" \",normal,train\n", cell);
    manifest_release(&manifest);
    cr_assert(load(&manifest, text, &err), "%s", err.message);
    cr_assert_str_empty(manifest.rows[0].annotation);
    return manifest.rows[0].slide;
}

Test(manifest, paths_are_expanded_and_trimmed_unless_there_is_such_a_file, FOLDER)
{
    setenv("HOME", temporary_path(""), true);
    setenv("SLIDES", temporary_path(""), true);
    temporary_write("a.tif", "", 0);
    temporary_write(" b.tif ", "", 0);
    temporary_write("$c.tif", "", 0);
    cr_assert(file_exists(slide_named("~/a.tif")));
    cr_assert(file_exists(slide_named("$SLIDES/a.tif")));
    cr_assert(file_exists(slide_named("\"${SLIDES}/a.tif \"")));
    cr_assert(file_exists(slide_named("\" a.tif\"")));
    cr_assert_str_eq(slide_named("\" b.tif \""), temporary_path(" b.tif "));
    cr_assert_str_eq(slide_named("$c.tif"), temporary_path("$c.tif"));
    /* of packs whose slides are elsewhere */
    cr_assert_str_eq(slide_named("a$unset.tif"), temporary_path("a$unset.tif"));
    refused("slide,annotation,label,split\n$UNSET_HERE/a.tif,,normal,train\n",
            ":2: '$UNSET_HERE/a.tif': UNSET_HERE is not set");
    refused("slide,annotation,label,split\n~nobody/a.tif,,normal,train\n", "only ~/ is expanded");
}

Test(manifest, reads_by_how_much_a_mask_is_smaller, FOLDER)
{
    struct manifest manifest;
    struct error err;
    cr_assert(load(&manifest,
                   "slide;annotation;label;split;mask_downsample\na.tif;a_m.tif;1;train;30,5\n"
                   "b.tif;;0;train;\n",
                   &err),
              "%s", err.message);
    cr_assert_eq(manifest.rows[0].mask_downsample, 30.5);
    cr_assert_eq(manifest.rows[1].mask_downsample, 0);
    manifest_release(&manifest);
    refused("slide,annotation,label,split,mask_downsample\na.tif,m.tif,1,train,0\n",
            ":2: mask_downsample '0' is no number of level-0 pixels from 0.01 to 65536");
    refused("slide,annotation,label,split,mask_downsample\na.tif,m.tif,1,train,x32\n",
            "mask_downsample 'x32'");
}

Test(manifest, a_name_in_other_bytes_of_unicode_is_said, FOLDER)
{
    static const char text[] = "slide,annotation,label,split\n%s,,normal,train\n";
    static const struct {
        const char *file, *cell;
        bool same;
    } cases[] = {
        { "M\xc3\xbcller.tif", "Mu\xcc\x88ller.tif", true },          /* ü: NFC, NFD */
        { "A\xcc\x8a.tif", "\xc3\x85.tif", true },                    /* Å */
        { "\xe3\x81\x8c.tif", "\xe3\x81\x8b\xe3\x82\x99.tif", true }, /* kana: ga */
        { "M\xc3\xbcller.tif", "Muller\xc3\xbc.tif", false },
        { "\xc3\xbc.tif", "\xc3\xb6.tif", false },
        { "\xc3\xbc_1.tif", "u\xcc\x88_2.tif", false },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct manifest manifest;
        struct error err;
        char manifest_text[256];
        temporary_write(cases[i].file, "", 0);
        snprintf(manifest_text, sizeof manifest_text, text, cases[i].cell);
        if (cases[i].same) {
            refused(manifest_text, "a name that looks the same is");
        } else {
            cr_assert(load(&manifest, manifest_text, &err), "%zu: %s", i, err.message);
            manifest_release(&manifest);
        }
        cr_assert_eq(remove(temporary_path(cases[i].file)), 0);
        cr_assert(load(&manifest, manifest_text, &err), "%zu: %s", i, err.message);
        manifest_release(&manifest);
    }
}

Test(manifest, names_the_cause_of_what_is_no_table, FOLDER)
{
    refused("PK\3\4", "slides.csv: is an Excel workbook or another zip; save it as CSV");
    refused("\x1f\x8b\x08", "is compressed");
    refused("slide annotation label split\na.tif  normal train\n", "and here 'slide annotation");
    refused("slide,annotation,label,split\na,b.tif,,normal,train\n",
            "slides.csv:2: has 5 fields, the header has 4; is 'train' behind a comma");
    refused("slide,annotation,label,split,\na.tif,,normal,train,x\n",
            "slides.csv:2: 'x' stands in a column to which the header gives no name");
    refused(",slide,annotation,label,split\nx,a.tif,,normal,train\n", "'x' stands in a column");
}

Test(manifest, a_misspelt_column_is_not_left_out, FOLDER)
{
    static const char *const names[] = { "patinet", "Patients", "patient_id", "MPP_x",
                                         "mp",      "splits",   "labels" };
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char csv[128], part[128];
        snprintf(csv, sizeof csv, "slide,annotation,label,split,%s\na.tif,,0,train,1\n", names[i]);
        snprintf(part, sizeof part, "column '%s' is unknown; is '", names[i]);
        refused(csv, part);
    }
}

Test(manifest, reads_mpp_and_patient, FOLDER)
{
    struct manifest manifest;
    struct error err;
    cr_assert(load(&manifest,
                   "slide;annotation;label;split;mpp;patient\na.tif;;0;train;0,25;P 1\n"
                   "b.tif;;0;test;nan;nan\nc.tif;;0;train;2.5e-1;NaN\n",
                   &err),
              "%s", err.message);
    cr_expect_eq(manifest.rows[0].mpp, 0.25);
    cr_expect_str_eq(manifest.rows[0].patient, "P 1");
    cr_expect_eq(manifest.rows[1].mpp, 0);
    cr_expect_str_eq(manifest.rows[1].patient, "");
    cr_expect_eq(manifest.rows[2].mpp, 0.25);
    manifest_release(&manifest);

    static const char *const wrong[] = { "250", "0.0025", "-0.25", "0x1", "inf", "0.25um", "40x" };
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        char csv[128], part[64];
        snprintf(csv, sizeof csv, "slide,annotation,label,split,mpp\na.tif,,0,train,%s\n",
                 wrong[i]);
        snprintf(part, sizeof part, "slides.csv:2: mpp '%s' is no number", wrong[i]);
        refused(csv, part);
    }
}

Test(manifest, keeps_a_patient_in_one_split, FOLDER)
{
    refused("slide,annotation,label,split,patient\na.tif,,0,train,p1\nb.tif,,0,train,p2\n"
            "c.tif,,0,train,P1\nd.tif,,0,test,p1\n",
            "slides.csv: lines 4 (train) and 5 (test) put patient 'P1' into two splits");
    static const char *const same[][2] = { { "\"P1 \"", "P1" }, { "12.0", "12" }, { "007", "7" } };
    for (size_t i = 0; i < COUNT_OF(same); i++) {
        char text[128];
        snprintf(text, sizeof text,
                 "slide,annotation,label,split,patient\na.tif,,0,train,%s\nb.tif,,0,test,%s\n",
                 same[i][0], same[i][1]);
        refused(text, "into two splits");
    }
    struct manifest manifest;
    struct error err;
    cr_assert(load(&manifest,
                   "slide,annotation,label,split,patient\na.tif,,0,train,p1\nb.tif,,0,test,p2\n"
                   "c.tif,,0,train,p1\nd.tif,,0,test,\ne.tif,,0,train,\n",
                   &err),
              "%s", err.message);
    manifest_release(&manifest);
}

Test(manifest, refuses_zero_bytes, FOLDER)
{
    struct manifest manifest;
    struct error err = { 0 };
    temporary_write("slides.csv", "slide\0", 6);
    cr_assert_not(manifest_load(&manifest, temporary_path("slides.csv"), &err));
    cr_assert_not_null(strstr(err.message, "zero byte"));
}

Test(manifest, names_the_missing_file, FOLDER)
{
    struct manifest manifest;
    struct error err = { 0 };
    cr_assert_not(manifest_load(&manifest, temporary_path("none.csv"), &err));
    cr_assert_not_null(strstr(err.message, "none.csv"));
    cr_assert_null(manifest.rows);
}

Test(manifest, refuses_a_slide_in_two_splits_naming_both_lines, FOLDER)
{
    const char *text = "slide,annotation,label,split\n"
                       "a.tif,,normal,train\n"
                       "b.tif,,normal,train\n"
                       "%s,,normal,%s\n";
    char csv[512];
    snprintf(csv, sizeof csv, text, "a.tif", "test");
    refused(csv, "lines 2 (train) and 4 (test) put the same slide");
    snprintf(csv, sizeof csv, text, "b.tif", "train");
    refused(csv, "lines 3 and 4 name the same slide");
    temporary_write("a.tif", "x", 1);
    snprintf(csv, sizeof csv, text, "./a.tif", "test"); /* another path to an existing file */
    refused(csv, "lines 2 (train) and 4 (test) put the same slide");
}

Test(manifest, refuses_two_slides_whose_packs_would_be_one_file, FOLDER)
{
    refused("slide,annotation,label,split\n"
            "one/a.tif,,normal,train\n"
            "two/a.svs,,normal,test\n",
            "lines 2 and 3 are both called 'a'");
}
