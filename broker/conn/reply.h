/*
 * reply: what is told to one connection alone: replies, control frames, HTTP responses.
 *
 * They are queued in session->out and sent by deliver, always before messages and never inside of a frame. Bound:
 * limits.reply_bytes; policy: who lets more than that wait is closed with 4004; counter: reply_overflows.
 */
#ifndef SHOAL_CONN_REPLY_H
#define SHOAL_CONN_REPLY_H

#include "conn/conn.h"

/* Queues a reply in the connection's dialect; one that the dialect does not show is dropped. */
void conn_reply(struct conns *conns, uint32_t slot, const struct reply *reply);

void conn_reply_error(struct conns *conns, uint32_t slot, struct span id, enum reply_error error);

/*
 * From when the connection's filters may be resumed, ms since 1970: what was published before has been sent to it. 0:
 * older messages wait for it, alone. As exact as a turn of the shards takes, or a walk over a filter's subscribers.
 */
uint64_t conn_safe_time_ms(const struct conns *conns, uint32_t slot);

/* Tells that a command was refused, in the way that the dialect can: raw only by closing. */
void conn_refuse(struct conns *conns, uint32_t slot, struct span id, enum reply_error error);

/* Queues bytes as they are. False: no memory or overflow; the connection is being closed. */
bool conn_queue(struct conns *conns, uint32_t slot, const void *bytes, size_t size);

/* Queues a WebSocket frame. */
void conn_queue_frame(struct conns *conns, uint32_t slot, enum ws_opcode opcode, bool rsv1, struct span payload);

/* Queues an HTTP response; the next request may follow, or the connection ends, as session->keep_alive says. */
void conn_respond(struct conns *conns, uint32_t slot, struct http_response *response);

/* The same with a JSON body that tells an error. */
void conn_respond_error(struct conns *conns, uint32_t slot, enum reply_error error);
void conn_respond_problem(struct conns *conns, uint32_t slot, int status, const char *code, const char *message,
                          bool retry, struct span extra);

/* 503, to be tried again: Retry-After tells when, in whole seconds. */
void conn_respond_later(struct conns *conns, uint32_t slot, const char *code, const char *message, uint32_t after_ms);

/* The broker's greeting. */
void conn_reply_hello(struct conns *conns, uint32_t slot);

#endif
