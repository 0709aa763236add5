/*
 * sharding: a Redis Cluster as the servers of a link: which master has which slot, and what happens when that changes.
 *
 *   mapper.h: a map ──▶ not the present one? ── drained ──▶ applied: servers come, go, and have other slots
 *      ▲ hurried by                                          │
 *      │                                                     ├──▶ interest: what has moved is subscribed anew
 *   redirections, subscriptions that were taken away,        ├──▶ relays that wait: to the slot's server
 *   servers that are away, slots without a server            └──▶ probes: by a slot that the server has
 *
 * Each master with slots is a server (server.h), known by its address; replicas are only asked for the map. A failover
 * is a new server with the slots of another one. A server's number on the link may be another master's later.
 *
 * Order. A logged publish that was refused (MOVED, ASK, TRYAGAIN, CLUSTERDOWN) was not done, and is sent again. So that
 * none overtakes another of its topic, its slot is *held* then, and also when it gets another server while something
 * of it is under way at the former one:
 *
 *      new publishes ──▶ waiting ─┐
 *      refused ────────▶ returned ┴─▶ held until nothing of the slot is under way, and a pause is over; then returned
 *                                     first, then waiting, to the slot's server
 *
 * One that was refused while a later one of the same topic was taken is not sent again: its publisher is told to
 * (RELAY_AWAY), for only he knows whether the order matters. ASK is not followed: what is sent to the importing server
 * would be published where nobody has subscribed yet. It waits until the slot has moved.
 *
 * Drained. Before a map is applied, a server that is UP and loses slots must have delivered what it had pushed (a
 * fence): so messages of one topic do not come by two servers in the wrong order, and a page from the new server is
 * not taken for all there is while the old one's messages are on their way.
 *
 * What may have been lost is told as ever, by epochs: each slot has a generation, made for the process that wrote it
 * (generation.lua). Found at another process, after a failover, a restart or a move, it is changed, and so are the
 * epochs of the slot's topics. A move loses nothing, but its traces are those of a failover before the move that nobody
 * saw: so both are told.
 *
 * Bounds: cluster.queue_bytes of relays that wait here (logged: RELAY_FULL), each for cluster.wait_ms at most;
 * LINK_SERVERS_MAX masters, a map with more is refused. Thread: the link's.
 */
#ifndef SHOAL_CLUSTER_SHARDING_H
#define SHOAL_CLUSTER_SHARDING_H

#include "cluster/mapper.h"
#include "cluster/relays.h"
#include "cluster/slots.h"
#include "cluster/url.h"

#define SHARDING_PAUSE_US_MIN 10000
#define SHARDING_PAUSE_US_MAX 500000

struct link;
struct server;

struct sharding {
    struct url url; /* seeds, user and password */
    struct mapper mapper;
    uint8_t owner[SLOTS]; /* server's number, or SLOT_NOWHERE */
    uint32_t covered;     /* slots that have a server */
    uint32_t inflight[SLOTS];
    uint64_t held[SLOTS / 64]; /* bits */
    uint32_t held_count;
    struct relays returned;
    struct relays waiting;
    uint64_t bytes;     /* of both */
    int64_t retry_us;   /* when held slots may be let go */
    int64_t pause_us;   /* the next one */
    int64_t expired_us; /* when both lines were looked through for what has waited too long */
    bool unsettled;     /* a subscription was refused or lost: all are looked through with the next map */
    bool in_vain;       /* the last round of asking for a map was, and that is logged */
    bool draining;      /* mapper.map is to be applied */
    int64_t draining_us;
    uint64_t drains[LINK_SERVERS_MAX]; /* fences, 0: none */
    char problem[LINK_REASON_MAX];     /* "": the map is whole */
};

/* NULL: all is well. The servers are made when the first map is there. */
const char *sharding_init(struct link *link, const struct url *url);
void sharding_destroy(struct link *link);

/* The number of a topic's server, or SLOT_NOWHERE. */
uint32_t sharding_server(const struct sharding *sharding, struct span topic);

/* As server_logged() and server_live(), of the topic's server. Take the relay. */
void sharding_logged(struct link *link, struct relay *relay, bool fetch);
void sharding_live(struct link *link, struct relay *relay);

/* Before the servers' turns: maps, what is held, what has waited too long. */
void sharding_turn(struct link *link);

/* After a server's turn: takes what it has refused, and notes signs of an old map. */
void sharding_collect(struct link *link, struct server *server);

/* An append was taken: refused ones of the same topic are not sent again. */
void sharding_done(struct link *link, const struct relay *relay);

/* A subscription was refused or lost. */
void sharding_unsettle(struct link *link);

int64_t sharding_rest_us(const struct link *link);

#endif
