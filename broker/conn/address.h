/*
 * address: how many connections each source address has, where limits.connections_per_address asks for it.
 *
 * IPv6 is counted by its /64, which one subscriber line usually has; IPv4 by the whole address. Each shard counts its
 * own: the kernel spreads an address's connections over the shards, so each allows its share of the limit.
 */
#ifndef SHOAL_CONN_ADDRESS_H
#define SHOAL_CONN_ADDRESS_H

#include <netinet/in.h>

#include "base/index.h"

struct addresses {
    struct slab records;
    struct index index;
};

bool addresses_init(struct addresses *addresses, uint32_t most);
void addresses_destroy(struct addresses *addresses);

/* Counts one more. Gives the address's number, or 0: it has `limit` already (or there is no memory). */
uint32_t addresses_add(struct addresses *addresses, const struct sockaddr_in6 *address, uint32_t limit);

/* One less. */
void addresses_remove(struct addresses *addresses, uint32_t number);

#endif
