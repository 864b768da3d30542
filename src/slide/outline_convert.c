/* See the header: a reader, a writer and the slide's corner between them. */
#include "micromet/slide/outline_convert.h"

#include <string.h>

#include "annotation_parts.h"
#include "micromet/base/file.h"
#include "micromet/base/log.h"
#include "outline_formats.h"
#include "outline_write.h"

static bool write_file(const struct outlines *set, const char *out, enum outline_format format,
                       struct error *err)
{
    struct atomic_file file = { 0 };
    bool ok = atomic_file_open(&file, out, err);
    if (ok) outlines_write(set, format, file.stream);
    ok = ok && atomic_file_commit(&file, err);
    atomic_file_release(&file);
    return ok;
}

/* Outlines without a name, which programs take for different things. */
static void warn_of_unnamed(const struct outlines *set, const char *in, enum outline_format format)
{
    for (int64_t i = 0; i < set->name_count && format == OUTLINES_ASAP; i++)
        if (!*set->names[i].text && set->names[i].count)
            log_warning(
                "%s: %lld outlines have no name; in ASAP's file they are in no group, which "
                "means tumor here unless data.labels says otherwise",
                in, (long long)set->names[i].count);
}

bool outlines_convert(const char *in, const char *out, enum outline_format format,
                      const struct slide *slide, struct conversion *facts, struct error *err)
{
    enum annotation_kind kind;
    struct outlines set;
    *facts = (struct conversion) { 0 };
    if (!annotation_sniff(in, &kind, err)) return false;
    if (kind != ANNOTATION_OUTLINES)
        return error_set(err, EXIT_CODE_FAILED,
                         "%s: is a mask; only outlines can be converted into outlines", in);
    if (!outlines_read(&set, &facts->from, in, err)) return false;
    /* QuPath's coordinates begin at what OpenSlide calls the slide's bounds. */
    const int moves = (facts->from == OUTLINES_GEOJSON) - (format == OUTLINES_GEOJSON);
    if (slide) outlines_move(&set, moves * slide->bounds_x, moves * slide->bounds_y);
    facts->left_out = set.without_area;
    for (int64_t i = 0; i < set.count; i++)
        *(set.outlines[i].hole ? &facts->holes : &facts->areas) += 1;
    warn_of_unnamed(&set, in, format);
    const bool ok = write_file(&set, out, format, err);
    outlines_release(&set);
    return ok;
}
