/* Writes the report of a sweep as a page and as CSV. */
#include "micromet/sweep/report.h"

#include <inttypes.h>
#include <string.h>

#include "micromet/base/text.h"
#include "report_parts.h"
#include "sweep_page.h"

static bool out_of_memory(struct error *err)
{
    return error_set(err, EXIT_CODE_FAILED, "out of memory for the report of a sweep");
}

/* --- results.csv -------------------------------------------------------------------------------*/

static void print_run(FILE *stream, const struct report *report, int run)
{
    const struct sweep *sweep = &report->folder->sweep;
    const struct report_run *r = &report->runs[run];
    const struct sweep_outcome *outcome = &r->line.outcome;
    const struct validation *best = report_best_validation(report, r);
    const int count = r->validation_count;
    fprintf(stream, "%04d,%04d", run, r->line.mean.configuration);
    for (int i = 0; i < sweep->column_count; i++) {
        fputc(',', stream);
        text_print_csv(stream, sweep->runs[run].values[i].value);
    }
    fprintf(stream, ",%s,%d,", r->line.state, r->line.rung);
    if (outcome->state == SWEEP_DONE) fprintf(stream, "%.9g", outcome->score);
    fputc(',', stream);
    if (best) fprintf(stream, "%" PRId64, best->epoch);
    fputc(',', stream);
    if (count) fprintf(stream, "%" PRId64, r->validations[count - 1].epoch);
    fputc(',', stream);
    if (count) fprintf(stream, "%" PRId64, r->validations[count - 1].step);
    fprintf(stream, ",%d,", outcome->partial);
    text_print_csv(stream, outcome->reason);
    fputc('\n', stream);
}

static bool write_csv(const struct report *report, const char *path, struct error *err)
{
    const struct sweep *sweep = &report->folder->sweep;
    struct atomic_file file = { 0 };
    bool ok = atomic_file_open(&file, path, err);
    if (ok) {
        fputs("run,configuration", file.stream);
        for (int i = 0; i < sweep->column_count; i++) {
            fputc(',', file.stream);
            text_print_csv(file.stream, sweep->columns[i].key);
        }
        fprintf(file.stream, ",state,rung,%s,best_epoch,epochs,steps,slides_left_out,reason\n",
                sweep->metric->name);
        for (int run = 0; run < sweep->run_count; run++) print_run(file.stream, report, run);
        ok = atomic_file_commit(&file, err);
    }
    atomic_file_release(&file);
    return ok;
}

/* --- index.html --------------------------------------------------------------------------------*/

/* JSON within <script>: no text can end the element, or begin a comment. Other than ASCII is
 * escaped by jansson. */
static int print_escaped(const char *bytes, size_t size, void *stream)
{
    for (size_t i = 0; i < size; i++)
        if (strchr("<>&", bytes[i]) && bytes[i])
            fprintf(stream, "\\u%04x", (unsigned)bytes[i]);
        else
            fputc(bytes[i], stream);
    return 0;
}

static bool write_page(const struct report *report, const char *path, struct error *err)
{
    struct atomic_file file = { 0 };
    json_t *data = report_json(report, err);
    bool ok = data && atomic_file_open(&file, path, err);
    if (ok) {
        fwrite(sweep_page_html, 1, sizeof sweep_page_html - 1, file.stream);
        fputs("<script type=\"application/json\" id=\"data\">", file.stream);
        ok = json_dump_callback(data, print_escaped, file.stream,
                                JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(9)) == 0 ||
             out_of_memory(err);
        fputs("</script>\n<script>", file.stream);
        fwrite(sweep_page_d3, 1, sizeof sweep_page_d3 - 1, file.stream);
        fputs("</script>\n<script>\n", file.stream);
        fwrite(sweep_page_js, 1, sizeof sweep_page_js - 1, file.stream);
        fputs("</script>\n</body>\n</html>\n", file.stream);
        ok = ok && atomic_file_commit(&file, err);
    }
    atomic_file_release(&file);
    json_decref(data);
    return ok;
}

bool sweep_report(const struct sweep_folder *folder, char page[PATH_MAX_BYTES], struct error *err)
{
    struct report report = { .folder = folder };
    char path[PATH_MAX_BYTES], csv[PATH_MAX_BYTES];
    if (sizeof sweep_page_d3 == 1)
        return error_set(err, EXIT_CODE_FAILED,
                         "this program was built without D3, which draws the report: install the "
                         "package libjs-d3 (tools/setup does) and build again");
    const bool ok = path_join(path, folder->path, "report", err) && folder_create(path, err) &&
                    path_join(page, path, "index.html", err) &&
                    path_join(csv, path, "results.csv", err) && report_collect(&report, err) &&
                    write_csv(&report, csv, err) && write_page(&report, page, err);
    report_release(&report);
    return ok;
}
