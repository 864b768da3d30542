/* Philox4x32-10 as plain arithmetic that C and CUDA share (define PHILOX_INLINE to add qualifiers).
 * random.h says what the words of the counter mean. */
#ifndef MICROMET_BASE_PHILOX_H
#define MICROMET_BASE_PHILOX_H

#include <stdint.h>

#ifndef PHILOX_INLINE
#define PHILOX_INLINE static inline
#endif

enum { PHILOX_ROUNDS = 10 };

PHILOX_INLINE void philox_block(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < PHILOX_ROUNDS; round++) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * c0;
        const uint64_t p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* Second word of a stream's counter. */
enum { PHILOX_EPOCH_BITS = 28 };
PHILOX_INLINE uint32_t philox_epoch_and_purpose(uint32_t epoch, uint32_t purpose)
{
    return epoch << 4 | purpose;
}

/* A random word as a float in [0, 1). */
PHILOX_INLINE float philox_unit(uint32_t word)
{
    return (float)(word >> 8) * (1.0f / 16777216);
}

#endif
