/*
 * sweep: what time brings: heartbeats, dead peers, deadlines, expired tokens, draining.
 *
 * No connection has a timer. The table is looked through in small steps, all of it once in a quarter of the heartbeat's
 * interval; sessions, of which there are few, once a second.
 */
#ifndef SHOAL_CONN_SWEEP_H
#define SHOAL_CONN_SWEEP_H

#include "conn/conn.h"

/* The sweep step: as much as is due since the last one. */
void sweep_turn(struct conns *conns);

/* From now on nobody is let in, and connections are closed with 4000, spread over broker.drain_s. */
void sweep_drain(struct conns *conns);

#endif
