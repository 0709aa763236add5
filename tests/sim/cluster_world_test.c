/*
 * cluster_world_test: the links of several hosts over a simulated Redis, seed by seed.
 *
 *      cluster_world_test                             some hundred seeds (SHOAL_SIM_SEEDS=N: so many), canaries
 *      cluster_world_test --seed N [--steps M] [--trace]    one again
 *      cluster_world_test --first N --count M         a stretch of seeds
 *
 * A failure prints its seed. So does an abort: the link's own CHECKs are checkers, too.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/logger.h"
#include "cluster_world.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SEEDS_DEFAULT 60
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SEEDS_DEFAULT 60
#endif
#endif
#ifndef SEEDS_DEFAULT
#define SEEDS_DEFAULT 400
#endif

static volatile sig_atomic_t failing;
static char running[128];

/* The seed, last of all: async-signal-safe. */
static void aborted(int signal_number)
{
    (void)signal_number;
    if (write(STDERR_FILENO, running, strlen(running)) < 0) {
        failing = 1;
    }
    signal(SIGABRT, SIG_DFL);
    raise(SIGABRT);
}

static void run(const struct cluster_options *options, struct cluster_result *result)
{
    snprintf(running, sizeof running, "cluster: seed %llu aborted: repeat with --seed %llu --steps %u\n",
             (unsigned long long)options->seed, (unsigned long long)options->seed, options->steps);
    cluster_world_run(options, result);
}

static bool report(const struct cluster_options *options, const struct cluster_result *result)
{
    if (result->verdict.failures) {
        fprintf(stderr, "cluster: seed %llu failed: %s: %s\n", (unsigned long long)options->seed,
                result->verdict.checker, result->verdict.text);
    }
    return result->verdict.failures == 0;
}

/* Both are made of nothing but counters from `publishes` on. */
static void add(struct cluster_result *sum, const struct cluster_result *result)
{
    sum->publishes += result->publishes;
    sum->acknowledged += result->acknowledged;
    sum->failed += result->failed;
    sum->live_arrived += result->live_arrived;
    sum->logged_arrived += result->logged_arrived;
    sum->fetched += result->fetched;
    sum->gaps += result->gaps;
    uint64_t *to = (uint64_t *)&sum->redis;
    const uint64_t *from = (const uint64_t *)&result->redis;
    for (size_t i = 0; i < sizeof sum->redis / sizeof *to; i++) {
        to[i] += from[i];
    }
}

#define FIGURE(value) ((unsigned long long)(value))

static void print_worth(const struct cluster_result *sum, uint32_t count)
{
    const struct redis_sim_counters *redis = &sum->redis;
    printf("cluster: %u seeds: %llu published, %llu acknowledged, %llu to be tried again; %llu live and %llu logged "
           "arrived, %llu fetched, %llu gaps; %llu commands, %llu pushes\n",
           count, FIGURE(sum->publishes), FIGURE(sum->acknowledged), FIGURE(sum->failed), FIGURE(sum->live_arrived),
           FIGURE(sum->logged_arrived), FIGURE(sum->fetched), FIGURE(sum->gaps), FIGURE(redis->commands),
           FIGURE(redis->pushes));
    printf("cluster: connections: %llu broken, %llu silent, %llu held up, %llu overflown; servers: %llu paused, "
           "%llu restarted, %llu with a snapshot, %llu empty, %llu failed over, %llu keys evicted, %llu times full, "
           "%llu times without scripts\n",
           FIGURE(redis->breaks), FIGURE(redis->silences), FIGURE(redis->holds), FIGURE(redis->overflows),
           FIGURE(redis->pauses), FIGURE(redis->restarts), FIGURE(redis->snapshots), FIGURE(redis->losses),
           FIGURE(redis->failovers), FIGURE(redis->evictions), FIGURE(redis->floods), FIGURE(redis->forgets));
}

/* Returns how many failed. */
static uint32_t run_seeds(uint64_t first, uint32_t count, uint32_t steps)
{
    struct cluster_result sum = {0}, result;
    uint32_t failures = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct cluster_options options = {.seed = first + i, .steps = steps};
        run(&options, &result);
        failures += !report(&options, &result);
        add(&sum, &result);
    }
    print_worth(&sum, count);
    return failures;
}

/* --- canaries: each checker must sing --- */

struct canary {
    enum cluster_sabotage sabotage;
    const char *name;
    const char *checkers[2];
};

static const struct canary canaries[] = {
    {CLUSTER_SABOTAGE_DROP, "a logged message dropped", {CHECK_ORDER, CHECK_LOSS}},
    {CLUSTER_SABOTAGE_TWICE, "a logged message taken twice", {CHECK_ORDER, CHECK_LOSS}},
    {CLUSTER_SABOTAGE_LOSE_LIVE, "a live message not delivered", {CHECK_LOSS, NULL}},
    {CLUSTER_SABOTAGE_LEAK_NAME, "a name leaked", {CHECK_REFERENCES, NULL}},
};

static bool sings(const struct canary *canary, const struct cluster_result *result)
{
    for (int i = 0; i < 2; i++) {
        if (result->verdict.checker && canary->checkers[i] &&
            strcmp(result->verdict.checker, canary->checkers[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Where nobody else was there to notice it is no failure: so of some tries, half must be found out. */
static bool canary_is_heard(const struct canary *canary)
{
    uint32_t tried = 0, heard = 0;
    for (uint64_t seed = 1; tried < 8 && seed < 200; seed++) {
        struct cluster_options options = {.seed = seed, .calm = true, .sabotage = canary->sabotage};
        struct cluster_result result;
        run(&options, &result);
        tried += result.sabotaged;
        heard += result.sabotaged && sings(canary, &result);
    }
    printf("cluster: %s: found out in %u of %u\n", canary->name, heard, tried);
    return tried == 8 && heard >= 4;
}

/* A logged message that Redis does not deliver is not lost: it is fetched before the next one is shown. */
static uint32_t run_healing(void)
{
    uint32_t sabotaged = 0, failures = 0;
    for (uint64_t seed = 1; sabotaged < 8 && seed < 200; seed++) {
        struct cluster_options options = {.seed = seed, .calm = true, .sabotage = CLUSTER_SABOTAGE_LOSE_LAST};
        struct cluster_result result;
        run(&options, &result);
        sabotaged += result.sabotaged;
        failures += !report(&options, &result);
    }
    printf("cluster: a logged message not delivered: fetched in %u of %u\n", sabotaged - failures, sabotaged);
    return failures + (sabotaged < 8);
}

static uint32_t run_canaries(void)
{
    uint32_t failures = run_healing();
    for (size_t i = 0; i < sizeof canaries / sizeof *canaries; i++) {
        failures += !canary_is_heard(&canaries[i]);
    }
    return failures;
}

/* The same seed is the same run. */
static uint32_t run_twice(void)
{
    uint32_t failures = 0;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct cluster_options options = {.seed = seed};
        struct cluster_result first, second;
        run(&options, &first);
        run(&options, &second);
        if (first.digest != second.digest || first.redis.commands != second.redis.commands) {
            fprintf(stderr, "cluster: seed %llu gives two different runs\n", FIGURE(seed));
            failures++;
        }
    }
    return failures;
}

int main(int count, char **arguments)
{
    const char *seeds = getenv("SHOAL_SIM_SEEDS");
    struct cluster_options one = {0};
    uint64_t first = 1;
    uint32_t number = seeds ? (uint32_t)strtoul(seeds, NULL, 10) : SEEDS_DEFAULT;
    bool only = false, stretch = false;
    signal(SIGABRT, aborted);
    logger_level_set(LOG_ERROR); /* links tell of each server that goes and comes */
    for (int i = 1; i < count; i++) {
        const char *value = i + 1 < count ? arguments[i + 1] : "0";
        only |= strcmp(arguments[i], "--seed") == 0;
        stretch |= strcmp(arguments[i], "--first") == 0;
        if (strcmp(arguments[i], "--seed") == 0) {
            one.seed = strtoull(value, NULL, 10);
        } else if (strcmp(arguments[i], "--steps") == 0) {
            one.steps = (uint32_t)strtoul(value, NULL, 10);
        } else if (strcmp(arguments[i], "--first") == 0) {
            first = strtoull(value, NULL, 10);
        } else if (strcmp(arguments[i], "--count") == 0) {
            number = (uint32_t)strtoul(value, NULL, 10);
        } else if (strcmp(arguments[i], "--trace") == 0) {
            one.trace = true;
        }
    }
    if (only) {
        struct cluster_result result;
        run(&one, &result);
        print_worth(&result, 1);
        return report(&one, &result) ? 0 : 1;
    }
    uint32_t failures = run_seeds(first, number, one.steps);
    if (!stretch) {
        failures += run_canaries() + run_twice();
    }
    return failures > 0;
}
