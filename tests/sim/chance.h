/*
 * chance: a stream of pseudo-random numbers that follows from its seed alone (splitmix64).
 *
 * Whoever throws has a stream of its own (the network, Redis, what a seed makes of its world), so that one more throw
 * in one of them leaves the others as they are. Not for secrets, and not quite even: the remainder favours small
 * numbers by less than one in a thousand million.
 */
#ifndef SHOAL_TESTS_CHANCE_H
#define SHOAL_TESTS_CHANCE_H

#include <stdint.h>

struct chance {
    uint64_t state; /* at first: the seed, spread by a factor of the stream's own */
};

/* A number below `bound`; 0 where there is none. */
static inline uint32_t chance_below(struct chance *chance, uint32_t bound)
{
    uint64_t z = chance->state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return bound == 0 ? 0 : (uint32_t)((z ^ z >> 31) % bound);
}

static inline uint32_t chance_pick(struct chance *chance, const uint32_t *values, uint32_t count)
{
    return values[chance_below(chance, count)];
}

/* One of these values; what stands there twice comes twice as often. */
#define ONE_OF(chance, ...)                                                                                            \
    chance_pick((chance), (const uint32_t[]){__VA_ARGS__}, sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

#endif
