/* TensorBoard files, read back by an independent reader: a bit-by-bit CRC and a protobuf parser
 * that shares nothing with the writer. */
#include <dirent.h>
#include <math.h>
#include <stdint.h>
#include <time.h>

#include "micromet/base/size.h"
#include "micromet/format/tensorboard.h"
#include "temporary.h"

TestSuite(tensorboard, .init = temporary_begin, .fini = temporary_end);

/* RFC 3720, B.4, and the check value of CRC-32C. */
Test(tensorboard, crc32c_gives_the_published_values)
{
    uint8_t bytes[32] = { 0 };
    cr_assert_eq(crc32c("123456789", 9), 0xe3069283u);
    cr_assert_eq(crc32c("", 0), 0u);
    cr_assert_eq(crc32c(bytes, 32), 0x8a9136aau);
    memset(bytes, 0xff, 32);
    cr_assert_eq(crc32c(bytes, 32), 0x62a8ab43u);
    for (int i = 0; i < 32; i++) bytes[i] = (uint8_t)i;
    cr_assert_eq(crc32c(bytes, 32), 0x46dd794eu);
}

static uint32_t crc_by_bits(const uint8_t *bytes, size_t size)
{
    uint32_t crc = UINT32_MAX;
    for (size_t bit = 0; bit < 8 * size; bit++) {
        uint32_t in = bytes[bit / 8] >> (bit % 8) & 1;
        crc = (crc & 1) ^ in ? crc >> 1 ^ 0x82f63b78 : crc >> 1;
    }
    crc = ~crc;
    return ((crc >> 15) | (crc << 17)) + 0xa282ead8;
}

static uint64_t little_endian(const uint8_t *bytes, int count)
{
    uint64_t value = 0;
    for (int i = 0; i < count; i++) value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

struct event {
    double wall_time, value;
    int64_t step;
    char version[32], tag[64];
};

static uint64_t varint(const uint8_t **at, const uint8_t *end)
{
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
        cr_assert(*at < end && shift < 64);
        uint8_t byte = *(*at)++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) return value;
    }
}

/* Visit the fields of a message; `path` is the chain of field numbers that leads to it. */
static void walk(const uint8_t *at, const uint8_t *end, int path, struct event *event)
{
    while (at < end) {
        uint64_t key = varint(&at, end);
        int field = path * 10 + (int)(key >> 3);
        if ((key & 7) == 0) {
            int64_t value = (int64_t)varint(&at, end);
            cr_assert_eq(field, 2);
            event->step = value;
        } else if ((key & 7) == 1) {
            cr_assert_eq(field, 1);
            memcpy(&event->wall_time, at, 8);
            at += 8;
        } else if ((key & 7) == 5) {
            float value;
            cr_assert_eq(field, 512);
            memcpy(&value, at, 4);
            event->value = value;
            at += 4;
        } else {
            cr_assert_eq(key & 7, 2);
            size_t size = varint(&at, end);
            cr_assert_leq(size, (size_t)(end - at));
            if (field == 5 || field == 51) walk(at, at + size, field, event);
            if (field == 3) memcpy(event->version, at, size);
            if (field == 511) memcpy(event->tag, at, size);
            cr_assert(field == 5 || field == 51 || field == 3 || field == 511, "field %d", field);
            at += size;
        }
    }
    cr_assert_eq(at, end);
}

/* The only file in the folder. */
static void find_events(char name[300])
{
    *name = '\0';
    DIR *folder = opendir(temporary_folder);
    for (struct dirent *entry; (entry = readdir(folder));)
        if (strncmp(entry->d_name, "events.out.tfevents.", 20) == 0)
            snprintf(name, 300, "%s", entry->d_name);
    closedir(folder);
}

/* All its records. */
static int read_events(struct event *events, int events_max)
{
    char name[300];
    size_t size;
    int count = 0;
    find_events(name);
    uint8_t *bytes = temporary_read(name, &size);
    for (size_t at = 0; at < size; count++) {
        cr_assert_lt(count, events_max);
        cr_assert_leq(at + 16, size);
        uint64_t length = little_endian(bytes + at, 8);
        cr_assert_leq(length, size - at - 16);
        cr_assert_eq(little_endian(bytes + at + 8, 4), crc_by_bits(bytes + at, 8));
        const uint8_t *data = bytes + at + 12;
        cr_assert_eq(little_endian(data + length, 4), crc_by_bits(data, length));
        events[count] = (struct event) { .step = -1, .value = NAN };
        walk(data, data + length, 0, &events[count]);
        at += 16 + length;
    }
    free(bytes);
    return count;
}

Test(tensorboard, scalars_read_back_with_step_and_time)
{
    static const struct {
        const char *tag;
        int64_t step;
        double value;
    } scalars[] = {
        { "train/loss", 0, 0.6931471824645996 },
        { "validation/auc", 127, 0.5 },
        { "validation/auc", 128, -0.25 },
        { "größe", INT64_C(1) << 40, 1e30f },
    };
    enum { COUNT = COUNT_OF(scalars) };
    struct error err = { 0 };
    struct tensorboard *board;
    struct event events[COUNT + 1];
    cr_assert(tensorboard_init(&board, temporary_folder, &err), "%s", err.message);
    cr_assert_eq(read_events(events, 1), 1, "the version is there at once");
    for (int i = 0; i < COUNT; i++)
        cr_assert(
            tensorboard_scalar(board, scalars[i].tag, scalars[i].step, scalars[i].value, &err));
    cr_assert(tensorboard_flush(board, &err));
    cr_assert_eq(read_events(events, COUNT + 1), COUNT + 1);
    cr_assert_str_eq(events[0].version, "brain.Event:2");
    for (int i = 0; i < COUNT; i++) {
        cr_assert_str_eq(events[i + 1].tag, scalars[i].tag);
        cr_assert_eq(events[i + 1].step, scalars[i].step);
        cr_assert_eq(events[i + 1].value, scalars[i].value);
        cr_assert_lt(fabs(events[i + 1].wall_time - (double)time(NULL)), 60);
    }
    tensorboard_release(board);
}

/* A message as text, "path=value" a line, where the path is the chain of field numbers. Times are
 * left out. */
static void print_message(FILE *out, const uint8_t *at, const uint8_t *end, int path)
{
    static const int messages[] = { 5,    51,    518,    5182,    51822,    519,
                                    5191, 51912, 519123, 5191231, 51912312, 519124 };
    static const int times[] = { 1, 5191235, 5191242 };
    while (at < end) {
        const uint64_t key = varint(&at, end);
        const int field = path * 10 + (int)(key >> 3);
        double number;
        bool is_message = false, is_time = false;
        for (size_t i = 0; i < COUNT_OF(messages); i++) is_message |= field == messages[i];
        for (size_t i = 0; i < COUNT_OF(times); i++) is_time |= field == times[i];
        if ((key & 7) == 0) {
            fprintf(out, "%d=%d\n", field, (int)varint(&at, end));
        } else if ((key & 7) == 1) {
            memcpy(&number, at, sizeof number);
            if (!is_time) fprintf(out, "%d=%g\n", field, number);
            if (is_time) cr_expect_lt(fabs(number - (double)time(NULL)), 60);
            at += sizeof number;
        } else {
            cr_assert_eq(key & 7, 2);
            const size_t size = varint(&at, end);
            cr_assert_leq(size, (size_t)(end - at));
            if (is_message) print_message(out, at, at + size, field);
            if (!is_message) fprintf(out, "%d=%.*s\n", field, (int)size, (const char *)at);
            at += size;
        }
    }
}

/* Field numbers are those of the descriptors that TensorBoard 2.21 has of HParamsPluginData,
 * SessionStartInfo, SessionEndInfo, SummaryMetadata, TensorProto and google.protobuf.Value. */
Test(tensorboard, hyperparameters_are_a_summary_of_the_plugin)
{
    static const struct hyperparameter hyperparameters[] = {
        { "optimizer.learning_rate", HYPERPARAMETER_NUMBER, 0.25, NULL },
        { "data.levels", HYPERPARAMETER_TEXT, 0, "[2, 3]" },
        { "augment.flip", HYPERPARAMETER_BOOL, 1, NULL },
        { "augment.rotate", HYPERPARAMETER_BOOL, 0, NULL },
    };
    static const char expected[] = "3=brain.Event:2\n"
                                   "511=_hparams_/session_start_info\n"
                                   "5181=1\n"   /* of floats */
                                   "518221=0\n" /* none */
                                   "51911=hparams\n"
                                   "51912311=optimizer.learning_rate\n"
                                   "519123122=0.25\n"
                                   "51912311=data.levels\n"
                                   "519123123=[2, 3]\n"
                                   "51912311=augment.flip\n"
                                   "519123124=1\n"
                                   "51912311=augment.rotate\n"
                                   "519123124=0\n"
                                   "511=_hparams_/session_end_info\n"
                                   "5181=1\n"
                                   "518221=0\n"
                                   "51911=hparams\n"
                                   "5191241=1\n"; /* success */
    struct error err = { 0 };
    struct tensorboard *board;
    char name[300], *text;
    size_t size, text_size;
    cr_assert(tensorboard_init(&board, temporary_folder, &err), "%s", err.message);
    cr_assert(tensorboard_begin(board, hyperparameters, COUNT_OF(hyperparameters), &err));
    cr_assert(tensorboard_end(board, &err));
    tensorboard_release(board);
    find_events(name);
    uint8_t *bytes = temporary_read(name, &size);
    FILE *out = open_memstream(&text, &text_size);
    for (size_t at = 0; at < size;) {
        const uint64_t length = little_endian(bytes + at, 8);
        cr_assert_leq(length, size - at - 16);
        print_message(out, bytes + at + 12, bytes + at + 12 + length, 0);
        at += 16 + length;
    }
    fclose(out);
    cr_expect_str_eq(text, expected, "got:\n%s\nexpected:\n%s", text, expected);
    free(text);
    free(bytes);
}

Test(tensorboard, each_opening_writes_a_file_of_its_own)
{
    struct error err = { 0 };
    struct tensorboard *first, *second;
    cr_assert(tensorboard_init(&first, temporary_folder, &err));
    cr_assert(tensorboard_init(&second, temporary_folder, &err));
    cr_assert_eq(temporary_count(), 2);
    tensorboard_release(first);
    tensorboard_release(second);
}

static int is_of_now(const struct dirent *entry)
{
    return strstr(entry->d_name, "tfevents") && !strstr(entry->d_name, "another-host");
}

/* TensorBoard reads files in the order of their names. */
Test(tensorboard, files_are_in_order_though_the_clock_was_set_back)
{
    static const char later[] = "events.out.tfevents.9000000000.another-host.1.0";
    static const char others[][48] = { "events.out.tfevents.1.another-host.1.0",
                                       "events.out.tfevents.another-host", "9999999999" };
    struct dirent **entries;
    temporary_write(later, "", 0);
    for (size_t i = 0; i < COUNT_OF(others); i++) temporary_write(others[i], "", 0);
    for (int i = 0; i < 3; i++) {
        struct error err = { 0 };
        struct tensorboard *board;
        cr_assert(tensorboard_init(&board, temporary_folder, &err), "%s", err.message);
        tensorboard_release(board);
        const int count = scandir(temporary_folder, &entries, is_of_now, alphasort);
        cr_assert_eq(count, i + 1);
        cr_expect_gt(strcmp(entries[0]->d_name, later), 0, "%s", entries[0]->d_name);
        cr_expect_eq(atoll(entries[i]->d_name + strlen("events.out.tfevents.")), 9000000001 + i);
        for (int k = 0; k < count; k++) free(entries[k]);
        free(entries);
    }
}

Test(tensorboard, folder_that_cannot_be_is_reported)
{
    struct error err = { 0 };
    struct tensorboard *board;
    temporary_write("file", "x", 1);
    cr_assert(!tensorboard_init(&board, temporary_path("file"), &err));
    cr_assert(strstr(err.message, "file"), "%s", err.message);
    cr_assert_null(board);
}
