/*
 * window: what was published and is not acknowledged yet, in the order in which it was published.
 *
 *      first ─▶ [ sent ][ sent ][  done  ][ sent ][ unsent ][ unsent ] ◀─ next       numbers only grow;
 *                                                 ▲ unsent                           a slot is number mod capacity
 *
 * A publish is encoded once, with its id and key, when it is put in; sending it again after a cut is sending the same
 * bytes, but for a bit that tells another broker than the first that it is not the first. Ids are 1 to 2^31 - 1, given
 * round robin: larger ones are those of other commands. Acknowledgements may come in any order; a slot is used again
 * when all before it are done.
 *
 * Bounded by messages and bytes. Plain data: whoever calls holds the client's lock.
 */
#ifndef SHOAL_CLIENT_WINDOW_H
#define SHOAL_CLIENT_WINDOW_H

#include "protocol/command.h"
#include <shoal.h>

#define PUBLISH_IDS 0x7FFFFFFFu /* ids of publishes are 1 to this */

/* Who is published to, as far as it matters for what was sent before. */
struct window_broker {
    uint64_t instance;
    uint64_t federation; /* 0: none */
};

struct publish {
    struct publish *next; /* in a list of those that are done */
    shoal_on_ack *on_ack; /* NULL: nobody asks */
    void *context;
    enum shoal_error error; /* done: what on_ack is told */
    struct shoal_position position;
    int64_t sent_ms;             /* when it was first sent; 0: never */
    struct window_broker broker; /* that it was first sent to */
    size_t size;
    char record[];
};

struct window {
    struct publish **slots; /* NULL: done */
    uint32_t capacity;
    uint32_t count; /* not done */
    size_t bytes;   /* of their records */
    size_t bytes_max;
    uint64_t first;
    uint64_t unsent;
    uint64_t next;
    uint64_t nonce; /* the first half of the library's keys: another one in each client */
    bool doubles;   /* rather twice than not at all: brokers are not told that another one was sent it before */
};

/* A list of publishes, for callbacks without the lock. */
struct publish_list {
    struct publish *first;
    struct publish **last;
};

/* False: no memory. */
bool window_init(struct window *window, uint32_t messages, size_t bytes, uint64_t nonce);
/* Frees all. Calls nobody. */
void window_free(struct window *window);

/* Whether a record of this size finds room. */
bool window_fits(const struct window *window, size_t size);

/*
 * The bytes that a publish takes; and puts it in, when there is room: `command` with its id and, if it has none, its
 * key filled in. False: no memory.
 */
size_t window_size_of(const struct command *command);
bool window_put(struct window *window, struct command *command, shoal_on_ack *on_ack, void *context);

/* The next one to be sent, which then counts as sent. NULL: none, or its record has more than `room` bytes. */
struct publish *window_send(struct window *window, size_t room, int64_t now_ms, const struct window_broker *broker);

/* The broker has refused it for now, and is going away: it has surely not been published, and waits for the next one.
 */
void window_postpone(struct window *window, uint32_t id);

/* All are to be sent again. */
void window_rewind(struct window *window);

/* The publish of an id is done: moves it to the list. False: there is none. */
bool window_done(struct window *window, uint32_t id, enum shoal_error error, struct shoal_position position,
                 struct publish_list *list);

/* Those of which `is_lost` says so (`what` is passed on to it) are done with an error. */
void window_fail(struct window *window, bool (*is_lost)(const struct publish *publish, const void *what),
                 const void *what, enum shoal_error error, struct publish_list *list);

/* All of them: what was sent may have been published, and fails as uncertain, the others with `error`. */
void window_fail_all(struct window *window, enum shoal_error error, struct publish_list *list);

#endif
