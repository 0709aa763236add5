/*
 * link: the federation link: what joins the topics of this host with those of others, through Redis.
 *
 *                       ┌──────────────────────────── link_turn() ────────────────────────────┐
 *   shards ── asks ──▶  interest: who wants which topic or filter      servers: one a Redis   ├──▶ Redis
 *          ◀─ tells ──  relays: publishes and fetches under way        server, two connections│◀── messages, replies
 *          ◀─ asks ───  nodes: who else is there                       each                   │
 *                       └───────────────────────────────────────────────────────────────────-─┘
 *
 * It is a thread of its own and a peer on the mesh (the one behind the admin port), so that no shard ever waits for
 * Redis and none knows of it but by asks and tells (mesh/relay.h). Shoal has no cluster protocol of its own: hosts meet
 * in Redis alone, see docs/ARCHITECTURE.md for keys, channels and scripts.
 *
 * The link trusts no silence: each server's two connections are proved by probes that go out by one and must come
 * back by the other; what Redis has lost changes the epoch of its topics.
 *
 * Thread: all functions the control thread's, but for those that say so.
 */
#ifndef SHOAL_CLUSTER_LINK_H
#define SHOAL_CLUSTER_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "mesh/mesh.h"

struct redis_room; /* how servers are reached: hiredis, or the simulated one of the tests (redis.h) */

/* What the operator decides. All strings are borrowed until link_destroy(). */
struct link_settings {
    const char *servers;      /* URLs, separated by spaces */
    const char *prefix;       /* of all keys and channels in Redis */
    const char *node;         /* this host's name, for others to see */
    const char *address;      /* its data address, for others to see */
    const char *version;      /* "0.1.0" */
    uint32_t timeout_ms;      /* without an answer for so long a server is taken for gone */
    uint32_t probe_ms;        /* between two probes */
    uint32_t wait_ms;         /* how long a logged publish may wait for a server that is away */
    uint64_t queue_bytes_max; /* of relays under way, a server */
    uint32_t filters_max;     /* filters that are told to Redis; further ones see just this host */
    uint32_t filter_levels;   /* a filter is told to Redis if so many first levels have no wildcard */
    uint32_t subscribe_rate;  /* subscriptions a second and server, when all have to be made again */
    uint32_t idempotency_s;   /* how long Redis remembers a key */
    bool durable;             /* Redis loses nothing that it has acknowledged: a restart keeps the epochs */
};

struct link_setup {
    struct mesh *mesh;
    uint32_t peer;                       /* its index on the mesh */
    uint32_t shard_count;                /* shards are the peers from 0 on */
    const struct clock *clock;           /* borrowed */
    struct redis_room *redis;            /* borrowed: outlives the link */
    const _Atomic uint32_t *connections; /* of this host, for others to see; borrowed */
    uint64_t instance;                   /* of this run: names the node in Redis, so that it knows its own messages */
    uint64_t seed;                       /* of jitter and epochs */
    struct link_settings settings;
};

struct link;

/* NULL: *problem says what is wrong with the settings, or "no memory". Sets the mesh's bell. Gives the link. */
struct link *link_create(const struct link_setup *setup, const char **problem);

/* Starts its thread, which turns until link_stop(). False: no thread. (Tests call link_turn() instead.) */
bool link_start(struct link *link);
/* Tells Redis that this node goes, and ends the thread. While the shards run. */
void link_stop(struct link *link);
/* Takes it, and what is left for it in the mesh. After the shards have stopped. NULL is allowed. */
void link_destroy(struct link *link);

/* One turn: drains asks, works what Redis has sent, probes, waits at most `wait_us`. The link's thread. */
void link_turn(struct link *link, int64_t wait_us);

/*
 * What the servers remember, as a number: links that see the same one share the logs of logged topics, and the keys of
 * what was published to them. Another one once a server may have forgotten something; 0 until all were seen, and with a
 * Redis Cluster. As of the last report. Borrowed until link_destroy(). Any thread.
 */
const _Atomic uint64_t *link_identity(const struct link *link);

/*
 * Whether federation is well: each server proved by a probe within its time, and all that is wanted subscribed. If not,
 * `why` says what is missing ("redis 1 (10.0.0.7:6379): no answer for 4 s"). Any thread.
 */
bool link_is_ready(const struct link *link, char *why, size_t size);

#endif
