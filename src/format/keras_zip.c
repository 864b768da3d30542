/* Keras 3's .keras files: a zip archive of config.json, which describes the layers, and of
 * model.weights.h5. */
#include <stdlib.h>
#include <string.h>

#include "archive.h"
#include "keras_hdf5.h"
#include "keras_layers.h"
#include "weights_parts.h"

enum { CONFIG_BYTES_MAX = 64 << 20 };
static const char weights_entry[] = "model.weights.h5", config_entry[] = "config.json";

bool keras_zip_sniff(const struct archive *archive)
{
    return archive_find(archive, weights_entry) >= 0 || archive_find(archive, config_entry) >= 0;
}

/* *layers is NULL if the configuration is missing or names no layers. */
static bool read_layers(const struct archive *archive, struct keras_layers **layers,
                        struct error *err)
{
    *layers = NULL;
    const int entry = archive_find(archive, config_entry);
    if (entry < 0) return true;
    size_t size;
    char *json = archive_read_new(archive, entry, CONFIG_BYTES_MAX, &size, err);
    if (!json) return false;
    *layers = keras_layers_parse(json, size);
    free(json);
    return true;
}

static bool read_image(struct weights *weights, const struct archive *archive, struct error *err)
{
    const int entry = archive_find(archive, weights_entry);
    if (entry < 0)
        return error_set(err, EXIT_CODE_FAILED,
                         "%s: has no %s; save the model with its weights in one HDF5 file",
                         archive->path, weights_entry);
    weights->storage = archive_read_new(archive, entry, SIZE_MAX - 1, &weights->storage_bytes, err);
    return weights->storage != NULL;
}

bool keras_zip_read(struct weights *weights, const struct archive *archive, struct error *err)
{
    struct keras_layers *layers;
    bool done = read_layers(archive, &layers, err) && read_image(weights, archive, err);
    const struct hdf5_image image = { archive->path, weights->storage, weights->storage_bytes };
    done = done && keras_image_read(weights, &image, layers, err);
    weights->format = WEIGHTS_KERAS_ZIP;
    keras_layers_free(layers);
    return done;
}
