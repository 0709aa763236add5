/*
 * index: see index.h.
 *
 * With n buckets and m the power of two at or below n, a hash's bucket is its value modulo 2m if that exists already,
 * else modulo m: bucket n splits from bucket n - m.
 */
#include "base/index.h"

#include <sys/mman.h>

#include "base/check.h"

#define INDEX_BUCKETS_MIN 16u

/* Address space that an index may take: 256 MB. With more records than this the chains grow longer. */
#define INDEX_BUCKETS_MAX (1u << 26)

static struct index_link *link_of(const struct index *index, uint32_t number)
{
    return slab_at(index->slab, number);
}

static uint32_t bucket_of(const struct index *index, uint64_t hash)
{
    uint32_t low = 1u << (31 - __builtin_clz(index->bucket_count));
    uint32_t bucket = (uint32_t)hash & (2 * low - 1);
    return bucket < index->bucket_count ? bucket : bucket & (low - 1);
}

static bool init(struct index *index, const struct slab *slab, uint8_t spread)
{
    uint64_t buckets = (uint64_t)slab->records_max << spread;
    *index = (struct index){.slab = slab, .bucket_count = INDEX_BUCKETS_MIN, .spread = spread};
    index->bucket_room = buckets < INDEX_BUCKETS_MIN   ? INDEX_BUCKETS_MIN
                         : buckets > INDEX_BUCKETS_MAX ? INDEX_BUCKETS_MAX
                                                       : (uint32_t)buckets;
    index->buckets = mmap(NULL, (size_t)index->bucket_room * sizeof *index->buckets, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (index->buckets == MAP_FAILED) {
        index->buckets = NULL;
        return false;
    }
    return true;
}

bool index_init(struct index *index, const struct slab *slab)
{
    return init(index, slab, 0);
}

bool index_init_sparse(struct index *index, const struct slab *slab)
{
    return init(index, slab, 2);
}

void index_destroy(struct index *index)
{
    if (index->buckets) {
        munmap(index->buckets, (size_t)index->bucket_room * sizeof *index->buckets);
    }
    *index = (struct index){0};
}

static void chain_push(struct index *index, uint32_t number)
{
    uint32_t *bucket = &index->buckets[bucket_of(index, link_of(index, number)->hash)];
    link_of(index, number)->next = *bucket;
    *bucket = number;
}

static void rehash_chain(struct index *index, uint32_t first)
{
    while (first) {
        uint32_t next = link_of(index, first)->next;
        chain_push(index, first);
        first = next;
    }
}

static void grow_by_one(struct index *index)
{
    uint32_t low = 1u << (31 - __builtin_clz(index->bucket_count));
    uint32_t *split = &index->buckets[index->bucket_count - low];
    uint32_t chain = *split;
    *split = 0;
    index->buckets[index->bucket_count++] = 0;
    rehash_chain(index, chain);
}

static void shrink_by_one(struct index *index)
{
    uint32_t chain = index->buckets[--index->bucket_count];
    index->buckets[index->bucket_count] = 0;
    rehash_chain(index, chain);
}

void index_insert(struct index *index, uint32_t number)
{
    while ((uint64_t)index->used << index->spread >= index->bucket_count && index->bucket_count < index->bucket_room) {
        grow_by_one(index);
    }
    chain_push(index, number);
    index->used++;
}

void index_remove(struct index *index, uint32_t number)
{
    uint32_t *at = &index->buckets[bucket_of(index, link_of(index, number)->hash)];
    while (*at != number) {
        CHECK(*at != 0);
        at = &link_of(index, *at)->next;
    }
    *at = link_of(index, number)->next;
    index->used--;
    for (uint32_t i = 0; i < 1u << index->spread; i++) {
        if ((uint64_t)index->used << index->spread < index->bucket_count / 2 &&
            index->bucket_count > INDEX_BUCKETS_MIN) {
            shrink_by_one(index);
        }
    }
}

static uint32_t same_hash(const struct index *index, uint32_t number, uint64_t hash)
{
    while (number && link_of(index, number)->hash != hash) {
        number = link_of(index, number)->next;
    }
    return number;
}

void index_prefetch(const struct index *index, uint64_t hash)
{
    __builtin_prefetch(&index->buckets[bucket_of(index, hash)], 1);
}

uint32_t index_first(const struct index *index, uint64_t hash)
{
    return same_hash(index, index->buckets[bucket_of(index, hash)], hash);
}

uint32_t index_next(const struct index *index, uint32_t number)
{
    return same_hash(index, link_of(index, number)->next, link_of(index, number)->hash);
}
