/*
 * rest: whether the next round over the subscribers had better begin a little later, so that it carries more.
 *
 * A send costs nearly the same for one message as for twenty, so a round had better carry all that are on their way.
 * Publishers who wait for their messages to arrive send the next ones all at once, just after a round:
 *
 *     ── round ──▶ · ·· · ···· ·   ── round ──▶
 *                  └── rest ──┘
 *
 * A rest ends when as many messages are there as the fullest of the last rounds had; else when a part of a round's time
 * has passed without one, or after half a round. What comes later than half a round after the last round is not held up
 * at all. Nor is a message that comes alone, as the last did, but once in some rounds that follow each other quickly:
 * whether more would meet can only be found out by a rest. Each time that nothing came of it the next one is tried
 * after twice as many.
 *
 * Times: the low 32 bits of the monotonic clock's microseconds. Thread: its owner's. No error is possible.
 */
#ifndef SHOAL_TOPIC_REST_H
#define SHOAL_TOPIC_REST_H

#include <stdbool.h>
#include <stdint.h>

struct rest {
    uint32_t ended_us;      /* when the last round ended */
    uint32_t since_us;      /* resting: since when */
    uint32_t unshared : 11; /* rounds in quick succession with one message to a send, since the last rest */
    uint32_t tries : 4;     /* rests that were tried in vain, one after another */
    uint32_t resting : 1;
    uint32_t number : 4;    /* of the last rest, going round */
    uint32_t expected : 12; /* messages for the next round */
};
_Static_assert(sizeof(struct rest) == 12, "it is in each feed");

/* A round that could begin now. */
struct round {
    uint32_t now_us;
    uint32_t us;       /* what it will take */
    uint32_t quiet_us; /* a rest ends after so long without a message */
    uint32_t came_us;  /* when the newest message was published */
    uint64_t messages; /* that are there for it */
    bool shared;       /* there was, or will be, more than one message to a send */
};

/* How long to rest before it, us. 0: it is to begin; otherwise ask again then, or when more has come. */
uint32_t rest_before(struct rest *rest, const struct round *round);

/* A round begins with so many messages. */
void rest_round_begins(struct rest *rest, uint64_t messages);

/* A round, or a part of it, has ended. */
void rest_round_ended(struct rest *rest, uint32_t now_us);

#endif
