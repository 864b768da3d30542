/* The size of a checkpoint before there is a model. */
#include "micromet/run/checkpoint.h"
#include "micromet/run/memory_plan.h"

bool checkpoint_size(const struct config *config, int64_t *bytes, struct error *err)
{
    const struct backend_facts facts = {
        .name = "dry", .queues = 1, .threads = 1, .input_channels = 3
    };
    struct dry_backend dry;
    struct model *model;
    *bytes = 0;
    dry_backend_init(&dry, &facts, NULL);
    if (!dry_model_open(&model, config, config->train.batch, DTYPE_F32, &dry, err)) return false;
    for (int i = 0; i < model_parameter_count(model); i++) {
        const struct parameter *p = model_parameter(model, i);
        const int arrays = 1 + (p->state1 != NULL) + (p->state2 != NULL) + (p->average != NULL);
        *bytes += p->count * arrays * (int64_t)sizeof(float);
    }
    model_release(model);
    return true;
}
