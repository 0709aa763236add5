/*
 * request: HTTP on the data port: upgrades, publishing by POST, streams and history by GET. See docs/PROTOCOL.md.
 */
#ifndef SHOAL_CONN_REQUEST_H
#define SHOAL_CONN_REQUEST_H

#include "conn/conn.h"

/* REQUEST: a head, if it is whole. Returns the bytes taken, 0: more are needed. */
size_t request_head(struct conns *conns, uint32_t slot, char *bytes, size_t size);

/* BODY: what there is of it. Returns the bytes taken. */
size_t request_body(struct conns *conns, uint32_t slot, char *bytes, size_t size);

/* ANSWERING: a mesh ring was full, tries again. False: it has to wait again. */
bool request_again(struct conns *conns, uint32_t slot);

#endif
