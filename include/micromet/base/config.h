/* The whole configuration: one plain struct, filled from YAML through one schema table
 * (src/base/config.c).
 *
 * The table gives each key's name, type, range, default and one line of help; `micromet config
 * --help` prints it and config_load() checks everything against it before any work starts. */
#ifndef MICROMET_BASE_CONFIG_H
#define MICROMET_BASE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "micromet/base/error.h"
#include "micromet/base/file.h"

enum { TOWERS_MAX = 4, HEAD_LAYERS_MAX = 4 };

enum data_source { DATA_SOURCE_PACKS, DATA_SOURCE_SLIDES };
enum sampling { SAMPLING_CLASS_THEN_SLIDE, SAMPLING_SHUFFLE };
enum tissue_method { TISSUE_GRAY, TISSUE_OTSU };
enum pool_padding { POOL_PADDING_AUTO, POOL_PADDING_EXCLUDE, POOL_PADDING_INCLUDE };
const char *pool_padding_name(enum pool_padding padding); /* "exclude", … */
enum optimizer_name { OPTIMIZER_ADAM, OPTIMIZER_RMSPROP, OPTIMIZER_SGD };
enum schedule_name { SCHEDULE_CONSTANT, SCHEDULE_EXPONENTIAL, SCHEDULE_PLATEAU, SCHEDULE_COSINE };
enum resume_mode { RESUME_NEVER, RESUME_AUTO };
enum backend_name { BACKEND_AUTO, BACKEND_CPU, BACKEND_CUDA };
enum precision { PRECISION_AUTO, PRECISION_FP32, PRECISION_TF32, PRECISION_BF16 };
/* statistics of trainable batch norm */
enum batch_norm_mode { BATCH_NORM_BATCH, BATCH_NORM_FROZEN };

struct config_data {
    /* CSV: slide,annotation,label,split; paths relative to the CSV */
    char manifest[PATH_MAX_BYTES];
    int levels[TOWERS_MAX]; /* one tower per level, finest first */
    int level_count;
    int window;        /* px of each tower's level, at least 75 (InceptionV3's smallest input) */
    int center;        /* px of the finest tower's level */
    int stride;        /* px of the finest tower's level */
    int64_t origin[2]; /* centre of the first window, level-0 px; -1 = half the finest window */
    double mpp;        /* µm per level-0 pixel for slides that do not say; 0 = from the slide */
    struct {
        enum tissue_method method;
        /* grey (0 black .. 1 white) at or below which a pixel is tissue (gray) */
        double threshold;
        double min_normal; /* share of tissue pixels that a normal window needs */
    } tissue;
    char pack[PATH_MAX_BYTES]; /* folder of window packs */
    enum data_source source;
    enum sampling sampling;
    double normals_per_tumor; /* normal windows kept for each tumour window of a tumour slide */
    /* caps per slide; 0 = none. A slide without tumour keeps max_normal */
    int64_t max_tumor, max_normal;
    int reader_threads; /* 0 = as many as compute threads */
    int ring;           /* host batches: under way and decoded ahead; at least 2 */
};

struct config_augment {
    bool rotate, flip;
    double brightness; /* added value drawn from [-b, b], on [0,1] RGB */
    double saturation; /* factor from [1-s, 1+s] */
    double hue;        /* turn of the colour circle from [-h, h] */
    double contrast;   /* factor from [1-c, 1+c] about the channel's mean */
    bool per_tower;    /* colour drawn for each tower; orientation is always shared */
};

struct config_model {
    char weights
        [PATH_MAX_BYTES]; /* of Keras, torchvision, timm, ONNX or a checkpoint; or "random" */
    enum pool_padding pool_padding; /* auto: as whoever wrote the weights; random ones: exclude */
    char freeze[64];                /* keras:N, a block's name (mixed_6d), none or all */
    int head[HEAD_LAYERS_MAX];
    int head_count;
    double dropout; /* after the first head layer */
    enum batch_norm_mode batch_norm;
    double batch_norm_momentum; /* weight of the old moving statistics (Keras: 0.99) */
};

struct config_optimizer {
    enum optimizer_name name;
    double learning_rate, momentum, beta1, beta2, decay, epsilon, weight_decay;
};

struct config_schedule {
    enum schedule_name name;
    double factor;           /* plateau, exponential: multiplies the learning rate */
    int patience;            /* plateau: epochs without improvement */
    double min;              /* smallest learning rate */
    int64_t decay_examples;  /* exponential: examples per factor */
    int64_t warmup_examples; /* cosine: linear rise before the fall */
};

struct config_train {
    int batch, epochs;
    int64_t examples_per_epoch; /* 0 = as many as there are training windows */
    struct {
        int patience;     /* epochs; 0 = never stop early */
        double min_delta; /* smallest rise of validation AUC that counts */
    } early_stop;
    enum resume_mode resume;
    int keep;                 /* last checkpoints kept beside the best */
    int64_t checkpoint_steps; /* also write one every so many steps; 0 = at epoch ends only */
    char run[PATH_MAX_BYTES]; /* folder of runs; the run's own folder is run/name */
};

struct config_compute {
    enum backend_name backend;
    enum precision precision;
    int threads;   /* 0 = all processors */
    int device;    /* cuda: which GPU */
    bool autotune; /* cuda: time the candidates of each convolution, and keep the fastest */
    int workspace; /* cuda: MiB of scratch that an op may ask for */
    /* cuda: folder of cuDNN's plans; empty = the user's cache folder */
    char plan_cache[PATH_MAX_BYTES];
};

struct config {
    char name[128];
    uint64_t seed;
    struct config_data data;
    struct config_augment augment;
    struct config_model model;
    struct config_optimizer optimizer;
    struct config_schedule schedule;
    struct config_train train;
    struct config_compute compute;
    char folder[PATH_MAX_BYTES]; /* of the YAML file; relative paths in it start here (not a key) */
};

void config_defaults(struct config *config);

/* Defaults, then the YAML file (may be NULL), then overrides such as "optimizer.learning_rate=1e-4"
 * or "data.levels=[3,4]". Relative paths start at the file's folder, given or default; those in
 * overrides (and without a file) at the current folder. Errors carry EXIT_CODE_USAGE and read
 * `configs/x.yaml:14:9: optimizer.learning_rate: -1 is below 0`; unknown keys suggest the nearest
 * name. */
bool config_load(struct config *config, const char *path, int override_count,
                 char *const *overrides, struct error *err);

/* The same overrides on top of what is in *config already, a checkpoint's configuration say. */
bool config_override(struct config *config, int count, char *const *overrides, struct error *err);

/* The name of the first key from *index on (start with 0) whose values differ, or NULL; *index is
 * where to go on. */
const char *config_difference(const struct config *a, const struct config *b, int *index);

/* Parse from memory (checkpoints carry their configuration); `name` is used in errors. */
bool config_parse(struct config *config, const char *yaml, size_t size, const char *name,
                  struct error *err);

/* Write every key with its resolved value as YAML that config_load() reads back to an equal
 * struct. */
bool config_write(const struct config *config, FILE *stream, struct error *err);

/* What the table says of one key. */
struct config_key_facts {
    const char *name, *type; /* "data.window", "integer" */
    char range[128];         /* "75 .. 4096", "auto cpu cuda", or "" */
    const char *initial;     /* the default as YAML, "" = empty */
    const char *help;
    const char *const *words; /* the values it takes besides numbers, texts and paths, or NULL */
    bool is_path;
};
/* Of key `index` in the table's order; false behind the last one. */
bool config_key_describe(int index, struct config_key_facts *facts);

/* The table: key, type, range, default, help. */
void config_print_help(FILE *stream);

#endif
