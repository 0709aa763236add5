/*
 * cluster_world: the federation links of several hosts in one thread, over a simulated Redis and clock and real meshes,
 * with shards that are owners and nothing else (fake_shard.h), all from one seed.
 *
 *      live      links, shards and servers are turned in random order, shards ask, the clock moves, things go wrong
 *      settle    nothing goes wrong any more; a last message to each logged topic, until it is acknowledged;
 *                all that is under way arrives ─▶ all hosts agree with Redis and with each other, nothing is missing
 *      leave     everybody gives up what they want ─▶ nothing stays subscribed, no relay or name is left
 *
 * What the contract of link.h and relay.h promises is checked with each message (cluster_record.h, fake_shard.h) and at
 * the end (check_cluster.h). A run stops at the first failure.
 */
#ifndef SHOAL_TESTS_CLUSTER_WORLD_H
#define SHOAL_TESTS_CLUSTER_WORLD_H

#include "cluster_profile.h"
#include "fake_shard.h"
#include "seeds.h"
#include "sim_host.h"

enum cluster_sabotage {
    CLUSTER_SABOTAGE_NONE,
    CLUSTER_SABOTAGE_DROP,      /* a shard does not take a logged message */
    CLUSTER_SABOTAGE_TWICE,     /* it takes one twice */
    CLUSTER_SABOTAGE_LOSE_LIVE, /* Redis does not deliver a live message */
    CLUSTER_SABOTAGE_LOSE_LAST, /* nor a logged one */
    CLUSTER_SABOTAGE_STARVE,    /* links find no memory for many a message, and nothing comes after it */
    CLUSTER_SABOTAGE_LEAK_NAME, /* a shard forgets a reference */
    CLUSTER_SABOTAGES,
};

struct cluster_world {
    const struct seed_options *options;
    struct cluster_profile profile;
    struct verdict *verdict;
    struct cluster_record record;
    struct sim_network *network; /* for its clock and its chance */
    struct redis_sim *redis;
    struct sim_host hosts[CLUSTER_HOSTS_MAX];
    struct fake_shard shards[CLUSTER_HOSTS_MAX][CLUSTER_SHARDS_MAX];
};

/* What a run was worth. */
struct cluster_result {
    struct seed_result seed;
    uint64_t publishes, acknowledged, failed, live_arrived, logged_arrived, fetched, gaps;
    struct redis_sim_counters redis;
};

/* `options`: `sabotage` is an enum cluster_sabotage. */
void cluster_world_run(const struct seed_options *options, struct cluster_result *result);

/* The shard of a host that owns a topic. */
struct fake_shard *cluster_owner(struct cluster_world *world, uint32_t host, uint32_t topic);

#endif
