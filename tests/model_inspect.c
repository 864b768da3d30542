/* Activations are read from a program built for the test, in which buffers never share memory. */
#include "model_inspect.h"

#include <stdlib.h>
#include <string.h>

#include "nn/model_parts.h"

const struct parameter *model_find(const struct model *model, const char *name, int *index)
{
    for (int i = 0; i < model_parameter_count(model); i++) {
        const struct parameter *p = model_parameter(model, i);
        if (strcmp(p->name, name) != 0) continue;
        if (index) *index = i;
        return p;
    }
    return NULL;
}

/* Extend the lifetime of every used tensor to the whole program. */
static void keep_tensors(struct program *program)
{
    for (int i = 0; i < program->buffer_count; i++) {
        struct buffer *buffer = &program->buffers[i];
        if (buffer->first < 0) continue;
        buffer->first = 0;
        buffer->last = program->count - 1;
    }
}

/* Copy a view of a program as dense float32, (n, h, w, c); malloc'ed. */
static bool dense_f32(const struct program *program, const struct view *view, float **out,
                      struct error *err)
{
    const struct backend_ops *ops = program->backend->ops;
    const struct tensor *t = &view->tensor;
    const int64_t pixels = tensor_pixels(t);
    const size_t element = dtype_bytes(t->dtype);
    const size_t bytes = (size_t)((pixels - 1) * t->pixel_stride + t->c) * element;
    char *data = malloc(bytes);
    float *values = malloc((size_t)(pixels * t->c) * sizeof *values);
    bool ok = (data && values) ||
              error_set(err, EXIT_CODE_FAILED, "out of memory for an activation");
    ok = ok && ops->copy(program->backend, 0, data, program_address(program, view), bytes, err) &&
         ops->synchronize(program->backend, err);
    for (int64_t p = 0; ok && p < pixels; p++)
        for (int c = 0; c < t->c; c++) {
            const void *at = data + (size_t)(p * t->pixel_stride + c) * element;
            values[p * t->c + c] = t->dtype == DTYPE_BF16 ? bf16_to_float(*(const uint16_t *)at)
                                                          : *(const float *)at;
        }
    free(data);
    if (ok)
        *out = values;
    else
        free(values);
    return ok;
}

static bool run_tower(struct program *program, struct tower *tower, const struct model_spec *spec,
                      void *device_input, struct tape **tape, struct error *err)
{
    const struct view in = program_tensor(program, DTYPE_F32, spec->batch, spec->window,
                                          spec->window, 3, device_input);
    const struct view features = program_tensor(program, DTYPE_F32, spec->batch, 1, 1,
                                                INCEPTION_FEATURES, NULL);
    const struct program_values values = { 0 };
    struct backend_facts *facts = &program->backend->facts;
    const int64_t chunk_bytes = facts->chunk_bytes;
    facts->chunk_bytes = 0; /* process whole batches */
    const bool built = tower_forward(tower, spec, false, program, in, features, tape, err);
    facts->chunk_bytes = chunk_bytes;
    if (!built) return false;
    keep_tensors(program);
    return program_finish(program, err) && tower_fold(tower, &program, 1, false, err) &&
           program_run(program, 0, program->count, &values, err) &&
           program->backend->ops->synchronize(program->backend, err);
}

bool model_activation(struct model *model, int tower, const float *input, const char *name,
                      float **values, int shape[4], struct error *err)
{
    const struct model_spec *spec = &model->spec;
    const struct backend_ops *ops = model->backend->ops;
    const size_t bytes = (size_t)spec->batch * (size_t)spec->window * (size_t)spec->window * 3 *
                         sizeof *input;
    struct program program;
    struct tape *tape = NULL;
    struct view wanted = view_none();
    void *device_input = NULL;
    *values = NULL;
    program_init(&program, model->backend);
    bool ok = ops->alloc(model->backend, bytes, &device_input, err) &&
              ops->copy(model->backend, 0, device_input, input, bytes, err) &&
              ops->synchronize(model->backend, err) &&
              run_tower(&program, &model->towers[tower], spec, device_input, &tape, err);
    if (ok) wanted = tape_view(tape, name);
    if (ok && wanted.buffer < 0)
        ok = error_set(err, EXIT_CODE_USAGE, "InceptionV3 has no tensor named '%s'", name);
    if (ok) {
        const struct tensor *t = &wanted.tensor;
        memcpy(shape, (int[4]) { t->n, t->h, t->w, t->c }, 4 * sizeof *shape);
        ok = dense_f32(&program, &wanted, values, err);
    }
    ops->free(model->backend, device_input);
    tape_release(tape);
    program_release(&program);
    return ok;
}
