/* How fast pixels are read: from a slide, block by block, and from a pack, through the loader.
 *
 * Blocks are visited once each, in strides over the whole level, so that any prefix of the order is
 * a representative sample and caches cannot help. */
#include <stdlib.h>

#include "bench_parts.h"
#include "micromet/base/size.h"
#include "micromet/base/thread.h"
#include "micromet/data/loader.h"
#include "micromet/run/predict.h"

enum { RING = 4 };

/* --- Slides ----------------------------------------------------------------------------------- */

struct decode_reader {
    struct slide_cache *cache;
    uint8_t *rgb;
    int64_t pixels;
};

struct decode {
    const struct slide_level *level; /* level 0 */
    int64_t columns, blocks;
    int64_t stride, first; /* the n-th block has the number (first + n) * stride % blocks */
    double until_s;
    struct decode_reader *readers; /* one per thread */
};

static int64_t divisor(int64_t a, int64_t b)
{
    return b ? divisor(b, a % b) : a;
}

static bool decode_block(void *context, int64_t item, int worker, struct error *err)
{
    const struct decode *decode = context;
    const struct slide_level *level = decode->level;
    struct decode_reader *reader = &decode->readers[worker];
    /* The first block is always read, however short the time. */
    if (item >= decode->blocks || (item > 0 && clock_seconds() > decode->until_s)) return true;
    const int64_t block = (decode->first + item) % decode->blocks * decode->stride % decode->blocks;
    const int64_t x = block % decode->columns * level->block_width;
    const int64_t y = block / decode->columns * level->block_height;
    const int64_t right = level->width - x, below = level->height - y;
    const int width = (int)(right < level->block_width ? right : level->block_width);
    const int height = (int)(below < level->block_height ? below : level->block_height);
    if (!slide_read(reader->cache, 0, x, y, width, height, reader->rgb, (size_t)width * 3, err))
        return false;
    reader->pixels += (int64_t)width * height;
    return true;
}

/* Megapixels per second with `threads` threads; decode->first advances to where the
 * next run starts. */
static bool decode_once(const struct slide *slide, struct decode *decode, int threads,
                        double seconds, double *mpx_per_s, struct error *err)
{
    const size_t pixels = (size_t)decode->level->block_width * (size_t)decode->level->block_height;
    int64_t sum = 0;
    bool ok = true;
    decode->readers = calloc((size_t)threads, sizeof *decode->readers);
    for (int i = 0; ok && i < threads; i++) {
        struct decode_reader *reader = decode->readers ? &decode->readers[i] : NULL;
        ok = reader && (reader->rgb = malloc(pixels * 3)) != NULL;
        if (!ok) error_set(err, EXIT_CODE_FAILED, "%s: no memory for its blocks", slide->path);
        ok = ok && slide_cache_init(&reader->cache, slide, pixels * 3, err);
    }
    const double started_s = clock_seconds();
    decode->until_s = started_s + seconds;
    ok = ok && parallel_for(threads, decode->blocks, decode, decode_block, err);
    const double spent_s = clock_seconds() - started_s;
    for (int i = 0; decode->readers && i < threads; i++) {
        sum += decode->readers[i].pixels;
        slide_cache_release(decode->readers[i].cache);
        free(decode->readers[i].rgb);
    }
    free(decode->readers);
    decode->first += sum / (int64_t)pixels + 1;
    *mpx_per_s = (double)sum * 1e-6 / spent_s;
    return ok;
}

static void decode_init(struct decode *decode, const struct slide *slide)
{
    const struct slide_level *level = &slide->levels[0];
    const int64_t columns = CEIL_DIV(level->width, level->block_width);
    const int64_t rows = CEIL_DIV(level->height, level->block_height);
    *decode = (struct decode) { .level = level, .columns = columns, .blocks = columns * rows };
    decode->stride = (int64_t)(0.618 * (double)decode->blocks) + 1;
    while (divisor(decode->stride, decode->blocks) != 1) decode->stride++;
}

bool bench_decode(const struct bench *bench, struct error *err)
{
    const int tries[] = { 1, bench->options->threads };
    double one = 0;
    int64_t first = 0;
    for (int i = 0; i < (tries[1] > 1 ? 2 : 1); i++) {
        struct slide slide;
        struct decode decode;
        double mpx_per_s;
        /* reopened, so that OpenSlide has no decoded tiles in its cache */
        if (!slide_open(&slide, bench->options->slide, 0, err)) return false;
        decode_init(&decode, &slide);
        decode.first = first;
        const bool ok = decode_once(&slide, &decode, tries[i], bench->options->seconds, &mpx_per_s,
                                    err);
        slide_release(&slide);
        if (!ok) return false;
        first = decode.first;
        const struct bench_result result = {
            .what = "decode",
            .threads = tries[i],
            .figures = { { "mpx_per_s", "Mpx/s", mpx_per_s, one * tries[i] } },
            .figure_count = 1,
        };
        bench_tell(bench, &result);
        one = mpx_per_s;
    }
    return true;
}

/* --- Packs ------------------------------------------------------------------------------------ */

struct feed {
    const struct dataset *dataset;
    struct sampler sampler;
    struct loader_batch *slots;
    int batch, threads;
    double until_s;
    int64_t windows;
};

/* One epoch, or as much of it as time allows. */
static bool feed_epoch(struct feed *feed, struct error *err)
{
    const struct loader_source source = loader_source_dataset(feed->dataset);
    const struct loader_options options = { .order = feed->sampler.order,
                                            .order_count = feed->sampler.examples_per_epoch,
                                            .batch = feed->batch,
                                            .slots = feed->slots,
                                            .slot_count = RING,
                                            .threads = feed->threads };
    struct loader *loader;
    struct loader_batch *slot;
    if (!loader_init(&loader, &source, &options, err)) return false;
    bool ok;
    while ((ok = loader_next(loader, &slot, err)) && slot) {
        feed->windows += slot->count;
        loader_recycle(loader, slot);
        if (clock_seconds() > feed->until_s) break;
    }
    loader_release(loader);
    return ok;
}

static bool feed_run(const struct bench *bench, const struct dataset *dataset,
                     double *windows_per_s, struct error *err)
{
    struct feed feed = { .dataset = dataset,
                         .batch = bench->options->batch,
                         .threads = bench->options->threads };
    struct backend *backend = bench->session.backend;
    const int towers = dataset->data.level_count;
    bool ok = sampler_init(&feed.sampler, dataset, SAMPLING_SHUFFLE, 1, 0, err) &&
              batch_slots_init(backend, towers, dataset->data.window, feed.batch, RING, &feed.slots,
                               err);
    const double started_s = clock_seconds();
    feed.until_s = started_s + bench->options->seconds;
    for (uint32_t epoch = 0; ok && (epoch == 0 || clock_seconds() < feed.until_s); epoch++) {
        sampler_start_epoch(&feed.sampler, epoch);
        ok = feed_epoch(&feed, err);
    }
    *windows_per_s = (double)feed.windows / (clock_seconds() - started_s);
    batch_slots_release(backend, feed.slots, RING, towers);
    sampler_release(&feed.sampler);
    return ok;
}

bool bench_pack(const struct bench *bench, struct error *err)
{
    struct dataset_slide slide = { 0 };
    if (!pack_open(&slide.pack, bench->options->pack, false, err)) return false;
    const struct pack_header *header = &slide.pack.header;
    slide.windows = slide.pack.windows;
    slide.count = header->count;
    slide.tumor_count = header->tumor_count;
    const struct dataset dataset = {
        .data = { .level_count = header->tower_count,
                  .window = header->window,
                  .source = DATA_SOURCE_PACKS },
        .slides = &slide,
        .slide_count = 1,
        .count = header->count,
        .tumor_count = header->tumor_count,
    };
    double windows_per_s;
    const bool ok = feed_run(bench, &dataset, &windows_per_s, err);
    const double bytes = (double)pack_window_bytes(header);
    /* Each byte is read once and written once. */
    const double most = bench->triad_gb_per_s * 1e9 / (2 * bytes);
    const struct bench_result result = {
        .what = "pack",
        .px = header->window,
        .batch = bench->options->batch,
        .threads = bench->options->threads,
        .figures = { { "windows_per_s", "windows/s", windows_per_s, most },
                     { "mb_per_s", "MB/s", windows_per_s * bytes * 1e-6, most * bytes * 1e-6 } },
        .figure_count = 2,
    };
    if (ok) bench_tell(bench, &result);
    pack_release(&slide.pack);
    return ok;
}
