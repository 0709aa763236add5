/*
 * spread: when those come back who are told to come back.
 *
 * A broker that drains, or that is short of room, tells many clients to reconnect. If all did so at once, their
 * handshakes would be the next overload, here or at the hosts that take them over. So each is told a time: by
 * ` after_ms=N` at the end of the close reason, by Retry-After in a 503.
 *
 * The time is a place in a queue that nobody keeps: each client that is told makes it longer by one place, and with
 * time it becomes shorter by limits.return_rate places a second (this shard's share of it). Who is at the place that
 * comes up in q is told q/2, and a time below q by chance. The returns of a crowd that is told in one moment then are
 * spread evenly, at 1.1 times the rate (each moment t is met by places from t/1.5 to 2t, so by ln 3 times the rate),
 * and those of a few are told nothing: less than SPREAD_TOLD_MS is not worth it.
 *
 * Bound: the queue is at most SPREAD_QUEUE_US long, so nobody is told more than CLOSE_AFTER_MS_MAX; a crowd beyond
 * comes faster than the rate. Counter: returns_spread.
 *
 * Thread: the shard's.
 */
#ifndef SHOAL_CONN_SPREAD_H
#define SHOAL_CONN_SPREAD_H

#include <stdint.h>

struct spread {
    int64_t queue_us; /* how long the queue was */
    int64_t at_us;    /* at this monotonic time */
    uint64_t random;  /* state; any value begins it */
};

/* Who can't be served at once is asked to stay away for about so long, however few they are. */
#define SPREAD_LATER_MS 1000
#define SPREAD_TOLD_MS  100

/* One and a half times as long is the longest that somebody is told. */
#define SPREAD_QUEUE_US 400000000

/*
 * One more is told to come back, of those of whom `rate` a second may (0: as they like). The ms after which he shall,
 * 0: at once; `least_ms` is added to his place in the queue: where he could not be served at once anyway.
 */
uint32_t spread_after_ms(struct spread *spread, uint32_t rate, uint32_t shard_count, uint32_t least_ms, int64_t now_us);

#endif
