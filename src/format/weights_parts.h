/* What the readers of weights share among themselves. */
#ifndef MICROMET_FORMAT_WEIGHTS_PARTS_H
#define MICROMET_FORMAT_WEIGHTS_PARTS_H

#include "micromet/format/weights.h"

/* Map a whole file, read-only, as weights->storage; NULL where it is empty. */
bool weights_map(struct weights *weights, const char *path, struct error *err);

#endif
