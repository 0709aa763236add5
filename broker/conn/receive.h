/*
 * receive: bytes from a peer, by the connection's state.
 *
 * Whole frames are worked where they lie, in the kernel's buffer. Only what is incomplete, or has to wait, is copied
 * into the session: the rest of a head or frame, the pieces of a message, and all that comes behind a command that
 * could not be executed yet. While something waits, the connection is not read.
 */
#ifndef SHOAL_CONN_RECEIVE_H
#define SHOAL_CONN_RECEIVE_H

#include "conn/conn.h"

/* IO_RECEIVED. The bytes may be changed in place. */
void receive_bytes(struct conns *conns, uint32_t slot, char *bytes, size_t size);

/* Once a turn: goes on with those that had to wait. */
void receive_retries(struct conns *conns);

/* Silent for a while: an idle connection again (sweep). */
void receive_becomes_idle(struct conns *conns, uint32_t slot);

#endif
