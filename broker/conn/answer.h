/*
 * answer: what comes back through the mesh is told to those who asked.
 */
#ifndef SHOAL_CONN_ANSWER_H
#define SHOAL_CONN_ANSWER_H

#include "conn/conn.h"

/* Subscriptions that have become live, or have failed: all that feeds->answers holds. */
void answer_feeds(struct conns *conns);

/* TELL_PUBLISHED. Takes the ticket. */
void answer_published(struct conns *conns, struct ticket *ticket);

/* TELL_READ. Takes the ticket. */
void answer_read(struct conns *conns, struct ticket *ticket);

#endif
