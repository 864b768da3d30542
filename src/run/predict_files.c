/* Predicts windows from files, in the order given. A pack is a dataset of one slide; images are
 * collected in a batch until it is full or a pack follows. */
#include "micromet/run/predict_files.h"

#include <stdlib.h>
#include <string.h>

#include "micromet/base/text.h"
#include "micromet/data/loader.h"
#include "micromet/format/image.h"
#include "micromet/run/predict.h"
#include "micromet/run/single_window.h"

enum { RING = 2 };

struct job {
    const struct checkpoint *checkpoint;
    const struct predict_files_options *options;
    struct model *model;
    struct predictor predictor;
    struct single_window single;
    bool has_single;
    struct loader_batch batch; /* complete examples */
    const char **names;        /* (batch): path of the first image of each example */
    int tower;                 /* images of the next example so far */
    FILE *csv;
    struct error *err;
};

/* window: NULL = without coordinates */
static void put_line(FILE *csv, const char *path, int64_t index, const struct window *window,
                     float probability)
{
    text_print_csv(csv, path);
    fprintf(csv, ",%lld,", (long long)index);
    if (window) fprintf(csv, "%d", window->x_level0);
    fputc(',', csv);
    if (window) fprintf(csv, "%d", window->y_level0);
    fprintf(csv, ",%.9g\n", probability);
}

/* --- Packs ----------------------------------------------------------------------------------- */

static bool check_pack(const struct job *job, const struct pack *pack)
{
    const struct pack_header *header = &pack->header;
    const struct config_data *data = &job->checkpoint->config.data;
    if (header->tower_count != data->level_count || header->window != data->window)
        return error_set(job->err, EXIT_CODE_FAILED,
                         "%s: holds windows of %d px for %d towers; the model takes %d px for %d",
                         pack->path, header->window, header->tower_count, data->window,
                         data->level_count);
    const double mpp[2] = { header->mpp_x, header->mpp_y };
    return checkpoint_check_scale(job->checkpoint, pack->path, header->downsamples, mpp, 0,
                                  job->err);
}

static bool predict_windows(struct job *job, const struct pack *pack)
{
    struct dataset_slide slide = { .pack = *pack,
                                   .windows = pack->windows,
                                   .count = pack->header.count };
    const struct dataset dataset = { .data = job->checkpoint->config.data,
                                     .slides = &slide,
                                     .slide_count = 1,
                                     .count = slide.count };
    struct predictions predictions = { 0 };
    const struct predict_options options = { .orientations = job->options->orientations,
                                             .threads = job->options->threads,
                                             .ring = RING };
    if (!slide.count) return true;
    if (!predict_dataset(job->model, &dataset, &options, &predictions, job->err)) return false;
    for (int64_t i = 0; i < slide.count; i++)
        put_line(job->csv, pack->path, i, &pack->windows[i], predictions.probabilities[i]);
    predictions_release(&predictions);
    return true;
}

static bool predict_pack(struct job *job, const char *path)
{
    struct pack pack;
    if (!pack_open(&pack, path, false, job->err)) return false;
    const bool done = check_pack(job, &pack) && predict_windows(job, &pack);
    pack_release(&pack);
    return done;
}

/* --- Pictures -------------------------------------------------------------------------------- */

static void write_pictures(void *context, struct loader_batch *batch, const float *probabilities)
{
    const struct job *job = context;
    for (int i = 0; i < batch->count; i++)
        put_line(job->csv, job->names[i], 0, NULL, probabilities[i]);
    batch->count = 0;
}

static bool flush(struct job *job)
{
    if (job->tower)
        return error_set(job->err, EXIT_CODE_FAILED,
                         "%s: the model has %d towers, and no picture for tower %d follows",
                         job->names[job->batch.count], job->checkpoint->config.data.level_count,
                         job->tower);
    return !job->batch.count || (predictor_submit(&job->predictor, &job->batch, job->err) &&
                                 predictor_finish(&job->predictor, job->err));
}

static size_t window_bytes(const struct job *job)
{
    const size_t window = (size_t)job->checkpoint->config.data.window;
    return window * window * 3;
}

static bool take_picture(struct job *job, const char *path, const uint8_t *rgb, int width,
                         int height)
{
    const int towers = job->checkpoint->config.data.level_count;
    const int window = job->checkpoint->config.data.window, side = job->single.side;
    const size_t at = (size_t)job->batch.count * window_bytes(job);
    if (job->tower == 0) job->names[job->batch.count] = path;
    if (width == window && height == window) {
        memcpy(job->batch.pixels[job->tower] + at, rgb, window_bytes(job));
        job->tower = (job->tower + 1) % towers;
    } else if (job->has_single && !job->tower && width == side && height == side) {
        for (int t = 0; t < towers; t++)
            single_window_cut(&job->single, window, t, rgb, job->batch.pixels[t] + at);
    } else {
        char single[80] = "";
        if (job->has_single && side != window)
            snprintf(single, sizeof single, ", or one of %d×%d px for all", side, side);
        return error_set(job->err, EXIT_CODE_FAILED,
                         "%s: is %d×%d px; the model takes a picture of %d×%d px for each of %d "
                         "towers%s",
                         path, width, height, window, window, towers, single);
    }
    if (job->tower == 0) job->batch.count++;
    return job->batch.count < model_spec(job->model)->batch || flush(job);
}

static bool predict_picture(struct job *job, const char *path)
{
    uint8_t *rgb;
    int width, height;
    if (!image_read_png(path, &rgb, &width, &height, job->err)) return false;
    const bool done = take_picture(job, path, rgb, width, height);
    free(rgb);
    return done;
}

/* --- All of them ----------------------------------------------------------------------------- */

static bool job_init(struct job *job)
{
    struct error ignored = { 0 };
    const size_t batch = (size_t)model_spec(job->model)->batch;
    job->has_single = single_window_of(job->checkpoint, &job->single, &ignored);
    job->names = malloc(batch * sizeof *job->names);
    bool done = job->names != NULL;
    for (int t = 0; t < job->checkpoint->config.data.level_count && done; t++) {
        job->batch.pixels[t] = malloc(batch * window_bytes(job));
        done = job->batch.pixels[t] != NULL;
    }
    if (!done) return error_set(job->err, EXIT_CODE_FAILED, "no memory for a batch of pictures");
    if (!predictor_init(&job->predictor, job->model, job->options->orientations, job->err))
        return false;
    predictor_begin(&job->predictor, write_pictures, job);
    return true;
}

static void job_release(struct job *job)
{
    predictor_release(&job->predictor);
    for (int t = 0; t < TOWERS_MAX; t++) free(job->batch.pixels[t]);
    free(job->names);
}

const char predict_files_header[] = "file,window,x_level0,y_level0,probability\n";

bool predict_files(const struct checkpoint *checkpoint, struct model *model, char *const *paths,
                   int count, const struct predict_files_options *options, FILE *csv,
                   struct error *err)
{
    struct job job = {
        .checkpoint = checkpoint, .model = model, .options = options, .csv = csv, .err = err
    };
    bool done = job_init(&job);
    if (done) fputs(predict_files_header, csv);
    for (int i = 0; i < count && done; i++)
        done = pack_is_at(paths[i]) ? flush(&job) && predict_pack(&job, paths[i])
                                    : predict_picture(&job, paths[i]);
    done = done && flush(&job);
    job_release(&job);
    return done;
}
