/*
 * sim_host: one machine of a simulated world: its clock, its mesh and, where it is one of several, its room at Redis
 * and its federation link.
 *
 * All machines have the time of the network for their durations, but the wall clock of each that is joined to others is
 * up to an hour off. What shards it has is the world's own: the mesh has a place for each, numbered from 0.
 */
#ifndef SHOAL_TESTS_SIM_HOST_H
#define SHOAL_TESTS_SIM_HOST_H

#include "cluster/link.h"
#include "cluster_profile.h"
#include "io_simulated.h"
#include "mesh/mesh.h"

struct sim_host {
    struct clock clock; /* first */
    struct sim_network *network;
    int64_t apart_ms; /* of its wall clock */
    struct mesh mesh;
    uint32_t shards;
    struct redis_room *room; /* NULL: it stands alone */
    struct link *link;       /* NULL: the same */
    _Atomic uint32_t connections;
    char name[16];
    char servers[256]; /* Redis' URLs, as the link borrows them */
};

/* Stands alone, unless `joined`: the mesh has places for the control thread and the link, then. Borrows the network. */
void sim_host_init(struct sim_host *host, struct sim_network *network, uint32_t shards, uint32_t mesh_slots,
                   bool joined);

/* Where its link is on the mesh: behind the control thread. */
static inline uint32_t sim_host_link_peer(const struct sim_host *host)
{
    return host->shards + 1;
}

/* Makes its link, as host `number` of a world of this seed. Borrows Redis, not the profile. */
void sim_host_join(struct sim_host *host, uint32_t number, uint64_t seed, struct redis_sim *redis,
                   const struct cluster_profile *profile);

/* Ends its link, if it has one: the mesh remains, for what is left in its rings. */
void sim_host_part(struct sim_host *host);

/* After its shards. */
void sim_host_free(struct sim_host *host);

#endif
