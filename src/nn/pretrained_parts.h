/* Between the files of pretrained: matching a file's arrays, and the names of what they
 * are matched to. */
#ifndef MICROMET_NN_PRETRAINED_PARTS_H
#define MICROMET_NN_PRETRAINED_PARTS_H

#include "micromet/nn/pretrained.h"

/* Where one array of the file belongs; tower, unit and part for USE_TOWER. */
struct array_place {
    enum array_use use;
    int tower, unit;
    enum unit_part part;
};

/* "Mixed_5b.branch1x1.bn.bias" is a part of a unit; false for other names. */
bool unit_find(const char *name, int *unit, enum unit_part *part);
/* "bn.bias" */
const char *unit_part_name(enum unit_part part);

/* Find a place for every array of the file, one each in `places`; sets matching and towers. */
bool pretrained_match(struct pretrained *pretrained, struct array_place *places, struct error *err);

/* Match and check what pretrained->weights holds: all of opening but the reading. */
bool pretrained_take(struct pretrained *pretrained, struct error *err);

/* The values of a part of the file's tower in torch's order. */
bool pretrained_part_values(const struct pretrained *pretrained, int tower, int unit,
                            enum unit_part part, float *values, struct error *err);
/* The same of an array of the head, which is there. */
bool pretrained_head_values(const struct pretrained *pretrained, const char *name, float *values,
                            struct error *err);

/* May a head of this model of `towers` towers be the file's: are they the file's own,
 * in its order? */
bool pretrained_same_towers(const struct pretrained *pretrained, int towers);

#endif
