/* The simulated engines: what they compute, in which order heuristics list them, and which plans
 * are refused.
 *
 * Callers must not rely on any particular engine, so a seed decides which come first and which are
 * refused when their plan is finalised; workspaces range from nothing to more than a caller may
 * want to provide. Problems without any engine are those for which cuDNN 9.19 was
 * found to have none. */
#include "cudnn_plan.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/base/size.h"

enum { TILES = 2, FALLBACK_ENGINES = 2, LARGE_WORKSPACE = (384 << 20) + 131 };

/* In cuDNN indices differ from graph to graph; here they do not. */
static const struct engine {
    int64_t index;
    int note_count;
    cudnnBackendNumericalNote_t notes[2];
    enum rounding rounding;                   /* of F32 inputs */
    int64_t workspace_bytes, bytes_per_pixel; /* pixels of x */
} engines[] = {
    /* the first are the fallback engines */
    { 0, 1, { CUDNN_NUMERICAL_NOTE_STRICT_NAN_PROP }, ROUND_NOT, 0, 0 },
    { 1, 0, { 0 }, ROUND_NOT, 48, 7 },
    { 9, 1, { CUDNN_NUMERICAL_NOTE_TENSOR_CORE }, ROUND_TF32, 10384, 0 },
    { 20, 1, { CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC }, ROUND_NOT, 0, 0 },
    { 40,
      2,
      { CUDNN_NUMERICAL_NOTE_TENSOR_CORE, CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS },
      ROUND_BF16,
      15,
      4 },
    { 45, 1, { CUDNN_NUMERICAL_NOTE_TENSOR_CORE }, ROUND_TF32, 0, 0 },
    { 57, 0, { 0 }, ROUND_NOT, LARGE_WORKSPACE, 0 },
    { 62, 1, { CUDNN_NUMERICAL_NOTE_TENSOR_CORE }, ROUND_TF32, 131, 0 },
};
enum { ENGINES = COUNT_OF(engines), CONFIGS = ENGINES * TILES };

/* --- controls of tests --- */

static pthread_once_t settings_once = PTHREAD_ONCE_INIT;
static uint64_t settings_seed;
static int refused_percent[SIMULATED_FORMS];
static bool slices_refused[2]; /* x, y */

static void settings_init(void)
{
    const char *seed = getenv("MICROMET_SIMULATED_DNN_SEED"),
               *percent = getenv("MICROMET_SIMULATED_REFUSE"),
               *fused = getenv("MICROMET_SIMULATED_REFUSE_FUSED");
    settings_seed = seed ? strtoull(seed, NULL, 10) : 1;
    for (int i = 0; i < SIMULATED_FORMS; i++) refused_percent[i] = percent ? atoi(percent) : 25;
    for (int i = SIMULATED_FORWARD_BIAS; fused && i <= SIMULATED_FORWARD_BIAS_RELU; i++)
        refused_percent[i] = atoi(fused);
}

void simulated_dnn_refuse(enum simulated_dnn_form form, int percent)
{
    pthread_once(&settings_once, settings_init);
    refused_percent[form] = percent;
}

void simulated_dnn_refuse_slices(bool x, bool y)
{
    slices_refused[0] = x;
    slices_refused[1] = y;
}

void simulated_dnn_seed(uint64_t seed)
{
    pthread_once(&settings_once, settings_init);
    settings_seed = seed;
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash ^= value + 0x9e3779b97f4a7c15u;
    hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9u;
    hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebu;
    return hash ^ (hash >> 31);
}

/* The same for equal problems, in every process with the same seed. */
static uint64_t problem_hash(const struct problem *problem)
{
    int64_t shape[sizeof problem->shape / sizeof(int64_t)];
    memcpy(shape, &problem->shape, sizeof shape);
    uint64_t hash = mix(settings_seed, (uint64_t)problem->form * 64 + (uint64_t)problem->x.type);
    for (size_t i = 0; i < COUNT_OF(shape); i++) hash = mix(hash, (uint64_t)shape[i]);
    return mix(mix(hash, (uint64_t)problem->x.strides[3]), (uint64_t)problem->y.strides[3]);
}

/* --- devices --- */

static cudnnStatus_t put_device_version(struct node *node, int version)
{
    int *detail = malloc(sizeof *detail);
    *detail = version;
    node->detail = detail;
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t describe_by_json(struct node *node, const char *elements, int64_t count)
{
    char *json = strndup(elements, (size_t)count);
    const char *key = strstr(json, "\"deviceVer\":");
    const int version = json[0] == '{' && key ? atoi(key + strlen("\"deviceVer\":")) : 0;
    free(json);
    if (version > 0) return put_device_version(node, version);
    return cudnn_refuse(CUDNN_STATUS_BAD_PARAM, "this is no description of a device");
}

cudnnStatus_t finalise_device(struct node *node)
{
    const char *json = node_elements(node, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION);
    const int *device = node_elements(node, CUDNN_ATTR_DEVICEPROP_DEVICE_ID);
    const cudnnHandle_t *handle = node_elements(node, CUDNN_ATTR_DEVICEPROP_HANDLE);
    if (json)
        return describe_by_json(node, json,
                                node_count(node, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION));
    if (handle) return put_device_version(node, (*handle)->device_version);
    struct cudaDeviceProp properties;
    if (device && cudaGetDeviceProperties(&properties, *device) == cudaSuccess)
        return put_device_version(node, properties.major * 100 + properties.minor * 10);
    return cudnn_refuse(CUDNN_STATUS_NOT_INITIALIZED, "the device is not named, or not there");
}

/* --- what engines can do --- */

static bool is_nhwc(const struct problem_tensor *t)
{
    const int64_t *d = t->dims, *s = t->strides;
    return s[1] == 1 && s[3] >= d[1] && s[2] == s[3] * d[3] && s[0] == s[2] * d[2];
}

static bool is_packed(const struct problem_tensor *t)
{
    return is_nhwc(t) && t->strides[3] == t->dims[1];
}

static bool is_fused(const struct problem *problem)
{
    return problem->form > SIMULATED_FORWARD && problem->form <= SIMULATED_FORWARD_BIAS_RELU;
}

/* x, w and y must have one type: cuDNN has no engine for a float32 filter gradient of bfloat16
 * inputs. Fused bfloat16 graphs read channels at least 8 bytes at a time, so 4 channels are
 * supported, 3 are not. */
static bool has_engines(const struct problem *p)
{
    if (p->form == SIMULATED_FORMS) return false;
    const cudnnDataType_t type = p->x.type;
    if ((type != CUDNN_DATA_FLOAT && type != CUDNN_DATA_BFLOAT16) || p->w.type != type ||
        p->y.type != type)
        return false;
    if (problem_has_bias(p) && p->bias.type != CUDNN_DATA_FLOAT) return false;
    if (!is_nhwc(&p->x) || !is_nhwc(&p->y) || !is_packed(&p->w)) return false;
    if (slices_refused[0] && !is_packed(&p->x)) return false;
    if (slices_refused[1] && !is_packed(&p->y)) return false;
    return !is_fused(p) || type == CUDNN_DATA_FLOAT || (p->shape.c % 4 == 0 && p->shape.k % 4 == 0);
}

static const struct engine *find_engine(int64_t index)
{
    for (int i = 0; i < ENGINES; i++)
        if (engines[i].index == index) return &engines[i];
    return NULL;
}

static bool engine_notes(const struct engine *engine, cudnnBackendNumericalNote_t note)
{
    for (int i = 0; i < engine->note_count; i++)
        if (engine->notes[i] == note) return true;
    return false;
}

/* Nondeterministic engines compute only gradients; an engine that rounds its inputs to a type needs
 * wider inputs. */
static bool engine_computes(const struct engine *engine, const struct problem *problem)
{
    if (!has_engines(problem)) return false;
    if (engine_notes(engine, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC) &&
        problem->form < SIMULATED_BACKWARD_DATA)
        return false;
    return !engine_notes(engine, CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS) ||
           problem->x.type == CUDNN_DATA_FLOAT;
}

cudnnStatus_t finalise_engine(struct node *node)
{
    const struct problem *problem = graph_problem(
        node_child(node, CUDNN_ATTR_ENGINE_OPERATION_GRAPH));
    const struct engine *engine = find_engine(
        node_integer(node, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, -1));
    if (problem->form == SIMULATED_FORMS)
        return cudnn_refuse(CUDNN_STATUS_NOT_SUPPORTED_GRAPH_PATTERN, "no engine knows this graph");
    if (!engine || !engine_computes(engine, problem))
        return cudnn_refuse(CUDNN_STATUS_NOT_SUPPORTED, "there is no such engine for this graph");
    node_put(node, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, engine->note_count, engine->notes);
    return CUDNN_STATUS_SUCCESS;
}

/* --- configurations: an engine and the one knob that all have --- */

static int64_t config_tile(const struct node *config)
{
    struct node *const *knobs = node_elements(config, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES);
    return node_count(config, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES)
               ? node_integer(knobs[0], CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, 0)
               : 0;
}

cudnnStatus_t finalise_config(struct node *node)
{
    struct node *const *knobs = node_elements(node, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES);
    const int64_t count = node_count(node, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES),
                  tile = config_tile(node);
    if (count == 0) return CUDNN_STATUS_SUCCESS;
    if (count > 1 ||
        node_enum(knobs[0], CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, -1) != CUDNN_KNOB_TYPE_TILE_SIZE ||
        tile < 0 || tile >= TILES)
        return cudnn_refuse(CUDNN_STATUS_NOT_SUPPORTED,
                            "the engine has no such knob, or it cannot be set so");
    return CUDNN_STATUS_SUCCESS;
}

/* Finalise `node` and take ownership of it. */
static struct node *finalised(struct node *node)
{
    if (node_finalise(node) != CUDNN_STATUS_SUCCESS)
        sim_defect("simulated cuDNN: its own descriptor does not finalise");
    return node;
}

static struct node *new_config(struct node *graph, const struct engine *engine, int64_t tile)
{
    const cudnnBackendKnobType_t type = CUDNN_KNOB_TYPE_TILE_SIZE;
    struct node *made = node_new(CUDNN_BACKEND_ENGINE_DESCRIPTOR),
                *knob = node_new(CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR);
    node_put(made, CUDNN_ATTR_ENGINE_OPERATION_GRAPH, 1, &graph);
    node_put(made, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, 1, &engine->index);
    finalised(made);
    node_put(knob, CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, 1, &type);
    node_put(knob, CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, 1, &tile);
    finalised(knob);
    struct node *config = node_new(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    node_put(config, CUDNN_ATTR_ENGINECFG_ENGINE, 1, &made);
    node_put(config, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, 1, &knob);
    node_release(made);
    node_release(knob);
    return finalised(config);
}

/* --- heuristics --- */

struct candidate {
    const struct engine *engine;
    int64_t tile;
    uint64_t rank;
};

static int by_rank(const void *a, const void *b)
{
    const uint64_t x = ((const struct candidate *)a)->rank, y = ((const struct candidate *)b)->rank;
    return (x > y) - (x < y);
}

static int list_candidates(const struct problem *problem, cudnnBackendHeurMode_t mode,
                           struct candidate list[CONFIGS])
{
    const bool fallback = mode == CUDNN_HEUR_MODE_FALLBACK;
    const uint64_t hash = mix(problem_hash(problem), mode == CUDNN_HEUR_MODE_B);
    int count = 0;
    for (int e = 0; e < (fallback ? FALLBACK_ENGINES : ENGINES); e++)
        for (int64_t tile = 0; tile < (fallback ? 1 : TILES); tile++)
            if (engine_computes(&engines[e], problem))
                list[count++] = (struct candidate) { &engines[e], tile,
                                                     mix(hash, (uint64_t)(e * TILES + tile)) };
    qsort(list, (size_t)count, sizeof *list, by_rank);
    return count;
}

cudnnStatus_t finalise_heuristics(struct node *node)
{
    pthread_once(&settings_once, settings_init);
    struct node *graph = *(struct node *const *)node_elements(
        node, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
    const int mode = node_enum(node, CUDNN_ATTR_ENGINEHEUR_MODE, 0);
    if (mode < 0 || mode >= CUDNN_HEUR_MODES_COUNT)
        return cudnn_refuse(CUDNN_STATUS_BAD_PARAM, "no such mode");
    struct candidate list[CONFIGS];
    struct node *configs[CONFIGS];
    const int count = list_candidates(graph_problem(graph), (cudnnBackendHeurMode_t)mode, list);
    for (int i = 0; i < count; i++) configs[i] = new_config(graph, list[i].engine, list[i].tile);
    node_put(node, CUDNN_ATTR_ENGINEHEUR_RESULTS, count, configs);
    for (int i = 0; i < count; i++) node_release(configs[i]);
    return CUDNN_STATUS_SUCCESS;
}

/* --- plans --- */

static bool is_refused(const struct problem *problem, const struct engine *engine, int64_t tile)
{
    const int percent = refused_percent[problem->form];
    if (engine->index == 0 && tile == 0 && percent < 100) return false;
    return mix(problem_hash(problem), 1000 + (uint64_t)(engine->index * TILES + tile)) % 100 <
           (uint64_t)percent;
}

cudnnStatus_t finalise_plan(struct node *node)
{
    pthread_once(&settings_once, settings_init);
    const struct node *config = node_child(node, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
    const struct node *made = node_child(config, CUDNN_ATTR_ENGINECFG_ENGINE);
    const struct node *device = node_child(node, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP);
    const struct engine *engine = find_engine(
        node_integer(made, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, -1));
    const struct problem *problem = graph_problem(
        node_child(made, CUDNN_ATTR_ENGINE_OPERATION_GRAPH));
    const int64_t tile = config_tile(config);
    if (is_refused(problem, engine, tile))
        return cudnn_refuse(CUDNN_STATUS_NOT_SUPPORTED,
                            "engine %lld with tile %lld: No GPC available",
                            (long long)engine->index, (long long)tile);
    const int64_t pixels = problem->shape.n * problem->shape.h * problem->shape.w;
    const int64_t workspace = (engine->workspace_bytes + engine->bytes_per_pixel * pixels) *
                              (tile + 1);
    struct prepared *prepared = calloc(1, sizeof *prepared);
    *prepared = (struct prepared) { .problem = *problem,
                                    .rounding = engine->rounding,
                                    .nondeterministic = engine_notes(
                                        engine, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC),
                                    .workspace_bytes = (size_t)workspace,
                                    .device_version = device ? *(const int *)device->detail : 0 };
    node->detail = prepared;
    node_put(node, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, 1, &workspace);
    return CUDNN_STATUS_SUCCESS;
}

const struct prepared *plan_prepared(const struct node *plan)
{
    return plan->detail;
}
