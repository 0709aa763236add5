/* sim_host: see sim_host.h. */
#include "sim_host.h"

#include <stdio.h>

#include "base/check.h"

#define APART_MS_MAX 3600000

static int64_t host_monotonic_us(const struct clock *clock)
{
    return sim_now_us(((const struct sim_host *)clock)->network);
}

static int64_t host_wall_ms(const struct clock *clock)
{
    const struct sim_host *host = (const struct sim_host *)clock;
    const struct clock *network = sim_clock(host->network);
    return network->wall_ms(network) + host->apart_ms;
}

void sim_host_init(struct sim_host *host, struct sim_network *network, uint32_t shards, uint32_t mesh_slots,
                   bool joined)
{
    *host = (struct sim_host){
        .clock = {host_monotonic_us, host_wall_ms},
        .network = network,
        .shards = shards,
    };
    CHECK(mesh_init(&host->mesh, shards + (joined ? 2 : 0), mesh_slots));
}

void sim_host_join(struct sim_host *host, uint32_t number, uint64_t seed, struct redis_sim *redis,
                   const struct cluster_profile *profile)
{
    snprintf(host->name, sizeof host->name, "host%u", number);
    cluster_servers_write(profile, host->servers, sizeof host->servers);
    host->apart_ms = (int64_t)sim_random(host->network, 2 * APART_MS_MAX) - APART_MS_MAX;
    host->room = redis_sim_room(redis);
    const struct link_setup setup = {
        .mesh = &host->mesh,
        .peer = sim_host_link_peer(host),
        .shard_count = host->shards,
        .clock = &host->clock,
        .redis = host->room,
        .connections = &host->connections,
        .instance = seed * 100 + number + 1,
        .seed = seed,
        .settings = cluster_link_settings(profile, host->servers, host->name),
    };
    const char *problem = NULL;
    host->link = link_create(&setup, &problem);
    CHECK_MSG(host->link, "%s", problem);
}

void sim_host_part(struct sim_host *host)
{
    link_destroy(host->link);
    host->link = NULL;
}

void sim_host_free(struct sim_host *host)
{
    sim_host_part(host);
    redis_destroy(host->room);
    mesh_destroy(&host->mesh);
}
