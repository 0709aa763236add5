/*
 * sentinel: who is the master now: what a server's sentinels are asked each time before it is connected.
 *
 *   sentinel_begin() ──▶ connect to one ── SENTINEL GET-MASTER-ADDR-BY-NAME ──▶ an address: SENTINEL_NAMED
 *                          ▲                        │
 *                          └── the next one ◀───────┴── no connection, no answer in time, an error, no such master
 *                                                            (none is left: SENTINEL_IN_VAIN)
 *
 * What a sentinel says is a hint, never a proof: it may be cut off from the others and name a former master. So the
 * server that was named proves itself as any other does (server.h): it must say that it is a master, and a probe must
 * come back. If it does not, sentinel_doubt() has the next sentinel asked first. One that answered well is asked first
 * again, so one that is gone costs its time once.
 *
 * User and password of the URL are the master's. A sentinel is offered them only when it says that it wants some
 * (NOAUTH): most have none, and would answer AUTH with an error.
 *
 * Bounds: one connection, two commands, and all sentinels together have cluster.timeout_ms. Thread: the link's.
 */
#ifndef SHOAL_CLUSTER_SENTINEL_H
#define SHOAL_CLUSTER_SENTINEL_H

#include "cluster/redis.h"
#include "cluster/report.h"
#include "cluster/url.h"

enum sentinel_result {
    SENTINEL_ASKED, /* no answer yet */
    SENTINEL_NAMED,
    SENTINEL_IN_VAIN,
};

struct sentinel {
    struct redis_room *redis;       /* borrowed */
    const struct url *url;          /* borrowed: its places are the sentinels */
    struct redis *connection;       /* NULL: nobody is asked */
    uint32_t place;                 /* who is asked, or will be first */
    uint32_t left;                  /* to be asked, the present one included */
    int64_t asked_us;               /* since when the present one is */
    bool offered;                   /* user and password, to the present one */
    char problems[LINK_REASON_MAX]; /* of those that were asked in vain, cut */
};

/* Begins to ask all of them, one after the other. Nobody is asked now. */
void sentinel_begin(struct sentinel *sentinel, int64_t now_us);

/*
 * Works what has been answered. `patience_us`: what one of them may take, INT64_MAX: as long as it wants.
 * SENTINEL_NAMED: *master is filled, and `place` is who named it; SENTINEL_IN_VAIN: `problems` says why. After both
 * nobody is asked any more.
 */
enum sentinel_result sentinel_turn(struct sentinel *sentinel, int64_t now_us, int64_t patience_us,
                                   struct url_place *master);

/* Who was named last is no master: the next sentinel is to be asked first. */
void sentinel_doubt(struct sentinel *sentinel);

/* Asks nobody any more. */
void sentinel_end(struct sentinel *sentinel);

#endif
