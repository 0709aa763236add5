/*
 * cluster_profile: what a seed makes of its hosts and Redis servers, and what goes wrong how often.
 *
 * Every third seed or so is *calm*: nothing goes wrong in it, so nothing may be refused, lost or have a gap. In the
 * others each fault is there or not by a throw of its own, since many at once hide each other.
 */
#ifndef SHOAL_TESTS_CLUSTER_PROFILE_H
#define SHOAL_TESTS_CLUSTER_PROFILE_H

#include "cluster/link.h"
#include "redis_simulated.h"

enum { CLUSTER_SHARDS_MAX = 3 };

struct cluster_profile {
    bool calm;
    uint32_t hosts, shards, servers, steps, mesh_slots;
    uint16_t publish, want, unwant, filter; /* times in 1000 steps */
    uint16_t jump;                          /* in 1000 steps the clock jumps */
    int64_t jump_us_max;
    uint32_t pad_max;
    uint32_t history_max, stream_max;
    /* of the links */
    uint32_t timeout_ms, probe_ms, wait_ms, subscribe_rate, filters_max, filter_levels;
    uint64_t queue_bytes_max;
    bool durable;
    struct redis_sim_options redis; /* but for clock and trace: cluster_redis_create() */
};

/* `steps` 0: as many as the seed says. `calm`: whatever the seed says. */
void cluster_profile_make(struct cluster_profile *profile, uint64_t seed, uint32_t steps, bool calm);

/* Their URLs, separated by spaces. */
void cluster_servers_write(const struct cluster_profile *profile, char *out, size_t room);

/* Redis as this profile has it, with the network's clock. Gives it; redis_sim_destroy(). */
struct redis_sim *cluster_redis_create(const struct cluster_profile *profile, const struct clock *clock, bool trace);

/* What a link of this profile is set to. Borrows the texts. */
struct link_settings cluster_link_settings(const struct cluster_profile *profile, const char *servers,
                                           const char *node);

#endif
