/* Opens the backend and logs what computes, with how many threads and at which precision. */
#include "micromet/run/session.h"

#include <math.h>
#include <string.h>

#include "micromet/base/log.h"
#include "micromet/base/size.h"
#include "micromet/base/thread.h"
#include "micromet/world/world.h"

/* The program, its libraries and their tables: measured resident size after opening a backend. */
const size_t session_program_bytes = (size_t)48 << 20;

static enum precision resolve(enum precision asked, const struct backend *backend)
{
    if (asked == PRECISION_TF32 && !backend->facts.tf32) {
        log_warning("compute.precision: tf32 is arithmetic of GPUs; this backend computes in fp32");
        return PRECISION_FP32;
    }
    if (asked != PRECISION_AUTO) return asked;
    return backend->facts.native_bf16 ? PRECISION_BF16 : PRECISION_FP32;
}

const char *precision_name(enum precision precision)
{
    static const char *const names[] = { [PRECISION_AUTO] = "unknown",
                                         [PRECISION_FP32] = "fp32",
                                         [PRECISION_TF32] = "tf32",
                                         [PRECISION_BF16] = "bf16" };
    return names[precision];
}

void session_compare_precision(const struct session *session, double threshold,
                               enum precision chosen_in)
{
    if (isnan(threshold) || chosen_in == PRECISION_AUTO || chosen_in == session->precision) return;
    log_warning("probabilities are computed in %s here, and the threshold %.4f was chosen in %s: "
                "those near it may fall on its other side",
                precision_name(session->precision), threshold, precision_name(chosen_in));
}

void session_accept_any_backend(struct config_compute *compute, enum precision trained, int threads)
{
    if (compute->backend == BACKEND_CUDA) compute->backend = BACKEND_AUTO;
    if (compute->precision == PRECISION_AUTO) compute->precision = trained;
    if (threads > 0) compute->threads = threads;
}

bool session_init(struct session *session, const struct config_compute *compute, int towers,
                  int reader_threads, struct world *world, struct error *err)
{
    *session = (struct session) { 0 };
    if (!backend_open(compute, towers, world, &session->backend, session->why_not_cuda, err))
        return false;
    const struct backend_facts *facts = &session->backend->facts;
    session->precision = resolve(compute->precision, session->backend);
    session->activations = session->precision == PRECISION_BF16 ? DTYPE_BF16 : DTYPE_F32;
    session->reader_threads = reader_threads > 0 ? reader_threads : facts->threads;
    log_info("micromet %s · backend %s (%s) · %d threads · %s%s%s%s", MICROMET_VERSION, facts->name,
             facts->description, facts->threads, precision_name(session->precision),
             session->precision == PRECISION_BF16 && !facts->native_bf16 ? " (emulated, slow)" : "",
             session->why_not_cuda[0] ? " · CUDA not used: " : "", session->why_not_cuda);
    if (world_size(world) > 1) log_info("%s", world_description(world));
    return true;
}

void session_release(struct session *session)
{
    backend_close(session->backend);
    *session = (struct session) { 0 };
}

size_t host_ring_bytes(const struct model *model, int ring)
{
    const struct model_spec *spec = model_spec(model);
    return (size_t)ring * (size_t)spec->batch * (size_t)spec->towers * (size_t)spec->window *
           (size_t)spec->window * 3;
}

void memory_peak_print(const struct session *session, size_t expected_bytes)
{
    if (strcmp(session->backend->facts.name, "cpu") != 0) return; /* much of it is on the device */
    log_info("memory: peak %.1f MiB, expected %.1f MiB", mib((size_t)memory_peak_bytes()),
             mib(expected_bytes));
}

void memory_note(const struct model *model, int ring, size_t cached_bytes)
{
    const struct model_memory m = model_memory(model);
    const size_t own = m.parameters + m.folded + m.plans;
    log_info("memory: about %.0f MiB, of which the model takes %.0f MiB",
             mib(own + m.inference_activations + m.batches + host_ring_bytes(model, ring) +
                 cached_bytes + session_program_bytes),
             mib(own));
}
