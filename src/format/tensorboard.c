/* Events for TensorBoard. Each is one record: u64 length, masked CRC of the length, an Event
 * protobuf (event.proto), and masked CRC of that (tensorflow/core/lib/io/record_writer.h). */
#include "micromet/format/tensorboard.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "format/event.pb-c.h"
#include "micromet/base/file.h"

struct tensorboard {
    FILE *stream;
    char path[PATH_MAX_BYTES];
};

static bool no_memory(const struct tensorboard *board, struct error *err)
{
    return error_set(err, EXIT_CODE_FAILED, "%s: no memory for TensorBoard", board->path);
}

/* CRC-32C (Castagnoli), reflected, four bits at a time. */
uint32_t crc32c(const void *bytes, uint64_t size)
{
    static const uint32_t table[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
        0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
        0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };
    uint32_t crc = UINT32_MAX;
    for (const uint8_t *byte = bytes, *end = byte + size; byte < end; byte++) {
        crc ^= *byte;
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

static uint32_t crc_masked(const void *bytes, uint64_t size)
{
    uint32_t crc = crc32c(bytes, size);
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static bool write_event(struct tensorboard *board, Tensorflow__Event *event, struct error *err)
{
    event->wall_time = now_s();
    event->has_wall_time = true;
    const uint64_t length = tensorflow__event__get_packed_size(event);
    uint8_t *bytes = malloc(length);
    if (!bytes) return no_memory(board, err);
    tensorflow__event__pack(event, bytes);
    const uint32_t length_crc = crc_masked(&length, sizeof length);
    const uint32_t bytes_crc = crc_masked(bytes, length);
    const bool ok = fwrite(&length, sizeof length, 1, board->stream) == 1 &&
                    fwrite(&length_crc, sizeof length_crc, 1, board->stream) == 1 &&
                    fwrite(bytes, length, 1, board->stream) == 1 &&
                    fwrite(&bytes_crc, sizeof bytes_crc, 1, board->stream) == 1;
    if (!ok) error_set(err, EXIT_CODE_FAILED, "%s: cannot write: %s", board->path, strerror(errno));
    free(bytes);
    return ok;
}

/* A time in seconds for the name of a new file. TensorBoard reads files in the order of their
 * names, and a clock may have been set back, or another host's may be slow: so it is later than
 * those of the files that are there. */
static long long find_time(const char *folder)
{
    long long found = time(NULL), earlier;
    DIR *listing = opendir(folder);
    if (!listing) return found;
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;)
        if (sscanf(entry->d_name, "events.out.tfevents.%10lld.", &earlier) == 1 && earlier >= found)
            found = earlier + 1;
    closedir(listing);
    return found;
}

/* Create a new file named as TensorBoard expects: time, host, process, number. */
static bool open_stream(struct tensorboard *board, const char *folder, struct error *err)
{
    char host[65] = "localhost", name[160];
    const long long time_s = find_time(folder);
    gethostname(host, sizeof host - 1);
    for (int number = 0; !board->stream; number++) {
        snprintf(name, sizeof name, "events.out.tfevents.%lld.%s.%d.%d", time_s, host,
                 (int)getpid(), number);
        if (!path_join(board->path, folder, name, err)) return false;
        board->stream = fopen(board->path, "wbxe");
        if (!board->stream && errno != EEXIST)
            return error_set(err, EXIT_CODE_FAILED, "%s: cannot create: %s", board->path,
                             strerror(errno));
    }
    return true;
}

bool tensorboard_init(struct tensorboard **board, const char *folder, struct error *err)
{
    Tensorflow__Event event = TENSORFLOW__EVENT__INIT;
    *board = NULL;
    struct tensorboard *b = calloc(1, sizeof *b);
    if (!b) return error_set(err, EXIT_CODE_FAILED, "%s: no memory for TensorBoard", folder);
    event.file_version = "brain.Event:2";
    if (!folder_create(folder, err) || !open_stream(b, folder, err) ||
        !write_event(b, &event, err) || !tensorboard_flush(b, err)) {
        tensorboard_release(b);
        return false;
    }
    *board = b;
    return true;
}

bool tensorboard_scalar(struct tensorboard *board, const char *tag, int64_t step, double value,
                        struct error *err)
{
    Tensorflow__Summary__Value scalar = TENSORFLOW__SUMMARY__VALUE__INIT;
    Tensorflow__Summary summary = TENSORFLOW__SUMMARY__INIT;
    Tensorflow__Event event = TENSORFLOW__EVENT__INIT;
    scalar.tag = (char *)tag;
    scalar.simple_value = (float)value;
    summary.value = (Tensorflow__Summary__Value *[]) { &scalar };
    summary.n_value = 1;
    event.summary = &summary;
    event.step = step;
    scalar.has_simple_value = event.has_step = true;
    return write_event(board, &event, err);
}

/* --- hyperparameters ---------------------------------------------------------------------------*/

/* A summary without a value, whose metadata are for the plugin `hparams`. */
static bool write_session(struct tensorboard *board, const char *tag,
                          const Tensorflow__HParams *hparams, struct error *err)
{
    Tensorflow__SummaryMetadata__PluginData data = TENSORFLOW__SUMMARY_METADATA__PLUGIN_DATA__INIT;
    Tensorflow__SummaryMetadata metadata = TENSORFLOW__SUMMARY_METADATA__INIT;
    Tensorflow__Tensor__Shape__Dim none = TENSORFLOW__TENSOR__SHAPE__DIM__INIT;
    Tensorflow__Tensor__Shape shape = TENSORFLOW__TENSOR__SHAPE__INIT;
    Tensorflow__Tensor tensor = TENSORFLOW__TENSOR__INIT;
    Tensorflow__Summary__Value value = TENSORFLOW__SUMMARY__VALUE__INIT;
    Tensorflow__Summary summary = TENSORFLOW__SUMMARY__INIT;
    Tensorflow__Event event = TENSORFLOW__EVENT__INIT;
    data.plugin_name = "hparams";
    data.has_content = true;
    data.content.len = tensorflow__hparams__get_packed_size(hparams);
    data.content.data = malloc(data.content.len);
    if (!data.content.data) return no_memory(board, err);
    tensorflow__hparams__pack(hparams, data.content.data);
    metadata.plugin_data = &data;
    none.has_size = tensor.has_dtype = true;
    tensor.dtype = 1;
    shape.dim = (Tensorflow__Tensor__Shape__Dim *[]) { &none };
    shape.n_dim = 1;
    tensor.tensor_shape = &shape;
    value.tag = (char *)tag;
    value.tensor = &tensor;
    value.metadata = &metadata;
    summary.value = (Tensorflow__Summary__Value *[]) { &value };
    summary.n_value = 1;
    event.summary = &summary;
    const bool ok = write_event(board, &event, err);
    free(data.content.data);
    return ok;
}

/* A hyperparameter as a message, and what it points to. */
struct entry {
    Tensorflow__HParams__Entry entry;
    Tensorflow__HParams__Value value;
};

static void fill_entry(struct entry *e, const struct hyperparameter *from)
{
    tensorflow__hparams__entry__init(&e->entry);
    tensorflow__hparams__value__init(&e->value);
    e->entry.key = (char *)from->name;
    e->entry.value = &e->value;
    e->value.has_number_value = from->kind == HYPERPARAMETER_NUMBER;
    e->value.number_value = from->number;
    e->value.has_bool_value = from->kind == HYPERPARAMETER_BOOL;
    e->value.bool_value = from->number != 0;
    if (from->kind == HYPERPARAMETER_TEXT) e->value.string_value = (char *)from->text;
}

bool tensorboard_begin(struct tensorboard *board, const struct hyperparameter *hyperparameters,
                       int count, struct error *err)
{
    Tensorflow__HParams hparams = TENSORFLOW__HPARAMS__INIT;
    Tensorflow__HParams__SessionStart start = TENSORFLOW__HPARAMS__SESSION_START__INIT;
    struct entry *entries = calloc((size_t)count + 1, sizeof *entries);
    start.hparams = calloc((size_t)count + 1, sizeof(Tensorflow__HParams__Entry *));
    bool ok = (entries && start.hparams) || no_memory(board, err);
    for (int i = 0; ok && i < count; i++) {
        fill_entry(&entries[i], &hyperparameters[i]);
        start.hparams[start.n_hparams++] = &entries[i].entry;
    }
    start.has_start_time_secs = true;
    start.start_time_secs = now_s();
    hparams.session_start_info = &start;
    ok = ok && write_session(board, "_hparams_/session_start_info", &hparams, err);
    free(start.hparams);
    free(entries);
    return ok;
}

bool tensorboard_end(struct tensorboard *board, struct error *err)
{
    Tensorflow__HParams hparams = TENSORFLOW__HPARAMS__INIT;
    Tensorflow__HParams__SessionEnd end = TENSORFLOW__HPARAMS__SESSION_END__INIT;
    end.has_status = end.has_end_time_secs = true;
    end.status = 1;
    end.end_time_secs = now_s();
    hparams.session_end_info = &end;
    return write_session(board, "_hparams_/session_end_info", &hparams, err);
}

/* -----------------------------------------------------------------------------------------------*/

bool tensorboard_flush(struct tensorboard *board, struct error *err)
{
    if (fflush(board->stream) == 0) return true;
    return error_set(err, EXIT_CODE_FAILED, "%s: cannot write: %s", board->path, strerror(errno));
}

void tensorboard_release(struct tensorboard *board)
{
    if (!board) return;
    if (board->stream) fclose(board->stream);
    free(board);
}
