/* Keras' HDF5 files in two halves: what the file holds (hdf5_survey.c, which runs sandboxed), and
 * how Keras names it (keras_hdf5.c, which trusts nothing that the first half reports). */
#ifndef MICROMET_FORMAT_KERAS_HDF5_H
#define MICROMET_FORMAT_KERAS_HDF5_H

#include "micromet/format/weights.h"

enum {
    SURVEY_NAME_BYTES = 1024,
    SURVEY_ENTRIES_MAX = 1 << 16,
    SURVEY_INFLATION_MAX = 16, /* limit on values, as a multiple of the file (float16, deflate) */
};

/* A whole HDF5 file in memory. */
struct hdf5_image {
    const char *path; /* for messages */
    const uint8_t *bytes;
    size_t size;
};

struct survey_entry {
    /* Keras 2: the weight's name; Keras 3: the dataset's path, "layers/conv2d_1/vars/0". */
    char name[SURVEY_NAME_BYTES];
    char layer[SURVEY_NAME_BYTES]; /* Keras 3: the layer's own name; "" before 3.6 */
    int dims;
    int64_t shape[ARRAY_DIMS_MAX];
    bool converted; /* to float32; else the image's float32 is used in place */
    int64_t at;     /* offset: in `values`, in floats, if converted; else in the image, in bytes */
};

struct survey {
    struct error err; /* if set, the file is refused */
    enum weights_format format;
    int count;
    int64_t converted_count; /* floats in `values` */
    struct survey_entry entries[SURVEY_ENTRIES_MAX];
};

/* Upper limit for the converted values of `image`, in floats. */
int64_t survey_values_max(const struct hdf5_image *image);

/* Fill `survey` (zeroed before) and, for arrays that must be converted, `values`. Opens nothing
 * but the image. */
void hdf5_survey(const struct hdf5_image *image, struct survey *survey, float *values);
void hdf5_prepare(void); /* initialise libhdf5, which reads the environment */

/* keras_layers.h; maps paths to layer names that the HDF5 file lacks; may be NULL */
struct keras_layers;

/* Fill weights->arrays under Keras' names. The values stay in the image and in `values`. */
bool keras_name_arrays(struct weights *weights, const struct hdf5_image *image,
                       const struct survey *survey, const float *values,
                       const struct keras_layers *layers, struct error *err);

/* Survey `image` in a child process and name its arrays; sets weights->converted. */
bool keras_image_read(struct weights *weights, const struct hdf5_image *image,
                      const struct keras_layers *layers, struct error *err);

#endif
