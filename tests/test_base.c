/* src/base except the configuration: errors, Philox and its draws, atomic files,
 * paths, threads, edit distance. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "micromet/base/error.h"
#include "micromet/base/file.h"
#include "micromet/base/random.h"
#include "micromet/base/size.h"
#include "micromet/base/text.h"
#include "micromet/base/thread.h"
#include "support.h"

/* ---- error ---- */

Test(error, first_message_wins_and_returns_false)
{
    struct error err = { 0 };
    cr_assert_not(error_set(&err, EXIT_CODE_USAGE, "%s: line %d", "a.csv", 3));
    cr_assert_not(error_set(&err, EXIT_CODE_FAILED, "second"));
    cr_assert_eq(err.code, EXIT_CODE_USAGE);
    cr_assert_str_eq(err.message, "a.csv: line 3");
}

Test(error, prefix_goes_before_a_stored_message_only)
{
    struct error err = { 0 };
    error_prefix(&err, "nothing");
    cr_assert_str_eq(err.message, "");
    error_set(&err, EXIT_CODE_FAILED, "no levels");
    cr_assert_not(error_prefix(&err, "%s", "slide.tif"));
    cr_assert_str_eq(err.message, "slide.tif: no levels");
    error_clear(&err);
    cr_assert_eq(err.code, EXIT_CODE_OK);
    cr_assert_str_eq(err.message, "");
}

Test(error, more_goes_behind_a_stored_message_only)
{
    struct error err = { 0 };
    error_append(&err, "nothing");
    cr_assert_str_eq(err.message, "");
    error_set(&err, EXIT_CODE_FAILED, "no levels");
    cr_assert_not(error_append(&err, " in %s", "slide.tif"));
    cr_assert_str_eq(err.message, "no levels in slide.tif");
}

Test(error, long_messages_are_cut_and_stay_terminated)
{
    char longer[3000];
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    struct error err = { 0 };
    error_set(&err, EXIT_CODE_FAILED, "%s", longer);
    cr_assert_eq(strlen(err.message), sizeof(err.message) - 1);
    error_append(&err, "%s", longer);
    error_prefix(&err, "%s", longer);
    cr_assert_eq(strlen(err.message), sizeof(err.message) - 1);
}

/* ---- random ---- */

/* Known answers of Random123 1.14, tests/kat_vectors. */
Test(random, philox_matches_the_vectors_of_random123)
{
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } vectors[] = {
        { { 0, 0, 0, 0 }, { 0, 0 }, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
        { { 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff },
          { 0xffffffff, 0xffffffff },
          { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
        { { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 },
          { 0xa4093822, 0x299f31d0 },
          { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
    };
    for (size_t i = 0; i < COUNT_OF(vectors); i++) {
        uint32_t out[4];
        philox4x32_10(vectors[i].counter, vectors[i].key, out);
        for (int j = 0; j < 4; j++) cr_expect_eq(out[j], vectors[i].out[j], "vector %zu", i);
    }
}

Test(random, a_stream_is_its_blocks_in_order)
{
    struct random random = random_init(0x1122334455667788, 9, 0xaabbccdd00112233, RANDOM_AUGMENT);
    const uint32_t key[2] = { 0x55667788, 0x11223344 };
    for (uint32_t block = 0; block < 3; block++) {
        const uint32_t counter[4] = { block, 9 << 4 | RANDOM_AUGMENT, 0x00112233, 0xaabbccdd };
        uint32_t out[4];
        philox4x32_10(counter, key, out);
        for (int i = 0; i < 4; i++) cr_assert_eq(random_u32(&random), out[i]);
    }
}

Test(random, streams_of_other_names_differ)
{
    struct random streams[] = {
        random_init(1, 0, 0, RANDOM_TEST), random_init(2, 0, 0, RANDOM_TEST),
        random_init(1, 1, 0, RANDOM_TEST), random_init(1, 0, 1, RANDOM_TEST),
        random_init(1, 0, 0, RANDOM_INIT), random_init(1, 0, (uint64_t)1 << 32, RANDOM_TEST),
    };
    uint32_t first[6];
    for (int i = 0; i < 6; i++) first[i] = random_u32(&streams[i]);
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < i; j++) cr_assert_neq(first[i], first[j]);
}

Test(random, uniform_stays_below_its_upper_end)
{
    struct random random = random_init(3, 0, 0, RANDOM_TEST);
    for (int i = 0; i < 200000; i++) {
        const float value = random_uniform(&random, 0.25f, 0.25f + 0x1p-22f);
        cr_assert(value >= 0.25f && value < 0.25f + 0x1p-22f);
    }
    cr_assert_eq(random_uniform(&random, 0, 0), 0);
    cr_assert_eq(random_uniform(&random, 1, 1), 1);
}

Test(random, unit_and_normal_have_the_moments_they_should)
{
    enum { N = 200000 };
    struct random random = random_init(4, 0, 0, RANDOM_TEST);
    double unit = 0, normal = 0, square = 0, fourth = 0;
    for (int i = 0; i < N; i++) {
        const double u = random_unit(&random), z = random_normal(&random);
        cr_assert(u >= 0 && u < 1);
        unit += u;
        normal += z;
        square += z * z;
        fourth += z * z * z * z;
    }
    cr_assert_float_eq(unit / N, 0.5, 5 * sqrt(1.0 / 12 / N));
    cr_assert_float_eq(normal / N, 0, 5 * sqrt(1.0 / N));
    cr_assert_float_eq(square / N, 1, 5 * sqrt(2.0 / N));
    cr_assert_float_eq(fourth / N, 3, 5 * sqrt(96.0 / N));
}

Test(random, below_is_even_over_its_range)
{
    enum { N = 70000 };
    struct random random = random_init(5, 0, 0, RANDOM_TEST);
    int hits[7] = { 0 };
    for (int i = 0; i < N; i++) hits[random_below(&random, 7)]++;
    for (int i = 0; i < 7; i++)
        cr_assert_float_eq(hits[i], N / 7.0, 5 * sqrt(N / 7.0), "%d: %d", i, hits[i]);
    cr_assert_eq(random_below(&random, 1), 0);
    /* Three quarters of 2^64: plain modulo would give the lower third twice as often. */
    const uint64_t bound = (uint64_t)3 << 62;
    int low = 0;
    for (int i = 0; i < N; i++) low += random_below(&random, bound) < bound / 3;
    cr_assert_float_eq(low, N / 3.0, 5 * sqrt(N * 2.0 / 9));
}

/* ---- file ---- */

static char folder[PATH_MAX_BYTES];

static void begin(void)
{
    test_folder_make(folder);
}

static void end(void)
{
    test_folder_remove(folder);
}

TestSuite(file, .init = begin, .fini = end);

Test(file, uncommitted_file_vanishes_and_the_old_one_stays)
{
    struct error err = { 0 };
    char path[PATH_MAX_BYTES];
    test_write(path, folder, "a.txt", "old");
    struct atomic_file file;
    cr_assert(atomic_file_open(&file, path, &err));
    fputs("new", file.stream);
    fflush(file.stream);
    cr_assert_eq(test_folder_count(folder), 2);
    atomic_file_release(&file);
    cr_assert_eq(test_folder_count(folder), 1);
    char *text = test_read(path);
    cr_assert_str_eq(text, "old");
    free(text);
}

Test(file, committed_file_replaces_the_old_one)
{
    struct error err = { 0 };
    char path[PATH_MAX_BYTES];
    test_write(path, folder, "a.txt", "old and long");
    struct atomic_file file;
    cr_assert(atomic_file_open(&file, path, &err));
    fputs("new", file.stream);
    cr_assert(atomic_file_commit(&file, &err), "%s", err.message);
    atomic_file_release(&file);
    cr_assert_eq(test_folder_count(folder), 1);
    char *text = test_read(path);
    cr_assert_str_eq(text, "new");
    free(text);
}

Test(file, what_killed_writers_left_is_removed_by_the_next_and_nothing_else)
{
    static const char *const kept[] = { "a.txt.partial", "b.txt.partial-1", "a.txt", "partial-a" };
    struct error err = { 0 };
    char path[PATH_MAX_BYTES], other[PATH_MAX_BYTES];
    for (size_t i = 0; i < COUNT_OF(kept); i++) test_write(path, folder, kept[i], "");
    test_write(path, folder, "a.txt.partial-0123456789abcdef", "killed");
    test_write(path, folder, "a.txt.partial-1", "killed");
    test_path(path, folder, "a.txt");
    struct atomic_file first, second;
    cr_assert(atomic_file_open(&first, path, &err), "%s", err.message);
    cr_assert_eq(test_folder_count(folder), 5);
    cr_assert(atomic_file_open(&second, path, &err), "%s", err.message);
    cr_assert_eq(test_folder_count(folder), 6, "the first still writes");
    fputs("first", first.stream);
    cr_assert(atomic_file_commit(&first, &err), "%s", err.message);
    atomic_files_clean(folder, "a.txt");
    cr_assert(atomic_file_commit(&second, &err), "%s", err.message);
    cr_assert_eq(test_folder_count(folder), 4);
    atomic_files_clean(folder, NULL);
    cr_assert_eq(test_folder_count(folder), 3, "b's writer is dead");
    test_path(other, folder, "b.txt.partial-1");
    cr_assert_not(file_exists(other));
}

Test(file, release_of_a_zeroed_file_does_nothing)
{
    char path[PATH_MAX_BYTES];
    test_write(path, folder, "a.txt", "kept");
    struct atomic_file file = { 0 };
    snprintf(file.path, sizeof file.path, "%s", path); /* what a failed open may leave */
    const struct atomic_file before = file;
    const int input = fcntl(0, F_GETFD);
    errno = 0;
    atomic_file_release(&file);
    cr_expect_eq(errno, 0, "a system call failed: %s", strerror(errno));
    cr_expect_eq(memcmp(&file, &before, sizeof file), 0);
    cr_expect_eq(fcntl(0, F_GETFD), input, "descriptor 0 is not the file's");
    char *text = test_read(path);
    cr_expect_str_eq(text, "kept");
    cr_expect_eq(test_folder_count(folder), 1);
    free(text);
}

Test(file, a_full_disk_is_reported_by_commit)
{
    struct error err = { 0 };
    struct atomic_file file;
    char path[PATH_MAX_BYTES];
    test_path(path, folder, "full");
    cr_assert(atomic_file_open(&file, path, &err));
    fclose(file.stream);
    file.stream = fopen("/dev/full", "w");
    fputs("does not fit", file.stream);
    cr_assert_not(atomic_file_commit(&file, &err));
    cr_assert_eq(test_folder_count(folder), 0);
    cr_assert(strstr(err.message, "full: cannot write: No space left on device"), "%s",
              err.message);
}

/* A root that named /dev/null would otherwise leave a file there, for all programs. */
Test(file, a_pipe_is_written_to_and_not_replaced)
{
    struct error err = { 0 };
    struct stat facts;
    char path[PATH_MAX_BYTES], got[8] = "";
    test_path(path, folder, "pipe");
    cr_assert_eq(mkfifo(path, 0600), 0);
    const int reader = open(path, O_RDONLY | O_NONBLOCK);
    cr_assert(path_is_stream(path));
    cr_assert(file_write_atomic(path, "through", 7, &err), "%s", err.message);
    cr_expect_eq(read(reader, got, sizeof got), 7);
    cr_expect_str_eq(got, "through");
    cr_expect(stat(path, &facts) == 0 && S_ISFIFO(facts.st_mode));
    cr_expect_eq(test_folder_count(folder), 1);
    close(reader);
}

Test(file, a_missing_folder_is_named)
{
    struct error err = { 0 };
    char path[PATH_MAX_BYTES], expected[2 * PATH_MAX_BYTES];
    test_path(path, folder, "no/such/file");
    cr_assert_not(file_write_atomic(path, "x", 1, &err));
    snprintf(expected, sizeof(expected), "%s: cannot create: No such file or directory", path);
    cr_assert_str_eq(err.message, expected);
}

Test(file, read_refuses_files_over_the_limit)
{
    struct error err = { 0 };
    char path[PATH_MAX_BYTES], expected[2 * PATH_MAX_BYTES];
    char *bytes;
    size_t size;
    test_write(path, folder, "ten", "0123456789");
    cr_assert(file_read(path, 10, &bytes, &size, &err));
    cr_assert_eq(size, 10);
    cr_assert_eq(bytes[10], '\0');
    free(bytes);
    cr_assert_not(file_read(path, 9, &bytes, &size, &err));
    cr_assert_null(bytes);
    snprintf(expected, sizeof(expected), "%s: is larger than the limit of 9 bytes", path);
    cr_assert_str_eq(err.message, expected);

    error_clear(&err); /* endless, and of size 0 to stat() */
    cr_assert_not(file_read("/dev/zero", 100000, &bytes, &size, &err));
    cr_assert_str_eq(err.message, "/dev/zero: is larger than the limit of 100000 bytes");
}

Test(file, folders_are_created_with_their_parents)
{
    struct error err = { 0 };
    char path[PATH_MAX_BYTES], file[PATH_MAX_BYTES];
    test_path(path, folder, "a/b/c");
    cr_assert(folder_create(path, &err), "%s", err.message);
    cr_assert(folder_create(path, &err), "again: %s", err.message);
    struct stat facts;
    cr_assert(stat(path, &facts) == 0 && S_ISDIR(facts.st_mode));

    test_write(file, folder, "plain", "");
    test_path(path, folder, "plain/d");
    cr_assert_not(folder_create(path, &err));
    char expected[2 * PATH_MAX_BYTES];
    snprintf(expected, sizeof(expected),
             "%s: cannot create the folder: a file of that name is there", file);
    cr_assert_str_eq(err.message, expected);
}

Test(path, join_folder_and_stem)
{
    static const struct {
        const char *folder, *name, *joined;
    } joins[] = {
        { "a", "b", "a/b" }, { "a/", "b", "a/b" }, { "", "b", "b" },
        { "a", "/b", "/b" }, { "/", "b", "/b" },
    };
    struct error err = { 0 };
    char out[PATH_MAX_BYTES];
    for (size_t i = 0; i < COUNT_OF(joins); i++) {
        cr_assert(path_join(out, joins[i].folder, joins[i].name, &err));
        cr_expect_str_eq(out, joins[i].joined);
    }
    static const struct {
        const char *path, *folder, *stem;
    } parts[] = {
        { "a/b/c.tar.gz", "a/b", "c.tar" },
        { "c", ".", "c" },
        { "/c.x", "/", "c" },
        { "a/b/", "a", "b" },
        { "a/.hid", "a", ".hid" },
        { "a//b.c", "a", "b" },
        { "/", "/", "/" },
        { "a.d/b", "a.d", "b" },
    };
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        path_folder(out, parts[i].path);
        cr_expect_str_eq(out, parts[i].folder, "folder of %s: %s", parts[i].path, out);
        path_stem(out, parts[i].path);
        if (strcmp(parts[i].path, "/") != 0)
            cr_expect_str_eq(out, parts[i].stem, "stem of %s: %s", parts[i].path, out);
    }
}

Test(path, join_refuses_what_does_not_fit)
{
    char longer[PATH_MAX_BYTES], out[PATH_MAX_BYTES];
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    struct error err = { 0 };
    cr_assert_not(path_join(out, "a", longer, &err));
    cr_assert(path_join(out, "", longer, &(struct error) { 0 }));
    cr_assert(strstr(err.message, "the path is too long"));
}

/* ---- thread ---- */

struct visits {
    atomic_int calls[100];
    atomic_int next;
    atomic_bool ascending;
    int fail_from;
};

static bool visit(void *context, int64_t item, int worker, struct error *err)
{
    struct visits *visits = context;
    (void)worker;
    if (atomic_fetch_add(&visits->next, 1) != item) atomic_store(&visits->ascending, false);
    atomic_fetch_add(&visits->calls[item], 1);
    if (item < visits->fail_from) return true;
    usleep(item == visits->fail_from ? 20000 : 0); /* later failures are reported first */
    return error_set(err, EXIT_CODE_PARTIAL, "item %d", (int)item);
}

Test(thread, one_thread_goes_in_ascending_order_and_stops_at_the_error)
{
    struct visits visits = { .ascending = true, .fail_from = 7 };
    struct error err = { 0 };
    cr_assert_not(parallel_for(1, 100, &visits, visit, &err));
    cr_assert(visits.ascending);
    cr_assert_eq(visits.next, 8);
    cr_assert_eq(err.code, EXIT_CODE_PARTIAL);
    cr_assert_str_eq(err.message, "item 7");
}

Test(thread, many_threads_visit_every_item_once)
{
    struct visits visits = { .fail_from = 1000 };
    struct error err = { 0 };
    cr_assert(parallel_for(5, 100, &visits, visit, &err));
    cr_assert(parallel_for(5, 0, &visits, visit, &err));
    for (int i = 0; i < 100; i++) cr_assert_eq(visits.calls[i], 1);
}

struct meeting {
    atomic_int here;
    int expected;
};

/* Returns once all threads are here. */
static bool meet(void *context, int64_t item, int worker, struct error *err)
{
    struct meeting *meeting = context;
    (void)worker;
    atomic_fetch_add(&meeting->here, 1);
    const double end_s = clock_seconds() + 20;
    while (atomic_load(&meeting->here) < meeting->expected && clock_seconds() < end_s) usleep(1000);
    if (atomic_load(&meeting->here) >= meeting->expected) return true;
    return error_set(err, EXIT_CODE_FAILED, "item %d is alone", (int)item);
}

Test(thread, items_are_visited_at_the_same_time)
{
    struct meeting meeting = { .expected = 4 };
    struct error err = { 0 };
    cr_assert(parallel_for(4, 4, &meeting, meet, &err), "%s", err.message);
}

Test(thread, the_error_of_the_smallest_item_wins)
{
    for (int round = 0; round < 10; round++) {
        struct visits visits = { .fail_from = 5 };
        struct error err = { 0 };
        cr_assert_not(parallel_for(4, 100, &visits, visit, &err));
        cr_assert_str_eq(err.message, "item 5");
        cr_assert_lt(visits.next, 100);
    }
}

static bool check_worker(void *context, int64_t item, int worker, struct error *err)
{
    atomic_int *busy = context;
    (void)item;
    if (worker < 0 || worker >= 3) return error_set(err, EXIT_CODE_FAILED, "worker %d", worker);
    if (atomic_fetch_add(&busy[worker], 1) != 0)
        return error_set(err, EXIT_CODE_FAILED, "two threads are worker %d", worker);
    usleep(100);
    atomic_fetch_sub(&busy[worker], 1);
    return true;
}

Test(thread, a_worker_number_belongs_to_one_thread_at_a_time)
{
    atomic_int busy[3] = { 0 };
    struct error err = { 0 };
    cr_assert(parallel_for(3, 200, busy, check_worker, &err), "%s", err.message);
}

Test(thread, resources_are_plausible)
{
    cr_assert_geq(thread_count_default(), 1);
    cr_assert_gt(memory_peak_bytes(), 100000);
    cr_assert_gt(memory_limit_bytes(), memory_peak_bytes());
    const double before_s = clock_seconds();
    usleep(2000);
    cr_assert_geq(clock_seconds() - before_s, 0.002);
}

/* ---- text ---- */

Test(text, distance_counts_edits_and_swaps)
{
    cr_assert_eq(text_distance("", ""), 0);
    cr_assert_eq(text_distance("", "abc"), 3);
    cr_assert_eq(text_distance("kitten", "sitting"), 3);
    cr_assert_eq(text_distance("trian", "train"), 1);
    cr_assert_eq(text_distance("ca", "abc"), 3);
}

Test(text, nearest_gives_the_closest_or_nothing)
{
    struct text_nearest nearest = text_nearest_init("evalute");
    text_nearest_offer(&nearest, "train");
    cr_assert_str_eq(nearest.best, "");
    text_nearest_offer(&nearest, "evaluate");
    text_nearest_offer(&nearest, "prepare");
    cr_assert_str_eq(nearest.best, "evaluate");
}
