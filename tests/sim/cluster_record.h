/*
 * cluster_record: the truth of a run of several links: what was published to which topic, and where it ended up.
 *
 * Each publish has a number that its payload names, so that whoever gets it knows which it is, and that it is whole. A
 * logged one has a place (epoch, offset) that all who tell of it must agree on: its answer, each host's subscription
 * and each host's fetch. Only where a server has lost what it had acknowledged (redis_sim_amnesias()) may a publish
 * that was tried again have two places; even then one place never has two publishes.
 *
 * A live one is told to the other hosts at most once, and in the order in which its host published them to its topic.
 */
#ifndef SHOAL_TESTS_CLUSTER_RECORD_H
#define SHOAL_TESTS_CLUSTER_RECORD_H

#include <stdint.h>

#include "protocol/span.h"
#include "verdict.h"

enum { CLUSTER_TOPICS = 12, CLUSTER_FILTERS = 4, CLUSTER_HOSTS_MAX = 4, CLUSTER_PAYLOAD_MAX = 4096 };

/* The first half is live, the second logged. */
extern const char *const cluster_topics[CLUSTER_TOPICS];
extern const char *const cluster_filters[CLUSTER_FILTERS];

static inline bool topic_is_logged(uint32_t topic)
{
    return topic >= CLUSTER_TOPICS / 2;
}

static inline struct span topic_span(uint32_t topic)
{
    return (struct span){cluster_topics[topic], strlen(cluster_topics[topic])};
}

/* CLUSTER_TOPICS: unknown. */
uint32_t topic_by_name(struct span name);

/* Whether a filter matches a topic: obviously, for these few. */
bool filter_covers(uint32_t filter, uint32_t topic);

enum cluster_publish_state {
    CLUSTER_SENT,
    CLUSTER_ACKNOWLEDGED,
    CLUSTER_FAILED, /* told to try again; perhaps done all the same */
};

struct cluster_publish {
    uint8_t topic;
    uint8_t host;
    uint8_t state;
    bool keyed;
    uint8_t arrived; /* live: bits of the hosts that have got it */
    uint32_t pad;
    uint32_t tries;
    uint64_t sent_at; /* step */
    uint64_t epoch;   /* 0: not known */
    uint64_t offset;
    uint64_t acknowledged_epoch;
    uint64_t acknowledged_offset;
};

struct cluster_place {
    uint64_t epoch, offset;
    uint32_t publish;
    uint32_t topic;
};

struct cluster_record {
    struct verdict *verdict;
    uint64_t step;
    bool amnesia; /* servers have lost what they had acknowledged */
    struct cluster_publish *publishes;
    uint32_t publish_count, publish_room;
    struct cluster_place *places; /* a hash table */
    uint32_t place_count, place_room;
    uint32_t last_live[CLUSTER_HOSTS_MAX][CLUSTER_HOSTS_MAX][CLUSTER_TOPICS]; /* at, from, topic: number + 1 */
    uint64_t acknowledged, failed, live_arrived, logged_arrived, fetched, gaps;
    uint64_t digest;
};

void cluster_record_init(struct cluster_record *record, struct verdict *verdict);
void cluster_record_free(struct cluster_record *record);

/* A new one. Gives its number. */
uint32_t cluster_publish_new(struct cluster_record *record, uint32_t topic, uint32_t host, uint32_t pad, bool keyed);

/* Its bytes; `out` has room for CLUSTER_PAYLOAD_MAX. */
size_t cluster_payload_write(const struct cluster_record *record, uint32_t publish, char *out);

/* The publish that this is, of this topic. UINT32_MAX: none, and the verdict knows. */
uint32_t cluster_payload_read(struct cluster_record *record, uint32_t topic, struct span payload);

/* A logged publish is at this place, says somebody. */
void cluster_placed(struct cluster_record *record, uint32_t publish, uint64_t epoch, uint64_t offset);

/* Its answer. */
void cluster_acknowledged(struct cluster_record *record, uint32_t publish, uint64_t epoch, uint64_t offset);

/* A live one has come to a host. */
void cluster_live_arrived(struct cluster_record *record, uint32_t publish, uint32_t host);

#endif
