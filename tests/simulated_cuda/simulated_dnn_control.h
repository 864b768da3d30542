/* What tests ask of the simulated cuDNN, besides simulated_control.h. */
#ifndef MICROMET_TESTS_SIMULATED_DNN_CONTROL_H
#define MICROMET_TESTS_SIMULATED_DNN_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The graphs that there are engines for. */
enum simulated_dnn_form {
    SIMULATED_FORWARD,
    SIMULATED_FORWARD_BIAS,
    SIMULATED_FORWARD_RELU,
    SIMULATED_FORWARD_BIAS_RELU,
    SIMULATED_BACKWARD_DATA,
    SIMULATED_BACKWARD_FILTER,
    SIMULATED_FORMS
};

/* How many of 100 plans of the form are refused when they are finalised. Below 100, engine 0 of
 * the fallback list never is. 25 unless changed; MICROMET_SIMULATED_REFUSE=25 in the
 * environment sets it for all forms, MICROMET_SIMULATED_REFUSE_FUSED=100 for those that are
 * compiled when planned. */
void simulated_dnn_refuse(enum simulated_dnn_form form, int percent);
/* Whether there are no engines for a view x, or y, that is a slice. */
void simulated_dnn_refuse_slices(bool x, bool y);
/* Which engines come first, and which are refused. Also MICROMET_SIMULATED_DNN_SEED in the
 * environment. */
void simulated_dnn_seed(uint64_t seed);
/* Keep executions of plans, inputs and outputs, as far as they fit into `bytes`: one whose inputs
 * are an earlier one's, bit for bit, leaves what that left and is not computed again. Nothing is
 * kept unless asked for. */
void simulated_dnn_remember(size_t bytes);
int64_t simulated_dnn_remembered(void); /* executions that were not computed again */

#ifdef __cplusplus
}
#endif

#endif
