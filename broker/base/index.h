/*
 * index: finds records of a slab by the hash of their name.
 *
 * Linear hashing: the number of buckets follows the number of records one by one. Taking one record in splits one
 * bucket, letting one go joins two, so there is never a moment at which everything is hashed anew. The buckets stand in
 * memory that is reserved once and touched as needed.
 *
 *   bucket ─▶ record ─▶ record ─▶ 0          chained through the records' own links
 *
 * A record that is indexed starts with a struct index_link. The index compares hashes only; the caller compares names:
 *
 *   for (n = index_first(index, hash); n; n = index_next(index, n)) if (is it my name?) …
 *
 * Thread: the owner's only.
 */
#ifndef SHOAL_BASE_INDEX_H
#define SHOAL_BASE_INDEX_H

#include "base/slab.h"

struct index_link {
    uint64_t hash;
    uint32_t next; /* in the bucket's chain, 0: the last */
};

struct index {
    const struct slab *slab;
    uint32_t *buckets;
    uint32_t bucket_count; /* at least INDEX_BUCKETS_MIN */
    uint32_t bucket_room;
    uint32_t used;
    uint8_t spread; /* 2^spread buckets a record */
};

/* The records are those of `slab`, one to a bucket on the average. False: no memory. */
bool index_init(struct index *index, const struct slab *slab);

/*
 * The same with four buckets a record: to look for what is not there then seldom loads a record, and to remove one
 * seldom another one. For tables of bounded size that are asked by each message.
 */
bool index_init_sparse(struct index *index, const struct slab *slab);
void index_destroy(struct index *index);

/* Puts a record in under its link's hash. */
void index_insert(struct index *index, uint32_t number);
void index_remove(struct index *index, uint32_t number);

/* A look for this hash is to come soon: its bucket is fetched into the cache meanwhile. */
void index_prefetch(const struct index *index, uint64_t hash);

/* The first record with this hash, 0: none. */
uint32_t index_first(const struct index *index, uint64_t hash);
/* The next one with the same hash, 0: none. */
uint32_t index_next(const struct index *index, uint32_t number);

#endif
