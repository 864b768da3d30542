/* Writing and reading checkpoints. The metadata hold the configuration as YAML text, and the
 * training state as a JSON object with exact (hexadecimal) numbers, so that a resumed run
 * continues from the same bits. */
#include "micromet/run/checkpoint.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "micromet/base/size.h"
#include "micromet/slide/scale.h"

/* Fields of the training state, for writing and reading. */
struct state_field {
    const char *name;
    size_t offset;
    enum { FIELD_INT64, FIELD_INT32, FIELD_DOUBLE } type;
    const char
        *instead; /* whose value a file without this field gives it; NULL = it must be there */
};

#define FIELD(name, type) #name, offsetof(struct training_state, name), type, NULL
static const struct state_field state_fields[] = {
    { FIELD(step, FIELD_INT64) },
    { FIELD(epoch, FIELD_INT64) },
    { FIELD(examples, FIELD_INT64) },
    { FIELD(best_epoch, FIELD_INT64) },
    { FIELD(stale_epochs, FIELD_INT64) },
    { FIELD(best_auc, FIELD_DOUBLE) },
    /* earlier programs took only such gains for the best */
    { "patience_auc", offsetof(struct training_state, patience_auc), FIELD_DOUBLE, "best_auc" },
    { FIELD(threshold, FIELD_DOUBLE) },
    { FIELD(loss_sum, FIELD_DOUBLE) },
    { FIELD(schedule.plateau_rate, FIELD_DOUBLE) },
    { FIELD(schedule.best, FIELD_DOUBLE) },
    { FIELD(schedule.bad_epochs, FIELD_INT32) },
};
#undef FIELD
enum { STATE_FIELDS = COUNT_OF(state_fields) };

bool training_state_judge(struct training_state *state, double auc, double min_delta)
{
    const bool better = isnan(state->best_auc) || auc > state->best_auc;
    const bool gained = isnan(state->patience_auc) || auc > state->patience_auc + min_delta;
    state->epoch++;
    state->stale_epochs = gained ? 0 : state->stale_epochs + 1;
    if (gained) state->patience_auc = auc;
    if (better) {
        state->best_auc = auc;
        state->best_epoch = state->epoch;
    }
    return better;
}

static char *state_text(const struct training_state *state)
{
    json_t *object = json_object();
    for (int i = 0; i < STATE_FIELDS; i++) {
        const struct state_field *f = &state_fields[i];
        const char *at = (const char *)state + f->offset;
        char number[64];
        if (f->type == FIELD_DOUBLE) {
            snprintf(number, sizeof number, "%a", *(const double *)(const void *)at);
            json_object_set_new(object, f->name, json_string(number));
        } else {
            const int64_t value = f->type == FIELD_INT64 ? *(const int64_t *)(const void *)at
                                                         : *(const int32_t *)(const void *)at;
            json_object_set_new(object, f->name, json_integer(value));
        }
    }
    char *text = json_dumps(object, JSON_COMPACT);
    json_decref(object);
    return text;
}

static bool state_parse(const char *text, const char *path, struct training_state *state,
                        struct error *err)
{
    json_t *object = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    bool ok = json_is_object(object);
    for (int i = 0; i < STATE_FIELDS && ok; i++) {
        const struct state_field *f = &state_fields[i];
        const json_t *value = json_object_get(object, f->name);
        if (!value && f->instead) value = json_object_get(object, f->instead);
        char *at = (char *)state + f->offset;
        ok = f->type == FIELD_DOUBLE ? json_is_string(value) : json_is_integer(value);
        if (!ok) break;
        if (f->type == FIELD_DOUBLE)
            *(double *)(void *)at = strtod(json_string_value(value), NULL);
        else if (f->type == FIELD_INT64)
            *(int64_t *)(void *)at = json_integer_value(value);
        else
            *(int32_t *)(void *)at = (int32_t)json_integer_value(value);
    }
    json_decref(object);
    ok = ok && state->step >= 0 && state->epoch >= 0 && state->examples >= 0;
    return ok || error_set(err, EXIT_CODE_FAILED, "%s: its training state cannot be read", path);
}

/* The configuration as YAML, without the run's folder and how it was started, which
 * are not part of the model. */
static char *config_text(const struct config *config, const struct model_spec *spec,
                         struct error *err)
{
    struct config kept = *config, defaults;
    char *text = NULL;
    size_t size = 0;
    config_defaults(&defaults);
    memcpy(kept.train.run, defaults.train.run, sizeof kept.train.run);
    kept.train.resume = RESUME_NEVER;
    kept.train.requeue = defaults.train.requeue;
    kept.model.pool_padding = spec->model.pool_padding; /* resolved */
    FILE *stream = open_memstream(&text, &size);
    if (!stream) {
        error_set(err, EXIT_CODE_FAILED, "no memory for the configuration");
        return NULL;
    }
    const bool written = config_write(&kept, stream, err);
    fclose(stream);
    if (written) return text;
    free(text);
    return NULL;
}

char *checkpoint_towers_text(const struct config *config, const struct checkpoint_input *input)
{
    json_t *towers = json_array();
    for (int t = 0; t < config->data.level_count; t++)
        json_array_append_new(towers, json_pack("{s:i, s:f, s:f}", "level", config->data.levels[t],
                                                "downsample", input->downsamples[t], "um_per_px",
                                                input->um_per_px[t]));
    char *text = json_dumps(towers, JSON_COMPACT | JSON_REAL_PRECISION(17));
    json_decref(towers);
    return text;
}

static bool towers_parse(const char *text, const char *path, struct checkpoint *checkpoint,
                         struct error *err)
{
    json_t *towers = json_loads(text, 0, NULL);
    bool ok = json_is_array(towers) &&
              json_array_size(towers) == (size_t)checkpoint->config.data.level_count;
    for (int t = 0; ok && t < checkpoint->config.data.level_count; t++) {
        const json_t *tower = json_array_get(towers, (size_t)t);
        const json_t *downsample = json_object_get(tower, "downsample");
        ok = json_is_number(downsample);
        checkpoint->input.downsamples[t] = json_number_value(downsample);
        checkpoint->input.um_per_px[t] = json_number_value(json_object_get(tower, "um_per_px"));
    }
    json_decref(towers);
    return ok || error_set(err, EXIT_CODE_FAILED, "%s: its towers cannot be read", path);
}

static bool input_parse(struct checkpoint *c, struct error *err)
{
    const char *said = weights_metadata(&c->weights, "preprocessing");
    const char *names = weights_metadata(&c->weights, "class_names");
    const char *pair[2];
    snprintf(c->preprocessing, sizeof c->preprocessing, "%s", said);
    if (strcmp(said, MODEL_PREPROCESSING) != 0)
        return error_set(err, EXIT_CODE_FAILED,
                         "%s: its model wants pixels prepared as '%.80s'; this program gives '%s'",
                         c->path, said, MODEL_PREPROCESSING);
    json_t *list = json_loads(names, 0, NULL);
    const bool ok = json_unpack(list, "[ss!]", &pair[0], &pair[1]) == 0;
    for (int i = 0; i < 2 && ok; i++)
        snprintf(c->class_names[i], sizeof c->class_names[i], "%s", pair[i]);
    json_decref(list);
    return ok || error_set(err, EXIT_CODE_FAILED, "%s: its class names cannot be read", c->path);
}

struct listed {
    struct model *model;
    struct weight_array *arrays;
    int *parameter;
    enum parameter_part *part;
    int count;
};

static bool listed_add(struct listed *list, int index, enum parameter_part part)
{
    static const char *const prefixes[] = { [PART_VALUE] = "",
                                            [PART_GRADIENT] = "gradient.",
                                            [PART_STATE1] = "optimizer.state1.",
                                            [PART_STATE2] = "optimizer.state2." };
    const struct parameter *p = model_parameter(list->model, index);
    struct weight_array *array = &list->arrays[list->count];
    char name[160];
    snprintf(name, sizeof name, "%s%s", prefixes[part], p->name);
    *array = (struct weight_array) { .name = strdup(name), .dims = p->dims, .count = p->count };
    memcpy(array->shape, p->torch_shape, sizeof p->torch_shape);
    strcpy(array->dtype, "F32");
    list->parameter[list->count] = index;
    list->part[list->count++] = part;
    return array->name != NULL;
}

static bool listed_fill(void *context, int index, void *values, struct error *err)
{
    struct listed *list = context;
    return model_read(list->model, list->parameter[index], list->part[index], values, err);
}

static void listed_release(struct listed *list)
{
    for (int i = 0; i < list->count; i++) free(list->arrays[i].name);
    free(list->arrays);
    free(list->parameter);
    free(list->part);
}

static bool listed_init(struct listed *list, struct model *model, struct error *err)
{
    const int count = model_parameter_count(model);
    const size_t most = 3 * (size_t)count;
    *list = (struct listed) { .model = model,
                              .arrays = calloc(most, sizeof *list->arrays),
                              .parameter = calloc(most, sizeof *list->parameter),
                              .part = calloc(most, sizeof *list->part) };
    bool ok = list->arrays && list->parameter && list->part;
    for (int i = 0; i < count && ok; i++) ok = listed_add(list, i, PART_VALUE);
    for (int i = 0; i < count && ok; i++) {
        const struct parameter *p = model_parameter(model, i);
        if (p->state1) ok = listed_add(list, i, PART_STATE1);
        if (p->state2 && ok) ok = listed_add(list, i, PART_STATE2);
    }
    return ok || error_set(err, EXIT_CODE_FAILED, "no memory for writing a checkpoint");
}

bool checkpoint_write(const char *path, struct model *model, const struct config *config,
                      const struct training_state *state, const struct checkpoint_input *input,
                      struct error *err)
{
    const struct model_spec *spec = model_spec(model);
    struct listed list = { 0 };
    char *config_yaml = config_text(config, spec, err);
    char *state_json = state_text(state), *towers_json = checkpoint_towers_text(config, input);
    char version[16], threshold[64];
    snprintf(version, sizeof version, "%d", CHECKPOINT_VERSION);
    snprintf(threshold, sizeof threshold, "%.17g", state->threshold);
    const char *const metadata[] = { "format",
                                     "micromet checkpoint",
                                     "version",
                                     version,
                                     "program",
                                     ("micromet " MICROMET_VERSION " " MICROMET_GIT),
                                     "config",
                                     config_yaml ? config_yaml : "",
                                     "state",
                                     state_json ? state_json : "",
                                     "towers",
                                     towers_json ? towers_json : "",
                                     "preprocessing",
                                     MODEL_PREPROCESSING,
                                     "pool_padding",
                                     pool_padding_name(spec->model.pool_padding),
                                     "class_names",
                                     MODEL_CLASS_NAMES,
                                     "threshold",
                                     threshold,
                                     "gamma",
                                     spec->gamma ? "true" : "false",
                                     "precision",
                                     spec->activations == DTYPE_BF16 ? "bf16" : "fp32",
                                     input->slides ? "slides" : NULL,
                                     input->slides,
                                     NULL };
    const bool ok = config_yaml && listed_init(&list, model, err) &&
                    safetensors_write_filled(path, list.arrays, list.count, metadata, listed_fill,
                                             &list, err);
    listed_release(&list);
    free(config_yaml);
    free(state_json);
    free(towers_json);
    return ok;
}

void checkpoint_release(struct checkpoint *checkpoint)
{
    weights_release(&checkpoint->weights);
    checkpoint->weights = (struct weights) { 0 };
    checkpoint->input.slides = NULL; /* it pointed into the file */
}

static enum precision precision_of(const char *text)
{
    return strcmp(text, "bf16") == 0 ? PRECISION_BF16 : PRECISION_FP32;
}

bool checkpoint_parse_model(struct checkpoint *c, struct error *err)
{
    static const char *const needed[] = { "format",        "version",   "program",
                                          "config",        "towers",    "gamma",
                                          "preprocessing", "precision", "class_names" };
    for (size_t i = 0; i < COUNT_OF(needed); i++)
        if (!weights_metadata(&c->weights, needed[i]))
            return error_set(err, EXIT_CODE_FAILED,
                             "%s: is not a micromet checkpoint (its metadata has no '%s'); for "
                             "plain weights use model.weights",
                             c->path, needed[i]);
    c->version = atoi(weights_metadata(&c->weights, "version"));
    if (c->version < 1 || c->version > CHECKPOINT_VERSION)
        return error_set(err, EXIT_CODE_FAILED,
                         "%s: checkpoint version %d; this program reads versions 1 to %d", c->path,
                         c->version, CHECKPOINT_VERSION);
    const char *yaml = weights_metadata(&c->weights, "config");
    c->gamma = strcmp(weights_metadata(&c->weights, "gamma"), "true") == 0;
    c->precision = precision_of(weights_metadata(&c->weights, "precision"));
    /* Training chooses the threshold in its own precision; an export says in which that was. */
    const char *chosen_in = weights_metadata(&c->weights, "threshold_precision");
    if (chosen_in) c->threshold_precision = precision_of(chosen_in);
    if (!chosen_in && weights_metadata(&c->weights, "state")) c->threshold_precision = c->precision;
    c->input.slides = weights_metadata(&c->weights, "slides");
    snprintf(c->program, sizeof c->program, "%s", weights_metadata(&c->weights, "program"));
    config_defaults(&c->config);
    return config_parse(&c->config, yaml, strlen(yaml), c->path, err) &&
           towers_parse(weights_metadata(&c->weights, "towers"), c->path, c, err) &&
           input_parse(c, err);
}

static bool checkpoint_parse(struct checkpoint *c, struct error *err)
{
    if (!checkpoint_parse_model(c, err)) return false;
    const char *state = weights_metadata(&c->weights, "state");
    if (!state)
        return error_set(err, EXIT_CODE_FAILED,
                         "%s: holds a model, but is not a checkpoint: it has no training state",
                         c->path);
    return state_parse(state, c->path, &c->state, err);
}

bool checkpoint_open(struct checkpoint *checkpoint, const char *path, struct error *err)
{
    *checkpoint = (struct checkpoint) { 0 };
    snprintf(checkpoint->path, sizeof checkpoint->path, "%s", path);
    if (!safetensors_read(&checkpoint->weights, path, err)) return false;
    if (checkpoint_parse(checkpoint, err)) return true;
    checkpoint_release(checkpoint);
    return false;
}

/* Arrays are in the order of their data, so the header ends where the first one begins. */
static uint64_t hash_header(const struct weights *weights)
{
    const char *header = weights->storage;
    const char *end = weights->count ? weights->arrays[0].data : header + weights->storage_bytes;
    return XXH3_64bits(header, (size_t)(end - header));
}

static bool apply_array(struct checkpoint *checkpoint, struct model *model, int index,
                        enum parameter_part part, const char *prefix, struct error *err)
{
    const struct parameter *p = model_parameter(model, index);
    char name[160];
    snprintf(name, sizeof name, "%s%s", prefix, p->name);
    const struct weight_array *array = weights_find(&checkpoint->weights, name);
    if (!array)
        return error_set(err, EXIT_CODE_FAILED,
                         "%s: has no '%s': a checkpoint of another architecture", checkpoint->path,
                         name);
    if (!weights_fit(array, p->dims, p->torch_shape) || array->dims != p->dims ||
        strcmp(array->dtype, "F32") != 0)
        return error_set(err, EXIT_CODE_FAILED,
                         "%s: '%s' has another shape than the model's: a checkpoint of another "
                         "architecture",
                         checkpoint->path, name);
    const bool written = model_write(model, index, part, array->data, err);
    checkpoint->identity = XXH3_64bits_withSeed(array->data, (size_t)array->count * sizeof(float),
                                                checkpoint->identity);
    weights_let_go(&checkpoint->weights, array);
    return written;
}

bool checkpoint_apply(struct checkpoint *checkpoint, struct model *model, bool with_optimizer,
                      struct error *err)
{
    checkpoint->identity = hash_header(&checkpoint->weights);
    for (int i = 0; i < model_parameter_count(model); i++) {
        const struct parameter *p = model_parameter(model, i);
        if (!apply_array(checkpoint, model, i, PART_VALUE, "", err)) return false;
        if (!with_optimizer) continue;
        if (p->state1 && !apply_array(checkpoint, model, i, PART_STATE1, "optimizer.state1.", err))
            return false;
        if (p->state2 && !apply_array(checkpoint, model, i, PART_STATE2, "optimizer.state2.", err))
            return false;
    }
    return model_refresh(model, err);
}

struct model_spec model_spec_from_config(const struct config *config, enum dtype activations,
                                         bool gamma, bool training)
{
    struct config_model model = config->model;
    if (model.pool_padding == POOL_PADDING_AUTO) model.pool_padding = POOL_PADDING_EXCLUDE;
    const int shards = training && config->train.shards > 0 ? config->train.shards : 1;
    return (struct model_spec) { .towers = config->data.level_count,
                                 .window = config->data.window,
                                 .batch = config->train.batch / shards,
                                 .shards = shards,
                                 .training = training,
                                 .activations = activations,
                                 .gamma = gamma,
                                 .model = model,
                                 .optimizer = config->optimizer,
                                 .label_smoothing = config->train.label_smoothing,
                                 .class_weights = { config->train.class_weights.normal,
                                                    config->train.class_weights.tumor } };
}

/* How a user says what holds. */
#define TELL_SCALE                                                                                 \
    "--mpp of heatmap, the manifest's column mpp, or data.mpp_override of prepare and evaluate"

static bool check_known(const struct checkpoint *checkpoint, const char *slide, const double mpp[2],
                        double absurd, struct error *err)
{
    const double wants_um = checkpoint->input.um_per_px[0];
    char says[64] = "does not say how many µm a pixel has";
    if (mpp[0] > 0 && !scale_is_square(mpp[0], mpp[1]))
        return error_set(
            err, EXIT_CODE_FAILED,
            "%s: has %.4g x %.4g µm/px, so its pixels are not square; if that is wrong, "
            "say what holds: " TELL_SCALE,
            slide, mpp[0], mpp[1]);
    if (mpp[0] > 0 || !(wants_um > 0)) return true;
    if (absurd != 0)
        snprintf(says, sizeof says, "says %.4g µm/px, which no microscope has", absurd);
    return error_set(
        err, EXIT_CODE_FAILED,
        "%s: %s; the model was trained on %.4g µm/px at level %d; say what holds for the "
        "slide's level 0: " TELL_SCALE ", or data.mpp",
        slide, says, wants_um, checkpoint->config.data.levels[0]);
}

bool checkpoint_check_scale(const struct checkpoint *checkpoint, const char *slide,
                            const double downsamples[TOWERS_MAX], const double mpp[2],
                            double absurd, struct error *err)
{
    if (!check_known(checkpoint, slide, mpp, absurd, err)) return false;
    for (int t = 0; t < checkpoint->config.data.level_count; t++) {
        const int level = checkpoint->config.data.levels[t];
        const double has = downsamples[t], wants = checkpoint->input.downsamples[t];
        const double has_um = mpp[0] * has, wants_um = checkpoint->input.um_per_px[t];
        const bool comparable = has_um > 0 && wants_um > 0;
        if (!comparable && fabs(has / wants - 1) > 0.01)
            return error_set(err, EXIT_CODE_FAILED,
                             "%s: level %d is downsampled by %g; the model was trained on %g",
                             slide, level, has, wants);
        if (comparable && fabs(has_um / wants_um - 1) > 0.1)
            return error_set(err, EXIT_CODE_FAILED,
                             "%s: level %d has %.4g µm/px; the model was trained on %.4g µm/px "
                             "(where the slide is wrong, say what holds: " TELL_SCALE ")",
                             slide, level, has_um, wants_um);
    }
    return true;
}

bool checkpoint_model(struct checkpoint *checkpoint, struct backend *backend, int batch,
                      struct model **model, struct error *err)
{
    const enum precision asked = checkpoint->config.compute.precision;
    const enum precision precision = asked == PRECISION_AUTO ? checkpoint->precision : asked;
    struct model_spec spec = model_spec_from_config(
        &checkpoint->config, precision == PRECISION_BF16 ? DTYPE_BF16 : DTYPE_F32,
        checkpoint->gamma, false);
    spec.batch = batch;
    spec.fixed = true;
    if (!model_init(model, backend, &spec, err)) return false;
    if (checkpoint_apply(checkpoint, *model, false, err)) {
        /* What was computed in another precision is another model's. */
        if (precision != checkpoint->precision)
            checkpoint->identity = XXH3_64bits_withSeed(&precision, sizeof precision,
                                                        checkpoint->identity);
        return true;
    }
    model_release(*model);
    *model = NULL;
    return false;
}
