/*
 * report: what an operator can know of the federation: Redis servers and hosts.
 *
 * The link writes its report anew some times a second, and at once when a server comes or goes; whoever asks gets a
 * copy. Between the two is a mutex that only the link and the askers take, each for the time of one copy: no shard ever
 * meets it. So a report is whole, and at most LINK_REPORT_US old while the link turns; `written_us` says when it was.
 */
#ifndef SHOAL_CLUSTER_REPORT_H
#define SHOAL_CLUSTER_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#define LINK_REPORT_US 200000

/* Redis servers; more are refused at start. Their sets are bits of a word. */
#define LINK_SERVERS_MAX 64
/* Hosts in a report; further ones are counted only. */
#define LINK_NODES_MAX 256

#define LINK_REASON_MAX 192
#define LINK_NAME_MAX   512

enum server_state {
    SERVER_AWAY,   /* given up; the next try comes after a pause that grows: an open circuit */
    SERVER_ASKING, /* its sentinels, where the master is now; a server named by its address is never here */
    SERVER_TRYING, /* connecting, and proving itself: half open */
    SERVER_UP,     /* proved by a probe: closed */
};

static inline const char *server_state_name(enum server_state state)
{
    static const char *const names[] = {"away", "asking", "trying", "up"};
    return names[state];
}

struct link_report_server {
    char name[LINK_NAME_MAX]; /* that never changes: its address, or "MASTER@SENTINEL,SENTINEL", cut */
    char address[264];        /* "10.0.0.7:6379", IPv6 in brackets; "": no sentinel has named one yet */
    char master[264];         /* what its sentinels call it; "": it has none, and is where its name says */
    char sentinel[264];       /* that named the address; "": none. In none of these user or password */
    enum server_state state;
    bool complete;                /* all that is wanted of it has been subscribed since it came back */
    char role[16];                /* as Redis says it: "master"; "": not known yet */
    char version[16];             /* of Redis */
    char run_id[41];              /* of the process */
    char generation[17];          /* of what it remembers; changes with each change of lineage */
    char reason[LINK_REASON_MAX]; /* why it was given up the last time; "": never was */
    uint32_t number;              /* from 0 on; it may be another's when this one is gone from a Redis Cluster */
    uint32_t slots;               /* of a Redis Cluster, that it has */
    char error[LINK_REASON_MAX];  /* the last one that it answered a command with; "": none */
    int64_t state_us;             /* for how long it has been in its state */
    int64_t retry_us;             /* AWAY: until the next try */
    int64_t probe_age_us;         /* since the last probe that came back was sent; -1: none yet */
    int64_t round_trip_us;        /* of that probe: out by one connection, back by the other; -1: none yet */
    int64_t answer_age_us;        /* how long the oldest command has waited for its answer; 0: none waits */
    uint64_t topics;              /* topics wanted of it */
    uint64_t subscriptions;       /* topics and filters confirmed */
    uint64_t subscriptions_left;  /* still to be subscribed */
    uint64_t backlog;             /* relays on their way to it: waiting or without an answer */
    uint64_t backlog_bytes;
    uint64_t relayed; /* messages that it has taken */
    uint64_t arrived; /* messages that came from it */
    uint64_t failures;
    bool blocked; /* its messages wait for room in a shard's ring */
};

struct link_report_node {
    uint64_t instance;
    char name[64];
    char address[80];
    char version[16];
    bool self;
    uint64_t connections;
    uint64_t topics; /* that it wants of others */
    uint64_t filters;
    uint64_t uptime_s;
    int64_t seen_us;  /* since it was last seen to be alive */
    uint64_t servers; /* bits of the Redis servers on which it was seen */
};

struct link_report {
    int64_t written_us; /* monotonic */
    bool ready;
    char why[LINK_REASON_MAX + 580]; /* not ready: what is missing */
    uint32_t server_count;
    uint32_t node_count;               /* at most LINK_NODES_MAX */
    uint32_t nodes_more;               /* seen, but not in the report */
    bool sharded;                      /* the servers are the masters of a Redis Cluster; with it: */
    uint32_t slots_covered;            /* that have a server */
    char map_from[264];                /* the node that told the map of slots; "": there is none yet */
    int64_t map_age_us;                /* since it was read; -1: never */
    char map_problem[LINK_REASON_MAX]; /* "": every slot has a server */
    uint64_t topics;                   /* wanted by this host */
    uint64_t filters;                  /* told to Redis */
    struct link_report_server servers[LINK_SERVERS_MAX];
    struct link_report_node nodes[LINK_NODES_MAX];
};

struct link;

/* Copies the latest report. It is large (some 200 KB): not on a small stack. Any thread. */
void link_report(const struct link *link, struct link_report *report);

#endif
