/*
 * io_null: a room behind the contract of io.h without a network, for measuring what the broker itself costs.
 *
 *      null_arrive(n) ──▶ n times: IO_ACCEPTED, then IO_RECEIVED with a request ──▶ shard
 *      null_feed()    ──▶ IO_RECEIVED with these bytes                          ──▶
 *      null_leave(n)  ──▶ n times: IO_ENDED                                     ──▶
 *                         a ping is answered by a pong, all else is counted     ◀── sends
 *
 * Slots are given out from 0 and only once, and every send succeeds. A silent connection takes no memory here at all;
 * what an event has to say is kept only until it is taken.
 *
 * Thread: one for all of it.
 */
#ifndef SHOAL_BENCH_IO_NULL_H
#define SHOAL_BENCH_IO_NULL_H

#include "io/io.h"

#define NULL_BUFFER_BYTES 1024

/* Writes the request of the connection with that number; returns its size. */
typedef size_t (*null_request)(void *context, uint32_t number, char out[NULL_BUFFER_BYTES]);

struct null_options {
    uint32_t slots_max;
    uint32_t batch;
    null_request request;
    void *context;
    uint32_t number_first; /* of slot 0, for `request` */
};

/* Gives the room. Dies without memory. */
struct io *null_create(const struct null_options *options);

/* So many more connections come: slots in a row. */
void null_arrive(struct io *io, uint32_t count);

/* All connections break off, the last ones first. */
void null_leave(struct io *io);

/* Bytes come on a slot: borrowed until they were received; one such feed at a time. */
void null_feed(struct io *io, uint32_t slot, const char *bytes, size_t size);

/* Whether all events were taken. */
bool null_is_quiet(const struct io *io);

/* Sends so far. */
uint64_t null_sends(const struct io *io);

#endif
