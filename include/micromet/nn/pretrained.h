/* Initial weights of the towers: a Keras HDF5 file (conv2d_N in creation order, kernels HWIO) or a
 * safetensors file with torchvision's names (kernels OIHW), with or without our tower prefix. Every
 * tower starts from the same arrays. */
#ifndef MICROMET_NN_PRETRAINED_H
#define MICROMET_NN_PRETRAINED_H

#include "micromet/format/weights.h"
#include "micromet/nn/model.h"

struct pretrained {
    char path[PATH_MAX_BYTES];
    struct weights weights;
    bool keras; /* HDF5, by Keras' names */
    bool gamma; /* batch norm has scales: model_spec.gamma must say so */
};

/* The kind is told by the file's first bytes. */
bool pretrained_open(struct pretrained *pretrained, const char *path, struct error *err);
/* Fill every tower, and the head where the file has one of the same shape; names what is missing or
 * misshapen. Calls model_refresh(). *head_taken tells whether the head came from the file. */
bool pretrained_apply(const struct pretrained *pretrained, struct model *model, bool *head_taken,
                      struct error *err);
void pretrained_release(struct pretrained *pretrained);

#endif
