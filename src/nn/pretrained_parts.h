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

/* The towers of a file whose arrays have torchvision's names, by what stands before the names. */
struct prefixes {
    const char *names[TOWERS_MAX]; /* array names, whose first `lengths` bytes are the prefix */
    size_t lengths[TOWERS_MAX];
    int count;
};
/* Find them. Prefixes that differ in a tower's number alone ("tower1.", "model.towers.1.") are one
 * set of weights; of several sets (a moving average beside the model, an ensemble), p->sets must
 * choose, or it is an error that lists them. */
bool pretrained_find_prefixes(const struct pretrained *pretrained, struct prefixes *found,
                              struct error *err);

/* Refuse values that no trained network has: NaN, infinities, negative variances, 10^9, a
 * convolution of zeros. Names array and index. */
bool pretrained_check_values(const struct pretrained *pretrained, struct error *err);

/* Whether it is an array of an optimizer's state, a counter … (USE_OTHER: not known). */
enum array_use pretrained_known_use(const char *name);

/* Find unit and part by name ("Mixed_5b.branch1x1.bn.bias"); false for other names. */
bool unit_find(const char *name, int *unit, enum unit_part *part);
/* The end of its arrays' names: "bn.bias". */
const char *unit_part_name(enum unit_part part);

/* Assign a place to every array of the file, in `places`; sets matching and towers. */
bool pretrained_match(struct pretrained *pretrained, const struct prefixes *prefixes,
                      struct array_place *places, struct error *err);

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
