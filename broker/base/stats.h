/*
 * stats: what a shard counts.
 *
 * One table of names and meanings; the struct, the metrics and the JSON of the admin port are written from it. A
 * shard alone writes its own; others read with relaxed loads (stats_read()), so a figure may be a turn old but is never
 * torn.
 */
#ifndef SHOAL_BASE_STATS_H
#define SHOAL_BASE_STATS_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/histogram.h"

/* X(name, "what it counts"): they only grow */
#define STATS_COUNTERS(X)                                                                                              \
    X(connections_accepted, "Sockets accepted")                                                                        \
    X(connections_closed, "Sockets closed, for any reason")                                                            \
    X(connections_refused_limit, "Refused: limits.connections")                                                        \
    X(connections_refused_address, "Refused: limits.connections_per_address")                                          \
    X(connections_refused_handshakes, "Refused: limits.handshakes")                                                    \
    X(connections_refused_draining, "Refused: the broker is draining")                                                 \
    X(accept_pauses, "Times that accepting waited for limits.accept_rate or limits.handshakes")                        \
    X(returns_spread, "Clients told to come back at a time of their own, so that not all come at once")                \
    X(handshakes_failed, "HTTP requests answered with an error")                                                       \
    X(handshakes_timed_out, "Connections closed after limits.handshake_ms without a request")                          \
    X(messages_timed_out, "Connections closed after limits.message_ms within a message")                               \
    X(partial_refusals, "Messages and bodies refused half received, for limits.partial_bytes or want of memory")       \
    X(heartbeats_sent, "Pings sent to silent connections")                                                             \
    X(heartbeat_timeouts, "Connections closed after heartbeat.timeout_s of silence")                                   \
    X(commands, "Commands received")                                                                                   \
    X(commands_refused, "Commands answered with an error")                                                             \
    X(protocol_errors, "Connections closed for a broken protocol")                                                     \
    X(tokens_refused, "Tokens that were not valid")                                                                    \
    X(tokens_expired, "Connections closed because their token expired")                                                \
    X(publishes, "Publishes accepted by this shard as owner")                                                          \
    X(publish_bytes, "Payload bytes of these")                                                                         \
    X(publishes_repeated, "Publishes answered from the idempotency window")                                            \
    X(idempotency_evictions, "Idempotency keys forgotten before their time, for publish.idempotency_keys")             \
    X(publishes_refused, "Publishes refused by this shard as owner")                                                   \
    X(publishes_held, "Publishes whose answer waited for slow fan-out")                                                \
    X(filter_brakes, "Times that a filter's fan-out was so far behind that publishers had to wait")                    \
    X(publisher_pauses, "Times that a publisher was not read for its bytes in flight")                                 \
    X(publisher_blocks, "Times that a publisher was not read because a mesh ring was full")                            \
    X(mesh_full, "Pushes to another shard's ring that found no room")                                                  \
    X(deliveries, "Messages sent to subscribers")                                                                      \
    X(delivery_sends, "Sends that carried these")                                                                      \
    X(delivery_bytes, "Bytes of these")                                                                                \
    X(walks, "Walks over the subscribers of a topic or filter")                                                        \
    X(subscribes, "Subscriptions accepted")                                                                            \
    X(unsubscribes, "Subscriptions ended")                                                                             \
    X(resumes_recovered, "Subscriptions resumed without loss")                                                         \
    X(resumes_lost, "Subscriptions resumed with a gap told")                                                           \
    X(gaps_told, "Gaps told to subscribers")                                                                           \
    X(messages_skipped, "Messages that slow subscribers were not sent, by policy skip or conflate")                    \
    X(slow_disconnects, "Connections closed with 4001")                                                                \
    X(reply_overflows, "Connections closed with 4004")                                                                 \
    X(filter_copies, "Messages put into the log of a filter")                                                          \
    X(relays_dropped, "Messages of live topics that other hosts were not sent: the link had no room")                  \
    X(relays_refused, "Publishes to logged topics that were told to retry: the link had no room")                      \
    X(arrivals, "Messages that came from other hosts, or by way of Redis")                                             \
    X(arrivals_repeated, "Of these, messages that were here already")                                                  \
    X(arrivals_dropped, "Of these, messages that nobody here needs, or that found no room; logged ones are fetched")   \
    X(fetches, "Reads of a logged topic's stream")                                                                     \
    X(gaps_logged, "Gaps put into the logs of logged topics")                                                          \
    X(asks_unavailable, "Joins, reads and resumes refused because Redis could not be reached, or too many waited")     \
    X(publishes_unavailable, "Publishes to logged topics refused because Redis could not be reached")                  \
    X(topics_forgotten, "Unused topics forgotten after topics.idle_s")                                                 \
    X(memory_refusals, "Requests refused for want of memory")                                                          \
    X(turns_behind, "Turns that began a second late, or after one that left input: silence is not counted in them")    \
    X(turns, "Turns of the shard")                                                                                     \
    X(turn_us_worst, "Longest turn, without waiting, in us")

/* X(name, "what it says"): they go up and down */
#define STATS_GAUGES(X)                                                                                                \
    X(connections, "Connections now")                                                                                  \
    X(handshakes, "Connections that have not made their request yet")                                                  \
    X(sessions, "Connections with more state than an idle one")                                                        \
    X(partial_bytes, "Bytes of messages and bodies of which only a part has come yet")                                 \
    X(subscriptions, "Subscriptions now")                                                                              \
    X(cursors, "Subscriptions that are behind")                                                                        \
    X(topics, "Topics owned")                                                                                          \
    X(followers, "Shards that follow topics owned here, summed")                                                       \
    X(remotes, "Topics that are wanted from other hosts")                                                              \
    X(asks_parked, "Joins and reads that wait for the federation link")                                                \
    X(relays_waiting, "Messages for other hosts that wait for room at the link")                                       \
    X(relays_waiting_bytes, "Bytes of these")                                                                          \
    X(publishes_relayed, "Publishes to logged topics that wait for Redis")                                             \
    X(feeds, "Topics and filters followed by this shard's subscribers")                                                \
    X(tickets, "Requests on their way through the mesh")

/* X(name, unit, "what is measured") */
#define STATS_HISTOGRAMS(X)                                                                                            \
    X(delay_us, US, "From a publish to the last send of the walk that delivers it, in us")                             \
    X(fan_out, ONE, "Subscribers that a walk looked at")

struct stats {
#define X(name, help) _Atomic uint64_t name;
    STATS_COUNTERS(X)
    STATS_GAUGES(X)
#undef X
#define X(name, unit, help) struct histogram name;
    STATS_HISTOGRAMS(X)
#undef X
};

/* Adds to one; the writing shard's thread. No locked instruction: there is one writer. */
#define STATS_ADD(stats, name, amount)                                                                                 \
    atomic_store_explicit(&(stats)->name,                                                                              \
                          atomic_load_explicit(&(stats)->name, memory_order_relaxed) + (uint64_t)(amount),             \
                          memory_order_relaxed)

#define STATS_SET(stats, name, value) atomic_store_explicit(&(stats)->name, (uint64_t)(value), memory_order_relaxed)

/* Any thread. */
#define STATS_READ(stats, name) atomic_load_explicit(&(stats)->name, memory_order_relaxed)

#endif
