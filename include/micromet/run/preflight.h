/* Checks of a configuration that need more than its schema: the network's shape, the program's
 * parts and the files that it names; never the slides, so that it can be checked where those are
 * not. All are of type config_checker. */
#ifndef MICROMET_RUN_PREFLIGHT_H
#define MICROMET_RUN_PREFLIGHT_H

#include "micromet/base/config.h"

/* What is wrong whatever else the configuration is used for, preparing packs as well. */
bool preflight_model(const struct config *config, const char **key, struct error *err);
/* The same, and what a training must fulfil, whatever files there are. */
bool preflight_training(const struct config *config, const char **key, struct error *err);
/* The same, and that manifest, weights and folders are what they are taken for. */
bool preflight_all(const struct config *config, const char **key, struct error *err);

#endif
