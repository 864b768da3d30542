/* The whole configuration as one plain struct, filled from YAML by way of a schema table
 * (src/base/config_schema.c).
 *
 * For each key the table gives name, type, range, default and one line of help. `micromet config
 * --help` prints it; config_load() checks everything against it before any work starts. */
#ifndef MICROMET_BASE_CONFIG_H
#define MICROMET_BASE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "micromet/base/error.h"
#include "micromet/base/file.h"

enum { TOWERS_MAX = 4, HEAD_LAYERS_MAX = 4, MASK_VALUES_MAX = 8 };
enum { LABELS_MAX = 64, LABEL_NAME_BYTES = 128 };

enum data_source { DATA_SOURCE_PACKS, DATA_SOURCE_SLIDES };
/* of what the pixels of coarser towers are made, where um_per_px is given */
enum shrink_from { SHRINK_FROM_LEVEL, SHRINK_FROM_FINEST };
enum sampling { SAMPLING_CLASS_THEN_SLIDE, SAMPLING_SHUFFLE };
enum tissue_method { TISSUE_GRAY, TISSUE_OTSU };
enum pool_padding { POOL_PADDING_AUTO, POOL_PADDING_EXCLUDE, POOL_PADDING_INCLUDE };
const char *pool_padding_name(enum pool_padding padding); /* "exclude", … */
enum optimizer_name { OPTIMIZER_ADAM, OPTIMIZER_RMSPROP, OPTIMIZER_SGD, OPTIMIZER_ADAMW };
enum schedule_name { SCHEDULE_CONSTANT, SCHEDULE_EXPONENTIAL, SCHEDULE_PLATEAU, SCHEDULE_COSINE };
enum resume_mode { RESUME_NEVER, RESUME_AUTO };
enum backend_name { BACKEND_AUTO, BACKEND_CPU, BACKEND_CUDA };
enum precision { PRECISION_AUTO, PRECISION_FP32, PRECISION_TF32, PRECISION_BF16 };
/* how the ranks' gradients are added up: in one fixed order, or as NCCL likes */
enum exchange_mode { EXCHANGE_ORDERED, EXCHANGE_FAST };
/* statistics that trainable batch norm uses */
enum batch_norm_mode { BATCH_NORM_BATCH, BATCH_NORM_FROZEN };

/* What an annotation's name or value means: tumour; what is none, also where it lies in an outline
 * of tumour; what no window may touch; outlines that say nothing, as if they were not drawn. */
enum label_meaning { LABEL_NORMAL, LABEL_TUMOR, LABEL_IGNORE, LABEL_SKIP };
/* A pair of a mapping: any name, and one of the key's words. */
struct config_label {
    char name[LABEL_NAME_BYTES];
    int meaning; /* enum label_meaning */
};

struct config_data {
    /* CSV: slide,annotation,label,split[,mpp,patient]; paths relative to the CSV */
    char manifest[PATH_MAX_BYTES];
    /* Towers, finest first: each reads a level of the slide, or pixels of so many µm, which are
     * made of the slide's levels (slide/scale.h). One of both lists says it: where um_per_px does,
     * all `levels` are -1, and level_count is the number of towers either way. */
    int levels[TOWERS_MAX];
    int level_count;
    enum shrink_from shrink_from;
    double um_per_px[TOWERS_MAX];
    int um_per_px_count;
    int window;        /* px of each tower's level, at least 75 (InceptionV3's smallest input) */
    int center;        /* px of the finest tower's level */
    int stride;        /* px of the finest tower's level */
    int64_t origin[2]; /* centre of the first window, level-0 px; -1 = half the finest window */
    double mpp;        /* µm per level-0 px for slides that do not state it; 0 = from the slide */
    double mpp_override; /* the same, whatever the slides state; 0 = none */
    struct {
        enum tissue_method method;
        /* gray: largest grey (0 black .. 1 white) that counts as tissue */
        double threshold;
        double min_normal; /* share of tissue pixels a normal window needs */
    } tissue;
    int mask_values[MASK_VALUES_MAX]; /* values of masks that are tumour */
    int mask_value_count;             /* 0: the one value besides 0 that a mask has */
    /* what names and values of annotations mean; names differ by more than case */
    struct config_label labels[LABELS_MAX];
    int label_count;           /* 0: what the annotation's format says by itself */
    char pack[PATH_MAX_BYTES]; /* folder of window packs */
    enum data_source source;
    enum sampling sampling;
    double normals_per_tumor; /* normal windows kept per tumour window, on slides with tumour */
    /* largest number of windows per slide; 0 = no limit. A slide without tumour keeps max_normal */
    int64_t max_tumor, max_normal;
    int reader_threads; /* 0 = as many as compute threads */
    int ring;           /* batches in host memory, in use or decoded ahead; at least 2 */
};

struct config_augment {
    bool rotate, flip;
    double brightness; /* added value, drawn from [-b, b], for RGB in [0,1] */
    double saturation; /* factor from [1-s, 1+s] */
    double hue;        /* shift on the colour circle, from [-h, h] */
    double contrast;   /* factor from [1-c, 1+c] about the channel's mean */
    double hed;        /* stains: factor from [1-h, 1+h] and added value from [-h, h] */
    bool per_tower;    /* draw colours for each tower; orientation is always shared */
};

struct config_model {
    /* a file of Keras, torchvision, timm or ONNX, a checkpoint, or "random" */
    char weights[PATH_MAX_BYTES];
    /* auto: as in the library that wrote the weights; random weights: exclude */
    enum pool_padding pool_padding;
    char freeze[64]; /* keras:N, a block's name (mixed_6d), none or all */
    int head[HEAD_LAYERS_MAX];
    int head_count;
    double dropout; /* after the first head layer */
    enum batch_norm_mode batch_norm;
    double batch_norm_momentum; /* weight of the old moving statistics (Keras: 0.99) */
    bool batch_norm_sync;       /* batch statistics of all ranks' rows, not of each rank's own */
};

struct config_optimizer {
    enum optimizer_name name;
    double learning_rate, momentum, beta1, beta2, decay, epsilon, weight_decay;
};

struct config_schedule {
    enum schedule_name name;
    double factor;           /* plateau, exponential: factor on the learning rate */
    int patience;            /* plateau: epochs without improvement */
    double min;              /* smallest learning rate */
    int64_t decay_examples;  /* exponential: examples until the factor applies again */
    int64_t warmup_examples; /* cosine: linear warm-up */
};

struct config_train {
    int batch, epochs;
    int shards; /* pieces of a batch with batch statistics of their own; 0 = as many as ranks */
    int64_t examples_per_epoch; /* 0 = as many as there are training windows */
    double label_smoothing;     /* labels become t*(1-s) + s/2 */
    struct {
        double normal, tumor;
    } class_weights; /* of the classes' losses */
    double ema;      /* weight of the old value in an average of the weights; 0 = no average */
    struct {
        int patience;     /* epochs; 0 = never stop early */
        double min_delta; /* smallest gain in validation AUC that counts */
    } early_stop;
    enum resume_mode resume;
    bool requeue;             /* Slurm: requeue the job when SIGUSR1 has stopped it */
    int keep;                 /* latest checkpoints to keep, besides the best */
    int64_t checkpoint_steps; /* steps between additional checkpoints; 0 = only at epoch ends */
    char run[PATH_MAX_BYTES]; /* folder of all runs; this run's is run/name */
};

struct config_compute {
    enum backend_name backend;
    enum precision precision;
    int threads;   /* 0 = all processors */
    int device;    /* cuda: which GPU; of several ranks on a host, the first one's */
    bool autotune; /* cuda: time the candidate engines of each convolution, keep the fastest */
    int workspace; /* cuda: largest workspace of an op, MiB */
    /* cuda: where cuDNN plans are cached; empty = the user's cache folder */
    char plan_cache[PATH_MAX_BYTES];
    enum exchange_mode exchange; /* cuda */
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
    /* not a key: the YAML file's folder, where its relative paths start */
    char folder[PATH_MAX_BYTES];
};

void config_defaults(struct config *config);

/* Defaults, then the YAML file (may be NULL), then overrides such as "optimizer.learning_rate=1e-4"
 * or "data.levels=[3,4]". Relative paths start at the YAML file's folder, defaults included; those
 * in overrides, or without a file, start at the current folder. Errors carry EXIT_CODE_USAGE and
 * read `configs/x.yaml:14:9: optimizer.learning_rate: -1 is below 0`; for an unknown key they
 * suggest the nearest name. */
bool config_load(struct config *config, const char *path, int override_count,
                 char *const *overrides, struct error *err);

/* The same with a check of the caller's, whose error gets the file, line and column of *key. */
typedef bool (*config_checker)(const struct config *config, const char **key, struct error *err);
bool config_load_checked(struct config *config, const char *path, int override_count,
                         char *const *overrides, config_checker check, struct error *err);

/* The same with overrides that stand in a file: their relative paths start at that one's folder. */
bool config_load_from(struct config *config, const char *path, const char *overrides_folder,
                      int override_count, char *const *overrides, config_checker check,
                      struct error *err);

/* Apply overrides to a configuration that is already loaded, such as a checkpoint's. */
bool config_override(struct config *config, int count, char *const *overrides, struct error *err);

/* Find the first key, from number *index on (start with 0), whose values differ. Returns its name
 * and sets *index to where to continue; NULL if there is none. */
const char *config_difference(const struct config *a, const struct config *b, int *index);

/* The value of a key as YAML. */
enum { CONFIG_VALUE_MAX = 12 * PATH_MAX_BYTES };
void config_value(const struct config *config, const char *key, char text[CONFIG_VALUE_MAX]);

/* A text as YAML, quoted where it must be. */
void config_quote(const char *text, char quoted[CONFIG_VALUE_MAX]);
/* What data.labels says of a name, whatever its case; -1 = nothing. */
int config_label_find(const struct config_data *data, const char *name);

/* Read "key=value" as an override is read, and give the value as config_value() does, so that two
 * ways to write one value become the same. `origin` begins errors: "sweep.yaml:5:20". */
bool config_read_value(const char *override, const char *folder, const char *origin,
                       char value[CONFIG_VALUE_MAX], struct error *err);

/* Parse from memory, as for the configuration stored in a checkpoint; `name` appears in errors. */
bool config_parse(struct config *config, const char *yaml, size_t size, const char *name,
                  struct error *err);

/* Write every key with its resolved value as YAML that config_load() reads back into
 * an equal struct. */
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

/* Print the schema table: key, type, range, default, help. */
void config_print_help(FILE *stream);

#endif
