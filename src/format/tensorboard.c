/* Scalars for TensorBoard. Each event is one record: u64 length, masked CRC of the length, an Event
 * protobuf (event.proto), and masked CRC of that (tensorflow/core/lib/io/record_writer.h). */
#include "micromet/format/tensorboard.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "format/event.pb-c.h"
#include "micromet/base/file.h"

enum { TAG_BYTES_MAX = 512, EVENT_BYTES_MAX = TAG_BYTES_MAX + 128 };

struct tensorboard {
    FILE *stream;
    char path[PATH_MAX_BYTES];
};

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

static bool write_event(struct tensorboard *board, Tensorflow__Event *event, struct error *err)
{
    struct timespec now;
    uint8_t bytes[EVENT_BYTES_MAX];
    clock_gettime(CLOCK_REALTIME, &now);
    event->wall_time = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    event->has_wall_time = true;
    CHECK(tensorflow__event__get_packed_size(event) <= sizeof bytes);
    const uint64_t length = tensorflow__event__pack(event, bytes);
    const uint32_t length_crc = crc_masked(&length, sizeof length);
    const uint32_t bytes_crc = crc_masked(bytes, length);
    if (fwrite(&length, sizeof length, 1, board->stream) == 1 &&
        fwrite(&length_crc, sizeof length_crc, 1, board->stream) == 1 &&
        fwrite(bytes, length, 1, board->stream) == 1 &&
        fwrite(&bytes_crc, sizeof bytes_crc, 1, board->stream) == 1)
        return true;
    return error_set(err, EXIT_CODE_FAILED, "%s: cannot write: %s", board->path, strerror(errno));
}

/* Create a new file named as TensorBoard expects: time, host, process, number. */
static bool open_stream(struct tensorboard *board, const char *folder, struct error *err)
{
    char host[65] = "localhost", name[160];
    gethostname(host, sizeof host - 1);
    for (int number = 0; !board->stream; number++) {
        snprintf(name, sizeof name, "events.out.tfevents.%lld.%s.%d.%d", (long long)time(NULL),
                 host, (int)getpid(), number);
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
    CHECK(strlen(tag) <= TAG_BYTES_MAX);
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
