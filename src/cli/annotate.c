/* micromet annotate: outlines of one program's file, for another program. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "cli.h"
#include "micromet/base/output.h"
#include "micromet/base/size.h"
#include "micromet/base/text.h"
#include "micromet/slide/outline_convert.h"

enum { FORMAT_BY_NAME = -1 };

struct arguments {
    int format; /* enum outline_format */
    const char *slide;
};

static const char *const formats[] = {
    [OUTLINES_ASAP] = "asap",
    [OUTLINES_GEOJSON] = "geojson",
    [OUTLINES_IMAGESCOPE] = "imagescope",
    [OUTLINES_HALO] = "halo",
    NULL,
};
static const char *const format_help[] = {
    [OUTLINES_ASAP] = "ASAP's XML; the default for .xml",
    [OUTLINES_GEOJSON] = "of QuPath and others; the default for .geojson and .json",
    [OUTLINES_IMAGESCOPE] = "Aperio ImageScope's XML",
    [OUTLINES_HALO] = "HALO's XML; the default for .annotations",
    NULL,
};

/* What a name ends with, where --format does not say. */
static const struct {
    const char *ending;
    enum outline_format format;
} endings[] = {
    { ".xml", OUTLINES_ASAP },
    { ".geojson", OUTLINES_GEOJSON },
    { ".json", OUTLINES_GEOJSON },
    { ".annotations", OUTLINES_HALO },
};

static const struct option option_rows[] = {
    { .name = "format",
      .kind = OPTION_CHOICE,
      FIELD(format),
      .choices = formats,
      .choice_help = format_help,
      .absent = "as OUT's name ends" },
    { .name = "slide",
      .kind = OPTION_FILE,
      FIELD(slide),
      .value = "SLIDE",
      .help = "the outlines' slide: QuPath counts pixels from the corner of its bounds, the other "
              "programs from its own; without it nothing is moved" },
    { 0 },
};

static bool choose_format(const struct arguments *a, const char *out, enum outline_format *format,
                          struct error *err)
{
    const size_t length = strlen(out);
    if (a->format != FORMAT_BY_NAME) *format = (enum outline_format)a->format;
    if (a->format != FORMAT_BY_NAME) return true;
    for (size_t i = 0; i < COUNT_OF(endings); i++) {
        const size_t ending = strlen(endings[i].ending);
        if (length <= ending || strcasecmp(out + length - ending, endings[i].ending) != 0) continue;
        *format = endings[i].format;
        return true;
    }
    return error_set(err, EXIT_CODE_USAGE,
                     "%s: its name does not say which format it is to have; give --format", out);
}

/* Whether the file is one of outlines, which may be written anew. */
static bool is_outlines(const char *path)
{
    return output_holds(path, "{", "\"Feature") || output_holds(path, "<?xml", "Annotations");
}

static bool convert(const struct arguments *a, char **operands, struct error *err)
{
    const char *in = operands[0], *out = operands[1];
    enum outline_format format = OUTLINES_ASAP;
    struct conversion facts;
    struct slide slide = { 0 };
    if (!choose_format(a, out, &format, err) || !output_check(out, "name another OUT", err) ||
        !output_check_inputs(out, operands, 1, err) ||
        !output_check_own(out, is_outlines, "a file of outlines", err) ||
        (*a->slide && !slide_open(&slide, a->slide, 0, err)))
        return false;
    const bool ok = outlines_convert(in, out, format, *a->slide ? &slide : NULL, &facts, err);
    slide_release(&slide);
    if (!ok) return false;
    printf("%s (%s) -> %s (%s): %lld outlines, %lld holes\n", SHOWN(in),
           outline_format_names[facts.from], SHOWN(out), outline_format_names[format], facts.areas,
           facts.holes);
    if (facts.left_out) printf("left out: %lld shapes without area\n", facts.left_out);
    return true;
}

static enum exit_code run(void *arguments, int count, char **operands, struct error *err)
{
    if (count != 2)
        error_set(err, EXIT_CODE_USAGE,
                  "annotate: from which file, and into which? For example `micromet annotate "
                  "tumor_001.xml tumor_001.geojson`");
    else
        convert(arguments, operands, err);
    return err->code;
}

const struct subcommand command_annotate = {
    .name = "annotate",
    .summary = "turn outlines of one annotation program into a file for another",
    .operands = "IN OUT",
    .operand_kind = OPTION_FILE,
    .description =
        "Reads outlines of ASAP, QuPath (GeoJSON, also packed by gzip), ImageScope or HALO, "
        "whichever "
        "IN's content says, and writes them as another's. Names, colours, holes and all digits of "
        "the coordinates stay. What a format has no place for is lost: QuPath's measurements, "
        "names "
        "of single outlines in HALO. Shapes without area (dots, lines) are left out.\n\n"
        "A hole in ASAP's file is part of its outline, which goes there and back, as ASAP fills it "
        "right; such a file turns back into outlines with holes.",
    .options = option_rows,
    ARGUMENTS(.format = FORMAT_BY_NAME, .slide = ""),
    .examples =
        "micromet annotate tumor_001.xml tumor_001.geojson\n"
        "micromet annotate slide.geojson slide.xml --format imagescope --slide slide.mrxs\n",
    .run = run,
};
