/*
 * world: a whole broker in one thread: N shards over a simulated network and clock and the real mesh, with simulated
 * clients, all from one seed. Or several, federated: each host with its shards, its mesh and its link, over simulated
 * Redis servers (redis_simulated.h); clients come to any host.
 *
 *      live      shards are turned and clients act in random order, the clock moves, things go wrong (profile.h)
 *      settle    nothing goes wrong any more, nobody asks for more: all that is under way arrives ─▶ check_loss,
 *                check_spread
 *      leave     everybody goes, and time passes                                                  ─▶ check_references
 *      end       the shards are destroyed: nothing is left
 *
 * Order is checked with each message (follow.h). A run stops at the first failure.
 */
#ifndef SHOAL_TESTS_WORLD_H
#define SHOAL_TESTS_WORLD_H

#include "clients.h"

struct world_options {
    uint64_t seed;
    uint32_t steps; /* 0: as many as the seed says */
    bool calm;      /* whatever the seed says */
    bool federated; /* several hosts */
    enum sabotage sabotage;
    bool trace;
};

/* What a run was worth. */
struct world_result {
    struct verdict verdict;
    uint64_t digest; /* of what was delivered: the same for the same options */
    uint64_t publishes, delivered, answers, refusals, resumes, gaps, closes, repeats;
    uint64_t mesh_full, held, slow_disconnects, copies;
    bool sabotaged;
    struct redis_sim_counters redis;
};

void world_run(const struct world_options *options, struct world_result *result);

#endif
