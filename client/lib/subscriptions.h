/*
 * subscriptions: what the program follows, and which subscription a message of the broker is for.
 *
 *      WANTED ── SUBSCRIBE is sent ──▶ ASKED ── OK ──▶ LIVE          a cut leads back to WANTED, or to dead
 *       │  ▲                            │ │              │
 *       │  └── DELAYED ◀── busy ────────┘ │ ended        │ ended
 *       ▼                                 ▼              ▼
 *      dead                            ENDING ── OK ─▶ LEAVING ── UNSUBSCRIBE is sent ──▶ dead
 *
 * Each state has its list, in the order in which its subscriptions came into it: a program may follow a hundred
 * thousand topics, and nothing that happens to one of them looks at the others.
 *
 * The broker sends a message once for each subscription that matches, and cannot say for which (the bytes are the same
 * for everybody). So no two subscriptions of one client may match the same topic; then the topic says it. And while one
 * is ENDING or LEAVING no other is asked for, as messages of the old one may still come.
 *
 * The broker closes who does not read its replies (limits.reply_bytes): so at most COMMANDS_UNANSWERED_MAX are sent
 * before replies have come.
 *
 * A subscription that has ended is dead until the next step of the worker frees it: it may be in the middle of a
 * callback. Whoever calls holds the client's lock.
 */
#ifndef SHOAL_CLIENT_SUBSCRIPTIONS_H
#define SHOAL_CLIENT_SUBSCRIPTIONS_H

#include "client/positions.h"
#include "protocol/command.h"

#define COMMANDS_UNANSWERED_MAX 2048u

enum subscription_state {
    SUBSCRIPTION_WANTED,
    SUBSCRIPTION_DELAYED, /* not_before_ms */
    SUBSCRIPTION_ASKED,   /* id */
    SUBSCRIPTION_LIVE,    /* position or positions */
    SUBSCRIPTION_ENDING,  /* id */
    SUBSCRIPTION_LEAVING,
    SUBSCRIPTION_DEAD,
    SUBSCRIPTION_STATES,
};

struct shoal_subscription {
    struct shoal_client *client;
    struct shoal_subscription *previous, *next; /* of the same state */
    struct shoal_subscription *bucket_next;     /* of the same hash */
    struct shoal_subscription *wild_next;       /* the wild ones that are not dead */
    struct shoal_subscriber subscriber;
    enum subscription_state state;
    uint32_t id;           /* of the SUBSCRIBE that awaits its reply */
    int64_t not_before_ms; /* the broker was busy: WANTED again then */
    bool wild;
    bool established;               /* was LIVE once: resumes */
    bool restarts;                  /* what it would resume from is lost: begins from new, and a gap is told */
    struct shoal_from from;         /* where to begin, until established */
    struct shoal_position position; /* of the last message; a topic's */
    struct positions positions;     /* a filter's */
    uint64_t since_ms;              /* a filter's: the broker's time when it was first established */
    uint64_t instance;              /* of the broker that it was established at last */
    size_t filter_size;
    char filter[];
};

struct subscription_list {
    struct shoal_subscription *first, *last;
};

struct subscriptions {
    struct subscription_list lists[SUBSCRIPTION_STATES];
    struct shoal_subscription *wild;
    struct shoal_subscription *last_found; /* the last message's: the next one's, most of the time */
    struct shoal_subscription **buckets;   /* by the filter's text, of those that are not dead; NULL: none yet */
    uint32_t bucket_count;                 /* a power of two */
    uint32_t count;                        /* that are not dead */
    uint32_t unanswered;                   /* SUBSCRIBE and UNSUBSCRIBE that were sent */
    uint32_t id;
};

/* The one that has been in this state for longest, or NULL. */
static inline struct shoal_subscription *subscriptions_first(const struct subscriptions *table,
                                                             enum subscription_state state)
{
    return table->lists[state].first;
}

/* Whether one has ended of which messages may still come, because the broker is yet to be told. */
static inline bool subscriptions_are_ending(const struct subscriptions *table)
{
    return subscriptions_first(table, SUBSCRIPTION_ENDING) || subscriptions_first(table, SUBSCRIPTION_LEAVING);
}

/* Whether nothing is left to be said to the broker, or to be answered by it: shoal_flush() waits for that. */
static inline bool subscriptions_are_settled(const struct subscriptions *table)
{
    return !subscriptions_first(table, SUBSCRIPTION_WANTED) && !subscriptions_first(table, SUBSCRIPTION_DELAYED) &&
           !subscriptions_first(table, SUBSCRIPTION_ASKED) && !subscriptions_are_ending(table);
}

/* Why a filter can't be followed beside the others; SHOAL_OK: it can. */
enum shoal_error subscriptions_check(const struct subscriptions *table, struct span filter);

/* Adds one, WANTED. NULL: no memory. */
struct shoal_subscription *subscriptions_add(struct subscriptions *table, struct span filter);

/* Moves to another state, or to the end of its own. Into DEAD: out of the table, to be freed by subscriptions_reap().
 */
void subscription_set_state(struct subscriptions *table, struct shoal_subscription *subscription,
                            enum subscription_state state);

/* Those whose delay is over are WANTED again. */
void subscriptions_retry(struct subscriptions *table, int64_t now_ms);

/* The one whose SUBSCRIBE had this id, or NULL. */
struct shoal_subscription *subscriptions_asked(const struct subscriptions *table, uint32_t id);

/* The LIVE one that a message of this topic is for, or NULL. */
struct shoal_subscription *subscriptions_for(struct subscriptions *table, struct span topic);

/* The one with this text that has not ended, or NULL. */
struct shoal_subscription *subscriptions_named(const struct subscriptions *table, struct span filter);

/* A SUBSCRIBE command for it, with a new id; positions are written into `scratch` (positions_write). */
void subscription_command(struct subscriptions *table, struct shoal_subscription *subscription, char id[4],
                          struct span positions, struct command *command);

/* The connection is gone: all are WANTED again, and those that had ended are dead. */
void subscriptions_disconnected(struct subscriptions *table);

/* Frees the dead. Only where no callback can be running. */
void subscriptions_reap(struct subscriptions *table);

/* Frees all. */
void subscriptions_free(struct subscriptions *table);

#endif
