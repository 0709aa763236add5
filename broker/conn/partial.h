/*
 * partial: messages and bodies of which a part has come.
 *
 *      bytes ─▶ partial_add() ─▶ session->message ─ the last part has come ─▶ executed
 *                    │
 *                    └─ no room ─▶ the peer is sent away
 *
 * A peer alone is bounded by limits.message_bytes and limits.message_ms; all peers of a shard together are bounded by
 * limits.partial_bytes. What ends a message needs no room, as it is executed now: so what comes whole in one receive
 * finds its way however many try to fill a shard with parts.
 */
#ifndef SHOAL_CONN_PARTIAL_H
#define SHOAL_CONN_PARTIAL_H

#include "conn/conn.h"

/* Adds to session->message; the last part makes it whole. False: no room, which is counted; nothing has changed. */
bool partial_add(struct conns *conns, struct session *session, struct span bytes, bool last);

/* session->message is the caller's now. */
struct buffer partial_take(struct conns *conns, struct session *session);

/* Frees session->message, whole or not. */
void partial_free(struct conns *conns, struct session *session);

#endif
