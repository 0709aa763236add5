/* spread: see spread.h. */
#include "conn/spread.h"

#include "protocol/close_code.h"

_Static_assert(SPREAD_QUEUE_US / 1000 / 2 * 3 <= CLOSE_AFTER_MS_MAX, "nobody is told more than clients believe");

/* splitmix64: nobody gains by guessing it. */
static uint64_t chance(struct spread *spread, uint64_t below)
{
    uint64_t z = spread->random += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (z ^ z >> 31) % below;
}

/* The queue as it is now, one place longer. */
static int64_t queue_grow(struct spread *spread, int64_t place_us, int64_t now_us)
{
    int64_t passed_us = now_us - spread->at_us;
    int64_t left_us = spread->queue_us > passed_us ? spread->queue_us - passed_us : 0;
    spread->at_us = now_us;
    spread->queue_us = left_us + place_us < SPREAD_QUEUE_US ? left_us + place_us : SPREAD_QUEUE_US;
    return spread->queue_us;
}

uint32_t spread_after_ms(struct spread *spread, uint32_t rate, uint32_t shard_count, uint32_t least_ms, int64_t now_us)
{
    int64_t queue_us = rate ? queue_grow(spread, (int64_t)shard_count * 1000000 / rate, now_us) : 0;
    int64_t place_us = queue_us + (int64_t)least_ms * 1000;
    place_us = place_us < SPREAD_QUEUE_US ? place_us : SPREAD_QUEUE_US;
    if (place_us < SPREAD_TOLD_MS * 1000) {
        return 0;
    }
    return (uint32_t)((place_us / 2 + (int64_t)chance(spread, (uint64_t)place_us)) / 1000);
}
