/* Every key of the configuration, in the order in which keys are printed. This table is the only
 * place that states their names, types, ranges, defaults and help. */
#include "config_schema.h"

#include <string.h>

#include "micromet/base/size.h"

static const char *const data_sources[] = { "packs", "slides", NULL };
static const char *const shrink_froms[] = { "level", "finest", NULL };
static const char *const samplings[] = { "class_then_slide", "shuffle", NULL };
static const char *const tissue_methods[] = { "gray", "otsu", NULL };
static const char *const label_meanings[] = { "normal", "tumor", "ignore", "skip", NULL };
static const char *const no_paths[] = { "random", NULL };
static const char *const pool_paddings[] = { "auto", "exclude", "include", NULL };
static const char *const batch_norm_modes[] = { "batch", "frozen", NULL };
static const char *const optimizers[] = { "adam", "rmsprop", "sgd", "adamw", NULL };
static const char *const schedules[] = { "constant", "exponential", "plateau", "cosine", NULL };
static const char *const resume_modes[] = { "never", "auto", NULL };
static const char *const backends[] = { "auto", "cpu", "cuda", NULL };
static const char *const precisions[] = { "auto", "fp32", "tf32", "bf16", NULL };
static const char *const exchange_modes[] = { "ordered", "fast", NULL };

const char *pool_padding_name(enum pool_padding padding)
{
    return pool_paddings[padding];
}

/* clang-format off */

/* A row, by type: field (the key's name is its path), [choices | range,] default, help. */
#define FIELD(f)                offsetof(struct config, f)
#define SIZE(f)                 sizeof(((struct config *)0)->f)
#define ITEMS(f)                (SIZE(f) / SIZE(f[0]))
#define TEXT(f, d, h)           { #f, CONFIG_TEXT, FIELD(f), 0, ITEMS(f), 0, 0, NULL, d, h }
#define PATH(f, d, h)           { #f, CONFIG_PATH, FIELD(f), 0, ITEMS(f), 0, 0, NULL, d, h }
#define WEIGHTS(f, d, h)        { #f, CONFIG_PATH, FIELD(f), 0, ITEMS(f), 0, 0, no_paths, d, h }
#define BOOL(f, d, h)           { #f, CONFIG_BOOL, FIELD(f), 0, 0, 0, 0, NULL, d, h }
#define CHOICE(f, c, d, h)      { #f, CONFIG_CHOICE, FIELD(f), 0, 0, 0, 0, c, d, h }
#define INT(f, a, b, d, h)      { #f, CONFIG_INT, FIELD(f), 0, 0, a, b, NULL, d, h }
#define INT64(f, a, b, d, h)    { #f, CONFIG_INT64, FIELD(f), 0, 0, a, b, NULL, d, h }
#define NUMBER(f, a, b, d, h)   { #f, CONFIG_DOUBLE, FIELD(f), 0, 0, a, b, NULL, d, h }
#define PAIR(f, a, b, d, h)     { #f, CONFIG_INT64_PAIR, FIELD(f), 0, ITEMS(f), a, b, NULL, d, h }
#define LABELS(f, count, c, d, h) \
    { #f, CONFIG_LABELS, FIELD(f), FIELD(count), ITEMS(f), 0, 0, c, d, h }
#define INTS(f, count, a, b, d, h) \
    { #f, CONFIG_INT_LIST, FIELD(f), FIELD(count), ITEMS(f), a, b, NULL, d, h }
#define NUMBERS(f, count, a, b, d, h) \
    { #f, CONFIG_DOUBLE_LIST, FIELD(f), FIELD(count), ITEMS(f), a, b, NULL, d, h }

const struct config_key config_keys[] = {
    TEXT(name, "", "the run's folder below train.run; empty = the YAML file's name"),
    { "seed", CONFIG_UINT64, FIELD(seed), 0, 0, 0, 0x1p64, NULL, "1", "of every random draw" },

    PATH(data.manifest, "slides.csv", "CSV: slide,annotation,label,split[,mpp,patient]"),
    INTS(data.levels, data.level_count, 0, 30, "[2, 3]", "one tower per slide level, finest first"),
    NUMBERS(data.um_per_px, data.um_per_px_count, 0.02, 20, "[]",
        "in place of levels: one tower per scale, micrometres per pixel, finest first"),
    CHOICE(data.shrink_from, shrink_froms, "level",
        "um_per_px: what coarser towers see is made of the slide's levels, or of the finest "
        "tower's pixels"),
    INT(data.window, 75, 4096, "80",
        "side of the square that a tower sees, pixels of its level or scale"),
    INT(data.center, 1, 4096, "50",
        "side of the square that decides the label, pixels of the finest tower"),
    INT(data.stride, 1, 1000000, "50", "from window to window, pixels of the finest tower"),
    PAIR(data.origin, -1, 1e9, "[-1, -1]",
        "centre of the first window, level-0 pixels; -1 = half the finest window"),
    NUMBER(data.mpp, 0, 100, "0",
        "micrometres per level-0 pixel where the slide does not say; 0 = from the slide"),
    NUMBER(data.mpp_override, 0, 100, "0",
        "micrometres per level-0 pixel, whatever the slides say; 0 = as they say"),
    CHOICE(data.tissue.method, tissue_methods, "gray",
        "fixed grey threshold, or Otsu's of the slide"),
    NUMBER(data.tissue.threshold, 0, 1, "0.8",
        "pixels at or below are tissue (0 black, 1 white); otsu: where it finds one class"),
    NUMBER(data.tissue.min_normal, 0, 1, "0.75", "share of tissue that a normal window needs"),
    INTS(data.mask_values, data.mask_value_count, 1, 65535, "[]",
        "values of masks that are tumour; [] = the one value besides 0"),
    LABELS(data.labels, data.label_count, label_meanings, "{}",
        "what the names in annotations, or values of masks, mean, such as {Tumor: tumor}"),
    PATH(data.pack, "packs", "folder of reusable window packs"),
    CHOICE(data.source, data_sources, "packs", "where training reads its windows"),
    CHOICE(data.sampling, samplings, "class_then_slide",
        "draw class, slide, window; or every window once an epoch"),
    NUMBER(data.normals_per_tumor, 0, 1e6, "1",
        "normal windows kept per tumour window of a tumour slide"),
    INT64(data.max_tumor, 0, 1e12, "0", "tumour windows kept per slide; 0 = all"),
    INT64(data.max_normal, 0, 1e12, "5000", "normal windows kept per slide; 0 = all"),
    INT(data.reader_threads, 0, 1024, "0",
        "threads that read windows; 0 = as many as compute threads"),
    INT(data.ring, 1, 1024, "4",
        "batches in memory: under way and read ahead; at least 2 are held"),

    BOOL(augment.rotate, "true", "by a multiple of 90 degrees"),
    BOOL(augment.flip, "true", "left-right and top-bottom"),
    NUMBER(augment.brightness, 0, 1, "0.25098", "added value from [-b, b], RGB in [0, 1]"),
    NUMBER(augment.saturation, 0, 1, "0.25", "factor from [1-s, 1+s]"),
    NUMBER(augment.hue, 0, 0.5, "0.04", "turn of the colour circle from [-h, h]"),
    NUMBER(augment.contrast, 0, 1, "0.75", "factor from [1-c, 1+c] about each channel's mean"),
    NUMBER(augment.hed, 0, 1, "0",
        "haematoxylin, eosin, DAB: factor from [1-h, 1+h], added from [-h, h]; usual: 0.03 to 0.1"),
    BOOL(augment.per_tower, "false", "draw colours for each tower"),

    WEIGHTS(model.weights, "inception_v3_notop.h5",
        "file of Keras, torchvision, timm, ONNX, a checkpoint; or random"),
    CHOICE(model.pool_padding, pool_paddings, "auto",
        "average pools: exclude padding (Keras), include it (PyTorch); "
        "auto: as the weights' writer"),
    TEXT(model.freeze, "keras:150",
        "keras:N (layers below N), a block such as mixed_6d, none or all"),
    INTS(model.head, model.head_count, 1, 65536, "[256, 128]",
        "widths of the dense layers before the output"),
    NUMBER(model.dropout, 0, 0.99, "0.3", "after the first head layer"),
    CHOICE(model.batch_norm, batch_norm_modes, "batch", "statistics of trainable batch norm"),
    NUMBER(model.batch_norm_momentum, 0, 1, "0.99", "weight of the old moving statistics"),
    BOOL(model.batch_norm_sync, "false",
        "ranks share their batch statistics, so that those are of the whole train.batch"),

    CHOICE(optimizer.name, optimizers, "adam", "update rule"),
    NUMBER(optimizer.learning_rate, 0, 100, "2e-4", "before the schedule"),
    NUMBER(optimizer.momentum, 0, 0.999999, "0.9", "rmsprop, sgd"),
    NUMBER(optimizer.beta1, 0, 0.999999, "0.9", "adam, adamw: memory of the mean"),
    NUMBER(optimizer.beta2, 0, 0.999999, "0.999", "adam, adamw: memory of the square"),
    NUMBER(optimizer.decay, 0, 0.999999, "0.9", "rmsprop: memory of the square"),
    NUMBER(optimizer.epsilon, 0, 100, "0",
        "0 = by optimizer: adam 1e-7 (Keras), adamw 1e-8 (PyTorch), rmsprop 1 (paper)"),
    NUMBER(optimizer.weight_decay, 0, 1, "0",
        "times the weight, added to the gradient; adamw: times the rate too, taken off the weight"),

    CHOICE(schedule.name, schedules, "plateau", "how the learning rate falls"),
    NUMBER(schedule.factor, 1e-6, 1, "0.5", "plateau, exponential: multiplies the learning rate"),
    INT(schedule.patience, 1, 100000, "5", "plateau: epochs without improvement"),
    NUMBER(schedule.min, 0, 100, "1e-5", "smallest learning rate"),
    INT64(schedule.decay_examples, 1, 1e12, "2000000", "exponential: examples per factor"),
    INT64(schedule.warmup_examples, 0, 1e12, "0", "cosine: linear rise before the fall"),

    INT(train.batch, 1, 65536, "16", "windows per step"),
    INT(train.shards, 0, 4096, "0",
        "pieces of a batch, each with batch statistics of its own, that any number of ranks which "
        "divides theirs may share; 0 = one a rank"),
    INT(train.epochs, 1, 1000000, "20", "at most"),
    INT64(train.examples_per_epoch, 0, 1e12, "0", "0 = as many as there are training windows"),
    NUMBER(train.label_smoothing, 0, 0.999, "0", "share of each label that both classes divide"),
    NUMBER(train.class_weights.normal, 1e-6, 1e6, "1", "factor of the loss of normal windows"),
    NUMBER(train.class_weights.tumor, 1e-6, 1e6, "1", "factor of the loss of tumour windows"),
    NUMBER(train.ema, 0, 0.999999, "0",
        "validate and keep an average of the weights: share of the old one in each step; 0 = none"),
    INT(train.early_stop.patience, 0, 1000000, "3",
        "epochs without improvement; 0 = never stop early"),
    NUMBER(train.early_stop.min_delta, 0, 1, "0.001",
        "smallest rise of validation AUC that counts"),
    CHOICE(train.resume, resume_modes, "never", "auto: go on from the run's last checkpoint"),
    BOOL(train.requeue, "false",
        "on Slurm: SIGUSR1, the job's time being up, has it requeued; with resume: auto"),
    INT(train.keep, 1, 100000, "2", "last checkpoints kept beside the best"),
    INT64(train.checkpoint_steps, 0, 1e12, "0",
        "also write one every so many steps; 0 = at epoch ends only"),
    PATH(train.run, "runs", "folder of runs"),

    CHOICE(compute.backend, backends, "auto", "auto: CUDA where it works, else the CPU"),
    CHOICE(compute.precision, precisions, "auto",
        "of activations; tf32: fp32 that cuda multiplies in TF32; weights are always fp32"),
    INT(compute.threads, 0, 1024, "0", "0 = all processors"),
    INT(compute.device, 0, 1023, "0", "cuda: number of the GPU, the first rank's"),
    BOOL(compute.autotune, "false", "cuda: time each convolution's candidates, keep the fastest"),
    INT(compute.workspace, 0, 65536, "256", "cuda: MiB of scratch that an operation may ask for"),
    PATH(compute.plan_cache, "",
        "cuda: folder of cuDNN's plans; empty = $XDG_CACHE_HOME/micromet"),
    CHOICE(compute.exchange, exchange_modes, "ordered",
        "cuda: gradients of the ranks are added up in one order, for the same bits with any "
        "number of ranks; fast: as NCCL likes"),
};
/* clang-format on */

const int config_key_count = COUNT_OF(config_keys);
_Static_assert(COUNT_OF(config_keys) <= CONFIG_KEYS_MAX, "raise CONFIG_KEYS_MAX");

int config_key_find(const char *name)
{
    for (int i = 0; i < config_key_count; i++)
        if (strcmp(config_keys[i].name, name) == 0) return i;
    return -1;
}

bool config_key_is_list(const struct config_key *key)
{
    return key->kind == CONFIG_INT_LIST || key->kind == CONFIG_DOUBLE_LIST ||
           key->kind == CONFIG_INT64_PAIR || key->kind == CONFIG_LABELS;
}

int config_key_find_pair(const char *name, const char **pair)
{
    for (int i = 0; i < config_key_count; i++) {
        const size_t length = strlen(config_keys[i].name);
        if (config_keys[i].kind != CONFIG_LABELS || strncmp(config_keys[i].name, name, length) ||
            name[length] != '.')
            continue;
        *pair = name + length + 1;
        return i;
    }
    return -1;
}
