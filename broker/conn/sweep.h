/*
 * sweep: what time brings: heartbeats, dead peers, deadlines, expired tokens, draining.
 *
 * No connection has a timer. The table is looked through in small steps, all of it once in a quarter of the heartbeat's
 * interval (a pass); sessions, of which there are few, once a second.
 *
 * Heartbeats. Each slot has its pass, one of four, by its number. In it a connection is pinged that has been silent for
 * a quarter of the interval; in any other pass one that has been silent for the whole of it. So whoever is silent is
 * pinged once an interval, at a time that follows from the slot: pings are spread evenly however many came, or came
 * back, at once. A step is made when some dozens are due, or after an eighth of a pass (100 ms to a second), at a time
 * that is the shard's own: so both the pings and the answers to them come many to a turn, which is what makes them
 * cheap, also where many shards have few connections each.
 *
 * Silence is measured in time for which the shard has listened (conns->heard_us), not in the host's: a turn that comes
 * late counts as a second at most, and one that follows on unread input as a quarter of its time. Completions come in
 * order, so what a peer has sent in time is read before its silence is held against it, and an overload closes nobody:
 * it makes pings rarer and patience longer, and so passes. Deadlines of sessions (the handshake's too) run by the same
 * clock. Counter: turns_behind.
 */
#ifndef SHOAL_CONN_SWEEP_H
#define SHOAL_CONN_SWEEP_H

#include "conn/conn.h"

/* The sweep step: as much as is due since the last one. */
void sweep_turn(struct conns *conns);

/* After a turn with nothing left to do: for how many us no sweep is due. At most half a second. */
int64_t sweep_rest_us(const struct conns *conns);

/* From now on nobody is let in, and connections are closed with 4000, spread over broker.drain_s. */
void sweep_drain(struct conns *conns);

#endif
