/*
 * deliver: what logs hold, and what replies wait, goes to the sockets.
 *
 *   dirty feeds ─▶ walk (walk.h): subscribers that are up to date get the same bytes, one send each
 *                    └─▶ who can't take them (socket full, or has something else to be sent first) gets a cursor
 *   ready connections ─▶ gather: the rest of a frame, then replies, then what its cursors have to read, in one send
 *
 * Sends are queued in a batch and done at once by io_flush(); then those that were short are looked at. So at any
 * moment each connection has one send at most, and nothing of a log is held for the kernel.
 *
 * A turn has a budget of sends (TURN_DELIVERIES_MAX).
 */
#ifndef SHOAL_CONN_DELIVER_H
#define SHOAL_CONN_DELIVER_H

#include "conn/conn.h"

/* The deliver step. True: its budget is used up and there is more to do. */
bool deliver_turn(struct conns *conns);

/* IO_WRITABLE. */
void deliver_writable(struct conns *conns, uint32_t slot);

/* Queues bytes that live on until the flush (a heartbeat), if the connection is free for it. False: it is not. */
bool deliver_static(struct conns *conns, uint32_t slot, const void *bytes, size_t size);

/*
 * Queues what a walk sends to a subscriber, whose connection is free for it: so many messages. Returns what it takes of
 * the budget.
 */
uint32_t deliver_range(struct conns *conns, uint32_t subscription, const struct walk_range *range, uint64_t messages);

/* Does what is queued, and settles it. */
void deliver_flush(struct conns *conns);

#endif
