/* rest: see rest.h. */
#include "topic/rest.h"

/* A rest ends after such a part of a round at the latest; what comes later than that after the last does not begin one.
 */
#define MOST_OF_ROUND 2

/* Rounds with one message to a send before a rest is tried; doubled so often at most. */
#define TRY_ROUNDS 2u
#define TRIES_MAX  9u
_Static_assert(TRY_ROUNDS << TRIES_MAX < 1u << 11, "struct rest: unshared");

/*
 * Publishers may have become more than is expected: the rest with number 0, one in sixteen, does not end because the
 * expected are there. That they have become fewer is noticed in some rounds: each takes such a part off.
 */
#define EXPECTED_LESS 16u
#define EXPECTED_MAX  ((1u << 12) - 1)

/* Whether rounds that follow each other quickly had better rest between. */
static bool is_due(struct rest *rest, bool shared)
{
    if (shared) {
        rest->unshared = rest->tries = 0;
        return true;
    }
    if (++rest->unshared < TRY_ROUNDS << rest->tries) {
        return false;
    }
    rest->unshared = 0;
    rest->tries += rest->tries < TRIES_MAX;
    return true;
}

static bool all_are_there(const struct rest *rest, const struct round *round)
{
    return round->shared && rest->number != 0 && round->messages >= rest->expected;
}

/* What came during the last round tells nothing of those who are answering to it. */
static uint32_t quiet_since_us(const struct rest *rest, const struct round *round)
{
    return (int32_t)(round->came_us - rest->ended_us) > 0 ? round->came_us : rest->ended_us;
}

uint32_t rest_before(struct rest *rest, const struct round *round)
{
    uint32_t most_us = round->us / MOST_OF_ROUND;
    bool quick = round->now_us - rest->ended_us <= most_us;
    if (!rest->resting && !(quick && is_due(rest, round->shared))) {
        return 0;
    }
    if (!rest->resting) {
        rest->resting = true;
        rest->since_us = round->now_us;
        rest->number++;
    }
    int32_t to_quiet_us = (int32_t)(quiet_since_us(rest, round) + round->quiet_us - round->now_us);
    int32_t to_most_us = (int32_t)(rest->since_us + most_us - round->now_us);
    int32_t us = to_quiet_us < to_most_us ? to_quiet_us : to_most_us;
    rest->resting = us > 0 && !all_are_there(rest, round);
    return rest->resting ? (uint32_t)us : 0;
}

void rest_round_begins(struct rest *rest, uint64_t messages)
{
    uint32_t now = messages < EXPECTED_MAX ? (uint32_t)messages : EXPECTED_MAX;
    uint32_t less = rest->expected - (rest->expected + EXPECTED_LESS - 1) / EXPECTED_LESS;
    rest->expected = now > less ? now : less;
    rest->resting = false;
}

void rest_round_ended(struct rest *rest, uint32_t now_us)
{
    rest->ended_us = now_us;
}
