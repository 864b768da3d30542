/* Arithmetic of sizes that many files need: elements of an array, quotients and sizes rounded up,
 * and bytes as people read them. */
#ifndef MICROMET_BASE_SIZE_H
#define MICROMET_BASE_SIZE_H

#include <stddef.h>
#include <stdint.h>

/* Elements of an array; compilers warn where it is given a pointer. */
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* How many parts of `part` make up `whole`, the last of them perhaps not full; whole >= 0, part > 0
 * of one type. Evaluates `part` twice. */
#define CEIL_DIV(whole, part) (((whole) + (part) + -1) / (part))

/* The smallest multiple of `unit` that is no smaller than `size`. */
static inline size_t round_up(size_t size, size_t unit)
{
    return (size + unit - 1) / unit * unit;
}

static inline double mib(size_t bytes)
{
    return (double)bytes / (1 << 20);
}

#endif
