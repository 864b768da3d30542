/* A child process for a library that cannot be trusted with a stranger's bytes.
 *
 * libhdf5 1.10 can read and write outside its buffers on forged metadata. In a child the worst that
 * a file does is to end the child: a crash is an error message, memory and processor time are
 * bounded, and where the kernel filters system calls (seccomp) the child can do nothing but
 * compute: it has no files, no network, and no way to start anything. Its only result is what it
 * writes to shared memory, which the caller must distrust like the file itself. */
#ifndef MICROMET_FORMAT_SANDBOX_H
#define MICROMET_FORMAT_SANDBOX_H

#include <stddef.h>

#include "micromet/base/error.h"

/* Zeroed memory that the child's writes reach the caller through; pages are taken as they are
 * written. NULL on failure. */
void *sandbox_share(size_t bytes);

/* Run work(context) in a child whose memory and processor time are bounded by what a file
 * of `file_bytes` may need. prepare() is called there first, while everything is still
 * allowed; it must not look at the file. Errors, work() not coming to its end among them,
 * are set with `path`. */
bool sandbox_run(const char *path, size_t file_bytes, void (*prepare)(void),
                 void (*work)(void *context), void *context, struct error *err);

#endif
