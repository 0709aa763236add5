/*
 * world_test: the simulated world, seed by seed.
 *
 *      world_test                             some hundred seeds (SHOAL_SIM_SEEDS=N: so many), canaries, repeatability
 *      world_test --seed N [--steps M] [--trace]    one again
 *      world_test --first N --count M         a stretch of seeds
 *      world_test --federated …               the same with several hosts and Redis
 *
 * A failure prints its seed. So does an abort: the broker's own CHECKs are checkers, too.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/logger.h"
#include "world.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SEEDS_DEFAULT    60
#define SEEDS_OF_SEVERAL 15
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SEEDS_DEFAULT    60
#define SEEDS_OF_SEVERAL 15
#endif
#endif
#ifndef SEEDS_DEFAULT
#define SEEDS_DEFAULT    400
#define SEEDS_OF_SEVERAL 40 /* hosts: each such world is some of the others' */
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

static void run(const struct world_options *options, struct world_result *result)
{
    snprintf(running, sizeof running, "world: seed %llu aborted: repeat with --seed %llu --steps %u\n",
             (unsigned long long)options->seed, (unsigned long long)options->seed, options->steps);
    world_run(options, result);
}

static bool report(const struct world_options *options, const struct world_result *result)
{
    if (result->verdict.failures) {
        fprintf(stderr, "world: seed %llu failed: %s: %s\n", (unsigned long long)options->seed, result->verdict.checker,
                result->verdict.text);
    }
    return result->verdict.failures == 0;
}

static void add(struct world_result *sum, const struct world_result *result)
{
    sum->publishes += result->publishes;
    sum->delivered += result->delivered;
    sum->answers += result->answers;
    sum->refusals += result->refusals;
    sum->resumes += result->resumes;
    sum->gaps += result->gaps;
    sum->closes += result->closes;
    sum->repeats += result->repeats;
    sum->mesh_full += result->mesh_full;
    sum->held += result->held;
    sum->slow_disconnects += result->slow_disconnects;
    sum->copies += result->copies;
}

static void print_worth(const struct world_result *sum, uint32_t count)
{
    printf("world: %u seeds: %llu published, %llu answered, %llu refused, %llu repeated; %llu delivered, %llu copied "
           "to filters, %llu resumes, %llu gaps, %llu closes; %llu full rings, %llu answers held, %llu slow\n",
           count, (unsigned long long)sum->publishes, (unsigned long long)sum->answers,
           (unsigned long long)sum->refusals, (unsigned long long)sum->repeats, (unsigned long long)sum->delivered,
           (unsigned long long)sum->copies, (unsigned long long)sum->resumes, (unsigned long long)sum->gaps,
           (unsigned long long)sum->closes, (unsigned long long)sum->mesh_full, (unsigned long long)sum->held,
           (unsigned long long)sum->slow_disconnects);
}

/* Returns how many failed. */
static uint32_t run_seeds(uint64_t first, uint32_t count, const struct world_options *all)
{
    struct world_result sum = {0}, result;
    uint32_t failures = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct world_options options = {.seed = first + i, .steps = all->steps, .federated = all->federated};
        run(&options, &result);
        failures += !report(&options, &result);
        add(&sum, &result);
    }
    print_worth(&sum, count);
    return failures;
}

/* --- canaries: each checker must sing, and only its own song --- */

struct canary {
    enum sabotage sabotage;
    const char *name;
    const char *checkers[2];
};

static const struct canary canaries[] = {
    {SABOTAGE_DROP, "a message dropped", {CHECK_ORDER, CHECK_LOSS}},
    {SABOTAGE_SWAP, "two messages swapped", {CHECK_ORDER, CHECK_LOSS}},
    {SABOTAGE_DEAF, "a deaf subscriber", {CHECK_LOSS, NULL}},
    {SABOTAGE_LEAK_CHUNK, "a chunk leaked", {CHECK_REFERENCES, NULL}},
    {SABOTAGE_LEAK_NAME, "a name leaked", {CHECK_REFERENCES, NULL}},
    {SABOTAGE_LEAK_SLOT, "a slot leaked", {CHECK_REFERENCES, NULL}},
};

static bool sings(const struct canary *canary, const struct world_result *result)
{
    for (int i = 0; i < 2; i++) {
        if (result->verdict.checker && canary->checkers[i] &&
            strcmp(result->verdict.checker, canary->checkers[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* A subscriber that leaves before it could notice is no failure: so of some tries, most must be found out. */
static bool canary_is_heard(const struct canary *canary, bool federated)
{
    uint32_t tried = 0, heard = 0;
    for (uint64_t seed = 1; tried < 8 && seed < 200; seed++) {
        struct world_options options = {
            .seed = seed, .calm = true, .federated = federated, .sabotage = canary->sabotage};
        struct world_result result;
        run(&options, &result);
        tried += result.sabotaged;
        heard += result.sabotaged && sings(canary, &result);
    }
    printf("world: %s: found out in %u of %u\n", canary->name, heard, tried);
    return tried == 8 && heard >= 4;
}

static uint32_t run_canaries(bool federated)
{
    uint32_t failures = 0;
    for (size_t i = 0; i < sizeof canaries / sizeof *canaries; i++) {
        failures += !canary_is_heard(&canaries[i], federated);
    }
    return failures;
}

/* The same seed is the same run. */
static uint32_t run_twice(bool federated)
{
    uint32_t failures = 0;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct world_options options = {.seed = seed, .federated = federated};
        struct world_result first, second;
        run(&options, &first);
        run(&options, &second);
        if (first.digest != second.digest || first.publishes != second.publishes) {
            fprintf(stderr, "world: seed %llu gives two different runs\n", (unsigned long long)seed);
            failures++;
        }
    }
    return failures;
}

int main(int count, char **arguments)
{
    const char *seeds = getenv("SHOAL_SIM_SEEDS");
    struct world_options one = {0};
    uint64_t first = 1;
    uint32_t number = 0;
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
        } else if (strcmp(arguments[i], "--federated") == 0) {
            one.federated = true;
        }
    }
    if (only) {
        struct world_result result;
        run(&one, &result);
        print_worth(&result, 1);
        return report(&one, &result) ? 0 : 1;
    }
    if (!number) {
        number = seeds ? (uint32_t)strtoul(seeds, NULL, 10) : one.federated ? SEEDS_OF_SEVERAL : SEEDS_DEFAULT;
    }
    uint32_t failures = run_seeds(first, number, &one);
    if (!stretch) {
        failures += run_canaries(one.federated) + run_twice(one.federated);
    }
    return failures > 0;
}
