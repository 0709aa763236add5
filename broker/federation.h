/*
 * federation: the broker's part in it: makes a link (cluster/link.h) of the configuration, and keeps what the link
 * borrows. Without cluster.redis there is none, and every function does nothing.
 *
 *   mesh made ─▶ create ─▶ shards started ─▶ start ─▶ … serving, draining … ─▶ stop ─▶ shards stopped ─▶ destroy
 *
 * The link goes on while connections are drained: what their publishers were not told yet comes by it.
 *
 * Thread: the control thread.
 */
#ifndef SHOAL_BROKER_FEDERATION_H
#define SHOAL_BROKER_FEDERATION_H

#include <stdatomic.h>

#include "config/config.h"
#include "mesh/mesh.h"

struct link;

/* All strings of the settings live here: a reload frees the configuration that they came from. */
struct federation {
    struct link *link; /* NULL: this broker stands alone */
    struct redis_room *redis;
    struct redis_tls *tls; /* NULL: no server is reached by it */
    uint32_t peer;         /* its index on the mesh */
    config_list servers;
    config_string prefix;
    config_string node;
    char address[64];
};

struct federation_setup {
    const struct config *config;         /* borrowed for the call */
    struct mesh *mesh;                   /* with a peer for the link: federation_peers() */
    const _Atomic uint32_t *connections; /* borrowed */
    const char *address;                 /* of the data port, as others reach it; borrowed for the call */
    const char *version;                 /* static */
    uint32_t shard_count;
    uint64_t instance; /* as clients are told it */
    uint64_t seed;
};

/* Peers on the mesh that it needs, behind the shards and the admin port: 1, or 0 without cluster.redis. */
uint32_t federation_peers(const struct config *config);

/* The link's index on the mesh; 0: there is none. */
uint32_t federation_peer(const struct federation *federation);

/* What its hosts share, as clients are told it: link_identity(). NULL: there is no link. Borrowed. */
const _Atomic uint64_t *federation_identity(const struct federation *federation);

/* False: *problem says why, without a password. Static text. Before the shards run. */
bool federation_create(struct federation *federation, const struct federation_setup *setup, const char **problem);
/* False: no thread. */
bool federation_start(struct federation *federation);
/* While the shards run. */
void federation_stop(struct federation *federation);
/* After they have stopped. */
void federation_destroy(struct federation *federation);

/* The servers' URLs without users and passwords, separated by spaces, cut to `size`; "": none. Gives `text` back. */
const char *federation_servers(const struct federation *federation, char *text, size_t size);

#endif
