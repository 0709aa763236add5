/*
 * wire: a simulated client's end of a connection: HTTP, WebSocket frames and server-sent events over bytes.
 *
 *      wire_request(), wire_message() ─▶ out ─▶ wire_send() ─▶ network      as few bytes at a time as the caller likes
 *      wire_next() ◀─ in ◀─ wire_receive() ◀─ network
 *
 * It answers pings, and looks closely at what the broker sends: frames that are broken, or heads that are none, are
 * failures. It decides nothing else.
 */
#ifndef SHOAL_TESTS_WIRE_H
#define SHOAL_TESTS_WIRE_H

#include "conn/buffer.h"
#include "io_simulated.h"
#include "protocol/deflate.h"
#include "protocol/ws_frame.h"
#include "verdict.h"

enum wire_state {
    WIRE_CLOSED,   /* no connection */
    WIRE_RESPONSE, /* an HTTP response is awaited */
    WIRE_FRAMES,   /* a WebSocket */
    WIRE_EVENTS,   /* server-sent events */
};

enum wire_news_kind {
    WIRE_NOTHING,
    WIRE_HEAD,    /* status, epoch and offset of a raw WebSocket: the state is WIRE_FRAMES or WIRE_EVENTS now */
    WIRE_BODY,    /* status, data: a whole response; another request may follow if `keep_alive` */
    WIRE_MESSAGE, /* data, text */
    WIRE_EVENT,   /* name (empty: message), id, data */
    WIRE_CLOSE,   /* status: the code of the close frame */
    WIRE_END,     /* status: 0 or -errno; the connection is over */
};

/* Spans are valid until the next call of a wire function. */
struct wire_news {
    enum wire_news_kind kind;
    int status;
    bool text;
    bool keep_alive;
    uint64_t epoch;
    uint64_t offset;
    struct span name;
    struct span id;
    struct span data;
};

struct wire {
    struct sim_network *network;
    struct verdict *verdict;
    struct inflater *inflater;
    uint32_t link;
    enum wire_state state;
    bool ended;      /* the network has no more for us */
    bool told_end;   /* and WIRE_END was given */
    bool told_close; /* a close frame was received: nothing may follow it */
    bool finishing;  /* a close frame was sent or received: nothing more is sent but what waits */
    int end_status;
    struct buffer out;
    struct buffer in;
    uint32_t used; /* bytes of `in` that the last news pointed into */
    struct ws_reader reader;
    struct buffer message;
    struct buffer inflated;
};

/* A new connection to a shard. False: refused. */
bool wire_connect(struct wire *wire, uint32_t shard);

/* The connection is over, in this manner; WIRE_CLOSED. */
void wire_leave(struct wire *wire, enum sim_leaving how);

/* Queues a request; a response is awaited. */
void wire_request(struct wire *wire, struct span bytes);

/* Queues a message, in one frame or several. */
void wire_message(struct wire *wire, bool text, struct span bytes);
void wire_ping(struct wire *wire);
void wire_close(struct wire *wire, uint16_t code);

/* Moves at most `most` bytes. Returns how many. */
size_t wire_send(struct wire *wire, size_t most);
size_t wire_receive(struct wire *wire, size_t most);

/* The next whole thing among the bytes that were read. */
struct wire_news wire_next(struct wire *wire);

#endif
