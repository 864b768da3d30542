/* Descriptors of the simulated cuDNN: their contents, and what finalising does for each kind.
 *
 * A handle refers to a node; a node holds an array of values for each attribute of its
 * kind. As in cuDNN, setting a descriptor as an attribute captures its current state, and
 * its handle may be destroyed right after. Finalised nodes are immutable, so they are
 * shared and reference-counted. */
#ifndef MICROMET_TESTS_CUDNN_DESCRIPTOR_H
#define MICROMET_TESTS_CUDNN_DESCRIPTOR_H

#include <cudnn.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "simulated.h"

enum { ATTRIBUTES_MAX = 8 };

struct node {
    atomic_int references;
    const struct kind *kind;
    bool finalised, listed; /* listed: the results of heuristics were handed out */
    struct {
        int64_t count;
        void *elements;       /* struct node * if the type is a descriptor */
    } values[ATTRIBUTES_MAX]; /* same order as kind->attributes */
    void *detail;             /* result of finalising; freed with the node */
};

struct cudnnContext {
    cudaStream_t stream;
    int device_version; /* 900 = sm_90 */
};

/* Store the message for cudnnGetLastErrorString() and return `status`. */
cudnnStatus_t cudnn_refuse(cudnnStatus_t status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The node of a handle, NULL for NULL. A handle that is destroyed or of another
 * type ends the test. */
struct node *node_of(cudnnBackendDescriptor_t descriptor, cudnnBackendDescriptorType_t type);
struct node *node_new(cudnnBackendDescriptorType_t type);
void node_release(struct node *node);
/* Set an attribute without the checks of cudnnBackendSetAttribute(). Nodes among the elements get
 * one more reference. */
void node_put(struct node *node, cudnnBackendAttributeName_t name, int64_t count,
              const void *elements);
cudnnStatus_t node_finalise(struct node *node);
cudnnBackendDescriptorType_t node_type(const struct node *node);

int64_t node_count(const struct node *node, cudnnBackendAttributeName_t name); /* 0 = not set */
/* NULL if not set. */
const void *node_elements(const struct node *node, cudnnBackendAttributeName_t name);
const struct node *node_child(const struct node *node, cudnnBackendAttributeName_t name);
int64_t node_integer(const struct node *node, cudnnBackendAttributeName_t name, int64_t otherwise);
int node_enum(const struct node *node, cudnnBackendAttributeName_t name, int otherwise);

/* Finalising of each kind; called when all required attributes are set and finalised. */
cudnnStatus_t finalise_tensor(struct node *node); /* cudnn_problem.c */
cudnnStatus_t finalise_convolution(struct node *node);
cudnnStatus_t finalise_pointwise(struct node *node);
cudnnStatus_t finalise_operation(struct node *node);
cudnnStatus_t finalise_graph(struct node *node);
cudnnStatus_t finalise_device(struct node *node); /* cudnn_plan.c */
cudnnStatus_t finalise_heuristics(struct node *node);
cudnnStatus_t finalise_engine(struct node *node);
cudnnStatus_t finalise_config(struct node *node);
cudnnStatus_t finalise_plan(struct node *node);
cudnnStatus_t finalise_pack(struct node *node); /* cudnn_execute.c */

#endif
