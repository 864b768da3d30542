/* The layers of a .keras file's config.json by the path under which model.weights.h5
 * keeps their variables. */
#ifndef MICROMET_FORMAT_KERAS_LAYERS_H
#define MICROMET_FORMAT_KERAS_LAYERS_H

#include <stddef.h>

struct keras_layers;

/* NULL for what is not the configuration of a functional or sequential model. */
struct keras_layers *keras_layers_parse(const char *json, size_t size);
/* Of the layer saved at "layers/conv2d_1"; NULL where there is none. */
const char *keras_layers_name(const struct keras_layers *layers, const char *place);
void keras_layers_free(struct keras_layers *layers);

#endif
