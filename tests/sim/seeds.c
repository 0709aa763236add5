/* seeds: see seeds.h. */
#include "seeds.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/logger.h"

#ifndef __has_feature /* clang's; gcc defines __SANITIZE_… */
#define __has_feature(feature) 0
#endif
#if __has_feature(thread_sanitizer) || defined(__SANITIZE_THREAD__)
#define SANITIZED_THREADS true
#else
#define SANITIZED_THREADS false
#endif
#if __has_feature(address_sanitizer) || defined(__SANITIZE_ADDRESS__)
#define SANITIZED true
#else
#define SANITIZED SANITIZED_THREADS
#endif

#define CANARY_SEEDS_MAX 200 /* looked through for enough in which a canary does something */
#define REPEATED_SEEDS   5

static const struct seeds *world;
static volatile sig_atomic_t failing;
static char running[128];

/* What the command line asks for. */
struct wishes {
    struct seed_options all; /* but for the seed, unless `only` */
    uint64_t first;
    uint32_t count;
    bool only, stretch;
};

static struct wishes wishes_read(int count, char **words)
{
    const char *number = getenv("SHOAL_SIM_SEEDS");
    struct wishes wishes = {.first = 1, .count = SANITIZED ? world->count_sanitized : world->count};
    if (number) {
        wishes.count = (uint32_t)strtoul(number, NULL, 10);
    }
    for (int i = 1; i < count; i++) {
        uint64_t value = i + 1 < count ? strtoull(words[i + 1], NULL, 10) : 0;
        if (strcmp(words[i], "--seed") == 0) {
            wishes.all.seed = value;
            wishes.only = true;
        } else if (strcmp(words[i], "--first") == 0) {
            wishes.first = value;
            wishes.stretch = true;
        } else if (strcmp(words[i], "--count") == 0) {
            wishes.count = (uint32_t)value;
        } else if (strcmp(words[i], "--steps") == 0) {
            wishes.all.steps = (uint32_t)value;
        } else if (strcmp(words[i], "--trace") == 0) {
            wishes.all.trace = true;
        }
    }
    return wishes;
}

/* --- one run --- */

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

void seeds_run(const struct seed_options *options, struct seed_result *result)
{
    snprintf(running, sizeof running, "%s: seed %llu aborted: repeat with --seed %llu --steps %u\n", world->name,
             (unsigned long long)options->seed, (unsigned long long)options->seed, options->steps);
    world->run(options, result);
}

bool seeds_report(const struct seed_options *options, const struct seed_result *result)
{
    if (result->verdict.failures) {
        fprintf(stderr, "%s: seed %llu failed: %s: %s\n", world->name, (unsigned long long)options->seed,
                result->verdict.checker, result->verdict.text);
    }
    return result->verdict.failures == 0;
}

/* --- many --- */

/* Returns how many failed, as the others here do. */
static uint32_t run_stretch(const struct wishes *wishes)
{
    uint32_t failures = 0;
    for (uint32_t i = 0; i < wishes->count; i++) {
        struct seed_options options = wishes->all;
        struct seed_result result;
        options.seed = wishes->first + i;
        seeds_run(&options, &result);
        failures += !seeds_report(&options, &result);
    }
    world->print_worth(wishes->count);
    return failures;
}

static bool sings(const struct canary *canary, const struct seed_result *result)
{
    for (int i = 0; i < CANARY_CHECKERS; i++) {
        if (result->verdict.checker && canary->checkers[i] &&
            strcmp(result->verdict.checker, canary->checkers[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool canary_is_heard(const struct canary *canary)
{
    uint32_t tried = 0, heard = 0;
    for (uint64_t seed = 1; tried < CANARY_TRIES && seed < CANARY_SEEDS_MAX; seed++) {
        const struct seed_options options = {.seed = seed, .calm = true, .sabotage = canary->sabotage};
        struct seed_result result;
        seeds_run(&options, &result);
        tried += result.sabotaged;
        heard += result.sabotaged && sings(canary, &result);
    }
    printf("%s: %s: found out in %u of %u\n", world->name, canary->name, heard, tried);
    return tried == CANARY_TRIES && heard >= CANARY_TRIES / 2;
}

static uint32_t run_canaries(void)
{
    uint32_t failures = 0;
    for (uint32_t i = 0; i < world->canary_count; i++) {
        failures += !canary_is_heard(&world->canaries[i]);
    }
    return failures;
}

/* The same seed is the same run. */
static uint32_t run_twice(void)
{
    uint32_t failures = 0;
    for (uint64_t seed = 1; seed <= REPEATED_SEEDS; seed++) {
        const struct seed_options options = {.seed = seed};
        struct seed_result first, second;
        seeds_run(&options, &first);
        seeds_run(&options, &second);
        if (first.digest != second.digest || first.work != second.work) {
            fprintf(stderr, "%s: seed %llu gives two different runs\n", world->name, (unsigned long long)seed);
            failures++;
        }
    }
    return failures;
}

static uint32_t run_only(const struct wishes *wishes)
{
    struct seed_result result;
    seeds_run(&wishes->all, &result);
    world->print_worth(1);
    return !seeds_report(&wishes->all, &result);
}

int seeds_main(const struct seeds *seeds, int count, char **words)
{
    world = seeds;
    signal(SIGABRT, aborted);
    logger_level_set(LOG_ERROR); /* links tell of each server that goes and comes */
    const struct wishes wishes = wishes_read(count, words);
    if (wishes.only) {
        return run_only(&wishes) > 0;
    }
    uint32_t failures = run_stretch(&wishes);
    if (!wishes.stretch) {
        failures += world->further ? world->further() : 0;
        failures += SANITIZED_THREADS ? 0 : run_canaries(); /* a world is one thread: there is nothing new to hear */
        failures += run_twice();
    }
    return failures > 0;
}
