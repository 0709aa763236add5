/*
 * nodes: which hosts there are.
 *
 * Each link writes on every server (of a Redis Cluster on one, with the tag of one slot behind the prefix) a key that
 * expires, and its instance into a set of all:
 *
 *   PREFIXnode:INSTANCE   string, JSON: name, address, version, connections, topics, filters, uptime_s, beat
 *   PREFIXnodes           sorted set: instances. Who finds one without its key takes it out
 *
 * and reads those of the others. A node is alive while its `beat`, a counter, changes: so clocks of hosts may be apart.
 * What is read is for people; nothing that is delivered depends on it.
 *
 * Bounds: LINK_NODES_MAX are kept, more are counted; texts are cut. Thread: the link's.
 */
#ifndef SHOAL_CLUSTER_NODES_H
#define SHOAL_CLUSTER_NODES_H

#include "cluster/report.h"
#include "cluster/server.h"

/* Between two signs of life. A key lives NODES_LIFE times as long, and so does a node that shows none. */
#define NODES_BEAT_US 2000000
#define NODES_LIFE    5

struct node {
    struct link_report_node told; /* but for seen_us */
    uint64_t beat;
    int64_t seen_us; /* when the beat changed */
};

struct nodes {
    const struct link_settings *settings;
    const _Atomic uint32_t *connections;
    uint64_t instance;
    int64_t started_us;
    int64_t beat_us; /* the next one; INT64_MIN: at once */
    uint64_t beat;
    uint32_t count;
    uint32_t more; /* seen, but no room */
    struct node nodes[LINK_NODES_MAX];
};

/* What a node says of itself, but for what it knows by itself. */
struct nodes_self {
    uint64_t topics;
    uint64_t filters;
};

/* In a Redis Cluster the keys are of one slot, and on the server that has it. */
uint32_t nodes_slot(void);

/* Writes and reads on all servers that are UP, when it is time. */
void nodes_turn(struct nodes *nodes, struct server *servers, uint32_t count, const struct nodes_self *self,
                int64_t now_us);

/* Tells a server that this node goes. */
void nodes_leave(struct nodes *nodes, struct server *server);

/* Answers of a server: the set, and the key of one node. */
void nodes_listed(struct nodes *nodes, struct server *server, const struct redis_value *value);
void nodes_told(struct nodes *nodes, struct server *server, uint64_t instance, const struct redis_value *value);

#endif
