/*
 * histogram: how often a figure was how large, in buckets that grow with it.
 *
 *   value      0  1  2  3 │  4  5  6  7 │ 8-9 10-11 12-13 14-15 │ 16-19 20-23 …        four buckets an octave
 *   bucket     0  1  2  3 │  4  5  6  7 │  8    9     10    11  │  12    13   …
 *
 * So a percentile that is read from it is at most a quarter too large, whatever the figure's range. Values above
 * HISTOGRAM_VALUE_MAX count as that. One thread adds (relaxed stores, no locked instruction); others read with relaxed
 * loads: what they see may be a turn old, and count, sum and buckets may be of different moments.
 */
#ifndef SHOAL_BASE_HISTOGRAM_H
#define SHOAL_BASE_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

#define HISTOGRAM_OCTAVES   28
#define HISTOGRAM_BUCKETS   (4 * (HISTOGRAM_OCTAVES - 1))
#define HISTOGRAM_VALUE_MAX ((1u << HISTOGRAM_OCTAVES) - 1) /* of us: 268 s */

struct histogram {
    _Atomic uint64_t sum;
    _Atomic uint64_t buckets[HISTOGRAM_BUCKETS];
};

static inline uint32_t histogram_bucket(uint32_t value)
{
    if (value < 4) {
        return value;
    }
    uint32_t octave = 31u - (uint32_t)__builtin_clz(value);
    return 4 * (octave - 1) + ((value >> (octave - 2)) & 3);
}

/* The largest value of a bucket. */
static inline uint32_t histogram_upper(uint32_t bucket)
{
    if (bucket < 4) {
        return bucket;
    }
    uint32_t octave = bucket / 4 + 1;
    return ((4 + bucket % 4 + 1) << (octave - 2)) - 1;
}

/* Counts one. The writing thread alone. */
static inline void histogram_add(struct histogram *histogram, uint32_t value)
{
    value = value < HISTOGRAM_VALUE_MAX ? value : HISTOGRAM_VALUE_MAX;
    _Atomic uint64_t *bucket = &histogram->buckets[histogram_bucket(value)];
    atomic_store_explicit(bucket, atomic_load_explicit(bucket, memory_order_relaxed) + 1, memory_order_relaxed);
    atomic_store_explicit(&histogram->sum, atomic_load_explicit(&histogram->sum, memory_order_relaxed) + value,
                          memory_order_relaxed);
}

/* How often a value fell into a bucket. Any thread. */
static inline uint64_t histogram_count(const struct histogram *histogram, uint32_t bucket)
{
    return atomic_load_explicit(&histogram->buckets[bucket], memory_order_relaxed);
}

#endif
