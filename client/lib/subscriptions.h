/*
 * subscriptions: what the program follows, and which subscription a message of the broker is for.
 *
 *      WANTED ── SUBSCRIBE is sent ──▶ ASKED ── OK ──▶ LIVE          a cut leads back to WANTED
 *        │                              │ ended meanwhile              │
 *        ▼                              ▼                              ▼
 *      dead                        ENDING ── OK: UNSUBSCRIBE ──▶ dead ◀┘ UNSUBSCRIBE
 *
 * The broker sends a message once for each subscription that matches, and cannot say for which (the bytes are the same
 * for everybody). So no two subscriptions of one client may match the same topic; then the topic says it. And while one
 * is ENDING no other is asked for, as messages of the old one may still come.
 *
 * A subscription that has ended is dead until the next step of the worker frees it: it may be in the middle of a
 * callback. Whoever calls holds the client's lock.
 */
#ifndef SHOAL_CLIENT_SUBSCRIPTIONS_H
#define SHOAL_CLIENT_SUBSCRIPTIONS_H

#include "client/positions.h"
#include "protocol/command.h"

#define SUBSCRIPTION_BUCKETS 1024

enum subscription_state {
    SUBSCRIPTION_WANTED, /* not_before_ms */
    SUBSCRIPTION_ASKED,  /* id */
    SUBSCRIPTION_LIVE,   /* position or positions */
    SUBSCRIPTION_ENDING, /* id */
    SUBSCRIPTION_DEAD,
};

struct shoal_subscription {
    struct shoal_client *client;
    struct shoal_subscription *next;        /* in the list of all, or of the dead */
    struct shoal_subscription *bucket_next; /* of the same hash */
    struct shoal_subscriber subscriber;
    enum subscription_state state;
    uint32_t id;           /* of the SUBSCRIBE that awaits its reply */
    int64_t not_before_ms; /* the broker was busy: asked again then */
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

struct subscriptions {
    struct shoal_subscription *all;
    struct shoal_subscription *dead;
    struct shoal_subscription *last_found; /* the last message's: the next one's, most of the time */
    struct shoal_subscription *buckets[SUBSCRIPTION_BUCKETS];
    uint32_t count;
    uint32_t wild_count;
    uint32_t unsettled; /* WANTED and ASKED: shoal_flush() waits for them */
    uint32_t ending;
    uint32_t id;
};

/* Why a filter can't be followed beside the others; SHOAL_OK: it can. */
enum shoal_error subscriptions_check(const struct subscriptions *table, struct span filter);

/* Adds one, WANTED. NULL: no memory. */
struct shoal_subscription *subscriptions_add(struct subscriptions *table, struct span filter);

/* Moves to another state. Into DEAD: out of the table, to be freed by subscriptions_reap(). */
void subscription_set_state(struct subscriptions *table, struct shoal_subscription *subscription,
                            enum subscription_state state);

/* The one whose SUBSCRIBE had this id, or NULL. */
struct shoal_subscription *subscriptions_asked(const struct subscriptions *table, uint32_t id);

/* The LIVE one that a message of this topic is for, or NULL. */
struct shoal_subscription *subscriptions_for(struct subscriptions *table, struct span topic);

/* The one with this text, in any state but DEAD and ENDING, or NULL. */
struct shoal_subscription *subscriptions_named(const struct subscriptions *table, struct span filter);

/* A SUBSCRIBE command for it, with a new id; positions are written into `scratch` (positions_write). */
void subscription_command(struct subscriptions *table, struct shoal_subscription *subscription, char id[4],
                          struct span positions, struct command *command);

/* The connection is gone: all are WANTED again, and those that were ENDING are dead. */
void subscriptions_disconnected(struct subscriptions *table);

/* Frees the dead. Only where no callback can be running. */
void subscriptions_reap(struct subscriptions *table);

/* Frees all. */
void subscriptions_free(struct subscriptions *table);

#endif
