/*
 * redis: the link's only door to Redis.
 *
 * Behind it are two rooms with one contract: hiredis (redis_hiredis.c) and the simulated one of the tests. A
 * *connection* (struct redis) is one TCP connection to one server and speaks RESP2. It knows nothing of what is said
 * on it: commands go out as words, values come in, in the order in which the server sent them.
 *
 *      link                            room                          server
 *   redis_connect()              ──▶                           ──▶   connects
 *   redis_next()  ◀── REDIS_OPENED
 *   redis_send(words) …          ──▶   kept, then written      ──▶   works them in order
 *   redis_next()  ◀── REDIS_VALUE …                            ◀──   one value a command, in the order of the commands
 *   redis_next()  ◀── REDIS_CLOSED     the last event
 *   redis_close()
 *
 * There are no callbacks: the link pulls events when it wants them, so any function may be called at any time, and
 * nothing happens to a connection behind the link's back. Whose turn a value is, the link knows itself, for Redis
 * answers in order: it keeps the line of what it has asked. On a connection that has subscribed, values are what Redis
 * pushes: arrays whose first item is the string "message", "pmessage", "subscribe", "psubscribe", "unsubscribe" or
 * "punsubscribe".
 *
 * Not to pull is back-pressure: a room reads from a connection's socket only within redis_next() of that connection,
 * and no further than it needs to for the next event; nor does a connection whose events are waiting end redis_wait()
 * unless redis_next() has returned false for it since. (So a link that can't take more does not spin.)
 *
 * Who owns what:
 *   - a connection belongs to the caller from redis_connect() until redis_close(), also after REDIS_CLOSED; the room
 *     never frees one by itself. All are closed before the room is destroyed.
 *   - words are borrowed during redis_send(): the room copies what it can't write at once.
 *   - an event's value, its items, their bytes, and the reason are the room's, and valid until the next redis_next(),
 *     or redis_close(), of the same connection.
 *
 * Bounds: what was sent and not written yet, and what was asked and not answered yet, is the caller's to bound. An
 * incoming value is as large as the server makes it. No timers: the caller closes what takes too long, connecting
 * included.
 *
 * Thread: the link's only; redis_wake() any.
 */
#ifndef SHOAL_CLUSTER_REDIS_H
#define SHOAL_CLUSTER_REDIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/span.h"

enum redis_kind {
    REDIS_NIL,     /* null, string or array */
    REDIS_INTEGER, /* integer */
    REDIS_STRING,  /* text: a bulk string, or a status such as OK */
    REDIS_FAILURE, /* text: an error: "ERR …", "NOSCRIPT …", "READONLY …" */
    REDIS_ARRAY,   /* items, count */
};

struct redis_value {
    enum redis_kind kind;
    uint32_t count;                  /* REDIS_ARRAY */
    int64_t integer;                 /* REDIS_INTEGER */
    struct span text;                /* REDIS_STRING, REDIS_FAILURE: data is never NULL; not ended by a NUL */
    const struct redis_value *items; /* REDIS_ARRAY; may be NULL if count is 0 */
};

enum redis_event_kind {
    REDIS_OPENED, /* connected: the first event, unless it is REDIS_CLOSED */
    REDIS_VALUE,  /* value */
    REDIS_CLOSED, /* reason: could not connect, or broken, or closed by the server. Values received whole before have
                     come first. After it there are no events any more, and redis_send() does nothing */
};

struct redis_event {
    enum redis_event_kind kind;
    const struct redis_value *value; /* REDIS_VALUE */
    const char *reason;              /* REDIS_CLOSED: for people: "Connection refused" */
};

struct redis;

/* What a room implements: the functions below, which see. The room's own state follows it. */
struct redis_room {
    struct redis *(*connect)(struct redis_room *room, const char *host, uint16_t port, bool tls);
    void (*send)(struct redis *redis, uint32_t count, const struct span *words);
    bool (*next)(struct redis *redis, struct redis_event *event);
    void (*close)(struct redis *redis);
    void (*wait)(struct redis_room *room, int64_t timeout_us);
    void (*wake)(struct redis_room *room);
    void (*destroy)(struct redis_room *room);
};

/* The part that every room's connection begins with. */
struct redis {
    struct redis_room *room;
};

struct redis_tls;

/* The room of hiredis. NULL: no descriptors or memory. Gives it. */
struct redis_room *redis_hiredis_create(void);
/* What its connections by TLS are made of (redis_tls.h); borrowed until the room is destroyed. Before the first one. */
void redis_hiredis_tls(struct redis_room *room, struct redis_tls *tls);

/* Takes the room. NULL is allowed. Its connections are closed already. */
static inline void redis_destroy(struct redis_room *room)
{
    if (room) {
        room->destroy(room);
    }
}

/*
 * Begins to connect; how it went comes by redis_next(). `host`: a name, an IPv4 or an IPv6 address without brackets;
 * borrowed during the call. NULL: no memory. Gives the connection.
 */
static inline struct redis *redis_connect(struct redis_room *room, const char *host, uint16_t port)
{
    return room->connect(room, host, port, false);
}

/* The same by TLS: REDIS_OPENED comes when the server has proved who it is. Only of a room that has it. */
static inline struct redis *redis_connect_tls(struct redis_room *room, const char *host, uint16_t port)
{
    return room->connect(room, host, port, true);
}

/*
 * Sends one command, `count` words of any bytes, at least one. Allowed before REDIS_OPENED: goes out when connected. It
 * is written at the next redis_wait() at the latest, with all others of that time. What can't be sent closes the
 * connection (REDIS_CLOSED), which says that the command may not have been done.
 */
static inline void redis_send(struct redis *redis, uint32_t count, const struct span *words)
{
    redis->room->send(redis, count, words);
}

/* The connection's next event. False: none now. */
static inline bool redis_next(struct redis *redis, struct redis_event *event)
{
    return redis->room->next(redis, event);
}

/* Takes the connection, at once: what was sent may be lost, and no event comes. NULL is allowed. */
static inline void redis_close(struct redis *redis)
{
    if (redis) {
        redis->room->close(redis);
    }
}

/*
 * Writes what was sent, then waits until a connection may have an event, redis_wake() is called, or `timeout_us` is
 * over; 0 does not wait. May return early without cause.
 */
static inline void redis_wait(struct redis_room *room, int64_t timeout_us)
{
    room->wait(room, timeout_us);
}

/* Ends the redis_wait() that is under way, or the next one. Any thread, also while none waits. */
static inline void redis_wake(struct redis_room *room)
{
    room->wake(room);
}

#endif
