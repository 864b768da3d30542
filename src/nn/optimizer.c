/* Number and initial values of the update rules' states; the rules themselves run on
 * the backend. */
#include "micromet/nn/optimizer.h"

float optimizer_initial_state(enum optimizer_name name, int state)
{
    return name == OPTIMIZER_RMSPROP && state == 1 ? 1.0f : 0.0f;
}

int optimizer_state_count(enum optimizer_name name)
{
    return name == OPTIMIZER_SGD ? 1 : 2;
}
