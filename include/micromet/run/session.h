/* What every computing subcommand opens first: the backend, the precision it will use,
 * and the banner. */
#ifndef MICROMET_RUN_SESSION_H
#define MICROMET_RUN_SESSION_H

#include "micromet/nn/model.h"

struct session {
    struct backend *backend;
    enum dtype activations;
    enum precision precision; /* resolved: fp32, tf32 or bf16 */
    int reader_threads;
    char why_not_cuda[256];
};

/* Before a trained model is used: any machine will do, so a GPU that its training insisted on is
 * only preferred. threads: 0 = as trained. */
void session_accept_any_backend(struct config_compute *compute, int threads);

/* reader_threads 0 = as many as compute threads. Prints the banner. */
bool session_init(struct session *session, const struct config_compute *compute, int towers,
                  int reader_threads, struct error *err);
void session_release(struct session *session);

/* The program itself, its libraries and their own tables, resident behind an opened backend. */
extern const size_t session_program_bytes;
/* A ring of batches on the host. */
size_t host_ring_bytes(const struct model *model, int ring);
/* What has been resident at most, beside what was expected; nothing where the model's memory is not
 * the process's. */
void memory_peak_print(const struct session *session, size_t expected_bytes);
/* One line for an inference model. */
void memory_note(const struct model *model, int ring, size_t cached_bytes);

#endif
