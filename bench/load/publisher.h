/*
 * publisher: what publishes the messages of a run, in the leader's process.
 *
 *   websocket   a WebSocket a topic, as the path says; a frame is a payload     Shoal's raw, bun.js, ws.mjs, nchan,
 * floor post        HTTP POST, pipelined on one connection                           Shoal libshoal    shoal_publish()
 * on one connection, on the library's own thread   Shoal nats        PUB on one connection nats-server redis PUBLISH on
 * one connection                                        redis-server
 *
 * A message is a send() of its own. What a socket does not take at once waits in memory until it does: an open loop
 * does not stop. While something waits, its connection is not read.
 *
 * One a process: publisher_open() once.
 */
#ifndef SHOAL_BENCH_PUBLISHER_H
#define SHOAL_BENCH_PUBLISHER_H

#include <stdbool.h>
#include <stdint.h>

#include "workload.h"

struct publisher_options {
    const char *way; /* of the list above */
    const char *path;
    uint16_t port;
    bool text; /* as text, not as binary */
    int poll;  /* an epoll, where the sockets are added */
};

/* How many descriptors it will take. Dies of a way that is not known. */
uint32_t publisher_descriptors(const char *way, const struct workload *workload);

/* Connects. */
void publisher_open(const struct publisher_options *options, const struct workload *workload);

/* Publishes message `number` of a group. */
void publisher_publish(uint32_t group, uint64_t number);

/* Works an event of one of its sockets. */
void publisher_event(void *what, uint32_t events);

/* Disconnects; dies if a publish was refused. */
void publisher_close(void);

#endif
