/* What every computing subcommand opens first: the backend and the precision; also
 * prints the banner. */
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

/* Relax a trained model's settings before it is used: any machine will do, so a backend=cuda from
 * training becomes a preference, and the precision is what the model was trained in (fp32 or bf16)
 * unless compute.precision says otherwise afterwards. threads: 0 = as trained. */
void session_accept_any_backend(struct config_compute *compute, enum precision trained,
                                int threads);

const char *precision_name(enum precision precision); /* "bf16", … */
/* Warn if probabilities of this precision will be compared with a threshold that was chosen in
 * another one (PRECISION_AUTO = unknown) or is NaN, none. */
void session_compare_precision(const struct session *session, double threshold,
                               enum precision chosen_in);

/* reader_threads: 0 = as many as compute threads. world: of which this process is a rank, or NULL.
 * Prints the banner. */
bool session_init(struct session *session, const struct config_compute *compute, int towers,
                  int reader_threads, struct world *world, struct error *err);
void session_release(struct session *session);

/* Resident memory of the program, its libraries and their tables, once a backend is open. */
extern const size_t session_program_bytes;
/* Bytes of a ring of batches on the host. */
size_t host_ring_bytes(const struct model *model, int ring);
/* Print the peak resident memory beside the expected figure; nothing if the model is in a
 * device's memory. */
void memory_peak_print(const struct session *session, size_t expected_bytes);
/* Print the memory of an inference model in one line. */
void memory_note(const struct model *model, int ring, size_t cached_bytes);

#endif
