/* micromet prepare: one pack of windows for each slide of the manifest.
 *
 * The one idea: slides are independent jobs. A first pass opens each, finds what is wrong with it
 * early and what need not be made again; a second makes the rest, several slides at once, and no
 * bad slide stops a good one. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

#include "micromet/base/log.h"
#include "micromet/base/thread.h"
#include "micromet/slide/pack.h"

enum job_state { JOB_PLANNED, JOB_REUSED, JOB_BUILT, JOB_FAILED };

struct job {
    const struct manifest_row *row;
    enum job_state state;
    struct error err;
    struct pack_header header;
    int64_t grid_windows;
    double seconds;
};

struct preparation {
    struct config config;
    struct manifest manifest;
    bool force;
    struct job *jobs;    /* (manifest.count) */
    struct job **builds; /* those that are to be made */
    int build_count;
    int name_width;
    struct select_options options; /* for one slide */
    struct progress progress;
};

static double megabytes(const struct pack_header *header)
{
    return (double)(pack_pixels_offset(header) +
                    (uint64_t)header->count * pack_window_bytes(header)) /
           1e6;
}

static void report(const struct preparation *preparation, const struct job *job)
{
    const struct pack_header *header = &job->header;

    if (job->state == JOB_FAILED) {
        log_warning("%s:%d: %s", preparation->manifest.path, job->row->line, job->err.message);
        return;
    }
    log_info("%-*s  %7lld windows  %7lld tumor  %7lld normal  %-6s %7.1f s  %9.1f MB",
             preparation->name_width, path_name(job->row->slide), (long long)header->count,
             (long long)header->tumor_count, (long long)(header->count - header->tumor_count),
             job->state == JOB_REUSED ? "reused" : "built", job->seconds, megabytes(header));
}

/* An error belongs to its job: the others go on. */
static void finish(const struct preparation *preparation, struct job *job, bool ok,
                   double started_s)
{
    job->seconds = clock_seconds() - started_s;
    if (!ok) job->state = JOB_FAILED;
    report(preparation, job);
}

static bool plan_job(void *context, int64_t item, int worker, struct error *err)
{
    struct preparation *preparation = context;
    struct job *job = &preparation->jobs[item];
    const double started_s = clock_seconds();
    bool current = false;
    (void)worker;
    (void)err;

    const bool ok = pack_current(job->row, &preparation->config, &current, &job->header,
                                 &job->grid_windows, &job->err);
    if (ok && (!current || preparation->force)) return true;
    job->state = JOB_REUSED;
    finish(preparation, job, ok, started_s);
    return true;
}

static bool build_job(void *context, int64_t item, int worker, struct error *err)
{
    struct preparation *preparation = context;
    struct job *job = preparation->builds[item];
    const double started_s = clock_seconds();
    (void)worker;
    (void)err;

    const bool ok = pack_build(job->row, &preparation->config, &preparation->options, &job->header,
                               &job->err);
    job->state = JOB_BUILT;
    finish(preparation, job, ok, started_s);
    return true;
}

/* Cores are shared by the slides that are made at once. */
static bool build_all(struct preparation *preparation, int threads, struct error *err)
{
    int64_t windows = 0;

    for (int i = 0; i < preparation->manifest.count; i++) {
        if (preparation->jobs[i].state != JOB_PLANNED) continue;
        preparation->builds[preparation->build_count++] = &preparation->jobs[i];
        windows += preparation->jobs[i].grid_windows;
    }
    if (!preparation->build_count) return true;

    const int slides = threads < preparation->build_count ? threads : preparation->build_count;
    preparation->options = (struct select_options) {
        .threads = (threads + slides - 1) / slides,
        .progress = &preparation->progress,
    };
    progress_begin(&preparation->progress, "prepare", "windows", windows);
    const bool ok = parallel_for(slides, preparation->build_count, preparation, build_job, err);
    progress_end(&preparation->progress);
    return ok;
}

static bool summarise(const struct preparation *preparation, double started_s, struct error *err)
{
    int count[JOB_FAILED + 1] = { 0 };
    int64_t windows = 0, tumors = 0;
    double size_mb = 0;
    const int slides = preparation->manifest.count;

    for (int i = 0; i < slides; i++) {
        const struct job *job = &preparation->jobs[i];
        count[job->state]++;
        if (job->state == JOB_FAILED) continue;
        windows += job->header.count;
        tumors += job->header.tumor_count;
        size_mb += megabytes(&job->header);
    }
    log_info("%d built, %d reused, %d failed: %lld windows (%lld tumor), %.1f MB in %s, %.1f s",
             count[JOB_BUILT], count[JOB_REUSED], count[JOB_FAILED], (long long)windows,
             (long long)tumors, size_mb, preparation->config.data.pack,
             clock_seconds() - started_s);
    if (count[JOB_FAILED] == slides)
        return error_set(err, EXIT_CODE_FAILED, "%s: no slide could be prepared (reasons above)",
                         preparation->manifest.path);
    if (count[JOB_FAILED])
        return error_set(err, EXIT_CODE_PARTIAL,
                         "%s: %d of %d slides failed (reasons above); the other packs are ready",
                         preparation->manifest.path, count[JOB_FAILED], slides);
    return true;
}

static bool prepare(struct preparation *preparation, struct error *err)
{
    const struct manifest *manifest = &preparation->manifest;
    const int configured = preparation->config.compute.threads;
    const int threads = configured > 0 ? configured : thread_count_default();
    const double started_s = clock_seconds();

    preparation->jobs = calloc((size_t)manifest->count, sizeof *preparation->jobs);
    preparation->builds = calloc((size_t)manifest->count, sizeof *preparation->builds);
    if (!preparation->jobs || !preparation->builds)
        return error_set(err, EXIT_CODE_FAILED, "%s: out of memory", manifest->path);
    for (int i = 0; i < manifest->count; i++) {
        const int width = (int)strlen(path_name(manifest->rows[i].slide));
        preparation->jobs[i].row = &manifest->rows[i];
        if (width > preparation->name_width) preparation->name_width = width;
    }
    if (!folder_create(preparation->config.data.pack, err)) return false;
    atomic_files_clean(preparation->config.data.pack, NULL);
    return parallel_for(threads, manifest->count, preparation, plan_job, err) &&
           build_all(preparation, threads, err) && summarise(preparation, started_s, err);
}

static bool load(struct preparation *preparation, bool force, int count, char **operands,
                 struct error *err)
{
    preparation->force = force;
    if (count < 1)
        return error_set(err, EXIT_CODE_USAGE,
                         "prepare: which configuration? for example "
                         "`micromet prepare configs/seed.yaml`");
    return config_load(&preparation->config, operands[0], count - 1, operands + 1, err) &&
           manifest_load(&preparation->manifest, preparation->config.data.manifest, err);
}

struct arguments {
    bool force;
};

static const struct option option_rows[] = {
    { .name = "force", .kind = OPTION_FLAG, FIELD(force), .help = "make every pack again" },
    { 0 },
};

static enum exit_code run(void *arguments, int count, char **operands, struct error *err)
{
    const struct arguments *a = arguments;
    struct preparation *preparation = calloc(1, sizeof *preparation);

    if (!preparation)
        error_set(err, EXIT_CODE_FAILED, "prepare: out of memory");
    else if (load(preparation, a->force, count, operands, err))
        prepare(preparation, err);
    if (preparation) {
        manifest_release(&preparation->manifest);
        free(preparation->jobs);
        free(preparation->builds);
    }
    free(preparation);
    return err->code;
}

const struct subcommand command_prepare = {
    .name = "prepare",
    .summary = "cut the windows of every slide and keep them in packs",
    .operands = "CONFIG [key=value ...]",
    .operand_kind = OPTION_FILE,
    .overrides = true,
    .description =
        "Reads the slides of data.manifest, labels a grid of windows from their annotations, keeps "
        "all tumour windows and a seeded choice of normal ones with enough tissue, and writes one "
        "pack a slide into data.pack, for training, validation and test alike. A pack that was "
        "made from the same files with the same parameters is used again.\n\n"
        "A slide that cannot be prepared is reported with its reason and the others are finished; "
        "the exit status is then 3 (1 when no slide could be prepared).",
    .options = option_rows,
    ARGUMENTS(0),
    .examples =
        "micromet prepare configs/seed.yaml\n"
        "micromet prepare configs/seed.yaml data.stride=25 data.pack=packs-25\n"
        "micromet prepare configs/seed.yaml data.levels=[3,4] data.normals_per_tumor=2 --force\n"
        "micromet inspect packs/tumor_091.pack --out pictures\n",
    .run = run,
};
