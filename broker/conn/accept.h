/*
 * accept: who comes in. Admission is bounded in four ways, each with its counter; who is refused is told so over HTTP
 * and may come back (503 with Retry-After).
 */
#ifndef SHOAL_CONN_ACCEPT_H
#define SHOAL_CONN_ACCEPT_H

#include "conn/conn.h"

/* IO_ACCEPTED: a new slot. */
void accept_slot(struct conns *conns, uint32_t slot);

/* Once a turn: goes on accepting when limits.accept_rate and limits.handshakes allow. */
void accept_turn(struct conns *conns);

#endif
