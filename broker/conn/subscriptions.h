/*
 * subscriptions: those of a connection.
 *
 *   conn ─▶ subscription ─▶ subscription ─▶ 0        a list, the newest first: all that an idle subscriber needs
 *
 * Nearly everybody has few, and the list is walked. A backend may follow a hundred thousand topics by one connection:
 * once a connection has more than SUBSCRIPTIONS_FEW, its subscriptions are also in an index of the shard, from which
 * they are found by feed, and taken out of the list, without a walk. It stays there until its last subscription has
 * ended.
 *
 * Thread: the shard's.
 */
#ifndef SHOAL_CONN_SUBSCRIPTIONS_H
#define SHOAL_CONN_SUBSCRIPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/index.h"
#include "base/slab.h"

#define SUBSCRIPTIONS_FEW 32u

struct conns;

/* The index of a shard. */
struct subscription_index {
    uint32_t few; /* who has more is in it */
    struct slab records;
    struct index by_feed; /* and connection */
};

/* False: no memory. */
bool subscription_index_init(struct subscription_index *index);
void subscription_index_destroy(struct subscription_index *index);

/* How many a connection has. */
uint32_t conn_subscription_count(const struct conns *conns, uint32_t slot);

/* The one that follows this feed, 0: none does. */
uint32_t conn_subscription_find(const struct conns *conns, uint32_t slot, uint32_t feed);

/* Puts one in, of a feed that the connection does not follow yet. False: no memory, and it is not in. */
bool conn_subscription_add(struct conns *conns, uint32_t subscription);

/* Ends one: out of the connection's lists, and out of the feed's. */
void conn_subscription_end(struct conns *conns, uint32_t subscription);

/* Ends all of a connection. */
void conn_subscriptions_end(struct conns *conns, uint32_t slot);

#endif
