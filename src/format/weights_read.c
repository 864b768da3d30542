/* One door for all formats of weights. The idea: a table of what the first bytes look like and who
 * reads what follows; names of files are not looked at. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "micromet/format/onnx.h"

/* The first bytes of a file, and zeros where it is shorter. */
struct start {
    uint8_t bytes[16];
};

static bool starts_as_hdf5(const struct start *start)
{
    static const char signature[8] = "\x89HDF\r\n\x1a\n";
    return memcmp(start->bytes, signature, sizeof signature) == 0;
}

/* The length of a JSON object, and its brace. */
static bool starts_as_safetensors(const struct start *start)
{
    return start->bytes[8] == '{' && memcmp(start->bytes + 4, "\0\0\0", 4) == 0;
}

/* The first field of a ModelProto, ir_version, a small number. */
static bool starts_as_onnx(const struct start *start)
{
    return start->bytes[0] == 0x08 && start->bytes[1] < 0x80 && start->bytes[8] != '{';
}

/* The reader may know better than the first bytes do: then it sets the format itself. */
static const struct {
    enum weights_format format;
    const char *name;
    bool (*sniff)(const struct start *start);
    bool (*read)(struct weights *weights, const char *path, struct error *err);
} formats[] = {
    { WEIGHTS_SAFETENSORS, "safetensors", starts_as_safetensors, safetensors_read },
    { WEIGHTS_KERAS2_HDF5, "Keras 2 HDF5", starts_as_hdf5, keras_hdf5_read },
    { WEIGHTS_ONNX, "ONNX", starts_as_onnx, onnx_read_weights },
};
enum { FORMATS = sizeof formats / sizeof *formats };

const char *weights_format_name(enum weights_format format)
{
    for (int i = 0; i < FORMATS; i++)
        if (formats[i].format == format) return formats[i].name;
    return "unknown";
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

/* The row of the table, or -1. */
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
                         "%s: is no file of weights that this program knows: neither Keras' HDF5, "
                         "safetensors nor ONNX",
                         path);
    if (!formats[i].read(weights, path, err)) return false;
    if (weights->format == WEIGHTS_UNKNOWN) weights->format = formats[i].format;
    return true;
}
