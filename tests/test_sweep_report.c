/* The report of a sweep: the JSON in its page against the CSV beside it, and both against the
 * results that they tell of; and that no text gets out of where it is written. */
#include <jansson.h>
#include <math.h>
#include <unistd.h>

#include "micromet/base/text.h"
#include "micromet/sweep/report.h"
#include "sweep_fixture.h"
#include "temporary.h"

TestSuite(sweep_report, .init = temporary_begin, .fini = temporary_end);

int __wrap_fsync(int file);
int __wrap_fsync(int file)
{
    (void)file;
    return 0;
}

/* As it may be called: markup, and a byte that is no UTF-8. */
static const char folder_name[] = "sweep <!--<script>\xff&amp;";

static char *page_of(const struct sweep_folder *folder)
{
    struct error err = { 0 };
    char path[PATH_MAX_BYTES];
    cr_assert(sweep_report(folder, path, &err), "%s", err.message);
    return test_read(path);
}

/* The text of the page's JSON, cut out as a parser of HTML does; malloc'ed. */
static char *data_of(const char *page)
{
    static const char begin[] = "<script type=\"application/json\" id=\"data\">";
    const char *start = strstr(page, begin);
    cr_assert(start);
    start += strlen(begin);
    const char *end = strstr(start, "</script");
    cr_assert(end);
    return strndup(start, (size_t)(end - start));
}

static json_t *parse_data(const char *page)
{
    json_error_t why;
    char *text = data_of(page);
    json_t *data = json_loads(text, 0, &why);
    cr_assert(data, "%s", why.text);
    free(text);
    return data;
}

/* The next field of a CSV (RFC 4180), unquoted; *last is set at the end of a line. */
static char *next_field(const char **at, bool *last)
{
    char *field = calloc(1, strlen(*at) + 1);
    size_t size = 0;
    const bool quoted = **at == '"';
    if (quoted) ++*at;
    while (**at && (quoted || !strchr(",\n", **at))) {
        if (quoted && **at == '"' && *++*at != '"') break;
        field[size++] = *(*at)++;
    }
    cr_assert(**at == ',' || **at == '\n', "after '%s'", field);
    *last = *(*at)++ == '\n';
    return field;
}

enum { FIELDS_MAX = 32 };
static int read_row(const char **at, char *fields[FIELDS_MAX])
{
    int count = 0;
    for (bool last = false; !last; count++) {
        cr_assert_lt(count, FIELDS_MAX);
        fields[count] = next_field(at, &last);
    }
    return count;
}

/* A value of JSON against a field: equal as text, as number, or both nothing. */
static void expect_same(const json_t *value, const char *field, int run, const char *what)
{
    if (json_is_null(value)) cr_expect_str_eq(field, "", "run %d, %s", run, what);
    if (json_is_string(value)) /* a CSV holds no separators of lines other than its own */
        cr_expect_str_eq(SHOWN(json_string_value(value)), field, "run %d, %s", run, what);
    if (json_is_boolean(value))
        cr_expect_eq(json_is_true(value), atoi(field), "run %d, %s", run, what);
    if (json_is_number(value)) {
        cr_expect(*field, "run %d, %s", run, what);
        cr_expect_eq(json_number_value(value), atof(field), "run %d, %s: %s", run, what, field);
    }
}

static void expect_row(const json_t *run, char **names, char **fields, int keys)
{
    const int number = (int)json_integer_value(json_object_get(run, "run"));
    expect_same(json_object_get(run, "run"), fields[0], number, "run");
    expect_same(json_object_get(run, "configuration"), fields[1], number, "configuration");
    for (int i = 0; i < keys; i++)
        expect_same(json_array_get(json_object_get(run, "values"), (size_t)i), fields[2 + i],
                    number, names[2 + i]);
    expect_same(json_object_get(run, "score"), fields[4 + keys], number, "score");
    static const int others[] = { 2, 3, 5, 6, 7, 8, 9 };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        const int field = others[i] + keys;
        cr_assert(json_object_get(run, names[field]), "%s", names[field]);
        expect_same(json_object_get(run, names[field]), fields[field], number, names[field]);
    }
}

static void free_fields(char **fields, int count)
{
    for (int i = 0; i < count; i++) free(fields[i]);
}

Test(sweep_report, page_and_csv_tell_the_same_of_each_run)
{
    struct sweep_folder folder;
    char *names[FIELDS_MAX], *fields[FIELDS_MAX];
    sweep_fixture_make(&folder, temporary_path(folder_name));
    char *page = page_of(&folder), path[PATH_MAX_BYTES];
    test_path(path, folder.path, "report/results.csv");
    char *csv = test_read(path);
    json_t *data = parse_data(page), *runs = json_object_get(data, "runs");
    cr_assert_eq(json_array_size(runs), SWEEP_FIXTURE_RUNS);

    const char *at = csv;
    const int count = read_row(&at, names), keys = folder.sweep.column_count;
    cr_assert_eq(count, keys + 10);
    cr_expect_str_eq(names[keys + 4], "validation.auc");
    for (int run = 0; run < SWEEP_FIXTURE_RUNS; run++) {
        cr_assert_eq(read_row(&at, fields), count);
        expect_row(json_array_get(runs, (size_t)run), names, fields, keys);
        free_fields(fields, count);
    }
    cr_expect_str_eq(at, "");
    free_fields(names, count);
    json_decref(data);
    free(page);
    free(csv);
    sweep_folder_release(&folder);
}

Test(sweep_report, results_are_those_of_the_runs)
{
    struct sweep_folder folder;
    sweep_fixture_make(&folder, temporary_path(folder_name));
    char *page = page_of(&folder);
    json_t *data = parse_data(page), *runs = json_object_get(data, "runs");
    int halted[3] = { 0 }, failed = 0, best = -1;
    double most = 0, scores[SWEEP_FIXTURE_RUNS] = { 0 }; /* of those on the last rung */
    for (int i = 0; i < SWEEP_FIXTURE_RUNS; i++) {
        const json_t *run = json_array_get(runs, (size_t)i);
        const char *state = json_string_value(json_object_get(run, "state"));
        const json_t *rung = json_object_get(run, "rung"), *curves = json_object_get(run, "curves");
        const json_t *aucs = json_object_get(curves, "validation.auc");
        cr_assert_eq(strcmp(state, "failed") == 0, sweep_fixture_fails(i));
        failed += sweep_fixture_fails(i);
        if (sweep_fixture_fails(i)) continue;
        const int reached = (int)json_integer_value(rung);
        const int epochs = (int[]) { 1, 3, 9 }[reached];
        cr_assert_eq((int)json_array_size(aucs), epochs);
        double score = 0;
        for (int epoch = 1; epoch <= epochs; epoch++) {
            const double auc = sweep_fixture_auc(&folder.sweep, i, epoch);
            cr_expect_float_eq(json_real_value(json_array_get(aucs, (size_t)epoch - 1)), auc, 1e-8);
            score = fmax(score, auc);
        }
        cr_expect_float_eq(json_real_value(json_object_get(run, "score")), score, 1e-8);
        cr_expect_eq(json_integer_value(json_object_get(run, "steps")), 100 * epochs);
        cr_expect_str_eq(state, reached < 2 ? "halted" : "done");
        halted[reached]++;
        if (reached == 2) scores[i] = score;
    }
    for (int i = 0; i < SWEEP_FIXTURE_RUNS; i += 2) { /* runs 2n and 2n + 1 are repetitions */
        if (scores[i] == 0 || scores[i + 1] == 0 || scores[i] + scores[i + 1] <= most) continue;
        most = scores[i] + scores[i + 1];
        best = scores[i] >= scores[i + 1] ? i : i + 1;
    }
    cr_expect_eq(failed, 9);
    cr_expect_eq(halted[2], 22, "a ninth of 100 configurations reach the last rung");
    cr_expect_eq(halted[1], 66 - 22);
    cr_expect_eq(json_integer_value(json_object_get(json_object_get(data, "best"), "run")), best);
    json_decref(data);
    free(page);
    sweep_folder_release(&folder);
}

Test(sweep_report, repetitions_have_mean_and_deviation)
{
    struct sweep_folder folder;
    sweep_fixture_make(&folder, temporary_path("s"));
    char *page = page_of(&folder);
    json_t *data = parse_data(page), *runs = json_object_get(data, "runs");
    const json_t *configurations = json_object_get(data, "configurations");
    cr_assert_eq(json_array_size(configurations), SWEEP_FIXTURE_RUNS / 2);
    for (size_t i = 0; i < SWEEP_FIXTURE_RUNS / 2; i++) {
        const json_t *c = json_array_get(configurations, i);
        const json_t *one = json_object_get(json_array_get(runs, 2 * i), "score");
        const json_t *two = json_object_get(json_array_get(runs, 2 * i + 1), "score");
        const int done = json_is_number(one) + json_is_number(two);
        const double a = json_number_value(one), b = json_number_value(two);
        cr_expect_eq(json_integer_value(json_object_get(c, "first")), (json_int_t)(2 * i));
        cr_expect_eq(json_integer_value(json_object_get(c, "runs")), 2);
        cr_expect_eq(json_integer_value(json_object_get(c, "done")), done);
        cr_assert_geq(done, 1);
        cr_expect_float_eq(json_number_value(json_object_get(c, "mean")), (a + b) / done, 2e-9);
        if (done == 2)
            cr_expect_float_eq(json_number_value(json_object_get(c, "deviation")),
                               fabs(a - b) / sqrt(2), 2e-9);
        else
            cr_expect(json_is_null(json_object_get(c, "deviation")));
    }
    json_decref(data);
    free(page);
    sweep_folder_release(&folder);
}

Test(sweep_report, no_text_leaves_its_place)
{
    struct sweep_folder folder;
    sweep_fixture_make(&folder, temporary_path(folder_name));
    char *page = page_of(&folder), *data = data_of(page);
    int ends = 0;
    for (const char *at = page; (at = strstr(at, "</script")); at++) ends++;
    cr_expect_eq(ends, 3, "data, D3 and our own script");
    for (const char *at = data; *at; at++)
        cr_assert(*at >= 0x20 && *at < 0x7f && !strchr("<>&", *at), "byte 0x%02x in %.40s",
                  (unsigned char)*at, at);
    json_t *object = parse_data(page);
    cr_expect_str_eq(json_string_value(json_object_get(object, "name")),
                     "sweep <!--<script>\\xff&amp;");
    const json_t *failed = json_array_get(json_object_get(object, "runs"), 7);
    cr_expect_str_eq(json_string_value(json_object_get(failed, "reason")),
                     "</script><script>document.title='broken'</script><!-- \"quoted\", "
                     "\xe2\x80\xa8 and \\xff & 'that'");
    cr_expect(strstr(json_string_value(json_object_get(json_object_get(object, "best"), "config")),
                     "# größer"));
    json_decref(object);
    free(data);
    free(page);
    sweep_folder_release(&folder);
}

Test(sweep_report, pictures_of_the_best_run_are_embedded)
{
    static const struct {
        const char *name, *bytes, *base64; /* of Python's base64 module; NULL = not taken */
    } files[] = {
        { "evaluation-test/a.png", "\x89PNG\r\n\x1a\nf", "iVBORw0KGgpm" },
        { "evaluation-test/b.png", "\x89PNG\r\n\x1a\nfo", "iVBORw0KGgpmbw==" },
        { "map.png", "\x89PNG\r\n\x1a\nfoo", "iVBORw0KGgpmb28=" },
        { "fake.png", "<svg onload=alert(1)>", NULL },
        { "evaluation-test/notes.txt", "\x89PNG\r\n\x1a\nfoo", NULL },
    };
    struct sweep_folder folder;
    struct error err = { 0 };
    sweep_fixture_make(&folder, temporary_path("s"));
    char *page = page_of(&folder), run[64], path[PATH_MAX_BYTES], parent[PATH_MAX_BYTES];
    json_t *data = parse_data(page);
    snprintf(run, sizeof run, "runs/%04d/",
             (int)json_integer_value(json_object_get(json_object_get(data, "best"), "run")));
    free(page);
    json_decref(data);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s%s", run, files[i].name);
        test_path(path, folder.path, name);
        path_folder(parent, path);
        cr_assert(folder_create(parent, &err));
        cr_assert(file_write_atomic(path, files[i].bytes, strlen(files[i].bytes), &err));
    }
    page = page_of(&folder);
    data = parse_data(page);
    const json_t *pictures = json_object_get(json_object_get(data, "best"), "pictures");
    cr_assert_eq(json_array_size(pictures), 3);
    for (size_t i = 0; i < 3; i++) {
        char uri[64];
        const json_t *picture = json_array_get(pictures, i);
        snprintf(uri, sizeof uri, "data:image/png;base64,%s", files[i].base64);
        cr_expect_str_eq(json_string_value(json_object_get(picture, "name")), files[i].name);
        cr_expect_str_eq(json_string_value(json_object_get(picture, "data")), uri);
    }
    json_decref(data);
    free(page);
    sweep_folder_release(&folder);
}

Test(sweep_report, nothing_done_yet)
{
    struct sweep_folder folder;
    struct error err = { 0 };
    char path[PATH_MAX_BYTES];
    sweep_fixture_make(&folder, temporary_path("s"));
    for (int run = 0; run < SWEEP_FIXTURE_RUNS; run++) {
        cr_assert(sweep_folder_path(&folder, "state", run, ".json", path, &err));
        unlink(path);
        cr_assert(sweep_folder_path(&folder, "runs", run, "/metrics.jsonl", path, &err));
        unlink(path);
    }
    char *page = page_of(&folder);
    json_t *data = parse_data(page), *run = json_array_get(json_object_get(data, "runs"), 0);
    cr_expect(json_is_null(json_object_get(data, "best")));
    cr_expect_str_eq(json_string_value(json_object_get(run, "state")), "pending");
    cr_expect(json_is_null(json_object_get(run, "score")));
    json_decref(data);
    free(page);
    sweep_folder_release(&folder);
}
