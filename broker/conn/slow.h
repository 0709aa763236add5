/*
 * slow: what becomes of subscribers that the backlog has passed, by their namespace's policy.
 *
 *   disconnect   closed with 4001: it may resume from what it has
 *   skip         goes on with the oldest message that there is, and is told the gap
 *   conflate     goes on with the latest message, and is told the gap
 *
 * A gap is told when the connection takes bytes again, right before the message that follows it. A raw connection can't
 * be told of a gap: under skip it is disconnected.
 */
#ifndef SHOAL_CONN_SLOW_H
#define SHOAL_CONN_SLOW_H

#include "conn/conn.h"

/* Applies the policy to all that the feed's backlog has passed. */
void slow_policy(struct conns *conns, uint32_t feed);

/* Queues the gaps that a connection has to be told, now that it is going to be sent to. It may be closing after. */
void slow_tell(struct conns *conns, uint32_t slot);

#endif
