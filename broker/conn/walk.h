/*
 * walk: what feeds have got since goes to their subscribers that are up to date, one send each, straight from the log.
 *
 *   dirty feeds ─▶ small ones (a slice of subscribers at most): each whole, many of them in one batch
 *               └▶ large ones: a slice each, in turn, and to the end of the line
 *
 * So a topic with a million subscribers does not hold up one with ten. Who can't take a send (its socket is full, or it
 * has something else to be sent first) gets a cursor.
 *
 * Before a round there may be a rest, so that it carries more (topic/rest.h). A large feed has rounds of its own; the
 * small feeds of a shard have theirs together.
 *
 * Thread: the shard's.
 */
#ifndef SHOAL_CONN_WALK_H
#define SHOAL_CONN_WALK_H

#include "conn/conn.h"

/* Walks the small feeds that are dirty, or lets them rest. Returns the sends that are left of the budget. */
uint32_t walk_small(struct conns *conns, uint32_t budget);

/* Walks the large feeds that are dirty, once each. Returns as walk_small(). */
uint32_t walk_large(struct conns *conns, uint32_t budget);

#endif
