/* Controls of the simulated cuDNN for tests, in addition to simulated_control.h. */
#ifndef MICROMET_TESTS_SIMULATED_DNN_CONTROL_H
#define MICROMET_TESTS_SIMULATED_DNN_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The forms of graph that have engines. */
enum simulated_dnn_form {
    SIMULATED_FORWARD,
    SIMULATED_FORWARD_BIAS,
    SIMULATED_FORWARD_RELU,
    SIMULATED_FORWARD_BIAS_RELU,
    SIMULATED_BACKWARD_DATA,
    SIMULATED_BACKWARD_FILTER,
    SIMULATED_FORMS
};

/* Percentage of plans of a form that are refused on finalising; default 25. Below 100, engine 0 of
 * the fallback list is never refused. Environment: MICROMET_SIMULATED_REFUSE=25 for all forms,
 * MICROMET_SIMULATED_REFUSE_FUSED=100 for those that are compiled when planned. */
void simulated_dnn_refuse(enum simulated_dnn_form form, int percent);
/* Whether views x, or y, that are slices have no engines. */
void simulated_dnn_refuse_slices(bool x, bool y);
/* Choose the order of engines and which plans are refused. Environment:
 * MICROMET_SIMULATED_DNN_SEED. */
void simulated_dnn_seed(uint64_t seed);
/* Cache inputs and outputs of executed plans in up to `bytes` of memory: an execution with bitwise
 * the same inputs as an earlier one copies its output instead of computing it. Off by default. */
void simulated_dnn_remember(size_t bytes);
int64_t simulated_dnn_remembered(void); /* executions answered from the cache */

#ifdef __cplusplus
}
#endif

#endif
