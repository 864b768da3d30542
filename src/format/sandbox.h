/* Runs a library on untrusted input in a child process.
 *
 * libhdf5 1.10 can read and write outside its buffers when metadata is forged. In the child, the
 * worst effect is that the child dies: a crash becomes an error message, memory and CPU time are
 * limited, and where the kernel supports seccomp the child can only compute, without files,
 * network or new processes. Its only output is shared memory, which the caller must trust no more
 * than the file. */
#ifndef MICROMET_FORMAT_SANDBOX_H
#define MICROMET_FORMAT_SANDBOX_H

#include <stddef.h>

#include "micromet/base/error.h"

/* Zeroed memory shared with children forked later; pages are allocated when written.
 * NULL on failure. */
void *sandbox_share(size_t bytes);

/* Run work(context) in a child whose memory and CPU time are limited by what a file of `file_bytes`
 * may need. prepare() runs there first, before restrictions apply; it must not touch the file.
 * Errors name `path`; work() not completing is one. */
bool sandbox_run(const char *path, size_t file_bytes, void (*prepare)(void),
                 void (*work)(void *context), void *context, struct error *err);

#endif
