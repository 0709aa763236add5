/*
 * stress: what the stress tests share: threads, numbers from a state of one's own, and a watchdog.
 *
 * A stress test claims progress, never speed: nothing is measured. What stands still (a wake-up that was lost, a circle
 * of full rings) is ended by the watchdog, which says where everybody was; it allows far more time than a slow machine
 * under a sanitizer needs.
 */
#ifndef SHOAL_TESTS_STRESS_H
#define SHOAL_TESTS_STRESS_H

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"

#define STRESS_WATCHDOG_S 240

/* Set by the test: writes to standard error where everybody is. Called by a signal: no locks, no allocation. */
static void (*stress_report)(void);

static void stress_bark(int signal)
{
    static const char text[] = "watchdog: nothing moves any more\n";
    (void)signal;
    if (write(STDERR_FILENO, text, sizeof text - 1) > 0 && stress_report) {
        stress_report();
    }
    abort();
}

static inline void stress_watch(void (*report)(void))
{
    stress_report = report;
    signal(SIGALRM, stress_bark);
    alarm(STRESS_WATCHDOG_S);
}

/* How many times the usual work: the first argument, 1 without one. */
static inline uint32_t stress_scale(int count, char **arguments)
{
    return count > 1 ? (uint32_t)strtoul(arguments[1], NULL, 10) : 1;
}

static inline uint32_t stress_random(uint32_t *state, uint32_t bound)
{
    *state = *state * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)*state * bound) >> 32);
}

static inline pthread_t stress_thread(void *(*run)(void *), void *argument)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, run, argument) == 0);
    return thread;
}

static inline void stress_join(pthread_t thread)
{
    CHECK(pthread_join(thread, NULL) == 0);
}

#endif
