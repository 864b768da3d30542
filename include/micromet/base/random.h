/* Counter-based random numbers: Philox4x32-10 (Salmon et al., SC 2011,
 * doi:10.1145/2063384.2063405).
 *
 * A stream is identified by (seed, epoch, sample, purpose), never by which thread draws from it or
 * when. Results therefore depend neither on the number of threads nor on interruptions of a run. */
#ifndef MICROMET_BASE_RANDOM_H
#define MICROMET_BASE_RANDOM_H

#include <stdint.h>

enum random_purpose {
    RANDOM_SELECT_NORMAL = 1, /* choice of normal windows in prepare */
    RANDOM_SAMPLER,           /* order of windows in an epoch */
    RANDOM_AUGMENT,           /* orientation and colour of one sample */
    RANDOM_DROPOUT,
    RANDOM_INIT,  /* initial weights */
    RANDOM_SYNTH, /* synthetic slides */
    RANDOM_TEST,
    RANDOM_SWEEP, /* values of a sweep's runs */
    RANDOM_STAIN, /* stains of one sample */
};

struct random {
    uint32_t key[2];
    uint32_t counter[4];
    uint32_t block[4]; /* current output block */
    int used;          /* words of `block` already handed out; 4 = draw a new block */
};

/* key = seed; counter = (block index, epoch and purpose, sample). */
struct random random_init(uint64_t seed, uint32_t epoch, uint64_t sample,
                          enum random_purpose purpose);

/* One block for a given counter and key, for tests and for code that indexes blocks directly. */
void philox4x32_10(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

uint32_t random_u32(struct random *random);
float random_uniform(struct random *random, float low, float high); /* [low, high) */
double random_unit(struct random *random);                          /* [0, 1), 53 bits */
/* unbiased in [0, bound); bound > 0 */
uint64_t random_below(struct random *random, uint64_t bound);
float random_normal(struct random *random); /* mean 0, variance 1 (Box-Muller) */

#endif
