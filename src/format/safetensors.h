/* The safetensors format (u64 header length, JSON header, data;
 * github.com/huggingface/safetensors): constants shared by its reader and its writer.
 *
 * Written files carry a checksum of all their bytes as metadata. It is computed with its own
 * digits taken as zeros, so the file is written in one pass and only the digits are filled
 * in afterwards. */
#ifndef MICROMET_FORMAT_SAFETENSORS_H
#define MICROMET_FORMAT_SAFETENSORS_H

enum { LENGTH_BYTES = 8, CHECKSUM_DIGITS = 16 };

#define METADATA_KEY   "__metadata__"
#define CHECKSUM_KEY   "micromet.xxh3"
#define CHECKSUM_MARK  "\"" CHECKSUM_KEY "\":\"" /* unescaped quotes make it unique in a header */
#define CHECKSUM_ZEROS "0000000000000000"

#endif
