/*
 * check_references: the checker for the time when all clients have left: what was taken is given back.
 *
 * Tables of connections, sessions, feeds, subscriptions, wishes, cursors, holds, followers and filters are empty, no
 * ticket is under way, no slot of the network in use. What topics remain have history, and every chunk and name that is
 * left is theirs. When the shards are destroyed none is left at all.
 */
#ifndef SHOAL_TESTS_CHECK_REFERENCES_H
#define SHOAL_TESTS_CHECK_REFERENCES_H

#include "broker/shard.h"
#include "verdict.h"

/* Whether there is nothing left to wait for: the shard has no work, and no topic that will be forgotten soon. */
bool shard_is_left(struct shard *shard);

void check_references(struct verdict *verdict, struct shard *const *shards, uint32_t count);

/* After the shards were destroyed. */
void check_references_end(struct verdict *verdict);

#endif
