/*
 * protocol: the adapters: how a subscriber subscribes at each kind of server, and how its messages look on the wire.
 *
 *   raw        a WebSocket a topic, whose path names it; a frame is a payload     Shoal, bun.js, ws.mjs, nchan, floor
 *   deflate    the same, and permessage-deflate is offered                        Shoal, nchan
 *   json, bin  Shoal's multiplexed WebSocket                                      Shoal
 *   nats       NATS's text protocol inside of WebSocket frames                    nats-server
 *   redis      RESP on plain TCP                                                  redis-server
 *
 * A parser takes whole units and leaves what is cut in two; it dies of what it does not know, since a benchmark that
 * reads a refusal as a message would measure something else.
 *
 * Pure functions over bytes, but for what they tell the subscriber (subscriber.h).
 */
#ifndef SHOAL_BENCH_PROTOCOL_H
#define SHOAL_BENCH_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct subscriber;

#define COMMAND_MAX 512u

struct protocol {
    const char *name;
    bool websocket;    /* begins with an upgrade */
    const char *path;  /* of the upgrade; NULL: of the topic, and subscribing needs no command */
    const char *lines; /* more header lines of the upgrade */
    bool text;         /* messages are published as text: this dialect would show others in base64 */
    /* What is sent first. Returns its size; `answers` is how many it causes. NULL: nothing. */
    size_t (*greet)(char out[COMMAND_MAX], uint32_t *answers);
    /* The command that subscribes to a topic, or to all topics of a group (`all`). Returns its size; one answer. */
    size_t (*subscribe)(char out[COMMAND_MAX], uint32_t id, const char *topic, bool all);
    /* Takes whole units of the stream. Returns how many bytes it took. */
    size_t (*receive)(struct subscriber *subscriber, char *bytes, size_t size);
};

extern const struct protocol protocol_raw, protocol_deflate, protocol_json, protocol_bin, protocol_nats, protocol_redis;

/* By name. Dies if there is none. */
const struct protocol *protocol_find(const char *name);

/* "bench/0/7" as a NATS subject, bench.0.7. */
void nats_subject(const char *topic, char *out, size_t room);

#endif
