/*
 * board: the memory that the processes of one run share.
 *
 *      leader:  publishes, and has subscribers too  ──▶  published, due  ──▶ ┐
 *      workers: have the other subscribers          ◀──  phase           ◀── ┘
 *               each writes a line of its own: complete, counts, delays      (the leader is worker 0)
 *
 * Every field is written by one process only. What a worker reads of a message (when it was due) was written before the
 * message was sent, so that whoever has received it sees it.
 */
#ifndef SHOAL_BENCH_BOARD_H
#define SHOAL_BENCH_BOARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"
#include "delays.h"
#include "workload.h"

#define WORKERS_MAX 64u

enum phase {
    PHASE_WAIT,    /* workers are there */
    PHASE_CONNECT, /* connect and subscribe */
    PHASE_RUN,     /* messages are on their way */
    PHASE_COUNT,   /* all have come: segments are counted */
    PHASE_DONE,    /* disconnect and end */
};

struct worker_line {
    /* messages of each group, from the first on without a hole, that all of this worker's subscribers have had */
    _Alignas(CACHE_LINE) _Atomic uint64_t complete[GROUPS_MAX];
    _Atomic uint64_t deliveries; /* to slow readers, too */
    _Atomic uint64_t bytes;      /* received since PHASE_RUN */
    _Atomic uint32_t connected;  /* subscribers that are ready */
    _Atomic uint32_t cut;        /* slow readers that the server let go */
    _Atomic uint64_t skipped;    /* messages that slow readers did not get */
    _Atomic uint64_t segments;   /* that messages came in; since PHASE_COUNT */
    _Atomic bool counted;        /* segments is there */
    _Atomic uint64_t pause_ns;   /* the longest that this worker did not look at its sockets */
    struct delays delays[GROUPS_MAX];
};

struct board {
    /* written by the leader */
    _Alignas(CACHE_LINE) _Atomic int phase;
    _Atomic uint64_t published[GROUPS_MAX];
    _Alignas(CACHE_LINE) _Atomic uint64_t due_ns[GROUPS_MAX][INFLIGHT_MAX]; /* by number modulo its size */
    /* each written by its worker */
    struct worker_line workers[WORKERS_MAX];
};

static inline uint64_t board_read(const _Atomic uint64_t *field)
{
    return atomic_load_explicit((_Atomic uint64_t *)field, memory_order_relaxed);
}

/* Only by the process that writes the field. */
static inline void board_add(_Atomic uint64_t *field, uint64_t count)
{
    atomic_store_explicit(field, board_read(field) + count, memory_order_relaxed);
}

#endif
