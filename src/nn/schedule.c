/* Learning-rate schedules; the formulas are in the header. */
#include "micromet/nn/schedule.h"

#include <math.h>

void schedule_init(struct schedule_state *state, const struct config *config)
{
    *state = (struct schedule_state) { .plateau_rate = config->optimizer.learning_rate,
                                       .best = INFINITY };
}

static double cosine(const struct config *config, int64_t examples, int64_t total_examples)
{
    const double peak = config->optimizer.learning_rate, low = config->schedule.min;
    const int64_t warmup = config->schedule.warmup_examples;
    if (examples < warmup) return peak * (double)(examples + 1) / (double)(warmup + 1);
    if (total_examples <= warmup) return peak;
    const double share = (double)(examples - warmup) / (double)(total_examples - warmup);
    return low + (peak - low) * 0.5 * (1 + cos(acos(-1.0) * (share < 1 ? share : 1)));
}

double schedule_rate(const struct schedule_state *state, const struct config *config,
                     int64_t examples, int64_t total_examples)
{
    const struct config_schedule *s = &config->schedule;
    double rate = config->optimizer.learning_rate;
    switch (s->name) {
    case SCHEDULE_CONSTANT:
        return rate;
    case SCHEDULE_PLATEAU:
        return state->plateau_rate;
    case SCHEDULE_COSINE:
        return cosine(config, examples, total_examples);
    case SCHEDULE_EXPONENTIAL: {
        const int64_t falls = examples / s->decay_examples;
        rate *= pow(s->factor, (double)falls);
        return rate > s->min ? rate : s->min;
    }
    }
    return rate;
}

void schedule_epoch_end(struct schedule_state *state, const struct config *config,
                        double validation_loss)
{
    if (validation_loss < state->best) {
        state->best = validation_loss;
        state->bad_epochs = 0;
        return;
    }
    if (++state->bad_epochs < config->schedule.patience) return;
    const double rate = state->plateau_rate * config->schedule.factor;
    state->plateau_rate = rate > config->schedule.min ? rate : config->schedule.min;
    state->bad_epochs = 0;
}
