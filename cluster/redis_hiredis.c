/*
 * redis_hiredis: the room of redis.h that speaks to real servers.
 *
 * Of hiredis this takes the codec and the socket (redisContext without blocking: the same in 0.14 and 1.x), but not its
 * asynchronous layer: that one works all replies of a read at once, so that a reader could not stop after a message
 * that found no room, and keeps a record for each subscribed channel, which the link has already.
 *
 *   socket ──▶ hiredis' reader ──▶ redis_next(): one reply at a time ──▶ values (our own struct, in one block that is
 *                                                                         used again)
 *   redis_send() ──▶ out: a buffer ──▶ redis_wait(): one write for all commands of a turn
 *
 * Readiness is edge-triggered, and that is the back-pressure: an edge sets `readable`; only redis_next() reads, until
 * the socket is empty, which clears it. A connection that nobody pulls from makes no further edges and wakes nobody.
 *
 * By TLS (redis_tls.h) a session stands between socket and reader, on both ways; the same readiness goes for it.
 *
 * A host's name is resolved by hiredis with getaddrinfo(), which may wait for a name server: the link waits with it and
 * no shard does. Addresses do not.
 */
#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "cluster/redis.h"
#include "cluster/redis_tls.h"

#define EVENTS_MAX 64

/* A sign, twenty digits, an end of line. */
#define NUMBER_BYTES_MAX 24

/* A buffer for what is sent keeps so much room for the next turn; what a burst took beyond it is given back. */
#define OUT_KEPT_BYTES (256u * 1024)

/* What is read by TLS at once: a record. */
#define TLS_READ_BYTES (16u * 1024)

/* Values of one reply that are kept for the next one. */
#define VALUES_KEPT 4096u

struct room {
    struct redis_room room;
    int epoll;
    int bell; /* eventfd */
    struct connection *connections;
    struct redis_tls *tls; /* NULL: none */
};

enum connection_state {
    CONNECTION_OPENING, /* context: connecting */
    CONNECTION_SHAKING, /* the same, and session: its handshake is under way */
    CONNECTION_OPEN,    /* context: connected */
    CONNECTION_BROKEN,  /* reason: REDIS_CLOSED is still to be told */
    CONNECTION_OVER,    /* told */
};

struct connection {
    struct redis redis;
    struct room *room;
    struct connection *next; /* of the room */
    struct connection **link;
    redisContext *context;       /* NULL: there was not even memory for it */
    struct tls_session *session; /* NULL: none */
    bool tls;
    char host[256]; /* tls: whom the certificate must name */
    enum connection_state state;
    bool readable; /* since the last empty read */
    bool writable;
    bool told;         /* that it is open */
    bool hung_up;      /* while opening: it failed */
    redisReply *reply; /* that the last event's value was made of */
    struct redis_value *values;
    uint32_t value_room;
    char *out; /* bytes to write: from out_begin to out_end */
    size_t out_begin;
    size_t out_end;
    size_t out_room;
    char reason[128];
};

static struct connection *connection_of(struct redis *redis)
{
    return (struct connection *)redis;
}

static void connection_break(struct connection *connection, const char *reason)
{
    if (connection->state < CONNECTION_BROKEN) {
        connection->state = CONNECTION_BROKEN;
        snprintf(connection->reason, sizeof connection->reason, "%s", reason);
    }
}

static struct redis *hiredis_connect(struct redis_room *redis_room, const char *host, uint16_t port, bool tls)
{
    struct room *room = (struct room *)redis_room;
    struct connection *connection = calloc(1, sizeof *connection);
    if (!connection) {
        return NULL;
    }
    connection->redis.room = redis_room;
    connection->room = room;
    connection->tls = tls;
    snprintf(connection->host, sizeof connection->host, "%s", host);
    connection->context = redisConnectNonBlock(host, port);
    struct epoll_event interest = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = connection};
    if (!connection->context) {
        connection_break(connection, "no memory");
    } else if (connection->context->err) {
        connection_break(connection, connection->context->errstr);
    } else if (epoll_ctl(room->epoll, EPOLL_CTL_ADD, connection->context->fd, &interest) != 0) {
        connection_break(connection, strerror(errno));
    } else {
        redisEnableKeepAlive(connection->context); /* may not be allowed yet; timeouts of the link do not count on it */
        connection->context->err = 0;
    }
    connection->next = room->connections;
    connection->link = &room->connections;
    if (connection->next) {
        connection->next->link = &connection->next;
    }
    room->connections = connection;
    return &connection->redis;
}

static void hiredis_close(struct redis *redis)
{
    struct connection *connection = connection_of(redis);
    *connection->link = connection->next;
    if (connection->next) {
        connection->next->link = connection->link;
    }
    if (connection->reply) {
        freeReplyObject(connection->reply);
    }
    if (connection->session) {
        tls_end(connection->session);
    }
    if (connection->context) {
        redisFree(connection->context); /* closes the socket, which takes it out of the epoll set */
    }
    free(connection->values);
    free(connection->out);
    free(connection);
}

/* --- sending --- */

static bool out_reserve(struct connection *connection, size_t size)
{
    if (connection->out_room - connection->out_end >= size) {
        return true;
    }
    size_t used = connection->out_end - connection->out_begin;
    if (connection->out_begin) {
        memmove(connection->out, connection->out + connection->out_begin, used);
        connection->out_begin = 0;
        connection->out_end = used;
    }
    if (connection->out_room - used < size) {
        size_t room = connection->out_room + connection->out_room / 2 + size;
        char *out = realloc(connection->out, room);
        if (!out) {
            return false;
        }
        connection->out = out;
        connection->out_room = room;
    }
    return true;
}

static void out_add(struct connection *connection, struct span bytes)
{
    if (bytes.size) {
        memcpy(connection->out + connection->out_end, bytes.data, bytes.size);
        connection->out_end += bytes.size;
    }
}

/* "*3\r\n" or "$12\r\n": by hand, for it is done some five times a message */
static void out_add_number(struct connection *connection, char sign, size_t number)
{
    char text[NUMBER_BYTES_MAX];
    char *at = text + sizeof text;
    *--at = '\n';
    *--at = '\r';
    do {
        *--at = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    *--at = sign;
    out_add(connection, (struct span){at, (size_t)(text + sizeof text - at)});
}

static void hiredis_send(struct redis *redis, uint32_t count, const struct span *words)
{
    struct connection *connection = connection_of(redis);
    if (connection->state >= CONNECTION_BROKEN) {
        return;
    }
    size_t size = NUMBER_BYTES_MAX;
    for (uint32_t i = 0; i < count; i++) {
        size += words[i].size + NUMBER_BYTES_MAX;
    }
    if (!out_reserve(connection, size)) {
        connection_break(connection, "no memory");
        return;
    }
    out_add_number(connection, '*', count);
    for (uint32_t i = 0; i < count; i++) {
        out_add_number(connection, '$', words[i].size);
        out_add(connection, words[i]);
        out_add(connection, SPAN_LITERAL("\r\n"));
    }
}

/* As send() does; what TLS can't do before it has read is tried again by the next redis_wait(). */
static ssize_t out_send(struct connection *connection)
{
    const char *bytes = connection->out + connection->out_begin;
    size_t size = connection->out_end - connection->out_begin;
    size_t count;
    if (!connection->session) {
        return send(connection->context->fd, bytes, size, MSG_NOSIGNAL);
    }
    enum tls_result result = tls_write(connection->session, bytes, size, &count);
    errno = result == TLS_FAILED ? EPIPE : EAGAIN;
    return result == TLS_DONE ? (ssize_t)count : -1;
}

static void out_write(struct connection *connection)
{
    while (connection->writable && connection->out_begin < connection->out_end) {
        ssize_t size = out_send(connection);
        if (size >= 0) {
            connection->out_begin += (size_t)size;
        } else if (errno == EAGAIN) {
            connection->writable = false;
        } else if (errno != EINTR) {
            /* what the server said before it went is read first: redis_next() meets the end */
            connection->readable = true;
            connection->out_begin = connection->out_end;
        }
    }
    if (connection->out_begin == connection->out_end) {
        connection->out_begin = connection->out_end = 0;
        if (connection->out_room > OUT_KEPT_BYTES) {
            free(connection->out);
            connection->out = NULL;
            connection->out_room = 0;
        }
    }
}

/* --- receiving --- */

static uint32_t values_in(const redisReply *reply)
{
    uint32_t count = 1;
    if (reply->type == REDIS_REPLY_ARRAY) {
        for (size_t i = 0; i < reply->elements; i++) {
            count += values_in(reply->element[i]);
        }
    }
    return count;
}

/* Fills *value; its items come from *free on, side by side, and what they hold behind them. */
static void value_fill(struct redis_value *value, const redisReply *reply, struct redis_value **free_values)
{
    *value = (struct redis_value){.kind = REDIS_NIL};
    switch (reply->type) {
    case REDIS_REPLY_INTEGER:
        value->kind = REDIS_INTEGER;
        value->integer = reply->integer;
        break;
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS:
    case REDIS_REPLY_ERROR:
        value->kind = reply->type == REDIS_REPLY_ERROR ? REDIS_FAILURE : REDIS_STRING;
        value->text = (struct span){reply->str, reply->len};
        break;
    case REDIS_REPLY_ARRAY:
        value->kind = REDIS_ARRAY;
        value->count = (uint32_t)reply->elements;
        struct redis_value *items = *free_values;
        *free_values += reply->elements;
        value->items = items;
        for (size_t i = 0; i < reply->elements; i++) {
            value_fill(&items[i], reply->element[i], free_values);
        }
        break;
    default: /* nil; RESP2 has no others */
        break;
    }
}

static bool value_make(struct connection *connection)
{
    uint32_t count = values_in(connection->reply);
    if (count > connection->value_room || connection->value_room > VALUES_KEPT) {
        free(connection->values);
        connection->value_room = 0;
        connection->values = malloc(count * sizeof *connection->values);
        if (!connection->values) {
            return false;
        }
        connection->value_room = count;
    }
    struct redis_value *free_values = connection->values + 1;
    value_fill(connection->values, connection->reply, &free_values);
    return true;
}

/* Reads some, and notes whether there may be more. False: it is over, and the reason is noted. */
static bool read_plain(struct connection *connection)
{
    size_t before = connection->context->reader->len;
    if (redisBufferRead(connection->context) != REDIS_OK) {
        connection_break(connection, connection->context->errstr);
        return false;
    }
    connection->readable = connection->context->reader->len > before;
    return true;
}

static bool read_tls(struct connection *connection)
{
    char bytes[TLS_READ_BYTES];
    size_t count;
    enum tls_result result = tls_read(connection->session, bytes, sizeof bytes, &count);
    connection->readable = result == TLS_DONE;
    if (result == TLS_FAILED) {
        connection_break(connection, tls_problem(connection->session));
        return false;
    }
    if (result == TLS_DONE && redisReaderFeed(connection->context->reader, bytes, count) != REDIS_OK) {
        connection_break(connection, "no memory");
        return false;
    }
    return true;
}

/* True: a reply has come whole. */
static bool reply_take(struct connection *connection)
{
    if (connection->reply) {
        freeReplyObject(connection->reply);
        connection->reply = NULL;
    }
    for (;;) {
        void *reply = NULL;
        if (redisGetReplyFromReader(connection->context, &reply) != REDIS_OK) {
            break;
        }
        if (reply) {
            connection->reply = reply;
            return true;
        }
        if (!connection->readable) {
            return false;
        }
        if (!(connection->session ? read_tls(connection) : read_plain(connection))) {
            return false;
        }
    }
    connection_break(connection, connection->context->errstr);
    return false;
}

/* The socket is connected, or it failed to. */
static void opening_ended(struct connection *connection)
{
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(connection->context->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        connection_break(connection, strerror(error));
    } else if (connection->writable) {
        connection->context->flags |= REDIS_CONNECTED;
        connection->state = connection->tls ? CONNECTION_SHAKING : CONNECTION_OPEN;
    }
    if (connection->state == CONNECTION_SHAKING) {
        struct redis_tls *tls = connection->room->tls;
        connection->session = tls ? tls_begin(tls, connection->context->fd, connection->host) : NULL;
        if (!connection->session) {
            connection_break(connection, tls ? "no memory" : "no TLS");
        }
    }
}

/* Goes on as far as the socket lets it. */
static void shake(struct connection *connection)
{
    switch (tls_handshake(connection->session)) {
    case TLS_DONE:
        connection->state = CONNECTION_OPEN;
        connection->readable = connection->writable = true; /* whether they are so shows when they are tried */
        break;
    case TLS_READS:
        connection->readable = false;
        break;
    case TLS_WRITES:
        connection->writable = false;
        break;
    case TLS_FAILED:
        connection_break(connection, tls_problem(connection->session));
        break;
    }
}

static bool hiredis_next(struct redis *redis, struct redis_event *event)
{
    struct connection *connection = connection_of(redis);
    *event = (struct redis_event){0};
    if (connection->state == CONNECTION_OPENING && (connection->writable || connection->hung_up)) {
        opening_ended(connection);
    }
    if (connection->state == CONNECTION_SHAKING) {
        shake(connection);
    }
    if (connection->state == CONNECTION_OPEN && !connection->told) {
        connection->told = true;
        event->kind = REDIS_OPENED;
        return true;
    }
    if (connection->state == CONNECTION_OPEN && reply_take(connection)) {
        if (value_make(connection)) {
            event->kind = REDIS_VALUE;
            event->value = connection->values;
            return true;
        }
        connection_break(connection, "no memory");
    }
    if (connection->state == CONNECTION_BROKEN) {
        connection->state = CONNECTION_OVER;
        event->kind = REDIS_CLOSED;
        event->reason = connection->reason;
        return true;
    }
    return false;
}

/* --- waiting --- */

static void bell_quiet(struct room *room)
{
    uint64_t rung;
    if (read(room->bell, &rung, sizeof rung) < 0) {
        CHECK(errno == EAGAIN || errno == EINTR);
    }
}

static void note_readiness(struct connection *connection, uint32_t events)
{
    connection->writable |= (events & EPOLLOUT) != 0;
    connection->readable |= (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    connection->hung_up |= (events & (EPOLLHUP | EPOLLERR)) != 0;
}

static void write_all(struct room *room)
{
    for (struct connection *connection = room->connections; connection; connection = connection->next) {
        if (connection->state == CONNECTION_OPEN) {
            out_write(connection);
        }
    }
}

static void hiredis_wait(struct redis_room *redis_room, int64_t timeout_us)
{
    struct room *room = (struct room *)redis_room;
    write_all(room);
    struct epoll_event events[EVENTS_MAX];
    struct timespec timeout = {timeout_us / 1000000, timeout_us % 1000000 * 1000};
    int count = epoll_pwait2(room->epoll, events, EVENTS_MAX, &timeout, NULL);
    CHECK(count >= 0 || errno == EINTR);
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr) {
            note_readiness(events[i].data.ptr, events[i].events);
        } else {
            bell_quiet(room);
        }
    }
    write_all(room); /* what waited for a socket */
}

static void hiredis_wake(struct redis_room *redis_room)
{
    struct room *room = (struct room *)redis_room;
    uint64_t one = 1;
    ssize_t size = write(room->bell, &one, sizeof one);
    CHECK(size == sizeof one || errno == EAGAIN || errno == EINTR); /* full: it is ringing as loud as it can */
}

static void hiredis_destroy(struct redis_room *redis_room)
{
    struct room *room = (struct room *)redis_room;
    CHECK(!room->connections);
    close(room->bell);
    close(room->epoll);
    free(room);
}

void redis_hiredis_tls(struct redis_room *redis_room, struct redis_tls *tls)
{
    ((struct room *)redis_room)->tls = tls;
}

struct redis_room *redis_hiredis_create(void)
{
    struct room *room = calloc(1, sizeof *room);
    if (!room) {
        return NULL;
    }
    room->room = (struct redis_room){
        .connect = hiredis_connect,
        .send = hiredis_send,
        .next = hiredis_next,
        .close = hiredis_close,
        .wait = hiredis_wait,
        .wake = hiredis_wake,
        .destroy = hiredis_destroy,
    };
    room->epoll = epoll_create1(EPOLL_CLOEXEC);
    room->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event interest = {.events = EPOLLIN, .data.ptr = NULL};
    if (room->epoll < 0 || room->bell < 0 || epoll_ctl(room->epoll, EPOLL_CTL_ADD, room->bell, &interest) != 0) {
        close(room->epoll);
        close(room->bell);
        free(room);
        return NULL;
    }
    return &room->room;
}
