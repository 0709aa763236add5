/*
 * idempotency: which publishes have been answered already.
 *
 * A window by time and by count over (topic, key): a publish that repeats a key within it is not appended again but
 * gets the first answer. A key is remembered as a 128-bit hash, so that a record has a fixed size.
 *
 * Bound: `keys_max` records; policy: the oldest is forgotten; counter: `evictions`. Thread: the owner's.
 */
#ifndef SHOAL_TOPIC_IDEMPOTENCY_H
#define SHOAL_TOPIC_IDEMPOTENCY_H

#include "base/index.h"
#include "protocol/span.h"

/* A key of a topic, of whatever size, as a hash of 128 bits. */
struct idempotency_id {
    uint64_t first_half;
    uint64_t second_half;
};

struct idempotency {
    struct slab records;
    struct index index;
    uint32_t oldest;
    uint32_t newest;
    uint32_t keys_max;
    int64_t age_max_ms;
    uint64_t evictions; /* forgotten before their time, for keys_max */
};

/* What was answered. */
struct idempotency_answer {
    uint64_t epoch;
    uint64_t offset;
};

bool idempotency_init(struct idempotency *window, uint32_t keys_max, uint32_t age_max_s);
void idempotency_destroy(struct idempotency *window);

/* `topic_hash` is that of the topic's name. Any thread. */
struct idempotency_id idempotency_id(uint64_t topic_hash, struct span key);

/* A look for this key is to come soon: its place in the table is fetched into the cache meanwhile. */
void idempotency_prefetch(const struct idempotency *window, const struct idempotency_id *id);

/* Whether this key was answered within the window, and how. */
bool idempotency_find(struct idempotency *window, const struct idempotency_id *id, int64_t now_ms,
                      struct idempotency_answer *answer);

/* Remembers an answer. Without memory it is not remembered, and false is returned. */
bool idempotency_add(struct idempotency *window, const struct idempotency_id *id, int64_t now_ms,
                     struct idempotency_answer answer);

/* Forgets what is too old. */
void idempotency_sweep(struct idempotency *window, int64_t now_ms);

#endif
