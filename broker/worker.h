/*
 * worker: a thread that turns several shards.
 *
 * A ring holds no more connections than the process may open files, so a million connections may need 64 shards on two
 * processors. 64 threads would mostly switch between each other. As the turn is a function, a worker calls it for each
 * of its shards that has something to do, and waits for all of them at once:
 *
 *      kernel ── io_door() of each ──▶ ┌ epoll ┐
 *      other threads ── bell ────────▶ └───────┘ ──▶ worker_run(): step seat 2, step seat 7, … ──▶ rest
 *      own shards ── bell ───────────▶ rung
 *
 * A seat is a shard's place with its worker. It is stepped if its door rang, if its bell rang, if it said that it had
 * more to do, or if the time is up for which it may rest. Each seat is stepped once a round, so none starves another;
 * what a turn may take is divided by the number of seats (shard_setup.shares), so a round takes what a turn does.
 *
 * Sleep and wake of seats follow mesh.h. That of the worker is the same once more, one floor higher:
 *
 *   bell:    rung |= the seat (seq_cst), asleep? then asleep = 0 (seq_cst) [W1] and writes to the worker's eventfd
 *   worker:  asleep = 1 (seq_cst) [W1], looks at rung again; found nothing: waits for its doors
 *
 * A bell between two seats of one worker is a bit that is set, without a system call.
 *
 * Thread: worker_init() and worker_run() the worker's own; worker_bell()'s bell any.
 */
#ifndef SHOAL_BROKER_WORKER_H
#define SHOAL_BROKER_WORKER_H

#include "base/limits.h"
#include "mesh/mesh.h"

struct shard;
struct worker;

struct worker_seat {
    struct worker *worker;
    struct shard *shard;
    uint32_t index;
    bool ready;     /* is to be stepped in the next round */
    int64_t due_us; /* monotonic: when it is to be stepped at the latest */
};

struct worker {
    struct worker_seat *seats;
    uint32_t seat_count;
    int doors; /* epoll: -1: none */
    int bell;  /* eventfd */
    /* written by all */
    _Alignas(CACHE_LINE) _Atomic bool asleep;
    _Atomic uint64_t rung[(SHARDS_MAX + 63) / 64]; /* seats */
};

/* Room for so many seats. False: no memory or descriptors; worker_free() is still due. */
bool worker_init(struct worker *worker, uint32_t seat_count);

/* Gives the seat to a shard, and becomes its bell in the mesh. False: its io has no door. Borrows the shard. */
bool worker_seat(struct worker *worker, uint32_t seat, struct shard *shard);

/* Turns the shards until all of them have been told to stop. All seats are taken. */
void worker_run(struct worker *worker);

void worker_free(struct worker *worker);

#endif
