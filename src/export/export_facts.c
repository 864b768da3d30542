/* What a model is and expects as input, as the text metadata that every format carries. */
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>

#include "export_parts.h"
#include "micromet/run/session.h"

static void add_fact(struct export_facts *facts, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void add_fact(struct export_facts *facts, const char *key, const char *format, ...)
{
    char *text = facts->text + facts->used;
    const size_t left = sizeof facts->text - facts->used;
    CHECK(facts->count < EXPORT_KEYS_MAX);
    facts->pairs[2 * facts->count] = key;
    facts->pairs[2 * facts->count + 1] = text;
    facts->count++;
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(text, left, format, arguments);
    va_end(arguments);
    CHECK(length >= 0 && (size_t)length < left);
    facts->used += (size_t)length + 1;
}

static void list_text(char text[64], const int *values, int count)
{
    int at = snprintf(text, 64, "[");
    for (int i = 0; i < count; i++)
        at += snprintf(text + at, 64 - (size_t)at, "%s%d", i ? ", " : "", values[i]);
    snprintf(text + at, 64 - (size_t)at, "]");
}

/* The keys before what config_value() gives. */
static const char *seen_by(const struct config_data *data)
{
    if (!data->um_per_px_count) return "levels";
    return data->shrink_from == SHRINK_FROM_FINEST ? "shrink_from: finest, um_per_px" : "um_per_px";
}

/* Only those keys of the configuration that define the model. */
static void add_config(struct export_facts *facts, const struct config *config)
{
    char seen[CONFIG_VALUE_MAX];
    char head[64];
    config_value(config, config->data.um_per_px_count ? "data.um_per_px" : "data.levels", seen);
    list_text(head, config->model.head, config->model.head_count);
    const char *padding = pool_padding_name(config->model.pool_padding);
    add_fact(facts, "pool_padding", "%s", padding);
    add_fact(facts, "config",
             "data: {%s: %.200s, window: %d, center: %d}\n"
             "model: {pool_padding: %s, head: %s, dropout: %.9g}\n",
             seen_by(&config->data), seen, config->data.window, config->data.center, padding, head,
             config->model.dropout);
}

static void add_single(struct export_facts *facts, int towers)
{
    char ratios[64];
    list_text(ratios, facts->single.ratios, towers);
    add_fact(facts, "single_input_px", "%d", facts->single.side);
    add_fact(facts, "single_input_ratios", "%s", ratios);
}

/* The threshold, in which precision it was chosen, and on which input. */
static void add_threshold(struct export_facts *facts, const struct checkpoint *c)
{
    const struct export_measured *m = &facts->measured;
    const bool own = facts->is_single && m->known;
    const double threshold = own ? m->threshold : c->state.threshold;
    if (isnan(threshold)) return;
    add_fact(facts, "threshold", "%.17g", threshold);
    add_fact(facts, "threshold_precision", "%s",
             own ? m->precision : precision_name(c->threshold_precision));
    if (!facts->is_single) return;
    add_fact(facts, "threshold_input", "%s",
             own ? "single window, on validation" : "each tower's own level: not this input");
    if (own && !isnan(c->state.threshold))
        add_fact(facts, "threshold_of_towers", "%.17g", c->state.threshold);
}

/* How the model with one input differs from the one that was trained. */
static void add_difference(struct export_facts *facts)
{
    static const char what[] = "towers beyond the first see means of the finest level; the model "
                               "was trained on the slide's own levels";
    const struct export_measured *m = &facts->measured;
    if (!facts->is_single) return;
    if (!m->known)
        add_fact(facts, "single_input", "%s; how far apart they are was not measured", what);
    else
        add_fact(facts, "single_input",
                 "%s; on %lld validation windows: AUC %.4f against %.4f, probabilities %.4f apart "
                 "in the mean and %.4f at most, %lld decisions differ",
                 what, (long long)m->count, m->auc, m->auc_of_towers, m->mean_difference,
                 m->max_difference, (long long)m->flipped);
}

static bool is_graph(const struct export_options *options)
{
    return options->format == EXPORT_ONNX || options->format == EXPORT_TRITON;
}

bool export_facts_collect(struct export_facts *facts, const struct checkpoint *c,
                          const struct export_options *options, struct error *err)
{
    const bool graph = is_graph(options), floats = options->input == EXPORT_FLOAT;
    struct error ignored = { 0 };
    const bool needs_single = options->single_input || options->format == EXPORT_WSINFER;
    facts->has_single = single_window_of(c, &facts->single, needs_single ? err : &ignored);
    if (needs_single && !facts->has_single) return false;
    facts->is_single = needs_single && c->config.data.level_count > 1 &&
                       c->config.data.shrink_from == SHRINK_FROM_LEVEL;
    if (options->evaluation && !export_measured_read(&facts->measured, c, options->evaluation, err))
        return false;
    char *towers = checkpoint_towers_text(&c->config, &c->input);
    if (!towers) return error_set(err, EXIT_CODE_FAILED, "no memory for metadata");
    add_fact(facts, "format", "micromet model");
    add_fact(facts, "version", "%d", CHECKPOINT_VERSION);
    add_fact(facts, "name", "%s", c->config.name);
    add_fact(facts, "program", "%s", c->program);
    add_fact(facts, "exporter", "micromet %s %s", MICROMET_VERSION, MICROMET_GIT);
    add_config(facts, &c->config);
    add_fact(facts, "towers", "%s", towers);
    free(towers);
    add_fact(facts, "window", "%d", c->config.data.window);
    add_fact(facts, "preprocessing", "%s", MODEL_PREPROCESSING);
    add_fact(facts, "class_names", "%s", MODEL_CLASS_NAMES);
    add_threshold(facts, c);
    add_difference(facts);
    add_fact(facts, "gamma", "%s", c->gamma && !graph ? "true" : "false");
    add_fact(facts, "precision", "%s", graph && options->half ? "fp16" : "fp32");
    if (graph)
        add_fact(facts, "input", "%s", floats ? "float32 NCHW RGB 0..1" : "uint8 NHWC RGB 0..255");
    if (options->single_input) add_single(facts, c->config.data.level_count);
    return true;
}
