/*
 * worker: one process's share of the subscribers of a run, and the loop that reads them.
 *
 *      turn:  wait ─▶ for each readable socket: receive, look at the clock, check, count ─▶ slow readers ─▶ ledger
 *                                                     └─ `between`: the leader publishes what is due
 *
 * A process has only so many descriptors, so subscribers are dealt out to as many workers as it takes, like cards. The
 * leader is worker 0: it publishes between any two reads, so that neither waits long for the other, and with fewer
 * subscribers than descriptors there is one process and nothing to be switched.
 *
 * The time of a delivery is taken once a read, after it.
 */
#ifndef SHOAL_BENCH_WORKER_H
#define SHOAL_BENCH_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "board.h"
#include "ledger.h"
#include "subscriber.h"
#include "workload.h"

#define SLOW_READ_BYTES 4096     /* that a slow reader reads at a time, */
#define SLOW_READ_NS    20000000 /* and how often */

struct worker_options {
    uint16_t port;
    const char *path; /* of a topic, with {topic} in it, for protocols that subscribe by path */
    const struct protocol *protocol;
    const struct workload *workload;
    uint64_t warm_up; /* messages of the first group whose delays do not count */
    uint32_t workers;
};

struct worker {
    const struct worker_options *options;
    struct board *board;
    struct worker_line *line; /* its own */
    uint32_t number;
    uint32_t count;
    struct subscriber *subscribers;
    struct ledger ledgers[GROUPS_MAX];
    uint64_t slow_at_ns; /* when slow readers read next */
    uint64_t now_ns;     /* when the bytes at hand were read */
    int poll;
    char *buffer;
    /* The leader's own, or NULL: what it does between reads, and with sockets that are no subscribers'. */
    void (*between)(void);
    void (*foreign)(void *what, uint32_t events);
};

/* Sets up worker `number`; nothing is connected. */
void worker_init(struct worker *worker, const struct worker_options *options, struct board *board, uint32_t number);

/* Connects its subscribers and asks for their subscriptions; the answers are read by worker_turn(). */
void worker_connect(struct worker *worker);

/* Waits at most so long, and works what has come. True: there may be more. */
bool worker_turn(struct worker *worker, uint64_t wait_ns);

/* In PHASE_COUNT: in how many TCP segments the messages came. On loopback a send is one, unless it is large. */
void worker_count(struct worker *worker);

/* The life of a worker that is not the leader: until PHASE_DONE. */
void worker_work(struct worker *worker);

/* --- what a subscriber tells --- */

static inline const struct group *worker_group(const struct subscriber *subscriber)
{
    return &subscriber->worker->options->workload->groups[subscriber->group];
}

void worker_ready(struct subscriber *subscriber);
void worker_had(struct subscriber *subscriber, uint64_t number);
void worker_skipped(struct subscriber *subscriber, uint64_t count);

/* `pattern` with {topic} replaced; dies if the result is too long. */
#define PATH_MAX_BYTES 256u
void path_expand(const char *pattern, const char *topic, char out[PATH_MAX_BYTES]);

#endif
