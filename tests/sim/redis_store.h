/*
 * redis_store: what one simulated Redis server keeps: keys with strings, hashes, streams and sorted sets, and when they
 * expire.
 *
 * It is written to be obviously right, not to be quick: all is found by looking through lists. Only what Shoal's
 * commands and scripts need is here (redis_commands.c says which those are); redis_differential_test.c holds it to a
 * real server.
 *
 * A store can be copied: that is a snapshot, and where a replica begins.
 */
#ifndef SHOAL_TESTS_REDIS_STORE_H
#define SHOAL_TESTS_REDIS_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/span.h"

/* Bytes that the store owns. */
struct blob {
    char *data; /* with a NUL behind */
    size_t size;
};

/* A hash's field, or a sorted set's member. */
struct pair {
    struct blob name;
    struct blob value; /* a hash's */
    double score;      /* a sorted set's */
};

struct stream_entry {
    uint64_t id; /* ID-0: Shoal uses no other */
    uint32_t count;
    struct blob *fields; /* name, value, name, value … */
};

enum store_type { STORE_NONE, STORE_STRING, STORE_HASH, STORE_STREAM, STORE_ZSET };

struct store_key {
    struct blob name;
    enum store_type type;
    int64_t expires_ms; /* 0: never */
    struct blob string;
    struct pair *pairs; /* sorted sets: by score, then name */
    uint32_t pair_count;
    struct stream_entry *entries; /* ascending */
    uint32_t entry_count;
    uint64_t last_id; /* a stream's, be it trimmed since */
};

struct store {
    struct store_key **keys;
    uint32_t key_count, key_room;
    int64_t now_ms; /* set by the owner before each command */
    uint32_t slack; /* XTRIM ~ may leave so many entries more */
};

struct store *store_create(void);
void store_destroy(struct store *store);

/* Another one with the same content. Gives it. */
struct store *store_copy(const struct store *store);

/* NULL: not there, or expired. Borrowed until it is dropped. */
struct store_key *store_find(struct store *store, struct span name);

/* The same, made if need be. It must have this type if it is there. */
struct store_key *store_make(struct store *store, struct span name, enum store_type type);

/* False: was not there. */
bool store_drop(struct store *store, struct span name);

/* --- strings --- */

void store_string_set(struct store *store, struct span name, struct span value);

/* --- hashes and sorted sets --- */

/* NULL: no such field. `key` may be NULL. */
const struct blob *store_hash_get(const struct store_key *key, struct span field);

/* True: the field is new. */
bool store_hash_set(struct store_key *key, struct span field, struct span value);

/* True: the member is new. */
bool store_zset_add(struct store_key *key, struct span member, double score);
bool store_zset_remove(struct store_key *key, struct span member);

/* --- streams --- */

/* False: `id` is not above the last. Copies the fields. */
bool store_stream_add(struct store_key *key, uint64_t id, const struct span *fields, uint32_t count);

/* Drops the oldest until at most `length` are left; returns how many. Sloppy: may leave some more (XTRIM ~). */
uint32_t store_stream_trim(struct store *store, struct store_key *key, uint32_t length, bool sloppy);

/* --- */

struct blob blob_of(struct span bytes);

static inline struct span blob_span(const struct blob *blob)
{
    return (struct span){blob->data, blob->size};
}

#endif
