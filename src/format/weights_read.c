/* Reads weights in any known format. A table maps the first bytes of the file to the reader of its
 * format; file names are not considered. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "archive.h"
#include "micromet/base/size.h"
#include "micromet/format/onnx.h"
#include "weights_parts.h"

/* The first bytes of a file, zero-padded if it is shorter. */
struct start {
    uint8_t bytes[16];
};

static bool starts_as_hdf5(const struct start *start)
{
    static const char signature[8] = "\x89HDF\r\n\x1a\n";
    return memcmp(start->bytes, signature, sizeof signature) == 0;
}

/* A header length below 4 GiB, and the opening brace of the JSON header. */
static bool starts_as_safetensors(const struct start *start)
{
    return start->bytes[8] == '{' && memcmp(start->bytes + 4, "\0\0\0", 4) == 0;
}

static bool starts_as_zip(const struct start *start)
{
    return memcmp(start->bytes, "PK\3\4", 4) == 0;
}

/* torch.save() before PyTorch 1.6 (a pickled magic number comes first), or another bare pickle. */
static bool starts_as_pickle(const struct start *start)
{
    return start->bytes[0] == 0x80 && start->bytes[1] >= 2 && start->bytes[1] <= 5;
}

static bool refuse_pickle(struct weights *weights, const char *path, struct error *err)
{
    (void)weights;
    return error_set(
        err, EXIT_CODE_FAILED,
        "%s: is a file of PyTorch before 1.6, or a bare pickle; in Python, "
        "torch.save(torch.load(OLD, weights_only=True), NEW) makes one that is read here, "
        "and so does safetensors",
        path);
}

/* A protobuf: field 1 (ir_version) with a small number, then another field of the model. */
static bool starts_as_onnx(const struct start *start)
{
    static const char tags[] = "\x12\x1a\x22\x28\x32\x3a\x42\x72";
    return start->bytes[0] == 0x08 && start->bytes[1] >= 1 && start->bytes[1] < 64 &&
           start->bytes[2] && strchr(tags, start->bytes[2]);
}

/* The first row whose sniff() accepts the file reads it. Rows without one share the reader of
 * another row, which then sets weights->format. */
static const struct {
    enum weights_format format;
    const char *name;
    bool (*sniff)(const struct start *start);
    bool (*read)(struct weights *weights, const char *path, struct error *err);
} formats[] = {
    { WEIGHTS_SAFETENSORS, "safetensors", starts_as_safetensors, safetensors_read },
    { WEIGHTS_KERAS2_HDF5, "Keras 2 HDF5", starts_as_hdf5, keras_hdf5_read },
    { WEIGHTS_KERAS3_HDF5, "Keras 3 HDF5", NULL, NULL },
    { WEIGHTS_TORCH_ZIP, "PyTorch", starts_as_zip, weights_zip_read },
    { WEIGHTS_KERAS_ZIP, "Keras 3 archive", NULL, NULL },
    { WEIGHTS_UNKNOWN, "bare pickle", starts_as_pickle, refuse_pickle },
    /* ONNX has no magic number, so it is tried last */
    { WEIGHTS_ONNX, "ONNX", starts_as_onnx, onnx_read_weights },
};
enum { FORMATS = COUNT_OF(formats) };

const char *weights_format_name(enum weights_format format)
{
    for (int i = 0; i < FORMATS; i++)
        if (formats[i].format == format) return formats[i].name;
    return "unknown";
}

bool weights_zip_read(struct weights *weights, const char *path, struct error *err)
{
    static const struct {
        bool (*sniff)(const struct archive *archive);
        bool (*read)(struct weights *weights, const struct archive *archive, struct error *err);
    } kinds[] = { { torch_zip_sniff, torch_zip_read }, { keras_zip_sniff, keras_zip_read } };
    struct archive archive;
    *weights = (struct weights) { 0 };
    if (!archive_open(&archive, path, err)) return false;
    bool known = false, done = false;
    for (size_t i = 0; i < COUNT_OF(kinds) && !known; i++) {
        known = kinds[i].sniff(&archive);
        if (known) done = kinds[i].read(weights, &archive, err);
    }
    if (!known)
        error_set(err, EXIT_CODE_FAILED,
                  "%s: is a zip archive, but neither torch.save()'s nor a .keras file", path);
    archive_release(&archive);
    if (!done) weights_release(weights);
    return done;
}

static bool read_start(struct start *start, const char *path, struct error *err)
{
    *start = (struct start) { 0 };
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t got = file < 0 ? -1 : read(file, start->bytes, sizeof start->bytes);
    const int reason = errno;
    if (file >= 0) close(file);
    return got >= 0 ||
           error_set(err, EXIT_CODE_FAILED, "%s: cannot be opened: %s", path, strerror(reason));
}

/* Index of the row that accepts the file, or -1. */
static int find_format(const struct start *start)
{
    for (int i = 0; i < FORMATS; i++)
        if (formats[i].sniff && formats[i].sniff(start)) return i;
    return -1;
}

bool weights_sniff(enum weights_format *format, const char *path, struct error *err)
{
    struct start start;
    if (!read_start(&start, path, err)) return false;
    const int found = find_format(&start);
    *format = found < 0 ? WEIGHTS_UNKNOWN : formats[found].format;
    return true;
}

bool weights_read(struct weights *weights, const char *path, struct error *err)
{
    *weights = (struct weights) { 0 };
    struct start start;
    if (!read_start(&start, path, err)) return false;
    const int i = find_format(&start);
    if (i < 0)
        return error_set(err, EXIT_CODE_FAILED,
                         "%s: is no file of weights that this program knows: safetensors, "
                         "Keras' .h5 and .keras, PyTorch's .pth, ONNX",
                         path);
    const bool done = formats[i].read(weights, path, err);
    if (done && weights->format == WEIGHTS_UNKNOWN) weights->format = formats[i].format;
    return done;
}
