/*
 * missed: the time in which messages that are followed by filters may have been missed.
 *
 *        TELL_PATTERNS: away          TELL_PATTERNS: done
 *      ───────┬───────────────────────────────┬──────────────────────────────────┬───────▶ wall clock
 *        from │                                                            until │
 *             │◀── MISSED_NOTICED_MS          │◀─────── MISSED_COUNTS_MS ───────▶│
 *
 * Topics that are known here are fetched from Redis when it is back. But a filter also follows topics that nobody here
 * knows yet, and what was published to them meanwhile does not come any more. So until MISSED_COUNTS_MS after a cut the
 * first message of an unknown logged topic has its stream looked at (owner_logged.c): what is younger than the cut is
 * new. The clocks of hosts are taken to agree within MISSED_NOTICED_MS. A topic that is first seen later begins with
 * its next message, as it would for a filter that is new.
 *
 * Thread: the shard's.
 */
#ifndef SHOAL_TOPIC_MISSED_H
#define SHOAL_TOPIC_MISSED_H

#include <stdbool.h>
#include <stdint.h>

#define MISSED_NOTICED_MS   10000  /* beside the time after which the link takes a server for gone */
#define MISSED_COUNTS_MS    300000 /* five minutes */
#define MISSED_MESSAGES_MAX 64u    /* looked at, at least, however little history the namespace keeps */

struct missed {
    bool cut;         /* now */
    int64_t from_ms;  /* of the last cut, wall clock */
    int64_t until_ms; /* `from_ms` counts */
};

/* The patterns are not all subscribed any more, since at most `noticed_ms`. */
static inline void missed_begins(struct missed *missed, int64_t now_ms, int64_t noticed_ms)
{
    if (!missed->cut) {
        missed->from_ms = now_ms - noticed_ms - MISSED_NOTICED_MS;
    }
    missed->cut = true;
}

static inline void missed_ends(struct missed *missed, int64_t now_ms)
{
    missed->cut = false;
    missed->until_ms = now_ms + MISSED_COUNTS_MS;
}

/* Messages from this time on may have been missed. INT64_MAX: none were, of late. */
static inline int64_t missed_from(const struct missed *missed, int64_t now_ms)
{
    return missed->cut || now_ms < missed->until_ms ? missed->from_ms : INT64_MAX;
}

#endif
