/*
 * world_test: the simulated world, seed by seed: see seeds.h for what it can be told, and besides
 *
 *      world_test --federated …        the same with several hosts and Redis
 */
#include <string.h>

#include "world.h"

static bool federated;
static struct world_result sum; /* of all runs so far */

static void add(const struct world_result *result)
{
    sum.publishes += result->publishes;
    sum.delivered += result->delivered;
    sum.answers += result->answers;
    sum.refusals += result->refusals;
    sum.resumes += result->resumes;
    sum.gaps += result->gaps;
    sum.closes += result->closes;
    sum.repeats += result->repeats;
    sum.returns += result->returns;
    sum.kills += result->kills;
    sum.drains += result->drains;
    sum.mesh_full += result->mesh_full;
    sum.held += result->held;
    sum.slow_disconnects += result->slow_disconnects;
    sum.copies += result->copies;
}

static void run(const struct seed_options *options, struct seed_result *seed)
{
    struct world_result result;
    world_run(options, federated, &result);
    add(&result);
    *seed = result.seed;
}

static void print_worth(uint32_t count)
{
    printf("world: %u seeds: %llu published, %llu answered, %llu refused, %llu repeated; %llu delivered, %llu copied "
           "to filters, %llu resumes, %llu of filters, %llu gaps, %llu closes; %llu full rings, %llu answers held, "
           "%llu slow; %llu hosts killed, %llu worlds drained\n",
           count, (unsigned long long)sum.publishes, (unsigned long long)sum.answers, (unsigned long long)sum.refusals,
           (unsigned long long)sum.repeats, (unsigned long long)sum.delivered, (unsigned long long)sum.copies,
           (unsigned long long)sum.resumes, (unsigned long long)sum.returns, (unsigned long long)sum.gaps,
           (unsigned long long)sum.closes, (unsigned long long)sum.mesh_full, (unsigned long long)sum.held,
           (unsigned long long)sum.slow_disconnects, (unsigned long long)sum.kills, (unsigned long long)sum.drains);
}

static const struct canary canaries[] = {
    {SABOTAGE_DROP, "a message dropped", {CHECK_ORDER, CHECK_LOSS}},
    {SABOTAGE_SWAP, "two messages swapped", {CHECK_ORDER, CHECK_LOSS}},
    {SABOTAGE_DEAF, "a deaf subscriber", {CHECK_ORDER, CHECK_LOSS}}, /* order: it resumed, and hears what comes next */
    {SABOTAGE_LEAK_CHUNK, "a chunk leaked", {CHECK_REFERENCES, NULL}},
    {SABOTAGE_LEAK_NAME, "a name leaked", {CHECK_REFERENCES, NULL}},
    {SABOTAGE_LEAK_SLOT, "a slot leaked", {CHECK_REFERENCES, NULL}},
};

int main(int count, char **words)
{
    for (int i = 1; i < count; i++) {
        federated |= strcmp(words[i], "--federated") == 0;
    }
    const struct seeds seeds = {
        .name = "world",
        .count = federated ? 40 : 400, /* each world of several hosts is some of the others' */
        .count_sanitized = federated ? 6 : 30,
        .canaries = canaries,
        .canary_count = sizeof canaries / sizeof *canaries,
        .run = run,
        .print_worth = print_worth,
    };
    return seeds_main(&seeds, count, words);
}
