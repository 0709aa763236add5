/*
 * runner: a thread of the broker: it makes its shards, and turns them: one alone (shard_run()), or several by a worker.
 *
 * Of so many threads the one of a number has the shards `number`, `number` + thread_count, … A room of io_uring's has
 * to be made by the thread that uses it, so shards are made here. What does not work is told by the shard's starter, at
 * which the control thread looks when all have passed the barrier; then runners without a problem run all the same,
 * until their shards are told to stop.
 *
 * Thread: all functions the control thread's.
 */
#ifndef SHOAL_BROKER_RUNNER_H
#define SHOAL_BROKER_RUNNER_H

#include <pthread.h>

#include "broker/shard.h"
#include "broker/worker.h"

/* A shard while it starts. */
struct starter {
    struct shard_setup setup; /* its io is set by the runner */
    enum config_backend backend;
    int *socket; /* listens; -1 when the shard has it */
    struct shard *shard;
    const char *problem; /* NULL: started */
};

struct runner_setup {
    struct starter *starters; /* all shards' */
    uint32_t shard_count;
    uint32_t thread_count;
    uint32_t number;
    pthread_barrier_t *started; /* passed when its shards are made, or can't be */
};

struct runner {
    struct runner_setup setup;
    struct worker worker; /* if its shards are several */
    pthread_t thread;
    bool running;
};

/* How many shards the thread of this number turns. */
uint32_t runner_share(uint32_t shard_count, uint32_t thread_count, uint32_t number);

void runner_init(struct runner *runner);

/* Borrows what the setup points at. */
void runner_start(struct runner *runner, const struct runner_setup *setup);

/* Waits for its end, if it was started. All its shards have been told to stop. */
void runner_join(struct runner *runner);

/* After runner_join(). The shards are the starters'. */
void runner_free(struct runner *runner);

#endif
