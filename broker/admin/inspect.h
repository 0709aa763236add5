/*
 * inspect: the shard's half of an inspection: reads the tables that inspection.h asks about, and fills the page.
 *
 * It changes nothing, but for INSPECT_KICK. Thread: the shard's, in the turn's step that drains the mesh.
 */
#ifndef SHOAL_ADMIN_INSPECT_H
#define SHOAL_ADMIN_INSPECT_H

#include "admin/inspection.h"
#include "conn/conn.h"
#include "topic/owner.h"

/* Answers an inspection. Borrows it; the caller sends it back. */
void inspect_work(struct inspection *inspection, struct conns *conns, struct owner *owner);

#endif
