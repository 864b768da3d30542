/* A plan's copy of its weights: packed again whenever they have changed, or
 * loaded once by plan_load(). */
#include "cuda_backend.h"

bool weights_reserve(struct plan *plan, enum dtype dtype, int c, size_t bytes, struct error *err)
{
    struct plan_weights *own = &plan->weights;
    own->dtype = dtype;
    own->c = c;
    plan->bytes = bytes;
    return bytes == 0 || cuda_alloc(plan->backend, bytes, &own->packed, err) ||
           error_prefix(err, "packed weights");
}

void weights_release(struct plan *plan)
{
    CUDA_RELEASE(cudaFree(plan->weights.packed));
    CUDA_RELEASE(cudaFree(plan->weights.loaded));
}

static bool pack(struct plan *plan, const float *weights, struct error *err)
{
    const struct plan_weights *own = &plan->weights;
    const struct op *op = &plan->op;
    return CUDA_OK(launch_pack_weights(weights, op_weight_rows(op), op_weight_channels(op), own->c,
                                       own->dtype, own->packed, plan_stream(plan)),
                   err);
}

bool weights_take(struct plan *plan, const struct op_buffers *buffers, const void **weights,
                  struct error *err)
{
    struct plan_weights *own = &plan->weights;
    const float *given = own->loaded ? own->loaded : buffers->weights;
    *weights = own->packed ? own->packed : given;
    if (!own->packed || own->loaded_packed ||
        (own->is_packed && own->version == buffers->weights_version))
        return true;
    own->version = buffers->weights_version;
    own->is_packed = pack(plan, buffers->weights, err);
    return own->is_packed;
}

/* Reloaded weights replace the old ones at the same address, so that recordings stay valid. */
bool weights_load(struct plan *plan, const float *weights, struct error *err)
{
    struct plan_weights *own = &plan->weights;
    const size_t bytes = (size_t)op_weight_rows(&plan->op) * (size_t)op_weight_channels(&plan->op) *
                         sizeof *weights;
    void *given = own->loaded;
    const bool ok =
        (given || cuda_alloc(plan->backend, bytes, &given, err) || error_prefix(err, "weights")) &&
        CUDA_OK(cudaMemcpyAsync(given, weights, bytes, cudaMemcpyHostToDevice, plan_stream(plan)),
                err) &&
        (!own->packed || pack(plan, given, err)) &&
        CUDA_OK(cudaStreamSynchronize(plan_stream(plan)), err);
    if (ok && !own->packed) {
        if (!own->loaded) {
            plan->bytes += bytes;
            plan->backend->plan_bytes += bytes;
        }
        own->loaded = given;
        return true;
    }
    if (given != own->loaded) CUDA_RELEASE(cudaFree(given));
    own->loaded_packed = ok;
    return ok;
}
