/*
 * shard: one thread's part of the broker, and the turn: the only file that sees all of it.
 *
 *                        ┌───────────────────────────── shard_turn() ─────────────────────────────┐
 *   kernel ── events ──▶ reap ─▶ retry ─▶ drain mesh ─▶ advance ─▶ ask ─▶ deliver ─▶ close ─▶ sweep ─▶ bells ─▶ wait
 *                         │        │          │            │         │        │         │
 *                   receive,     input     owner: asks   tails    feeds'   sends to   slots go
 *                   execute    that had    feeds: tells  to all    asks    sockets    back
 *                              to wait     answers       followers
 *
 * The order is fixed, and what one step finds for another it leaves on a list. Nothing that another step may still name
 * is freed before close. A publish of this shard to a topic of its own is delivered within one turn.
 *
 * The turn takes its time from a clock, its network from an io, its neighbours from a mesh: a test that supplies all
 * three runs any number of shards on one thread, from one seed.
 *
 * Thread: all functions the shard's own, but for shard_order().
 */
#ifndef SHOAL_BROKER_SHARD_H
#define SHOAL_BROKER_SHARD_H

#include "base/clock.h"
#include "conn/conn.h"
#include "topic/owner.h"

/* What the control thread may want of a shard. */
enum shard_order {
    SHARD_ORDER_DRAIN = 1 << 0,  /* see sweep_drain() */
    SHARD_ORDER_RELOAD = 1 << 1, /* take setup.config anew */
    SHARD_ORDER_STOP = 1 << 2,   /* shard_run() returns */
};

/* What a shard is given. All of it is borrowed, but for the io, which it takes. */
struct shard_setup {
    uint32_t shard;
    uint32_t shard_count;
    struct io *io;
    struct mesh *mesh;
    const struct clock *clock;
    const struct config *config;
    struct token_verifier *verifier;    /* NULL: nobody needs a token */
    _Atomic uint32_t *connections;      /* of all shards; bounded by limits.connections */
    uint64_t seed;                      /* epochs and hashes: another one in each run */
    uint64_t instance;                  /* of this run: clients are told, the same by all shards */
    const _Atomic uint64_t *federation; /* link_identity(), which clients are told; NULL: there is no link */
    uint32_t link_peer;                 /* of the federation link on the mesh; 0: there is none */
    uint32_t shares;                    /* shards that this one's thread turns; 0 counts as 1 */
};

struct shard {
    /* fixed after start */
    uint32_t number;
    struct io *io;
    struct mesh *mesh;
    const struct clock *clock;
    /* this thread's */
    struct conns conns;
    struct feeds feeds;
    struct owner owner;
    struct lane_writer writer;
    struct deflater deflater;
    struct inflater inflater;
    bool deflater_made;
    bool inflater_made;
    int64_t now_us;
    int64_t topics_swept_us;
    int64_t told_ms; /* all that was published before has been told to this shard: is in its rings, or was worked */
    int64_t told_looked_ms; /* when that was last asked, by the wall clock */
    uint32_t shares;        /* what a turn may take is divided by it */
    bool blocked;           /* something waits for room in a mesh ring */
    /* written by this thread, read by others */
    _Alignas(CACHE_LINE) struct stats stats;
    _Atomic bool drained;     /* is quiet, by a turn that knew of the order to drain */
    _Atomic uint32_t reloads; /* orders to reload that were carried out */
    /* written by others */
    _Alignas(CACHE_LINE) _Atomic uint32_t orders;
    _Atomic(const struct config *) config_next;
};

/* NULL: no memory. Gives the shard. */
struct shard *shard_create(const struct shard_setup *setup);
/* Takes the shard and its io, and what is left for it in the mesh. After all shards have stopped. */
void shard_destroy(struct shard *shard);

/* One turn; waits at its end for at most `wait_us` (0: not at all), less if there is something to do. */
void shard_turn(struct shard *shard, int64_t wait_us);

/*
 * One turn of a shard whose io has a door (io_door()), without a wait. Returns for how many us at most it may rest now,
 * unless its io or its bell rings: 0 if there is more to do at once. Until the next call the shard counts as asleep.
 */
int64_t shard_step(struct shard *shard);

/* Whether no connection, subscription or ticket is left. The shard's thread. */
bool shard_is_quiet(const struct shard *shard);

/* Whether SHARD_ORDER_STOP was given. */
bool shard_is_stopped(const struct shard *shard);

/* Turns until SHARD_ORDER_STOP. */
void shard_run(struct shard *shard);

/* Gives an order. Any thread. */
void shard_order(struct shard *shard, uint32_t orders);

#endif
