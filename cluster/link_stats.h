/*
 * link_stats: what the federation link counts.
 *
 * One table of names and meanings, as base/stats.h is for shards; the struct, the metrics and the JSON of the admin
 * port are written from it. The link alone writes, others read with STATS_READ(): a figure may be a turn old but is
 * never torn. Figures of one server are in the report (report.h).
 */
#ifndef SHOAL_CLUSTER_LINK_STATS_H
#define SHOAL_CLUSTER_LINK_STATS_H

#include "base/stats.h"

/* X(name, "what it counts"): they only grow */
#define LINK_COUNTERS(X)                                                                                               \
    X(live_relayed, "Live messages handed to Redis for the other hosts")                                               \
    X(live_dropped_away, "Live messages not told to other hosts: their Redis server was away")                         \
    X(live_dropped_full, "Live messages not told to other hosts: cluster.queue_bytes")                                 \
    X(logged_relayed, "Logged messages that Redis has acknowledged")                                                   \
    X(logged_away, "Logged publishes told to retry: their Redis server was away or did not answer")                    \
    X(logged_full, "Logged publishes told to retry: cluster.queue_bytes")                                              \
    X(fetches, "Pages of streams read from Redis")                                                                     \
    X(fetched_messages, "Messages in these")                                                                           \
    X(fetches_failed, "Pages that could not be read: the Redis server was away, or cluster.queue_bytes")               \
    X(arrived, "Messages from Redis handed to the shards that own their topics")                                       \
    X(arrived_bytes, "Payload bytes of these")                                                                         \
    X(arrived_own, "Live messages of this host that came back from Redis, dropped")                                    \
    X(arrived_twice, "Messages that Redis delivered again for another pattern, dropped")                               \
    X(arrived_late, "Live messages that later ones of their host had overtaken, dropped")                              \
    X(arrived_malformed, "Messages on Redis channels that no Shoal has sent, dropped")                                 \
    X(arrived_blocked, "Times that a subscription was not read because the ring of a shard was full")                  \
    X(arrived_scarce, "Times that a subscription was not read for want of memory")                                     \
    X(subscribes, "Topics and filters subscribed in Redis, each server counted")                                       \
    X(unsubscribes, "Topics and filters given up in Redis, each server counted")                                       \
    X(filters_refused_levels, "Filters not told to Redis: cluster.filter_levels")                                      \
    X(filters_refused_limit, "Filters not told to Redis: cluster.filters")                                             \
    X(probes, "Probes that came back")                                                                                 \
    X(failures, "Times that a Redis server was given up")                                                              \
    X(connects, "Times that a Redis server was taken into service")                                                    \
    X(lineage_changes, "Times that a Redis server was found with another history: its topics change their epochs")     \
    X(redirections, "Commands that a Redis Cluster has not done: MOVED, ASK, TRYAGAIN, CLUSTERDOWN")                   \
    X(maps_read, "Maps of slots read from a Redis Cluster")                                                            \
    X(maps_applied, "Of these, those that said something new")                                                         \
    X(maps_failed, "Times that no node of a Redis Cluster told its slots")                                             \
    X(slot_moves, "Slots of a Redis Cluster that got another server")                                                  \
    X(slot_lineages, "Slots found with another history by a publish here: their topics change their epochs")           \
    X(script_reloads, "Times that Redis had forgotten the scripts")                                                    \
    X(redis_errors, "Commands that Redis answered with an error")                                                      \
    X(memory_refusals, "Live messages not told to other hosts: no memory")                                             \
    X(turns, "Turns of the link")

/* X(name, "what it says"): they go up and down */
#define LINK_GAUGES(X)                                                                                                 \
    X(ready, "Whether every server is proved and all that is wanted is subscribed")                                    \
    X(servers, "Redis servers configured")                                                                             \
    X(servers_up, "Redis servers in service")                                                                          \
    X(slots_covered, "Slots of a Redis Cluster that have a server; 0 without one")                                     \
    X(topics_wanted, "Topics that this host wants from others")                                                        \
    X(topics_subscribed, "Of these, confirmed by Redis")                                                               \
    X(filters_wanted, "Filters that are told to Redis")                                                                \
    X(relays, "Messages and fetches on their way to Redis")                                                            \
    X(relay_bytes, "Bytes of these")                                                                                   \
    X(nodes, "Hosts seen in Redis, this one included")

struct link_stats {
#define X(name, help) _Atomic uint64_t name;
    LINK_COUNTERS(X)
    LINK_GAUGES(X)
#undef X
};

struct link;

/* Borrowed until link_destroy(). Any thread. */
const struct link_stats *link_stats(const struct link *link);

#endif
