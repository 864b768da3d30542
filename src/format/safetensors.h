/* safetensors files: u64 length of the header, JSON header, bytes
 * (github.com/huggingface/safetensors). What their reader and their writer agree on.
 *
 * Files that we write carry a checksum of all their bytes as metadata; it is taken with its own
 * digits as zeros, so one pass writes the file and a second look only puts the digits in place. */
#ifndef MICROMET_FORMAT_SAFETENSORS_H
#define MICROMET_FORMAT_SAFETENSORS_H

enum { LENGTH_BYTES = 8, CHECKSUM_DIGITS = 16 };

#define METADATA_KEY   "__metadata__"
#define CHECKSUM_KEY   "micromet.xxh3"
#define CHECKSUM_MARK  "\"" CHECKSUM_KEY "\":\"" /* its quotes are nowhere else in a header */
#define CHECKSUM_ZEROS "0000000000000000"

#endif
