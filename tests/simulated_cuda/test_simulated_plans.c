/* Which plans the simulated cuDNN offers and refuses, and rebuilding plans from their parts. */
#include <criterion/criterion.h>

#include "convolution_problem.h"
#include "simulated_dnn_control.h"

static int engines_for(descriptor graph)
{
    descriptor configs[ENGINES_MAX];
    int64_t promised;
    const int count = configs_list(graph, CUDNN_HEUR_MODE_A, configs, &promised);
    configs_release(configs);
    return count;
}

Test(simulated_plans, graphs_without_engines)
{
    struct problem three = problem_make(FORWARD, DTYPE_BF16, 3);
    descriptor graph = problem_graph(&three);
    cr_expect(engines_for(graph) > 0, "3 channels alone");
    descriptor_destroy(graph);
    three.relu = three.has_bias = true;
    graph = problem_graph(&three);
    cr_expect_eq(engines_for(graph), 0, "3 channels in a fused graph");
    descriptor_destroy(graph);
    problem_release(&three);

    struct problem four = problem_make(FORWARD, DTYPE_BF16, 4);
    four.relu = true;
    graph = problem_graph(&four);
    cr_expect(engines_for(graph) > 0, "4 channels in a fused graph");
    descriptor_destroy(graph);
    problem_release(&four);

    struct problem mixed = problem_make(BACKWARD_FILTER, DTYPE_BF16, 8);
    array_release(&mixed.w);
    mixed.w = array_make(DTYPE_F32, 12, 3, 3, 8, 8, 0);
    graph = problem_graph(&mixed);
    cr_expect_eq(engines_for(graph), 0, "a float32 filter gradient of bfloat16");
    descriptor_destroy(graph);
    problem_release(&mixed);
    expect_no_leaks();
}

static int plans_of(const struct problem *p)
{
    descriptor configs[ENGINES_MAX], plan;
    const descriptor graph = problem_graph(p);
    int64_t promised, workspace;
    int plans = 0;
    const int count = configs_list(graph, CUDNN_HEUR_MODE_A, configs, &promised);
    cr_expect(promised > count, "as many as promised");
    for (int i = 0; i < count; i++) {
        plans += plan_try(configs[i], &plan, &workspace) == CUDNN_STATUS_SUCCESS;
        descriptor_destroy(plan);
    }
    configs_release(configs);
    descriptor_destroy(graph);
    return plans;
}

Test(simulated_plans, refusals_are_seeded_and_can_be_set)
{
    struct problem p = problem_make(FORWARD, DTYPE_BF16, 8);
    simulated_dnn_refuse(SIMULATED_FORWARD, 0);
    const int all = plans_of(&p);
    simulated_dnn_refuse(SIMULATED_FORWARD, 100);
    cr_expect_eq(plans_of(&p), 0);
    p.relu = true;
    cr_expect(plans_of(&p) > 0, "another form is refused too");
    p.relu = false;
    simulated_dnn_refuse(SIMULATED_FORWARD, 50);
    bool differ = false;
    for (uint64_t seed = 0; seed < 10; seed++) {
        simulated_dnn_seed(seed);
        const int some = plans_of(&p);
        cr_expect_eq(some, plans_of(&p), "the same seed, another answer");
        differ = differ || some < all;
    }
    cr_expect(differ);
    problem_release(&p);
    expect_no_leaks();
}

Test(simulated_plans, plans_can_be_made_again_from_engine_and_knobs)
{
    struct problem p = problem_make(FORWARD, DTYPE_BF16, 8);
    descriptor configs[ENGINES_MAX], plan, again;
    const descriptor graph = problem_graph(&p);
    int64_t promised, count, index, tile, bytes, bytes_again;
    simulated_dnn_refuse(SIMULATED_FORWARD, 0);
    const int listed = configs_list(graph, CUDNN_HEUR_MODE_B, configs, &promised);
    for (int i = 0; i < listed; i++) {
        descriptor engine = descriptor_create(CUDNN_BACKEND_ENGINE_DESCRIPTOR),
                   knob = descriptor_create(CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR);
        expect_cudnn(plan_try(configs[i], &plan, &bytes));
        expect_cudnn(cudnnBackendGetAttribute(configs[i], CUDNN_ATTR_ENGINECFG_ENGINE,
                                              CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count, &engine));
        expect_cudnn(cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX,
                                              CUDNN_TYPE_INT64, 1, &count, &index));
        expect_cudnn(cudnnBackendGetAttribute(configs[i], CUDNN_ATTR_ENGINECFG_KNOB_CHOICES,
                                              CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count, &knob));
        cr_assert_eq(count, 1);
        expect_cudnn(cudnnBackendGetAttribute(knob, CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE,
                                              CUDNN_TYPE_INT64, 1, &count, &tile));
        descriptor_destroy(engine);

        engine = descriptor_create(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
        descriptor_set_child(engine, CUDNN_ATTR_ENGINE_OPERATION_GRAPH, graph);
        descriptor_set(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &index);
        expect_cudnn(cudnnBackendFinalize(engine));
        const descriptor config = descriptor_create(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
        descriptor_set_child(config, CUDNN_ATTR_ENGINECFG_ENGINE, engine);
        descriptor_set_child(config, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, knob);
        expect_cudnn(cudnnBackendFinalize(config));
        expect_cudnn(plan_try(config, &again, &bytes_again));
        cr_expect_eq(bytes, bytes_again);
        descriptor_destroy(config);
        descriptor_destroy(again);
        descriptor_destroy(knob);
        descriptor_destroy(engine);
        descriptor_destroy(plan);
    }
    configs_release(configs);
    descriptor_destroy(graph);
    problem_release(&p);
    expect_no_leaks();
}
