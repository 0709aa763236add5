/*
 * delays: a histogram of delays in ns, in the manner of HdrHistogram: the buckets grow with the value.
 *
 *   value      0 … 63     64 … 127 in steps of 1     128 … 255 in steps of 2     256 … 511 in steps of 4    …
 *   bucket     0 … 63     64 … 127                   128 … 191                   192 … 255                  …
 *
 * So a percentile that is read from it is at most 1/64 (1.6 %) too large, whatever its range; the largest value is kept
 * as it is. Above DELAY_MAX_NS (68 s) a value counts as that.
 *
 * A histogram lies in memory that processes share: one adds, any may read when all is over (the reader's process then
 * learns of it through an atomic of its own).
 */
#ifndef SHOAL_BENCH_DELAYS_H
#define SHOAL_BENCH_DELAYS_H

#include <stdint.h>

#define DELAY_STEPS   64u /* a doubling */
#define DELAY_OCTAVES 30u
#define DELAY_MAX_NS  ((UINT64_C(1) << 36) - 1)
#define DELAY_BUCKETS (DELAY_STEPS * (DELAY_OCTAVES + 1))

struct delays {
    uint64_t count;
    uint64_t max_ns;
    uint64_t buckets[DELAY_BUCKETS];
};

_Static_assert((UINT64_C(1) << (DELAY_OCTAVES + 6)) - 1 == DELAY_MAX_NS, "the last octave holds the largest value");

void delays_add(struct delays *delays, uint64_t ns);

/* Adds all of `more`. */
void delays_merge(struct delays *delays, const struct delays *more);

/* The delay in ns that `share` (0 to 1) of all did not exceed; 0: there were none. */
uint64_t delays_at(const struct delays *delays, double share);

/* "p50_us":…, to p9999_us and max_us, as members of a JSON object on standard output, each with `prefix` before it. */
void delays_print(const struct delays *delays, const char *prefix);

#endif
