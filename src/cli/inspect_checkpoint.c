/* Reports on a checkpoint: what wrote it and at which step, its model's input, its size and its
 * configuration. For weights of other programs, reports how they match the network. */
#include "inspect.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "micromet/base/text.h"
#include "micromet/nn/pretrained.h"
#include "micromet/run/checkpoint.h"

static const char state_prefix[] = "optimizer.";

struct contents {
    int arrays, states;
    long long values, state_values;
};

static struct contents contents_of(const struct weights *weights)
{
    struct contents c = { 0 };
    for (int i = 0; i < weights->count; i++) {
        const struct weight_array *array = &weights->arrays[i];
        const bool state = strncmp(array->name, state_prefix, strlen(state_prefix)) == 0;
        *(state ? &c.states : &c.arrays) += 1;
        *(state ? &c.state_values : &c.values) += array->count;
    }
    return c;
}

static void print_figure(const char *name, double value, const char *unknown)
{
    if (isnan(value))
        printf("%-13s %s\n", name, unknown);
    else
        printf("%-13s %.6g\n", name, value);
}

static void print_training(const struct checkpoint *c)
{
    const struct training_state *state = &c->state;
    printf("checkpoint    %s, version %d\n", SHOWN(c->path), c->version);
    printf("written by    %s\n", SHOWN(c->program));
    printf("training      step %lld, epoch %lld", (long long)state->step, (long long)state->epoch);
    if (state->examples) printf(" and %lld examples of the next one", (long long)state->examples);
    printf("\n");
    printf("sampler       no state: its order of epoch %lld follows from seed %llu\n",
           (long long)state->epoch + 1, (unsigned long long)c->config.seed);
    print_figure("best AUC", state->best_auc, "none: nothing was validated yet");
    if (!isnan(state->best_auc))
        printf("best epoch    %lld, %lld since\n", (long long)state->best_epoch,
               (long long)(state->epoch - state->best_epoch));
    print_figure("threshold", state->threshold, "none: nothing was validated yet");
}

static void print_model(const struct checkpoint *c)
{
    const struct config_model *model = &c->config.model;
    for (int tower = 0; tower < c->config.data.level_count; tower++) {
        printf("tower %d       ", tower);
        if (c->config.data.um_per_px_count)
            printf("by µm/px, %.9g times the finest", c->input.downsamples[tower]);
        else
            printf("level %d, downsample %.9g", c->config.data.levels[tower],
                   c->input.downsamples[tower]);
        if (c->input.um_per_px[tower] > 0) printf(", %.4g µm/px", c->input.um_per_px[tower]);
        printf("\n");
    }
    printf("window        %d px; the central %d px decide the label\n", c->config.data.window,
           c->config.data.center);
    printf("preprocessing %s\n", c->preprocessing);
    printf("classes       0 %s, 1 %s\n", SHOWN(c->class_names[0]), SHOWN(c->class_names[1]));
    printf("average pools %s padding\n", pool_padding_name(model->pool_padding));
    printf("freeze        %s\n", SHOWN(model->freeze));
    printf("head          ");
    for (int i = 0; i < model->head_count; i++) printf("%d, ", model->head[i]);
    printf("1\n");
    printf("batch norm    %s\n",
           c->gamma ? "with scale (gamma)" : "without scale, as Keras' model");
    printf("precision     %s\n", c->precision == PRECISION_BF16 ? "bf16" : "fp32");
}

static bool print_size(const struct checkpoint *c, struct error *err)
{
    const struct contents contents = contents_of(&c->weights);
    struct stat status;
    if (stat(c->path, &status) != 0)
        return error_set(err, EXIT_CODE_FAILED, "%s: cannot be read", c->path);
    printf("model         %d arrays, %lld values\n", contents.arrays, contents.values);
    printf("optimizer     %d arrays, %lld values\n", contents.states, contents.state_values);
    printf("size          %.1f MB\n", (double)status.st_size / 1e6);
    return true;
}

static bool print_checkpoint(const char *path, struct error *err)
{
    struct checkpoint checkpoint;
    if (!checkpoint_open(&checkpoint, path, err)) return false;
    print_training(&checkpoint);
    print_model(&checkpoint);
    bool ok = print_size(&checkpoint, err);
    if (ok) printf("\n# configuration\n");
    ok = ok && config_write(&checkpoint.config, stdout, err);
    checkpoint_release(&checkpoint);
    return ok;
}

static bool is_checkpoint(const struct weights *weights)
{
    const char *format = weights_metadata(weights, "format");
    return format && strcmp(format, "micromet checkpoint") == 0;
}

bool inspect_weights(const char *path, struct error *err)
{
    struct weights weights;
    struct pretrained pretrained;
    if (!weights_read(&weights, path, err)) return false;
    const bool checkpoint = is_checkpoint(&weights);
    weights_release(&weights);
    if (checkpoint) return print_checkpoint(path, err);
    if (!pretrained_open(&pretrained, path, err)) return false;
    pretrained_report(&pretrained, pretrained.towers, pretrained.uses[USE_HEAD] > 0, stdout);
    pretrained_release(&pretrained);
    return true;
}
