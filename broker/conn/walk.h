/*
 * walk: what feeds have got since goes to their subscribers that are up to date, one send each, straight from the log.
 *
 *   dirty feeds ─▶ small ones (a slice of subscribers at most): each whole, many of them in one batch
 *               └▶ large ones: a slice each, in turn, and to the end of the line
 *
 * So a topic with a million subscribers does not hold up one with ten. Who can't take a send (its socket is full, or it
 * has something else to be sent first) gets a cursor.
 *
 * A send costs nearly the same for one message as for twenty, so a round had better carry all that are on their way:
 * before it begins there may be a rest. Publishers who wait for their messages to arrive send the next ones all at
 * once, just after a round: the rest ends when a part of a round has passed without a message, or after half a round. A
 * message that comes later than half a round after the last round is not held up at all. One that comes alone, as the
 * last did, is so once in many rounds, to see whether more would come. A large feed has rounds of its own; the small
 * feeds of a shard have theirs together.
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
