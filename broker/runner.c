/* runner: see runner.h. */
#include "broker/runner.h"

#include <string.h>

#include "base/check.h"
#include "broker/room.h"

uint32_t runner_share(uint32_t shard_count, uint32_t thread_count, uint32_t number)
{
    return (shard_count - number + thread_count - 1) / thread_count;
}

void runner_init(struct runner *runner)
{
    *runner = (struct runner){.worker = {.doors = -1, .bell = -1}};
}

/* --- in the thread --- */

static const char *make_shard(struct starter *starter)
{
    const char *problem = "no memory for a shard";
    starter->setup.io = room_make(starter->setup.config, starter->backend, starter->setup.shard_count, &problem);
    if (!starter->setup.io) {
        return problem;
    }
    starter->shard = shard_create(&starter->setup);
    if (!starter->shard) {
        return "no memory for a shard";
    }
    int error = io_listen(starter->setup.io, *starter->socket);
    if (error) {
        return strerror(-error);
    }
    *starter->socket = -1;
    return NULL;
}

static const char *take_seats(struct runner *runner, uint32_t share)
{
    const struct runner_setup *setup = &runner->setup;
    if (!worker_init(&runner->worker, share)) {
        return "no memory or descriptors for a thread of several shards";
    }
    for (uint32_t seat = 0; seat < share; seat++) {
        if (!worker_seat(&runner->worker, seat, setup->starters[setup->number + seat * setup->thread_count].shard)) {
            return "no descriptor to wait for several shards at once: raise the limit on open files";
        }
    }
    return NULL;
}

/* The first of them is told what it is that does not work with all together. */
static bool make_shards(struct runner *runner, uint32_t share)
{
    const struct runner_setup *setup = &runner->setup;
    for (uint32_t shard = setup->number; shard < setup->shard_count; shard += setup->thread_count) {
        struct starter *starter = &setup->starters[shard];
        starter->problem = make_shard(starter);
        if (starter->problem) {
            return false;
        }
    }
    struct starter *first = &setup->starters[setup->number];
    first->problem = share > 1 ? take_seats(runner, share) : NULL;
    return !first->problem;
}

static void *run(void *argument)
{
    struct runner *runner = argument;
    const struct runner_setup *setup = &runner->setup;
    uint32_t share = runner_share(setup->shard_count, setup->thread_count, setup->number);
    bool made = make_shards(runner, share);
    pthread_barrier_wait(setup->started); /* the control thread looks at the problems */
    if (made && share > 1) {
        worker_run(&runner->worker);
    } else if (made) {
        shard_run(setup->starters[setup->number].shard);
    }
    return NULL;
}

/* --- and from outside --- */

void runner_start(struct runner *runner, const struct runner_setup *setup)
{
    runner->setup = *setup;
    CHECK_MSG(pthread_create(&runner->thread, NULL, run, runner) == 0, "can't create a thread");
    runner->running = true;
}

void runner_join(struct runner *runner)
{
    if (runner->running) {
        pthread_join(runner->thread, NULL);
        runner->running = false;
    }
}

void runner_free(struct runner *runner)
{
    worker_free(&runner->worker);
}
