/*
 * fake_shard: a shard as the federation link knows one: an owner of topics that relays, wants, and fetches; without
 * clients, and written to be obviously right.
 *
 * Of a logged topic that it wants it keeps a log: entries in a row, each a message or a gap that says up to where. A
 * message that is not the next one is never shown before what is missing was fetched, or is known to be lost.
 *
 *      CLOSED ── want() ──▶ WANTED ── TELL_WANTED (DONE) ──▶ fetch … pages … ──▶ open: epoch and tail are known
 */
#ifndef SHOAL_TESTS_FAKE_SHARD_H
#define SHOAL_TESTS_FAKE_SHARD_H

#include "base/clock.h"
#include "cluster_record.h"
#include "mesh/mesh.h"
#include "mesh/name.h"
#include "mesh/relay.h"

/* A stretch of a log. */
struct fake_entry {
    uint64_t epoch;
    uint64_t offset;
    uint32_t publish; /* UINT32_MAX: a gap that ends here */
};

struct fake_topic {
    bool wanted;
    bool told;      /* TELL_WANTED has come since */
    bool confirmed; /* and said DONE */
    bool stale;     /* something is missing: must be fetched */
    bool fetching;
    uint32_t life;         /* counts wants: late answers to earlier ones are not taken */
    uint64_t confirmed_at; /* step */
    int64_t retry_us;
    uint64_t epoch, tail; /* of the log; epoch 0: none yet */
    struct fake_entry *entries;
    uint32_t entry_count, entry_room;
};

struct fake_filter {
    bool asked, told;
    uint64_t told_at; /* step */
};

struct fake_shard {
    struct cluster_record *record;
    struct mesh *mesh;
    const struct clock *clock;
    uint32_t host, shard, shard_count, link_peer;
    bool calm;
    bool durable; /* epochs are kept, whatever happens */
    uint32_t history_max, stream_max;
    struct fake_topic topics[CLUSTER_TOPICS];
    struct fake_filter filters[CLUSTER_FILTERS];
    struct envelope *pending; /* that found no room */
    uint32_t pending_count, pending_room;
    uint32_t relays_out; /* logged ones and fetches without an answer */
    uint64_t away;       /* answers that were not DONE */
    /* sabotage: the next logged message that arrives is not taken, or taken twice */
    uint8_t sabotage; /* enum fake_sabotage */
    bool sabotaged;
};

enum fake_sabotage { FAKE_HONEST, FAKE_DROPS, FAKE_TAKES_TWICE, FAKE_LEAKS_NAME };

void fake_shard_free(struct fake_shard *shard);

/* Works what the link has sent, and sends what has waited. */
void fake_shard_turn(struct fake_shard *shard);

/* Whether it owns this topic. */
bool fake_shard_owns(const struct fake_shard *shard, uint32_t topic);

void fake_shard_publish(struct fake_shard *shard, uint32_t publish);
void fake_shard_want(struct fake_shard *shard, uint32_t topic);
void fake_shard_unwant(struct fake_shard *shard, uint32_t topic);
void fake_shard_filter(struct fake_shard *shard, uint32_t filter, bool on);

#endif
