/* The layer names in a .keras file's config.json, by the path at which model.weights.h5 keeps
 * their variables. */
#ifndef MICROMET_FORMAT_KERAS_LAYERS_H
#define MICROMET_FORMAT_KERAS_LAYERS_H

#include <stddef.h>

struct keras_layers;

/* NULL if `json` is not the configuration of a functional or sequential model. */
struct keras_layers *keras_layers_parse(const char *json, size_t size);
/* Name of the layer saved at `place` ("layers/conv2d_1"); NULL if there is none. */
const char *keras_layers_name(const struct keras_layers *layers, const char *place);
void keras_layers_free(struct keras_layers *layers);

#endif
