/* Reader threads: the same batches for any number of them, errors in their place, and stopping at
 * any time. The loader's calls of pthread_cond_wait() and pthread_join() are intercepted (--wrap in
 * CMakeLists.txt), so that tests wait for what the threads do rather than for some time. */
#include "micromet/data/loader.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "micromet/base/random.h"
#include "micromet/base/thread.h"

enum { TOWERS = 2, WINDOW_BYTES = 48, SLOTS_MAX = 8, BATCH_MAX = 16, GUARD = 0xa5 };
enum { PATIENCE_S = 20 }; /* for events that a correct loader reaches soon */

static atomic_int asleep; /* threads inside pthread_cond_wait() */
static atomic_int joins;  /* calls of pthread_join(); after the first, the readers must end */

int __real_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex);
int __wrap_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex);
int __wrap_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex)
{
    asleep++;
    const int code = __real_pthread_cond_wait(condition, mutex);
    asleep--;
    return code;
}

int __real_pthread_join(pthread_t thread, void **result);
int __wrap_pthread_join(pthread_t thread, void **result);
int __wrap_pthread_join(pthread_t thread, void **result)
{
    joins++;
    return __real_pthread_join(thread, result);
}

static void nap_us(int us)
{
    nanosleep(&(struct timespec) { us / 1000000, us % 1000000 * 1000L }, NULL);
}

/* Wait for the counter to reach `count`; false after PATIENCE_S. */
static bool comes_to(atomic_int *counter, int count)
{
    const double end_s = clock_seconds() + PATIENCE_S;
    while (*counter != count && clock_seconds() < end_s) nap_us(1000);
    return *counter == count;
}

/* A source whose pixels are a function of the sample; it counts the calls. */
struct fake {
    int delay_us; /* of a read: 0 to delay_us, depending on the sample */
    int fail_open_at;
    int32_t fail_window[2]; /* reading these windows fails; -1 = none */
    int slow;               /* which of the two takes 3 ms */
    int together;           /* a read waits until this many have begun since the last group */
    bool until_released;    /* a read waits until the loader is being released */
    atomic_int opened, closed, reads;
    struct sample *log; /* order of reads, for one thread */
};

struct fake_reader {
    struct fake *fake;
    atomic_flag busy;
};

static uint8_t pixel_of(struct sample sample, int tower, int i)
{
    const uint32_t mix = (uint32_t)sample.slide * 2654435761u ^ (uint32_t)sample.window * 40503u;
    return (uint8_t)((mix >> 8) + (uint32_t)(tower * 101 + i * 7));
}

static float label_of(struct sample sample)
{
    return (float)((sample.slide + sample.window) % 2);
}

static bool fake_open(const void *context, size_t cache_bytes, void **out, struct error *err)
{
    struct fake *fake = (struct fake *)context; /* the test's own, not const */
    cr_assert_eq(cache_bytes, 1000);
    if (fake->opened == fake->fail_open_at) return error_set(err, EXIT_CODE_FAILED, "open failed");
    struct fake_reader *reader = calloc(1, sizeof *reader);
    reader->fake = fake;
    fake->opened++;
    *out = reader;
    return true;
}

static bool fake_read(void *context, struct sample sample, uint8_t *const pixels[TOWERS_MAX],
                      float *label, struct error *err)
{
    struct fake_reader *reader = context;
    struct fake *fake = reader->fake;
    if (atomic_flag_test_and_set(&reader->busy))
        return error_set(err, EXIT_CODE_FAILED, "a reader is used by two threads at once");
    const int at = fake->reads++;
    if (fake->log) fake->log[at] = sample;
    const int group = fake->together ? (at / fake->together + 1) * fake->together : 0;
    const double end_s = clock_seconds() + PATIENCE_S;
    while (fake->reads < group) {
        nap_us(1000);
        if (clock_seconds() > end_s)
            return error_set(err, EXIT_CODE_FAILED, "only %d of %d rows are being read",
                             fake->reads - group + fake->together, fake->together);
    }
    if (fake->until_released && !comes_to(&joins, 1))
        return error_set(err, EXIT_CODE_FAILED, "the loader is not given back");
    if (fake->delay_us) nap_us((int)((uint32_t)sample.window * 2654435761u >> 8) % fake->delay_us);
    for (int i = 0; i < 2; i++) {
        if (sample.window != fake->fail_window[i]) continue;
        if (i == fake->slow) nap_us(3000);
        atomic_flag_clear(&reader->busy);
        return error_set(err, EXIT_CODE_PARTIAL, "window %d is broken", sample.window);
    }
    for (int t = 0; t < TOWERS; t++)
        for (int i = 0; i < WINDOW_BYTES; i++) pixels[t][i] = pixel_of(sample, t, i);
    *label = label_of(sample);
    atomic_flag_clear(&reader->busy);
    return true;
}

static void fake_close(void *context)
{
    struct fake_reader *reader = context;
    reader->fake->closed++;
    free(reader);
}

static struct loader_source source_of(struct fake *fake)
{
    return (struct loader_source) { fake, fake_open, fake_read, fake_close, TOWERS, WINDOW_BYTES };
}

static struct fake fake_none(void)
{
    return (struct fake) { .fail_open_at = -1, .fail_window = { -1, -1 } };
}

/* A loader with its ring and an order of `count` samples from randomly drawn
 * slides; sample k is window k. */
struct rig {
    struct sample *order;
    struct loader_batch slots[SLOTS_MAX];
    struct loader_source source;
    struct loader *loader;
    struct error err;
};

static bool rig_init(struct rig *rig, struct fake *fake, int count, int first, int batch, int slots,
                     int threads)
{
    memset(rig, 0, sizeof *rig);
    struct random random = random_init(5, 0, 0, RANDOM_TEST);
    rig->order = malloc(((size_t)count + 1) * sizeof *rig->order);
    for (int k = 0; k < count; k++)
        rig->order[k] = (struct sample) { (int32_t)random_below(&random, 5), k };
    for (int i = 0; i < slots; i++) {
        for (int t = 0; t < TOWERS; t++) {
            rig->slots[i].pixels[t] = malloc((BATCH_MAX + 1) * WINDOW_BYTES);
            memset(rig->slots[i].pixels[t], GUARD, (BATCH_MAX + 1) * WINDOW_BYTES);
        }
        rig->slots[i].labels = malloc(BATCH_MAX * sizeof(float));
        rig->slots[i].samples = malloc(BATCH_MAX * sizeof(struct sample));
    }
    rig->source = source_of(fake);
    const struct loader_options options = { .order = rig->order,
                                            .order_count = count,
                                            .first_sample = first,
                                            .batch = batch,
                                            .slots = rig->slots,
                                            .slot_count = slots,
                                            .threads = threads,
                                            .cache_bytes = 1000 * (size_t)threads };
    return loader_init(&rig->loader, &rig->source, &options, &rig->err);
}

static void rig_release(struct rig *rig)
{
    loader_release(rig->loader);
    for (int i = 0; i < SLOTS_MAX; i++) {
        for (int t = 0; t < TOWERS; t++) free(rig->slots[i].pixels[t]);
        free(rig->slots[i].labels);
        free(rig->slots[i].samples);
    }
    free(rig->order);
}

/* Each row must have the sample, label and pixels of its place in the order, and the memory after
 * the batch must be unchanged. */
static void check_batch(const struct rig *rig, const struct loader_batch *slot, int batch)
{
    for (int row = 0; row < slot->count; row++) {
        const struct sample sample = rig->order[slot->first + row];
        cr_assert_eq(slot->samples[row].slide, sample.slide);
        cr_assert_eq(slot->samples[row].window, sample.window);
        cr_assert(slot->labels[row] == label_of(sample));
        for (int t = 0; t < TOWERS; t++)
            for (int i = 0; i < WINDOW_BYTES; i++)
                cr_assert_eq(slot->pixels[t][row * WINDOW_BYTES + i], pixel_of(sample, t, i),
                             "row %d of the batch at %d", row, (int)slot->first);
    }
    for (int t = 0; t < TOWERS; t++) cr_assert_eq(slot->pixels[t][batch * WINDOW_BYTES], GUARD);
}

/* All batches from `first` to the end must come in order. */
static void check_epoch(int count, int first, int batch, int slots, int threads, int delay_us)
{
    struct fake fake = fake_none();
    struct rig rig;
    struct loader_batch *slot;
    fake.delay_us = delay_us;
    cr_assert(rig_init(&rig, &fake, count, first, batch, slots, threads), "%s", rig.err.message);
    for (int at = first; at < count; at += batch) {
        cr_assert(loader_next(rig.loader, &slot, &rig.err), "%s", rig.err.message);
        cr_assert(slot);
        cr_assert_eq(slot->first, at);
        cr_assert_eq(slot->count, count - at < batch ? count - at : batch);
        check_batch(&rig, slot, batch);
        loader_recycle(rig.loader, slot);
    }
    for (int i = 0; i < 2; i++) {
        cr_assert(loader_next(rig.loader, &slot, &rig.err));
        cr_assert_null(slot);
    }
    rig_release(&rig);
    cr_assert_eq(fake.opened, threads);
    cr_assert_eq(fake.closed, threads);
    cr_assert_eq(fake.reads, count - first);
}

Test(loader, batches_are_the_same_with_1_2_and_8_threads, .timeout = 60)
{
    static const int threads[] = { 1, 2, 8 };
    for (int i = 0; i < 3; i++) {
        check_epoch(1003, 0, 16, 4, threads[i], 0);
        check_epoch(131, 0, 5, 3, threads[i], 300);
        check_epoch(40, 0, 1, 1, threads[i], 100);
        check_epoch(64, 0, 16, 2, threads[i], 100);
    }
}

Test(loader, resumes_in_the_middle, .timeout = 60)
{
    for (int threads = 1; threads <= 8; threads *= 2) {
        check_epoch(203, 80, 16, 3, threads, 50);
        check_epoch(203, 81, 16, 3, threads, 50);
        check_epoch(203, 202, 16, 3, threads, 50);
    }
}

Test(loader, an_empty_order_ends_at_once, .timeout = 60)
{
    check_epoch(0, 0, 4, 2, 3, 0);
    check_epoch(50, 50, 4, 2, 3, 0);
}

/* The six batches before windows `broken` and 65 must come; writes the message
 * returned in place of the seventh. */
static void check_error(int threads, int broken, int slow, char message[1024])
{
    struct fake fake = fake_none();
    struct rig rig;
    struct loader_batch *slot;
    fake.delay_us = 100;
    fake.fail_window[0] = 65;
    fake.fail_window[1] = broken;
    fake.slow = slow;
    cr_assert(rig_init(&rig, &fake, 200, 0, 10, 4, threads));
    for (int at = 0; at < 60; at += 10) {
        cr_assert(loader_next(rig.loader, &slot, &rig.err), "%s", rig.err.message);
        cr_assert_eq(slot->first, at);
        check_batch(&rig, slot, 10);
        loader_recycle(rig.loader, slot);
    }
    for (int again = 0; again < 2; again++) {
        struct error err = { 0 };
        cr_assert_not(loader_next(rig.loader, &slot, &err));
        cr_assert_null(slot);
        cr_assert_eq(err.code, EXIT_CODE_PARTIAL);
        cr_assert(strstr(err.message, "is broken"));
        snprintf(message, 1024, "%s", err.message);
    }
    if (threads == 1) {
        nap_us(10000);
        cr_assert_leq(fake.reads, 70, "nothing is read behind the error");
    }
    rig_release(&rig);
    cr_assert_eq(fake.closed, threads);
}

Test(loader, batches_before_a_broken_window_come_out_then_its_error, .timeout = 60)
{
    static const int threads[] = { 2, 3, 8 };
    char want[1024], message[1024];
    for (int broken = 60; broken < 70; broken++) {
        check_error(1, broken, 0, want);
        for (int k = 0; k < 6; k++) { /* the last one found must not hide the first in order */
            check_error(threads[k / 2], broken, k % 2, message);
            cr_assert_str_eq(message, want);
        }
    }
}

Test(loader, can_be_released_while_readers_are_busy, .timeout = 60)
{
    for (int taken = 0; taken < 6; taken++) {
        struct fake fake = fake_none();
        struct rig rig;
        struct loader_batch *slot;
        fake.delay_us = 20000;
        cr_assert(rig_init(&rig, &fake, 5000, 0, 4, 8, 4));
        for (int i = 0; i < taken; i++) {
            cr_assert(loader_next(rig.loader, &slot, &rig.err));
            if (i % 2) loader_recycle(rig.loader, slot);
        }
        rig_release(&rig);
        cr_assert_eq(fake.opened, 4);
        cr_assert_eq(fake.closed, 4);
        cr_assert_leq(fake.reads, (taken + 9) * 4);
    }
}

Test(loader, does_not_finish_a_batch_before_it_ends, .timeout = 60)
{
    struct fake fake = fake_none();
    struct rig rig;
    fake.until_released = true;
    cr_assert(rig_init(&rig, &fake, 160, 0, 16, 2, 1));
    cr_assert(comes_to(&fake.reads, 1));
    rig_release(&rig);
    cr_assert_eq(fake.reads, 1, "%d rows were read, all but one behind the end", fake.reads);
}

/* No row of a batch is finished before all have begun. */
Test(loader, readers_share_the_rows_of_one_batch, .timeout = 60)
{
    struct fake fake = fake_none();
    struct rig rig;
    struct loader_batch *slot;
    fake.together = 4;
    cr_assert(rig_init(&rig, &fake, 24, 0, 4, 1, 4));
    for (int at = 0; at < 24; at += 4) {
        cr_assert(loader_next(rig.loader, &slot, &rig.err), "%s", rig.err.message);
        check_batch(&rig, slot, 4);
        loader_recycle(rig.loader, slot);
    }
    rig_release(&rig);
}

Test(loader, a_reader_that_does_not_open_is_an_error_and_the_others_are_closed, .timeout = 60)
{
    for (int at = 0; at < 3; at++) {
        struct fake fake = fake_none();
        struct rig rig;
        fake.fail_open_at = at;
        cr_assert_not(rig_init(&rig, &fake, 10, 0, 4, 2, 3));
        cr_assert_null(rig.loader);
        cr_assert_str_eq(rig.err.message, "open failed");
        cr_assert_eq(fake.closed, at);
        rig_release(&rig);
    }
}

Test(loader, slots_come_back_in_any_order, .timeout = 60)
{
    enum { N = 400, BATCH = 4, SLOTS = 5, HELD = 4 };
    struct fake fake = fake_none();
    struct rig rig;
    struct loader_batch *held[HELD];
    struct random random = random_init(1, 0, 0, RANDOM_TEST);
    int count = 0;
    fake.delay_us = 100;
    cr_assert(rig_init(&rig, &fake, N, 0, BATCH, SLOTS, 3));
    for (int at = 0; at < N; at += BATCH) {
        if (count == HELD) {
            const int i = (int)random_below(&random, HELD);
            check_batch(&rig, held[i], BATCH);
            loader_recycle(rig.loader, held[i]);
            held[i] = held[--count];
        }
        cr_assert(loader_next(rig.loader, &held[count], &rig.err));
        cr_assert_eq(held[count]->first, at);
        count++;
    }
    rig_release(&rig);
}

Test(loader, reads_no_further_than_the_ring_and_then_sleeps, .timeout = 60)
{
    enum { BATCH = 8, SLOTS = 3, READERS = 4 };
    struct fake fake = fake_none();
    struct rig rig;
    struct loader_batch *slot;
    cr_assert(rig_init(&rig, &fake, 1000, 0, BATCH, SLOTS, READERS));
    cr_assert(loader_next(rig.loader, &slot, &rig.err));
    for (int slots = SLOTS; slots <= SLOTS + 1; slots++) { /* the second time with one recycled */
        cr_assert(comes_to(&fake.reads, slots * BATCH), "%d rows are read of %d", fake.reads,
                  slots * BATCH);
        cr_assert(comes_to(&asleep, READERS), "%d of %d readers sleep", asleep, READERS);
        cr_assert_eq(fake.reads, slots * BATCH);
        if (slots == SLOTS) loader_recycle(rig.loader, slot);
    }
    rig_release(&rig);
    cr_assert_eq(fake.reads, (SLOTS + 1) * BATCH);
}

Test(loader, one_reader_meets_the_rows_of_a_batch_by_slide_and_position, .timeout = 60)
{
    enum { N = 64, BATCH = 16 };
    struct fake fake = fake_none();
    struct rig rig;
    struct loader_batch *slot;
    fake.log = calloc(N, sizeof *fake.log);
    cr_assert(rig_init(&rig, &fake, N, 0, BATCH, 2, 1));
    for (int at = 0; at < N; at += BATCH) {
        cr_assert(loader_next(rig.loader, &slot, &rig.err));
        check_batch(&rig, slot, BATCH);
        for (int i = at + 1; i < at + BATCH; i++) {
            const struct sample a = fake.log[i - 1], b = fake.log[i];
            cr_assert(a.slide < b.slide || (a.slide == b.slide && a.window < b.window));
        }
        loader_recycle(rig.loader, slot);
    }
    rig_release(&rig);
    free(fake.log);
}
