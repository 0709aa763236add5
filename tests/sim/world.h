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
#include "seeds.h"

/* What a run was worth. */
struct world_result {
    struct seed_result seed;
    uint64_t publishes, delivered, answers, refusals, resumes, returns, gaps, closes, repeats, kills, drains;
    uint64_t mesh_full, held, slow_disconnects, copies;
};

/* `options`: `sabotage` is an enum sabotage. `federated`: several hosts. */
void world_run(const struct seed_options *options, bool federated, struct world_result *result);

#endif
