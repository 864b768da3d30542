/* Makes the packs. Slides are independent jobs: a first pass opens all of them to find errors early
 * and to see which packs are up to date; a second makes the others, several slides at once. */
#include "micromet/run/prepare.h"

#include <stdlib.h>
#include <string.h>

#include "micromet/base/log.h"
#include "micromet/base/output.h"
#include "micromet/base/size.h"
#include "micromet/base/stop.h"
#include "micromet/base/text.h"
#include "micromet/base/thread.h"
#include "micromet/data/survey.h"

enum job_state { JOB_PLANNED, JOB_REUSED, JOB_BUILT, JOB_FAILED };

struct job {
    const struct manifest_row *row;
    enum job_state state;
    struct error err;
    struct pack_state pack; /* header: of the pack, once it is made */
    double seconds;
};

struct preparation {
    const struct config *config;
    struct manifest manifest;
    bool force;
    struct job *jobs;    /* (manifest.count) */
    struct job **builds; /* jobs whose pack is to be made */
    int build_count;
    int name_width;
    struct select_options options; /* for each slide */
    struct progress progress;
};

static double pack_bytes(const struct pack_header *header)
{
    return (double)(pack_pixels_offset(header) +
                    (uint64_t)header->count * pack_window_bytes(header));
}

static void report(const struct preparation *preparation, const struct job *job)
{
    const struct pack_header *header = &job->pack.header;

    if (job->state == JOB_FAILED) {
        log_warning("%s:%d: %s", preparation->manifest.path, job->row->line, job->err.message);
        return;
    }
    log_info("%-*s  %7lld windows  %7lld tumor  %7lld normal  %-6s %7.1f s  %9.1f MB",
             preparation->name_width, SHOWN(path_name(job->row->slide)), (long long)header->count,
             (long long)header->tumor_count, (long long)(header->count - header->tumor_count),
             job->state == JOB_REUSED ? "reused" : "built", job->seconds, pack_bytes(header) / 1e6);
}

/* An error is recorded in its job; the others continue. */
static void finish(const struct preparation *preparation, struct job *job, bool ok,
                   double started_s)
{
    job->seconds = clock_seconds() - started_s;
    if (!ok) job->state = JOB_FAILED;
    report(preparation, job);
}

static bool check_output(const struct preparation *preparation, struct job *job)
{
    char path[PATH_MAX_BYTES];
    return pack_path(path, job->row, preparation->config, &job->err) &&
           output_check(path, "name another folder with data.pack", &job->err);
}

static bool plan_job(void *context, int64_t item, int worker, struct error *err)
{
    struct preparation *preparation = context;
    struct job *job = &preparation->jobs[item];
    const double started_s = clock_seconds();
    (void)worker;
    (void)err;

    bool ok = pack_current(job->row, preparation->config, &job->pack, &job->err);
    const bool build = ok && (!job->pack.current || preparation->force);
    if (build) ok = check_output(preparation, job);
    if (build && ok) return true;
    job->state = JOB_REUSED;
    finish(preparation, job, ok, started_s);
    return true;
}

/* Refuse slides that must not be in one training. */
static bool compare_slides(const struct preparation *preparation, struct error *err)
{
    const struct manifest *manifest = &preparation->manifest;
    struct pack_header *facts = calloc((size_t)manifest->count, sizeof *facts);
    bool *known = calloc((size_t)manifest->count, sizeof *known);
    bool ok = (facts && known) ||
              error_set(err, EXIT_CODE_FAILED, "%s: out of memory", manifest->path);
    for (int i = 0; ok && i < manifest->count; i++) {
        known[i] = preparation->jobs[i].state != JOB_FAILED;
        facts[i] = preparation->jobs[i].pack.header;
    }
    ok = ok && survey_compare(manifest, preparation->config, facts, known, err);
    free(facts);
    free(known);
    return ok;
}

/* Say why packs are made again, and which are taken for current though that is not certain. */
static void explain(const struct preparation *preparation)
{
    int doubtful = 0, first = -1;
    for (int i = 0; i < preparation->manifest.count; i++) {
        const struct job *job = &preparation->jobs[i];
        if (job->state == JOB_PLANNED && *job->pack.reason)
            log_info("made again: %s", job->pack.reason);
        if (job->state == JOB_REUSED && job->pack.doubtful && !doubtful++) first = i;
    }
    if (doubtful)
        log_warning(
            "%s%s: changed since its pack was made, but what was compared of it did not; if "
            "it was edited rather than copied, use --force",
            preparation->jobs[first].row->slide, doubtful > 1 ? " and others" : "");
}

static bool build_job(void *context, int64_t item, int worker, struct error *err)
{
    struct preparation *preparation = context;
    struct job *job = preparation->builds[item];
    const double started_s = clock_seconds();
    (void)worker;
    if (!stop_check(err)) return false;

    const bool ok = pack_build(job->row, preparation->config, &preparation->options,
                               &job->pack.header, &job->err);
    job->state = JOB_BUILT;
    finish(preparation, job, ok, started_s);
    return true;
}

/* Make the packs, with the threads divided among the slides made at once. */
static bool build_all(struct preparation *preparation, int threads, struct error *err)
{
    int64_t windows = 0;

    for (int i = 0; i < preparation->manifest.count; i++) {
        if (preparation->jobs[i].state != JOB_PLANNED) continue;
        preparation->builds[preparation->build_count++] = &preparation->jobs[i];
        windows += preparation->jobs[i].pack.grid_windows;
    }
    if (!preparation->build_count) return true;

    const int slides = threads < preparation->build_count ? threads : preparation->build_count;
    preparation->options = (struct select_options) {
        .threads = CEIL_DIV(threads, slides),
        .progress = &preparation->progress,
    };
    progress_begin(&preparation->progress, "prepare", "windows", windows);
    const bool ok = parallel_for(slides, preparation->build_count, preparation, build_job, err);
    progress_end(&preparation->progress);
    return ok;
}

static bool prepare_all(struct preparation *preparation, struct error *err)
{
    const struct manifest *manifest = &preparation->manifest;
    const char *folder = preparation->config->data.pack;
    const int configured = preparation->config->compute.threads;
    const int threads = configured > 0 ? configured : thread_count_default();

    preparation->jobs = calloc((size_t)manifest->count, sizeof *preparation->jobs);
    preparation->builds = calloc((size_t)manifest->count, sizeof *preparation->builds);
    if (!preparation->jobs || !preparation->builds)
        return error_set(err, EXIT_CODE_FAILED, "%s: out of memory", manifest->path);
    for (int i = 0; i < manifest->count; i++) {
        const int width = (int)strlen(SHOWN(path_name(manifest->rows[i].slide)));
        preparation->jobs[i].row = &manifest->rows[i];
        if (width > preparation->name_width) preparation->name_width = width;
    }
    if (!folder_create(folder, err)) return false;
    atomic_files_clean(folder, NULL);
    if (!parallel_for(threads, manifest->count, preparation, plan_job, err) ||
        !compare_slides(preparation, err))
        return false;
    explain(preparation);
    return build_all(preparation, threads, err);
}

static void sum_up(const struct preparation *preparation, struct prepare_result *result)
{
    result->slides = preparation->manifest.count;
    for (int i = 0; i < result->slides; i++) {
        const struct job *job = &preparation->jobs[i];
        result->built += job->state == JOB_BUILT;
        result->reused += job->state == JOB_REUSED;
        result->failed += job->state == JOB_FAILED;
        if (job->state == JOB_FAILED) continue;
        result->windows += job->pack.header.count;
        result->tumor_windows += job->pack.header.tumor_count;
        result->pack_bytes += pack_bytes(&job->pack.header);
    }
}

bool prepare_run(const struct config *config, bool force, struct prepare_result *result,
                 struct error *err)
{
    struct preparation preparation = { .config = config, .force = force };
    *result = (struct prepare_result) { 0 };
    if (!manifest_load(&preparation.manifest, config->data.manifest, err)) return false;
    const double started_s = clock_seconds();
    const bool ok = prepare_all(&preparation, err);
    if (ok) sum_up(&preparation, result);
    result->seconds = clock_seconds() - started_s;
    manifest_release(&preparation.manifest);
    free(preparation.jobs);
    free(preparation.builds);
    return ok;
}
