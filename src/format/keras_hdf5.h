/* Keras' HDF5 files in two halves: what the file holds (hdf5_survey.c, which runs confined) and
 * what Keras calls it (keras_hdf5.c, which trusts nothing that the first half says). */
#ifndef MICROMET_FORMAT_KERAS_HDF5_H
#define MICROMET_FORMAT_KERAS_HDF5_H

#include "micromet/format/weights.h"

enum {
    SURVEY_NAME_BYTES = 1024,
    SURVEY_ENTRIES_MAX = 1 << 16,
    SURVEY_INFLATION_MAX =
        16, /* values may take so many times the file's bytes (half floats, deflate) */
};

/* A whole HDF5 file in memory. */
struct hdf5_image {
    const char *path; /* for messages */
    const uint8_t *bytes;
    size_t size;
};

struct survey_entry {
    char name[SURVEY_NAME_BYTES];  /* Keras 2: the weight's; Keras 3: the dataset's path:
                                      "layers/conv2d_1/vars/0" */
    char layer[SURVEY_NAME_BYTES]; /* Keras 3: the layer's own name; "" in files from before 3.6 */
    int dims;
    int64_t shape[ARRAY_DIMS_MAX];
    bool converted; /* to float32; else the image holds float32 and is used in place */
    int64_t at; /* in floats from the start of `values` if converted, else in bytes of the image */
};

struct survey {
    struct error err; /* a message: the file is refused */
    enum weights_format format;
    int count;
    int64_t converted_count; /* floats in `values` */
    struct survey_entry entries[SURVEY_ENTRIES_MAX];
};

/* What the values of `image` may take once they are converted, in floats. */
int64_t survey_values_max(const struct hdf5_image *image);

/* Fill `survey` (zeroed before), and `values` as far as arrays must be converted. Opens nothing but
 * the image. */
void hdf5_survey(const struct hdf5_image *image, struct survey *survey, float *values);
void hdf5_prepare(void); /* libhdf5's own start, which looks at the environment */

struct keras_layers; /* keras_layers.h: the names of layers where the HDF5 file lacks them; may be
                        NULL */

/* The arrays under Keras' names. Their values stay where they are: in the image and in `values`. */
bool keras_name_arrays(struct weights *weights, const struct hdf5_image *image,
                       const struct survey *survey, const float *values,
                       const struct keras_layers *layers, struct error *err);

/* Survey `image` in a child process and name what it finds; sets weights->converted. */
bool keras_image_read(struct weights *weights, const struct hdf5_image *image,
                      const struct keras_layers *layers, struct error *err);

#endif
