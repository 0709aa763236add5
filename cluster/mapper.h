/*
 * mapper: which server of a Redis Cluster has which slots: whoever knows is asked, again and again.
 *
 *   idle ── due, or hurried ──▶ connect to a node ── CLUSTER SLOTS ──▶ a map: MAPPER_READ
 *    ▲                            ▲          │
 *    │                            └─ next ◀──┴── no connection, no answer in time, an error, a map that is none
 *    └──── a pause, with jitter ◀── MAPPER_READ, or none is left: MAPPER_IN_VAIN
 *
 * Nodes to be asked are the seeds of the configuration and what the last map has named, masters and replicas, in
 * turn: so one that is cut off and tells an old map is not asked twice in a row, and hosts do not all ask the same one.
 *
 * While all is well the map is read each MAPPER_CALM_US, for a change that nobody has told. Whoever meets a sign that
 * it is old (a redirection, a server that is away, a subscription that was taken away) hurries: after a pause of 20 ms
 * that doubles up to a second as long as there is cause, shorter by up to half at random.
 *
 * Bounds: one connection, two commands; each node has a quarter of cluster.timeout_ms. Thread: the link's.
 */
#ifndef SHOAL_CLUSTER_MAPPER_H
#define SHOAL_CLUSTER_MAPPER_H

#include "cluster/redis.h"
#include "cluster/slots.h"
#include "cluster/url.h"

#define MAPPER_CALM_US      15000000
#define MAPPER_PAUSE_US_MIN 20000
#define MAPPER_PAUSE_US_MAX 1000000
#define MAPPER_PLACES_MAX   (URL_SENTINELS_MAX + LINK_SERVERS_MAX + SLOT_OTHERS_MAX)

enum mapper_result {
    MAPPER_NOTHING,
    MAPPER_READ,    /* `map` is a new one */
    MAPPER_IN_VAIN, /* nobody had one: `problems` */
};

struct mapper {
    struct redis_room *redis; /* borrowed */
    const struct url *url;    /* borrowed: seeds, user and password */
    struct url_place places[MAPPER_PLACES_MAX];
    uint32_t place_count;
    uint32_t place;           /* who is asked, or will be next */
    uint32_t left;            /* to be asked in this round, the present one included; 0: idle */
    struct redis *connection; /* NULL: nobody is asked */
    int64_t asked_us;
    int64_t due_us;   /* idle: the next round */
    int64_t pause_us; /* the next hurried one's */
    bool hurried;
    bool again;                 /* hurried while a node was asked, perhaps too early */
    int64_t read_us;            /* when a map was read; 0: never */
    char from[URL_ADDRESS_MAX]; /* who told it */
    char problems[LINK_REASON_MAX];
    struct slot_map map;
};

/* `mapper` is zeroed memory. Due at once. */
void mapper_init(struct mapper *mapper, struct redis_room *redis, const struct url *url, uint64_t random,
                 int64_t now_us);
/* Asks nobody any more. */
void mapper_end(struct mapper *mapper);

/* The map may be old. */
void mapper_hurry(struct mapper *mapper, uint64_t random, int64_t now_us);

/* `patience_us`: cluster.timeout_ms. */
enum mapper_result mapper_turn(struct mapper *mapper, uint64_t random, int64_t now_us, int64_t patience_us);

/* How long it may be left alone. */
int64_t mapper_rest_us(const struct mapper *mapper, int64_t now_us, int64_t patience_us);

#endif
