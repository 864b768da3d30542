/* The run-length encoded bitmap to which every annotation is converted. */
#include <stdlib.h>

#include "annotation_parts.h"

enum { SIDE_MAX = 1 << 22, RUNS_MAX = 1 << 26 };

bool run_rows_init(struct run_rows *rows, const char *path, int64_t width, int64_t height,
                   struct error *err)
{
    *rows = (struct run_rows) { .path = path };
    if (width < 1 || height < 1 || width > SIDE_MAX || height > SIDE_MAX)
        return error_set(err, EXIT_CODE_FAILED,
                         "%s: %lld x %lld px; at most %d a side are supported", path,
                         (long long)width, (long long)height, SIDE_MAX);
    rows->rows = calloc((size_t)height, sizeof *rows->rows);
    if (!rows->rows) return error_set(err, EXIT_CODE_FAILED, "%s: out of memory", path);
    rows->width = (int32_t)width;
    rows->height = (int32_t)height;
    return true;
}

void run_rows_release(struct run_rows *rows)
{
    for (int32_t i = 0; i < rows->height; i++) free(rows->rows[i].runs);
    free(rows->rows);
    *rows = (struct run_rows) { 0 };
}

static bool grow(struct run_rows *rows, struct run_row *row, struct error *err)
{
    if (rows->run_count >= RUNS_MAX)
        return error_set(
            err, EXIT_CODE_FAILED,
            "%s: more than %d separate runs of tumor pixels; is it a mask? (a photograph "
            "or a mask with JPEG compression is not)",
            rows->path, RUNS_MAX);
    if (row->count < row->capacity) return true;
    const int32_t capacity = row->capacity ? 2 * row->capacity : 4;
    struct run *runs = realloc(row->runs, (size_t)capacity * sizeof *runs);
    if (!runs) return error_set(err, EXIT_CODE_FAILED, "%s: out of memory", rows->path);
    row->runs = runs;
    row->capacity = capacity;
    return true;
}

bool run_rows_append(struct run_rows *rows, int64_t row_index, int64_t start, int64_t end,
                     struct error *err)
{
    CHECK(row_index >= 0 && row_index < rows->height && start >= 0 && start < end &&
          end <= rows->width);
    struct run_row *row = &rows->rows[row_index];
    if (row->count && row->runs[row->count - 1].end == start) {
        row->runs[row->count - 1].end = (int32_t)end;
        return true;
    }
    CHECK(!row->count || row->runs[row->count - 1].end < start);
    if (!grow(rows, row, err)) return false;
    row->runs[row->count++] = (struct run) { (int32_t)start, (int32_t)end };
    rows->run_count++;
    return true;
}

int64_t run_rows_pixels(const struct run_rows *rows)
{
    int64_t pixels = 0;
    for (int32_t y = 0; y < rows->height; y++)
        for (int32_t i = 0; i < rows->rows[y].count; i++)
            pixels += rows->rows[y].runs[i].end - rows->rows[y].runs[i].start;
    return pixels;
}
