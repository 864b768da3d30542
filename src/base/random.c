/* Philox4x32-10 (Salmon et al., SC 2011, doi:10.1145/2063384.2063405) and the distributions
 * drawn from it.
 *
 * A counter-based generator: each block of four words is a pure function of key and counter, so
 * streams need no saved state. The counter's words are: block index, (epoch << 4 | purpose), and
 * the low and high half of the sample's number. */
#include "micromet/base/random.h"

#include <math.h>

#include "micromet/base/error.h"
#include "micromet/base/philox.h"

void philox4x32_10(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    philox_block(counter, key, out);
}

struct random random_init(uint64_t seed, uint32_t epoch, uint64_t sample,
                          enum random_purpose purpose)
{
    CHECK(epoch >> PHILOX_EPOCH_BITS == 0);
    return (struct random) {
        .key = { (uint32_t)seed, (uint32_t)(seed >> 32) },
        .counter = { 0, philox_epoch_and_purpose(epoch, purpose), (uint32_t)sample,
                     (uint32_t)(sample >> 32) },
        .used = 4,
    };
}

uint32_t random_u32(struct random *random)
{
    if (random->used == 4) {
        philox4x32_10(random->counter, random->key, random->block);
        random->counter[0]++;
        CHECK(random->counter[0] != 0);
        random->used = 0;
    }
    return random->block[random->used++];
}

static uint64_t random_u64(struct random *random)
{
    const uint64_t high = random_u32(random);
    return high << 32 | random_u32(random);
}

float random_uniform(struct random *random, float low, float high)
{
    const float unit = philox_unit(random_u32(random));
    const float value = low + (high - low) * unit;
    return value < high ? value : nextafterf(high, low); /* the sum may round up to `high` */
}

double random_unit(struct random *random)
{
    return (double)(random_u64(random) >> 11) * 0x1p-53;
}

uint64_t random_below(struct random *random, uint64_t bound)
{
    CHECK(bound > 0);
    /* 2^64 mod bound: the lowest values, which would be drawn too often. */
    const uint64_t surplus = -bound % bound;
    uint64_t value;
    do {
        value = random_u64(random);
    } while (value < surplus);
    return value % bound;
}

float random_normal(struct random *random)
{
    const double radius = sqrt(-2.0 * log(1.0 - random_unit(random)));
    return (float)(radius * cos(2.0 * 3.14159265358979323846 * random_unit(random)));
}
