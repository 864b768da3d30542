/* Update rules, element by element, as their sources define them (g gradient, p parameter, lr
 * learning rate):
 *
 * adam     Kingma & Ba 2015, as Keras and PyTorch compute it: m = b1*m + (1-b1)*g;
 *          v = b2*v + (1-b2)*g²; p -= lr * (m/(1-b1^t)) / (sqrt(v/(1-b2^t)) + epsilon)
 * adamw    Loshchilov & Hutter 2019, as torch.optim.AdamW computes it: p -= lr*weight_decay*p, then
 *          as adam, of the gradient alone
 * rmsprop  TensorFlow 1 tf.train.RMSPropOptimizer (the paper's): ms = decay*ms + (1-decay)*g²;
 *          mom = momentum*mom + lr*g/sqrt(ms + epsilon); p -= mom.  ms starts at one, mom at zero
 * sgd      mom = momentum*mom + g; p -= lr*mom
 * But in adamw, weight_decay adds weight_decay*p to g first (0 by default). */
#ifndef MICROMET_NN_OPTIMIZER_H
#define MICROMET_NN_OPTIMIZER_H

#include "micromet/base/config.h"

/* Initial value of state1 or state2. */
float optimizer_initial_state(enum optimizer_name name, int state);
int optimizer_state_count(enum optimizer_name name); /* 1 for sgd, else 2 */

#endif
