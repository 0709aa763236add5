/*
 * follow: one subscription, as its subscriber may understand it: the checker of order.
 *
 *      FREE ── subscribe is sent ──▶ ASKED ── ok ──▶ LIVE ── unsubscribe is sent ──▶ ENDING ── ok ──▶ FREE
 *                                      └─ ok, recovered: false ──▶ LOST ── gap ──▶ LIVE
 *
 * A topic's subscriber knows the next offset exactly: the last one and 1, or what a gap says. That is at once order, no
 * message twice, and no loss that was not told. A filter's knows it for each topic from its first message on; where
 * a number is left out, gaps must have told of at least as many.
 *
 * Raw under `conflate` is the exception: it jumps, and has nowhere to be told. There offsets only rise.
 */
#ifndef SHOAL_TESTS_FOLLOW_H
#define SHOAL_TESTS_FOLLOW_H

#include "record.h"

enum follow_state { FOLLOW_FREE, FOLLOW_ASKED, FOLLOW_LOST, FOLLOW_LIVE, FOLLOW_ENDING };

/* Added to an offset it is one that was never given out. */
#define FOLLOW_AHEAD 1000000u

/* What a subscriber of a filter keeps for its return. */
struct keepsake {
    uint32_t number; /* 0: nothing */
    uint64_t since_ms;
    uint64_t came_first;
    uint64_t tops[TOPIC_COUNT];
    uint64_t epochs[TOPIC_COUNT]; /* 0: was not shown */
    uint64_t anew_at[TOPIC_COUNT];
};

struct follow {
    uint8_t state;
    uint8_t number; /* see name_of() */
    bool wild;
    bool jumps;     /* raw under conflate */
    bool unplaced;  /* and nobody has told yet where the last message is */
    uint8_t host;   /* that it is on */
    bool by_cursor; /* asked from a position */
    uint64_t asked_epoch, asked_offset;
    uint64_t since;    /* step in which the ok was read */
    uint64_t since_ms; /* a filter's: the broker's time in that */
    uint64_t epoch;    /* a topic's */
    uint64_t last;
    /* filters */
    uint64_t gapped;               /* messages that gaps have told of */
    uint64_t missing;              /* numbers left out so far */
    uint64_t tops[TOPIC_COUNT];    /* the last message of each, 0: not known */
    uint64_t epochs[TOPIC_COUNT];  /* as shown */
    uint64_t starts[TOPIC_COUNT];  /* come back: messages up to here are not expected */
    uint64_t anew_at[TOPIC_COUNT]; /* step in which a topic was told, now or before, to have begun anew; 0: never */
    uint32_t named;                /* bits of topics that it came back with a position for */
    uint64_t came_first;           /* step in which the first ok was read, before it ever left */
    uint8_t *got;                  /* bits by publish */
    uint32_t got_room;
};

/* A subscribe command is on its way. `asked_epoch` 0: not from a position. */
void follow_ask(struct follow *follow, uint32_t number, uint32_t host, uint64_t asked_epoch, uint64_t asked_offset);

/* The same for a filter with what was kept of it. */
void follow_ask_again(struct follow *follow, const struct keepsake *keepsake, uint32_t host);

/* The ok has come. */
void follow_begin(struct follow *follow, struct record *record, uint64_t epoch, uint64_t offset, bool has_recovered,
                  bool recovered);

/* `topic`: TOPIC_COUNT if the gap names the filter. */
void follow_gap(struct follow *follow, struct record *record, uint32_t topic, enum gap_reason reason, uint64_t epoch,
                uint64_t from, uint64_t to);

/* A message has come. `epoch` and `offset` 0: not shown. */
void follow_message(struct follow *follow, struct record *record, uint32_t publish, uint64_t epoch, uint64_t offset);

/* Whether a filter's subscriber must have got this publish by the end. */
bool follow_expects(const struct follow *follow, const struct record *record, uint32_t publish);

bool follow_got(const struct follow *follow, uint32_t publish);

/* Whether messages may come now. */
static inline bool follow_flows(const struct follow *follow)
{
    return follow->state == FOLLOW_LIVE || follow->state == FOLLOW_ENDING;
}

/* It is over; FREE again. */
void follow_end(struct follow *follow);

#endif
