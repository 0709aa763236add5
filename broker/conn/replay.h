/*
 * replay: a wildcard subscription that resumes: {"from":{"positions":…,"since_ms":T}}.
 *
 *   ASKING ── the subscription is live, and suspended at L; each shard is asked ──▶ all have answered; the feed is at M
 *     ──▶ GAPS: what is lost of each topic
 *     ──▶ PIECES: what topic/replay.h calls pieces, one topic after another
 *     ──▶ TAIL: the filter's own log from L to M, without what the pieces had
 *     ──▶ the subscription goes on from M like any other
 *
 * What is replayed is copied into session->out, a bounded stretch whenever that has been sent: whoever resumes much
 * holds little memory. Meanwhile the subscription's cursor stands at L and holds the filter's log; if the backlog
 * outgrows it, the connection is closed with 4001, and may resume again.
 */
#ifndef SHOAL_CONN_REPLAY_H
#define SHOAL_CONN_REPLAY_H

#include "conn/conn.h"

/* Remembers what a subscribe command of a filter asks for. False: no memory. The subscription is not live yet. */
bool replay_begin(struct conns *conns, uint32_t slot, uint32_t subscription, const struct command *command);

/* Whether this subscription is to be replayed. */
bool replay_is_for(struct conns *conns, const struct conn *conn, uint32_t subscription);

/* The subscription has become live: suspends it, and asks. The reply to the client comes with the last answer. */
void replay_live(struct conns *conns, uint32_t slot, uint32_t subscription);

/* Goes on asking (a mesh ring was full). */
void replay_ask_on(struct conns *conns, uint32_t slot);

/* TELL_REPLAY. Takes the ask. */
void replay_answered(struct conns *conns, struct replay_ask *ask);

/* Puts the next stretch into session->out. False: nothing is being replayed. */
bool replay_refill(struct conns *conns, uint32_t slot);

/* The subscription has ended. */
void replay_end(struct session *session, uint32_t subscription);
/* The connection has ended. */
void replay_end_all(struct session *session);

#endif
