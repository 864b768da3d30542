/* The manifest: what is read, and what is refused with the number of which line. */
#include "micromet/slide/manifest.h"

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
    refused("slide,annotation,label,splt\n", "slides.csv:1: column 'splt' is unknown");
    refused("slide,slide,label,split\n", "column 'slide' stands twice");
    refused("slide,label,split\n", "column 'annotation' is missing");
    refused("", "column 'slide' is missing");
    refused("slide,annotation,label,split\n", "names no slide");
    refused("slide,annotation,label,split\na.tif,,normal\n", "slides.csv:2: has 3 fields");
    refused("slide,annotation,label,split\na.tif,,normal,train,x\n", "slides.csv:2: has 5 fields");
    refused("slide,annotation,label,split\n,,normal,train\n", "slides.csv:2: slide is empty");
    refused("slide,annotation,label,split\na.tif,,normal,training\n", "split 'training'");
    refused("slide,annotation,label,split\n\"a.tif,,normal,train\n", "slides.csv:2: a quote");
    refused("slide,annotation,label,split\n\"a\"b,,normal,train\n", "text behind a closing quote");
    refused("a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a\n", "more than 16 fields");
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
