/* What the simulated cuDNN refuses to set, finalise and execute, with cuDNN's statuses. */
#include <criterion/criterion.h>

#include "convolution_problem.h"
#include "simulated_control.h"
#include "simulated_dnn_control.h"

static const int64_t dims[4] = { 2, 8, 5, 4 };

Test(simulated_descriptors, attributes_are_checked_as_they_are_set)
{
    const descriptor d = raw_tensor_descriptor(CUDNN_DATA_FLOAT, dims, 8, 0, false);
    const int64_t one = 1;
    const float real = 1;
    const cudnnDataType_t type = CUDNN_DATA_FLOAT;
    cr_expect_eq(
        cudnnBackendSetAttribute(NULL, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &one),
        CUDNN_STATUS_BAD_PARAM_NULL_POINTER);
    cr_expect_eq(
        cudnnBackendSetAttribute(d, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_FLOAT, 1, &real),
        CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE);
    cr_expect_eq(
        cudnnBackendSetAttribute(d, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 2, dims),
        CUDNN_STATUS_BAD_PARAM);
    cr_expect_eq(
        cudnnBackendSetAttribute(d, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, NULL),
        CUDNN_STATUS_BAD_PARAM);
    cr_expect_eq(cudnnBackendSetAttribute(d, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE,
                                          1, &type),
                 CUDNN_STATUS_BAD_PARAM);
    int64_t count, value;
    cr_expect_eq(cudnnBackendGetAttribute(d, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1,
                                          &count, &value),
                 CUDNN_STATUS_NOT_INITIALIZED);
    expect_cudnn(cudnnBackendFinalize(d));
    cr_expect_eq(cudnnBackendFinalize(d), CUDNN_STATUS_BAD_PARAM);
    cr_expect_eq(
        cudnnBackendSetAttribute(d, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &one),
        CUDNN_STATUS_BAD_PARAM);
    cr_expect_eq(cudnnBackendGetAttribute(d, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_FLOAT, 1,
                                          &count, &value),
                 CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE);
    expect_cudnn(cudnnBackendGetAttribute(d, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 0,
                                          &count, NULL));
    cr_expect_eq(count, 4);
    descriptor_destroy(d);
    expect_no_leaks();
}

Test(simulated_descriptors, finalising_looks_at_everything_below)
{
    const int64_t wrong[4] = { 2, 12, 5, 5 };
    struct problem p = problem_make(FORWARD, DTYPE_F32, 8);
    descriptor d = descriptor_create(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    cr_expect_eq(cudnnBackendFinalize(d), CUDNN_STATUS_BAD_PARAM, "an empty tensor");
    descriptor_destroy(d);

    d = convolution_operation(FORWARD, convolution_descriptor(2, 1),
                              tensor_descriptor(&p.x, UID_X, false),
                              tensor_descriptor(&p.w, UID_W, false),
                              raw_tensor_descriptor(CUDNN_DATA_FLOAT, dims, 40, UID_Y, false), 0);
    cr_expect_eq(cudnnBackendFinalize(d), CUDNN_STATUS_BAD_PARAM, "y is not finalised");
    descriptor graph = descriptor_create(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    cr_expect_eq(cudnnBackendSetAttribute(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS,
                                          CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &d),
                 CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED);
    cr_expect_eq(cudnnBackendFinalize(graph), CUDNN_STATUS_BAD_PARAM, "an empty graph");
    descriptor_destroy(d);

    const descriptor y = raw_tensor_descriptor(CUDNN_DATA_FLOAT, wrong, 40, UID_Y, false);
    expect_cudnn(cudnnBackendFinalize(y));
    d = convolution_operation(FORWARD, convolution_descriptor(2, 1),
                              tensor_descriptor(&p.x, UID_X, false),
                              tensor_descriptor(&p.w, UID_W, false), y, 0);
    cr_expect_eq(cudnnBackendFinalize(d), CUDNN_STATUS_BAD_PARAM, "y does not fit");
    descriptor_destroy(d);

    d = descriptor_create(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    const cudnnBackendHeurMode_t mode = CUDNN_HEUR_MODE_A;
    descriptor_set(d, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    descriptor_set_child(d, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
    cr_expect_eq(cudnnBackendFinalize(d), CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED);
    descriptor_destroy(d);
    descriptor_destroy(graph);

    d = descriptor_create(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    cr_expect_eq(cudnnBackendFinalize(d), CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED,
                 "a plan without an engine");
    descriptor_destroy(d);
    d = descriptor_create(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
    cr_expect_eq(cudnnBackendFinalize(d), CUDNN_STATUS_NOT_INITIALIZED, "no device");
    descriptor_set(d, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, 3, "{x}");
    cr_expect_eq(cudnnBackendFinalize(d), CUDNN_STATUS_BAD_PARAM, "no JSON");
    descriptor_destroy(d);
    problem_release(&p);
    expect_no_leaks();
}

Test(simulated_descriptors, what_execution_refuses)
{
    struct problem p = problem_make(FORWARD, DTYPE_BF16, 8);
    descriptor configs[ENGINES_MAX], plan;
    const descriptor graph = problem_graph(&p);
    cudnnHandle_t handle;
    int64_t promised, workspace;
    expect_cudnn(cudnnCreate(&handle));
    simulated_dnn_refuse(SIMULATED_FORWARD, 0);
    const int count = configs_list(graph, CUDNN_HEUR_MODE_A, configs, &promised);
    for (int i = 0; i < count; i++) {
        expect_cudnn(plan_try(configs[i], &plan, &workspace));
        descriptor pack = problem_pack(&p, NULL);
        if (workspace > 0)
            cr_expect_eq(cudnnBackendExecute(handle, plan, pack),
                         CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "no workspace");
        descriptor_destroy(pack);
        p.y.first = 1;
        pack = problem_pack(&p, p.y.device);
        cr_expect_eq(cudnnBackendExecute(handle, plan, pack),
                     CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER);
        cr_expect_eq(cudnnBackendExecute(NULL, plan, pack), CUDNN_STATUS_BAD_PARAM);
        p.y.first = 16;
        descriptor_destroy(pack);
        pack = descriptor_create(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
        cr_expect_eq(cudnnBackendExecute(handle, plan, pack), CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED);
        descriptor_destroy(pack);
        descriptor_destroy(plan);
    }
    configs_release(configs);
    descriptor_destroy(graph);
    expect_cudnn(cudnnDestroy(handle));
    problem_release(&p);
    expect_no_leaks();
}

Test(simulated_descriptors, injected_failures)
{
    descriptor d = NULL;
    cudnnHandle_t handle;
    simulated_fail("cudnnBackendCreateDescriptor", 1);
    cr_expect_eq(cudnnBackendCreateDescriptor(CUDNN_BACKEND_TENSOR_DESCRIPTOR, &d),
                 CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED);
    d = raw_tensor_descriptor(CUDNN_DATA_FLOAT, dims, 8, 0, false);
    simulated_fail("cudnnBackendFinalize", 1);
    cr_expect_eq(cudnnBackendFinalize(d), CUDNN_STATUS_NOT_SUPPORTED);
    expect_cudnn(cudnnBackendFinalize(d));
    descriptor_destroy(d);
    simulated_no_device(true);
    cr_expect_eq(cudnnCreate(&handle), CUDNN_STATUS_NOT_INITIALIZED);
    expect_no_leaks();
}
