/* A moving average of what training changes: of the trained arrays and the moving statistics, which
 * come first in each queue's region. */
#include "model_parts.h"

static int64_t averaged(const struct region *region)
{
    return region->average ? region->trained + region->statistics : 0;
}

bool average_plan(struct model *model, struct error *err)
{
    for (int q = 0; q < model->backend->facts.queues; q++) {
        const int64_t count = averaged(&model->parameters.regions[q]);
        const struct op op = { .kind = OP_AVERAGE,
                               .name = "average",
                               .queue = q,
                               .average = { count, (float)(1 - model->spec.ema) } };
        if (count == 0) continue;
        if (!model->backend->ops->plan(model->backend, &op, &model->average_plans[q], err))
            return false;
    }
    return true;
}

bool average_run(struct model *model, struct error *err)
{
    for (int q = 0; q < model->backend->facts.queues; q++) {
        const struct region *region = &model->parameters.regions[q];
        const struct op_buffers buffers = { .x = region->values, .out = region->average };
        if (!model->average_plans[q]) continue;
        if (!model->backend->ops->run(model->average_plans[q], &buffers, err)) return false;
    }
    return true;
}

static bool copy(struct model *model, int queue, float *to, const float *from, int64_t count,
                 struct error *err)
{
    return model->backend->ops->copy(model->backend, queue, to, from, (size_t)count * sizeof(float),
                                     err);
}

bool model_start_average(struct model *model, struct error *err)
{
    for (int q = 0; q < model->backend->facts.queues; q++) {
        const struct region *region = &model->parameters.regions[q];
        const int64_t count = averaged(region);
        if (count > 0 && !copy(model, q, region->average, region->values, count, err)) return false;
    }
    return model->backend->ops->synchronize(model->backend, err);
}

/* By way of the gradients, as many at a time. */
bool model_swap_average(struct model *model, struct error *err)
{
    for (int mode = 0; mode < MODES; mode++)
        CHECK(model->submitted[mode] == model->collected[mode]); /* none is in flight */
    for (int q = 0; q < model->backend->facts.queues; q++) {
        const struct region *region = &model->parameters.regions[q];
        const int64_t count = averaged(region), most = region->trained;
        for (int64_t at = 0; at < count; at += most) {
            const int64_t some = count - at < most ? count - at : most;
            float *value = region->values + at, *average = region->average + at;
            if (!copy(model, q, region->gradients, value, some, err) ||
                !copy(model, q, value, average, some, err) ||
                !copy(model, q, average, region->gradients, some, err))
                return false;
        }
    }
    if (model->spec.ema > 0) model->trained_version++;
    return model->backend->ops->synchronize(model->backend, err);
}
