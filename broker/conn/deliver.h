/*
 * deliver: what logs hold, and what replies wait, goes to the sockets.
 *
 *   dirty feeds ─▶ walk: subscribers that are up to date get the same bytes, one send each, straight from the log
 *                    └─▶ who can't take them (socket full, or has something else to be sent first) gets a cursor
 *   ready connections ─▶ gather: the rest of a frame, then replies, then what its cursors have to read, in one send
 *
 * Sends are queued in a batch and done at once by io_flush(); then those that were short are looked at. So at any
 * moment each connection has one send at most, and nothing of a log is held for the kernel.
 *
 * A turn has a budget of sends (TURN_DELIVERIES_MAX). Small feeds come first; a large one is walked by slices and goes
 * to the end of the list, so that a topic with a million subscribers does not hold up one with ten.
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

/* Does what is queued, and settles it. */
void deliver_flush(struct conns *conns);

#endif
