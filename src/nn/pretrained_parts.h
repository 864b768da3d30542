/* Internal to pretrained*.c: matching the arrays of a file to the parts of towers. */
#ifndef MICROMET_NN_PRETRAINED_PARTS_H
#define MICROMET_NN_PRETRAINED_PARTS_H

#include "micromet/nn/pretrained.h"

/* Where an array of the file belongs; tower, unit and part are set for USE_TOWER. */
struct array_place {
    enum array_use use;
    int tower, unit;
    enum unit_part part;
};

/* Find unit and part by name ("Mixed_5b.branch1x1.bn.bias"); false for other names. */
bool unit_find(const char *name, int *unit, enum unit_part *part);
/* The end of its arrays' names: "bn.bias". */
const char *unit_part_name(enum unit_part part);

/* Assign a place to every array of the file, in `places`; sets matching and towers. */
bool pretrained_match(struct pretrained *pretrained, struct array_place *places, struct error *err);

/* Match and check the arrays in pretrained->weights: everything of opening but reading the file. */
bool pretrained_take(struct pretrained *pretrained, struct error *err);

/* The values of a part of one of the file's towers, in PyTorch's layout. */
bool pretrained_part_values(const struct pretrained *pretrained, int tower, int unit,
                            enum unit_part part, float *values, struct error *err);
/* The same for an array of the head, which must exist. */
bool pretrained_head_values(const struct pretrained *pretrained, const char *name, float *values,
                            struct error *err);

/* Whether a model's `towers` towers are the file's, in order, so that its head can be used. */
bool pretrained_same_towers(const struct pretrained *pretrained, int towers);

#endif
