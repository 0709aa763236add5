/*
 * inspection: one question of the control side to one shard, and its answer: a page, bounded on purpose.
 *
 *   admin thread ── ASK_INSPECT ──▶ shard: looks at some records, fills the page ── TELL_INSPECTED ──▶ admin thread
 *
 * A shard may hold a million connections, and its turn has others to serve. So a page looks at INSPECT_LOOK_MAX records
 * at most, takes down INSPECT_RECORDS_MAX of them at most, and says where the next page goes on. What is listed
 * over several pages is no snapshot: each record is true for the turn in which it was looked at; one that stays is seen
 * exactly once, because the numbers of records do not move.
 *
 * The admin thread owns the inspection all the time; the shard borrows it between ask and tell, and the mesh orders
 * memory. So whoever stops the shards may free all inspections, wherever they are.
 */
#ifndef SHOAL_ADMIN_INSPECTION_H
#define SHOAL_ADMIN_INSPECTION_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"

#define INSPECT_RECORDS_MAX  256
#define INSPECT_LOOK_MAX     8192 /* records looked at, and links followed from them: some 100 us */
#define INSPECT_IDENTITY_MAX 255

enum inspect_kind {
    INSPECT_CONNECTIONS, /* page of `connections` */
    INSPECT_TOPICS,      /* page of `topics`: those that this shard owns */
    INSPECT_FILTERS,     /* page of `feeds`: filters that this shard's subscribers follow */
    INSPECT_TOPIC,       /* `text`: `topics[0]` and its `followers` if this shard owns it; found tells */
    INSPECT_FEED, /* `text`: `feeds[0]`, what this shard's subscribers have of that topic or filter; found tells */
    INSPECT_KICK, /* number, generation: closes that connection with 4003; found tells */
};

struct connection_record {
    uint32_t slot;
    uint16_t generation;
    uint16_t silent_s;
    uint32_t subscriptions;
    uint32_t behind; /* subscriptions with something left to send */
    uint32_t waiting_bytes;
    uint32_t inflight_messages;
    uint32_t inflight_bytes;
    uint8_t state;   /* enum conn_state */
    uint8_t dialect; /* enum dialect_id; valid if has_dialect */
    bool has_dialect;
    bool deflated;
    bool has_session;
    bool blocked; /* its socket is full */
    bool paused;  /* is not read: it publishes faster than it is answered */
    bool has_address;
    uint8_t identity_size;
    char identity[INSPECT_IDENTITY_MAX];
    struct sockaddr_in6 address;
};

struct topic_record {
    uint32_t number;
    uint32_t followers;
    uint64_t epoch;
    uint64_t offset; /* of the last message, 0: none */
    uint64_t history_messages;
    uint64_t history_bytes;
    uint32_t held; /* publishers whose answer waits for slow fan-out; INSPECT_TOPIC only */
    uint16_t namespace;
    uint8_t lanes;
    uint8_t name_size;
    char name[TOPIC_BYTES_MAX];
};

struct feed_record {
    uint32_t number;
    uint32_t subscribers;
    uint32_t waiting; /* subscriptions that are not live yet; counted up to the page's budget */
    uint32_t cursors; /* subscribers that have something left to read */
    uint64_t epoch;   /* topics only */
    uint64_t tail;
    uint64_t walked;
    uint8_t lanes;
    bool filter;
    uint8_t name_size;
    char name[TOPIC_BYTES_MAX];
};

/* A shard that follows the topic of INSPECT_TOPIC. */
struct follower_record {
    uint64_t told; /* offset */
    uint8_t shard;
    uint8_t lanes;
    uint8_t filter_lanes;
    bool reporting;
};

struct inspection {
    /* set by the asker */
    enum inspect_kind kind;
    uint32_t peer;       /* who asks: the tell goes there */
    uint32_t after;      /* pages: the first record to look at; 0: from the start */
    uint32_t limit;      /* pages: records wanted, 1 to INSPECT_RECORDS_MAX */
    uint32_t number;     /* INSPECT_KICK: slot */
    uint16_t generation; /* INSPECT_KICK */
    uint8_t text_size;
    char text[TOPIC_BYTES_MAX];
    /* set by the shard */
    bool found;
    bool last;     /* pages: there is no next one */
    uint32_t next; /* pages: `after` of the next one */
    uint32_t count;
    uint32_t follower_count;
    union {
        struct connection_record connections[INSPECT_RECORDS_MAX];
        struct topic_record topics[INSPECT_RECORDS_MAX];
        struct feed_record feeds[INSPECT_RECORDS_MAX];
    };
    struct follower_record followers[SHARDS_MAX];
};

#endif
