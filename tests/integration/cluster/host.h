/*
 * host: a federation link and the shards that it serves, as a test plays them: it asks what shards ask, and keeps what
 * they are told. All turn on the test's thread, and wait for nothing but what the test waits for.
 *
 *   peers of the mesh: shards 0 and 1 (played), the admin port 2 (silent), the link 3 (real)
 */
#ifndef SHOAL_TESTS_HOST_H
#define SHOAL_TESTS_HOST_H

#include "cluster/link.h"
#include "cluster/link_stats.h"
#include "cluster/redis.h"
#include "cluster/report.h"
#include "mesh/name.h"
#include "mesh/relay.h"

#define HOST_SHARDS 2
#define HOST_SLOTS  256
#define HOST_LINK   3

/* The newest first. */
struct told {
    struct told *before;
    struct envelope envelope;
};

struct host {
    struct mesh mesh;
    struct redis_room *redis;
    struct link *link;
    _Atomic uint32_t connections;
    struct told *told;     /* tells; with relays, which are the test's */
    struct relay *arrived; /* in order */
    struct relay *arrived_last;
    uint32_t arrived_count;
    bool deaf; /* the shards take nothing */
};

extern const struct link_settings host_settings; /* what tests change copies of */

/* What publishes let the stream keep. */
extern uint32_t keep_messages;

/* `instance` tells hosts apart. */
void host_create(struct host *host, uint64_t instance, const struct link_settings *settings);
void host_destroy(struct host *host);

/* One turn of link and shards, waiting for a millisecond at most. */
void host_turn(struct host *host);

/* Turns all until `done(context)`; fails after a minute. */
void hosts_turn_until(struct host **hosts, size_t count, bool (*done)(void *context), void *context, const char *what);

/* Asks of the shard that owns the topic. */
void host_want(struct host *host, const char *topic, uint32_t number);
void host_unwant(struct host *host, const char *topic);
void host_filter(struct host *host, uint32_t shard, const char *filter, uint32_t feed, uint8_t lanes, uint8_t before);
void host_publish(struct host *host, const char *topic, const char *payload, const char *key, bool logged);
void host_fetch(struct host *host, const char *topic, uint64_t epoch, uint64_t offset, uint32_t newest);

/* Forgets what was told, and what arrived. */
void host_forget(struct host *host);

bool host_is_ready(const struct host *host);
/* The latest tell of a kind, NULL: none. */
const struct envelope *host_told(const struct host *host, enum envelope_kind kind);
uint32_t host_told_count(const struct host *host, enum envelope_kind kind);
uint64_t topic_hash(const char *topic);

#endif
