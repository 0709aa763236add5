/*
 * cluster_world_test: the links of several hosts over a simulated Redis, seed by seed: see seeds.h for what it can be
 * told. Its canaries are messages that are lost, doubled or forgotten on purpose; what the link promises to mend is
 * tried in the same way, and must be mended.
 */
#include "cluster_world.h"

static struct cluster_result sum; /* of all runs so far */

/* Those of Redis are nothing but counters. */
static void add(const struct cluster_result *result)
{
    sum.publishes += result->publishes;
    sum.acknowledged += result->acknowledged;
    sum.failed += result->failed;
    sum.live_arrived += result->live_arrived;
    sum.logged_arrived += result->logged_arrived;
    sum.fetched += result->fetched;
    sum.gaps += result->gaps;
    uint64_t *to = (uint64_t *)&sum.redis;
    const uint64_t *from = (const uint64_t *)&result->redis;
    for (size_t i = 0; i < sizeof sum.redis / sizeof *to; i++) {
        to[i] += from[i];
    }
}

static void run(const struct seed_options *options, struct seed_result *seed)
{
    struct cluster_result result;
    cluster_world_run(options, &result);
    add(&result);
    *seed = result.seed;
}

#define FIGURE(value) ((unsigned long long)(value))

static void print_worth(uint32_t count)
{
    const struct redis_sim_counters *redis = &sum.redis;
    printf("cluster: %u seeds: %llu published, %llu acknowledged, %llu to be tried again; %llu live and %llu logged "
           "arrived, %llu fetched, %llu gaps; %llu commands, %llu pushes\n",
           count, FIGURE(sum.publishes), FIGURE(sum.acknowledged), FIGURE(sum.failed), FIGURE(sum.live_arrived),
           FIGURE(sum.logged_arrived), FIGURE(sum.fetched), FIGURE(sum.gaps), FIGURE(redis->commands),
           FIGURE(redis->pushes));
    printf("cluster: connections: %llu broken, %llu silent, %llu held up, %llu overflown; servers: %llu paused, "
           "%llu restarted, %llu with a snapshot, %llu empty, %llu failed over, %llu keys evicted, %llu times full, "
           "%llu times without scripts; %llu messages without memory\n",
           FIGURE(redis->breaks), FIGURE(redis->silences), FIGURE(redis->holds), FIGURE(redis->overflows),
           FIGURE(redis->pauses), FIGURE(redis->restarts), FIGURE(redis->snapshots), FIGURE(redis->losses),
           FIGURE(redis->failovers), FIGURE(redis->evictions), FIGURE(redis->floods), FIGURE(redis->forgets),
           FIGURE(redis->scarcities));
}

static const struct canary canaries[] = {
    {CLUSTER_SABOTAGE_DROP, "a logged message dropped", {CHECK_ORDER, CHECK_LOSS}},
    {CLUSTER_SABOTAGE_TWICE, "a logged message taken twice", {CHECK_ORDER, CHECK_LOSS}},
    {CLUSTER_SABOTAGE_LOSE_LIVE, "a live message not delivered", {CHECK_LOSS, NULL}},
    {CLUSTER_SABOTAGE_LEAK_NAME, "a name leaked", {CHECK_REFERENCES, NULL}},
};

/* Sabotage that must be mended. Returns how many runs failed. */
static uint32_t run_mended(enum cluster_sabotage sabotage, const char *what)
{
    uint32_t sabotaged = 0, failures = 0;
    for (uint64_t seed = 1; sabotaged < CANARY_TRIES && seed < 200; seed++) {
        const struct seed_options options = {.seed = seed, .calm = true, .sabotage = sabotage};
        struct seed_result result;
        seeds_run(&options, &result);
        sabotaged += result.sabotaged;
        failures += !seeds_report(&options, &result);
    }
    printf("cluster: %s in %u of %u\n", what, sabotaged - failures, sabotaged);
    return failures + (sabotaged < CANARY_TRIES);
}

/*
 * A logged message that Redis does not deliver is not lost: it is fetched before the next one is shown. One that finds
 * no memory needs no next one, and a live one is not lost by that, either.
 */
static uint32_t run_healing(void)
{
    return run_mended(CLUSTER_SABOTAGE_LOSE_LAST, "a logged message not delivered: fetched") +
           run_mended(CLUSTER_SABOTAGE_STARVE, "messages without memory: all arrived");
}

int main(int count, char **words)
{
    static const struct seeds seeds = {
        .name = "cluster",
        .count = 400,
        .count_sanitized = 60,
        .canaries = canaries,
        .canary_count = sizeof canaries / sizeof *canaries,
        .run = run,
        .print_worth = print_worth,
        .further = run_healing,
    };
    return seeds_main(&seeds, count, words);
}
