/*
 * clock: where time comes from.
 *
 * A shard reads the clock once a turn and works with that reading; nothing else in the broker asks for the time. The
 * tests put a clock of their own here. Two readings: the monotonic one for durations, in us, and the wall clock for
 * what people and other hosts see, in ms since 1970.
 */
#ifndef SHOAL_BASE_CLOCK_H
#define SHOAL_BASE_CLOCK_H

#include <stdint.h>

struct clock {
    int64_t (*monotonic_us)(const struct clock *clock);
    int64_t (*wall_ms)(const struct clock *clock);
};

/* The host's clocks. Any thread. */
extern const struct clock clock_of_host;

#endif
