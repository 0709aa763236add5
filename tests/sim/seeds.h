/*
 * seeds: what the test of a simulated world does with seeds, whatever the world.
 *
 *      TEST                                           so many seeds (SHOAL_SIM_SEEDS=N: N of them), canaries, repeats
 *      TEST --seed N [--steps M] [--trace]            one again
 *      TEST --first N --count M [--steps M]           a stretch of seeds, and nothing else
 *
 * A run that fails prints its seed. So does one that aborts: the CHECKs of the code under test are checkers, too.
 *
 * A canary is a run that is broken on purpose, and that one of the right checkers must find out. Where nobody was there
 * to notice, no checker sings, and that is no failure: so of the first CANARY_TRIES calm seeds in which the canary did
 * something half must be found out.
 */
#ifndef SHOAL_TESTS_SEEDS_H
#define SHOAL_TESTS_SEEDS_H

#include "verdict.h"

enum { CANARY_TRIES = 8, CANARY_CHECKERS = 2 };

struct seed_options {
    uint64_t seed;
    uint32_t steps;    /* 0: as many as the seed says */
    uint32_t sabotage; /* which one, of the world's own; 0: none */
    bool calm;         /* whatever the seed says */
    bool trace;
};

/* What each world's result begins with. */
struct seed_result {
    struct verdict verdict;
    uint64_t digest; /* of what was delivered: the same for the same options */
    uint64_t work;   /* a count of what was done: the same, too */
    bool sabotaged;  /* what was to be broken was met, and broken */
};

struct canary {
    uint32_t sabotage;
    const char *name;
    const char *checkers[CANARY_CHECKERS]; /* of which one must sing; the last may be NULL */
};

/* A world to run: fixed by its test. */
struct seeds {
    const char *name;         /* in front of each line */
    uint32_t count;           /* of seeds, unless told */
    uint32_t count_sanitized; /* the same where a sanitizer makes each slow */
    const struct canary *canaries;
    uint32_t canary_count;
    void (*run)(const struct seed_options *options, struct seed_result *result);
    void (*print_worth)(uint32_t count); /* of the runs so far, which are so many */
    uint32_t (*further)(void);           /* NULL, or what else is tried with the canaries. Returns how many failed */
};

/* A test's main(). `seeds` must stay. Words that it does not know are the test's own. Returns the status to exit with.
 */
int seeds_main(const struct seeds *seeds, int count, char **words);

/* For `further`: one run whose seed is told if it aborts. */
void seeds_run(const struct seed_options *options, struct seed_result *result);

/* Tells of a failure. Returns whether there is none. */
bool seeds_report(const struct seed_options *options, const struct seed_result *result);

#endif
