/*
 * state: what the files of the link share: make.c (its beginning and end), link.c (turn,
 * asks and tells) and report.c (what others may see of it).
 *
 * Everything is the link's thread's, but for the report and its mutex, the stats and `stopping`. Fixed after
 * link_create(): settings, sizes, the ring.
 */
#ifndef SHOAL_CLUSTER_STATE_H
#define SHOAL_CLUSTER_STATE_H

#include <pthread.h>

#include "cluster/interest.h"
#include "cluster/link.h"
#include "cluster/nodes.h"
#include "cluster/patterns.h"
#include "cluster/ring.h"
#include "cluster/server.h"
#include "cluster/sharding.h"

struct link {
    struct mesh *mesh;
    uint32_t peer;
    uint32_t shard_count;
    const struct clock *clock;
    struct link_settings settings;
    struct server_common common;
    struct ring ring;          /* not sharded */
    struct sharding *sharding; /* a Redis Cluster; NULL: servers that are named */
    uint32_t server_count;
    struct server *servers;
    bool was_up[LINK_SERVERS_MAX];        /* as interest knows it */
    struct relay *held[LINK_SERVERS_MAX]; /* a message of that server that found no room in a shard's ring */
    struct interest interest;
    struct patterns patterns;
    struct nodes nodes;
    struct relays answers[SHARDS_MAX]; /* to be told */
    bool blocked;                      /* something waits for room in a ring */
    bool more;                         /* something is left to be done at once */
    bool hungry;                       /* subscriptions wait for their pace */
    int64_t turn_us;                   /* when the last turn began */
    int64_t report_us;                 /* when the report was written */
    struct link_stats stats;
    _Atomic uint64_t identity;     /* link_identity() */
    pthread_mutex_t *report_mutex; /* apart: a const link can be asked, too */
    struct link_report report;     /* under the mutex */
    pthread_t thread;
    bool running;
    _Atomic bool stopping;
};

/* Counts an answer, and keeps it until its shard is told. Takes the relay. */
void link_answer(struct link *link, struct relay *relay);

/* Writes the report, and the gauges. The link's thread. */
void report_write(struct link *link);

#endif
