/*
 * close: how a connection ends.
 *
 *   conn_close   says why (close frame, or the end of the HTTP response), sends what is left, ends our direction,
 *                and waits some seconds for the peer's end, so that our last bytes are not destroyed by a reset
 *   conn_close_answer   the same, after the peer's own close frame: with its code, as RFC 6455 5.5.1 says
 *   conn_abort   at once: the peer has gone, or does not deserve a word
 *
 * They only mark; the close step of the turn (close_turn) frees what the connection had and begins io_close().
 */
#ifndef SHOAL_CONN_CLOSE_H
#define SHOAL_CONN_CLOSE_H

#include "conn/conn.h"

/* How long a peer may take to read our last bytes and to end its direction. */
#define CLOSE_LINGER_MS 5000

/* Closes a WebSocket with a code, a stream without one; any other state at once. Nothing if it is closing already. */
void conn_close(struct conns *conns, uint32_t slot, uint16_t code);

/* The peer has closed its WebSocket, which is open at this end, with this code. */
void conn_close_answer(struct conns *conns, uint32_t slot, uint16_t code);

/* After the last HTTP response: sends what is queued, then ends. */
void conn_finish(struct conns *conns, uint32_t slot);

void conn_abort(struct conns *conns, uint32_t slot);

/* All of a closing connection's bytes are sent: ends our direction. */
void conn_last_sent(struct conns *conns, uint32_t slot);

/* The peer has sent all it will, or the connection broke. */
void conn_ended(struct conns *conns, uint32_t slot, int32_t result);

/* The close step: lets go of those that were marked. */
void close_turn(struct conns *conns);

/* IO_CLOSED: the slot is free. */
void close_slot_free(struct conns *conns, uint32_t slot);

/* Copies what is still to be sent of a frame that was sent in part to the front of `out`. False: no memory. */
bool conn_finish_frame(struct conns *conns, uint32_t slot);

#endif
