/* delays: see delays.h. */
#include "delays.h"

#include <stdio.h>

static uint32_t bucket_of(uint64_t ns)
{
    if (ns < DELAY_STEPS) {
        return (uint32_t)ns;
    }
    uint32_t octave = 63u - (uint32_t)__builtin_clzll(ns) - 6; /* 0: from 64 on */
    return DELAY_STEPS * (octave + 1) + (uint32_t)(ns >> octave) - DELAY_STEPS;
}

/* The largest value of a bucket. */
static uint64_t bucket_upper(uint32_t bucket)
{
    if (bucket < DELAY_STEPS) {
        return bucket;
    }
    uint32_t octave = bucket / DELAY_STEPS - 1;
    return ((uint64_t)(DELAY_STEPS + bucket % DELAY_STEPS + 1) << octave) - 1;
}

void delays_add(struct delays *delays, uint64_t ns)
{
    ns = ns < DELAY_MAX_NS ? ns : DELAY_MAX_NS;
    delays->buckets[bucket_of(ns)]++;
    delays->count++;
    delays->max_ns = ns > delays->max_ns ? ns : delays->max_ns;
}

void delays_merge(struct delays *delays, const struct delays *more)
{
    for (uint32_t i = 0; i < DELAY_BUCKETS; i++) {
        delays->buckets[i] += more->buckets[i];
    }
    delays->count += more->count;
    delays->max_ns = more->max_ns > delays->max_ns ? more->max_ns : delays->max_ns;
}

uint64_t delays_at(const struct delays *delays, double share)
{
    /* rounded up, but for what a double adds to a whole number */
    uint64_t rank = (uint64_t)(share * (double)delays->count + 0.999999), below = 0;
    for (uint32_t i = 0; i < DELAY_BUCKETS; i++) {
        below += delays->buckets[i];
        if (below > 0 && below >= rank) {
            uint64_t upper = bucket_upper(i);
            return upper < delays->max_ns ? upper : delays->max_ns;
        }
    }
    return 0;
}

void delays_print(const struct delays *delays, const char *prefix)
{
    const struct {
        const char *name;
        double share;
    } figures[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}, {"p9999", 0.9999}};
    for (uint32_t i = 0; i < sizeof figures / sizeof *figures; i++) {
        printf("\"%s%s_us\":%.1f,", prefix, figures[i].name, (double)delays_at(delays, figures[i].share) / 1000);
    }
    printf("\"%smax_us\":%.1f", prefix, (double)delays->max_ns / 1000);
}
