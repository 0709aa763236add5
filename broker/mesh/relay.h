/*
 * relay: what a shard and the federation link hand to each other through the mesh.
 *
 *   publish   shard ── ASK_RELAY ──▶ link: Redis ── TELL_RELAYED ──▶ shard        (logged: with its position; live:
 * freed) want      shard ── ASK_WANT ──▶ link: subscribes ── TELL_WANTED ──▶ shard     (and again whenever it was cut
 * off) fetch     shard ── ASK_FETCH ──▶ link: reads the stream ── TELL_FETCHED ──▶ shard message   Redis ──▶ link ──
 * ASK_ARRIVED ──▶ shard that owns the topic
 *
 * Two classes of topic (namespace key `logged`). A *live* message was delivered by its own host already and is told to
 * the others, at most once. A *logged* message has its offset from Redis; every host, the publisher's too, takes it
 * from the subscription or from the stream, in the order of the offsets.
 *
 * A relay is made by one side and freed by who has it last: each field says who sets it. It is one allocation, but for
 * what a fetch brought.
 */
#ifndef SHOAL_MESH_RELAY_H
#define SHOAL_MESH_RELAY_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"

/* What became of an ask to the link. */
enum relay_status {
    RELAY_DONE,
    RELAY_AWAY, /* Redis can't be reached, or did not answer in time: perhaps done all the same. May be tried again */
    RELAY_FULL, /* cluster.queue_bytes are waiting already. May be tried again */
};

/* A message of a logged topic, as its stream has it. The payload lies in the fetch's bytes. */
struct relay_entry {
    uint64_t offset;
    int64_t time_ms; /* wall clock of the host that published it, ms since 1970 */
    const char *payload;
    uint32_t payload_size;
    uint8_t kind; /* enum payload_kind */
};

/* What a fetch brought: one page of a stream, oldest first. One allocation with its entries' payloads behind it. */
struct relay_page {
    uint64_t epoch;      /* the one that is valid now */
    uint64_t epoch_base; /* the epoch's first message has this offset + 1: what is older was published in another one */
    uint64_t first;      /* the oldest offset that the stream has; tail + 1: none */
    uint64_t tail;       /* the topic's last offset; 0: nothing was published yet */
    uint32_t count;
    struct relay_entry entries[]; /* ascending; offsets may be missing where the stream has lost them */
};

struct relay {
    struct relay *next; /* in the list of whoever holds it */
    uint64_t hash;      /* of the topic: it names owner and server */
    void *context;      /* the asking shard's own, not looked at by the link */
    uint32_t topic;     /* number at its owner */
    uint8_t shard;      /* that asked */
    bool logged;
    bool repeated; /* publish, set by the link: its key was known, the position is the first one's and nothing was added
                    */
    bool fetch;    /* the link's: came by ASK_FETCH */
    uint8_t status; /* enum relay_status, set by the link */
    uint8_t kind;   /* enum payload_kind */
    uint8_t topic_size;
    uint8_t key_size; /* idempotency key, 0: none */
    uint32_t payload_size;
    /*
     * publish: set by the link: the message's position. arrived: the same, by the link; live: 0.
     * fetch: set by the shard: entries after this position are wanted; epoch 0: it has none yet.
     */
    uint64_t epoch;
    uint64_t offset;
    int64_t time_ms;         /* publish, arrived: wall clock of the publishing host */
    int64_t deadline_us;     /* the link's: until when it may wait */
    uint32_t messages_max;   /* fetch with epoch 0: so many of the newest; publish: what the stream keeps */
    uint32_t stream_age_s;   /* publish: after so long without a message Redis may forget the topic */
    struct relay_page *page; /* fetch: set by the link, NULL unless RELAY_DONE */
    char bytes[];            /* topic, key, payload */
};

/* Copies topic, key and payload into a new relay, zeroed but for its sizes. NULL: no memory. Gives it. */
static inline struct relay *relay_create(const char *topic, size_t topic_size, const char *key, size_t key_size,
                                         const char *payload, size_t payload_size)
{
    struct relay *relay = calloc(1, sizeof *relay + topic_size + key_size + payload_size);
    if (relay) {
        relay->topic_size = (uint8_t)topic_size;
        relay->key_size = (uint8_t)key_size;
        relay->payload_size = (uint32_t)payload_size;
        memcpy(relay->bytes, topic, topic_size);
        memcpy(relay->bytes + topic_size, key ? key : "", key_size);
        memcpy(relay->bytes + topic_size + key_size, payload ? payload : "", payload_size);
    }
    return relay;
}

/* Takes the relay and its page. NULL is allowed. The context is not freed. */
static inline void relay_free(struct relay *relay)
{
    if (relay) {
        free(relay->page);
        free(relay);
    }
}

/* What one counts for wherever relays are bounded by bytes. */
static inline uint64_t relay_bytes(const struct relay *relay)
{
    return sizeof *relay + relay->topic_size + relay->key_size + relay->payload_size;
}

static inline const char *relay_topic(const struct relay *relay)
{
    return relay->bytes;
}

static inline const char *relay_key(const struct relay *relay)
{
    return relay->bytes + relay->topic_size;
}

static inline const char *relay_payload(const struct relay *relay)
{
    return relay->bytes + relay->topic_size + relay->key_size;
}

#endif
