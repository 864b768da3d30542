/* The real InceptionV3 weights of the shared data (8-bit values with a scale per
 * array), as a safetensors file. */
#ifndef MICROMET_TESTS_REAL_WEIGHTS_H
#define MICROMET_TESTS_REAL_WEIGHTS_H

#include "micromet/base/error.h"

/* Whether the data are present. */
bool real_weights_present(void);
/* Write all 94 convolutions and batch norms under torchvision's names. */
bool real_weights_write(const char *path, struct error *err);

#endif
