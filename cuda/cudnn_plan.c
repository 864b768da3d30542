/* Choosing among cuDNN's engines, serializing plans and running them; see the header. */
#include "cudnn_plan.h"

#include <stdlib.h>
#include <string.h>

#include "cudnn_attributes.h"
#include "micromet/base/size.h"

enum { CANDIDATES_MAX = 128 };

/* --- targets --- */

static bool target_init(struct cudnn_target *target, cudnnBackendAttributeName_t name,
                        cudnnBackendAttributeType_t type, int64_t count, const void *value,
                        struct error *err)
{
    *target = (struct cudnn_target) { 0 };
    if (cudnn_create(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &target->device, err) &&
        cudnn_set(target->device, name, type, count, value, err) &&
        cudnn_finalize(target->device, err))
        return true;
    cudnn_target_release(target);
    return false;
}

bool cudnn_target_handle(struct cudnn_target *target, cudnnHandle_t handle, struct error *err)
{
    return target_init(target, CUDNN_ATTR_DEVICEPROP_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle, err);
}

bool cudnn_target_json(struct cudnn_target *target, const char *json, struct error *err)
{
    return target_init(target, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
                       (int64_t)strlen(json), json, err);
}

void cudnn_target_release(struct cudnn_target *target)
{
    cudnn_destroy(&target->device);
}

/* --- plans --- */

void cudnn_plan_release(struct cudnn_plan *plan)
{
    cudnn_destroy(&plan->pack);
    cudnn_destroy(&plan->plan);
    cudnn_destroy(&plan->config);
    *plan = (struct cudnn_plan) { 0 };
}

/* Whether the engine is deterministic and precise enough. */
static bool engine_fits(cudnnBackendDescriptor_t engine, const struct op *op,
                        const struct cudnn_limits *limits, struct error *err)
{
    cudnnBackendNumericalNote_t notes[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    int64_t count = 0;
    if (!CUDNN_OK(cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
                                           CUDNN_TYPE_NUMERICAL_NOTE,
                                           CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &count, notes),
                  err))
        return false;
    for (int i = 0; i < count; i++) {
        if (notes[i] == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC)
            return error_set(err, EXIT_CODE_FAILED, "its sums come in no fixed order");
        const bool narrower = notes[i] == CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS ||
                              (notes[i] == CUDNN_NUMERICAL_NOTE_TENSOR_CORE &&
                               !limits->tensor_cores);
        if (op->x.dtype == DTYPE_F32 && narrower)
            return error_set(err, EXIT_CODE_FAILED, "it computes with fewer bits than float32");
    }
    return true;
}

static bool read_workspace(struct cudnn_plan *plan, const struct cudnn_limits *limits,
                           struct error *err)
{
    int64_t workspace = 0, one;
    if (!CUDNN_OK(cudnnBackendGetAttribute(plan->plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                                           CUDNN_TYPE_INT64, 1, &one, &workspace),
                  err))
        return false;
    plan->workspace_bytes = (size_t)workspace;
    if (plan->workspace_bytes <= limits->workspace_bytes) return true;
    return error_set(err, EXIT_CODE_FAILED, "it needs %.1f MiB of workspace, more than %.1f MiB",
                     mib(workspace), mib(limits->workspace_bytes));
}

/* Takes ownership of the configuration. */
static bool plan_from_config(struct cudnn_plan *plan, cudnnBackendDescriptor_t config,
                             const struct op *op, const struct cudnn_target *target,
                             const struct cudnn_limits *limits, struct error *err)
{
    cudnnBackendDescriptor_t engine = NULL;
    int64_t one;
    *plan = (struct cudnn_plan) { .config = config };
    const bool ok =
        cudnn_create(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine, err) &&
        CUDNN_OK(cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_ENGINE,
                                          CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &one, &engine),
                 err) &&
        CUDNN_OK(cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64,
                                          1, &one, &plan->engine),
                 err) &&
        engine_fits(engine, op, limits, err) &&
        cudnn_create(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &plan->plan, err) &&
        cudnn_set_descriptor(plan->plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config, err) &&
        cudnn_set_descriptor(plan->plan, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, target->device,
                             err) &&
        cudnn_finalize(plan->plan, err) && read_workspace(plan, limits, err);
    cudnn_destroy(&engine);
    if (!ok) cudnn_plan_release(plan);
    return ok;
}

/* The engine configurations that cuDNN suggests in one mode of its heuristics. */
static bool list_configs(const struct cudnn_graph *graph, const struct cudnn_target *target,
                         cudnnBackendHeurMode_t mode, cudnnBackendDescriptor_t *configs, int *count,
                         struct error *err)
{
    cudnnBackendDescriptor_t heuristics = NULL;
    int64_t found = 0;
    *count = 0;
    bool ok =
        cudnn_create(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, &heuristics, err) &&
        cudnn_set_descriptor(heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph->graph,
                             err) &&
        cudnn_set(heuristics, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode, err) &&
        cudnn_set_descriptor(heuristics, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, target->device, err) &&
        cudnn_finalize(heuristics, err) &&
        CUDNN_OK(cudnnBackendGetAttribute(heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                          CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &found, NULL),
                 err);
    if (found > CANDIDATES_MAX) found = CANDIDATES_MAX;
    for (; ok && *count < found; ++*count)
        ok = cudnn_create(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &configs[*count], err);
    const int made = *count;
    if (ok && found > 0)
        ok = CUDNN_OK(cudnnBackendGetAttribute(heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                               CUDNN_TYPE_BACKEND_DESCRIPTOR, found, &found,
                                               configs),
                      err);
    *count = ok ? (int)found : 0;
    for (int i = *count; i < made; i++) cudnn_destroy(&configs[i]);
    cudnn_destroy(&heuristics);
    return ok;
}

bool cudnn_plan_op(struct cudnn_plan *plans, int most, int *count, const struct op *op,
                   const struct cudnn_target *target, const struct cudnn_limits *limits,
                   struct error *err)
{
    static const cudnnBackendHeurMode_t modes[] = { CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_B,
                                                    CUDNN_HEUR_MODE_FALLBACK };
    struct cudnn_graph graph;
    struct error refusal = { 0 };
    int tried = 0;
    *count = 0;
    if (!cudnn_graph_init(&graph, op, err)) return false;
    for (size_t m = 0; m < COUNT_OF(modes) && *count == 0; m++) {
        cudnnBackendDescriptor_t configs[CANDIDATES_MAX] = { NULL };
        int listed;
        error_clear(&refusal);
        if (!list_configs(&graph, target, modes[m], configs, &listed, &refusal)) continue;
        for (int i = 0; i < listed; i++) {
            if (*count == most) {
                cudnn_destroy(&configs[i]);
                continue;
            }
            tried++;
            error_clear(&refusal);
            *count += plan_from_config(&plans[*count], configs[i], op, target, limits, &refusal);
        }
    }
    cudnn_graph_release(&graph);
    if (*count > 0) return true;
    return error_set(err, EXIT_CODE_FAILED, "cuDNN has no engine (%d tried): %.800s", tried,
                     refusal.message[0] ? refusal.message : "none is listed");
}

bool cudnn_plan_serialize(const struct cudnn_plan *plan, char **json, size_t *size,
                          struct error *err)
{
    int64_t length = 0;
    *json = NULL;
    if (!CUDNN_OK(cudnnBackendGetAttribute(plan->plan,
                                           CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION,
                                           CUDNN_TYPE_CHAR, 0, &length, NULL),
                  err))
        return false;
    *json = malloc((size_t)length + 1);
    if (!*json) return error_set(err, EXIT_CODE_FAILED, "out of memory for a plan of cuDNN");
    if (!CUDNN_OK(cudnnBackendGetAttribute(plan->plan,
                                           CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION,
                                           CUDNN_TYPE_CHAR, length, &length, *json),
                  err)) {
        free(*json);
        *json = NULL;
        return false;
    }
    *size = (size_t)length;
    return true;
}

bool cudnn_plan_load(struct cudnn_plan *plan, const char *json, size_t size, int64_t engine,
                     const struct cudnn_target *target, const struct cudnn_limits *limits,
                     struct error *err)
{
    *plan = (struct cudnn_plan) { .engine = engine };
    if (cudnn_create(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &plan->plan, err) &&
        cudnn_set_descriptor(plan->plan, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, target->device,
                             err) &&
        cudnn_set(plan->plan, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
                  (int64_t)size, json, err) &&
        cudnn_finalize(plan->plan, err) && read_workspace(plan, limits, err))
        return true;
    cudnn_plan_release(plan);
    return false;
}

/* --- running --- */

static bool make_pack(struct cudnn_plan *plan, void *const tensors[CUDNN_TENSORS], void *workspace,
                      struct error *err)
{
    int64_t uids[CUDNN_TENSORS];
    void *pointers[CUDNN_TENSORS];
    int count = 0;
    for (int t = 0; t < CUDNN_TENSORS; t++) {
        plan->pointers[t] = tensors[t];
        if (!tensors[t]) continue;
        uids[count] = t;
        pointers[count++] = tensors[t];
    }
    plan->pointers[CUDNN_TENSORS] = workspace;
    return cudnn_create(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &plan->pack, err) &&
           cudnn_set(plan->pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, count, uids,
                     err) &&
           cudnn_set(plan->pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, count,
                     pointers, err) &&
           cudnn_set(plan->pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1,
                     &workspace, err) &&
           cudnn_finalize(plan->pack, err);
}

bool cudnn_plan_run(struct cudnn_plan *plan, cudnnHandle_t handle,
                    void *const tensors[CUDNN_TENSORS], void *workspace, struct error *err)
{
    const bool same = plan->pack && plan->pointers[CUDNN_TENSORS] == workspace &&
                      memcmp(plan->pointers, tensors, CUDNN_TENSORS * sizeof *tensors) == 0;
    if (!same) {
        cudnn_destroy(&plan->pack);
        if (!make_pack(plan, tensors, workspace, err)) return false;
    }
    return CUDNN_OK(cudnnBackendExecute(handle, plan->plan, plan->pack), err);
}
