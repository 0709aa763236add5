/*
 * principal: claims packed into blocks, blocks found by their hash.
 *
 *      block:  fixed part │ filter sizes, 2 bytes each │ identity │ filters for publishing │ filters for subscribing
 *
 * Equal claims give equal blocks, byte for byte, so a block is its own name: its hash finds the principal that has it
 * already. The record in the slab points to the block; a hand-over writes the block itself, which has no pointers.
 */
#include "auth/principal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/check.h"
#include "base/index.h"
#include "base/slab.h"
#include "protocol/topic.h"

#define PRINCIPALS_MAX (1u << 30) /* a connection has one: never reached before the connections' own limit */

struct block {
    uint64_t expires_s;
    uint32_t size; /* of the whole block */
    uint8_t identity_size;
    uint8_t publish_count;
    uint8_t subscribe_count;
    uint8_t zero;
    uint16_t filter_sizes[]; /* then the texts */
};

struct record {
    struct index_link link; /* first: see base/index.h */
    uint32_t references;
    struct block *block; /* NULL: one of the two fixed ones */
};

struct principals {
    struct slab slab;
    struct index index;
    uint32_t count;
};

static_assert(sizeof(struct block) == 16, "no padding: blocks are compared as bytes");
static_assert(PRINCIPAL_IDENTITY_MAX <= UINT8_MAX, "the identity's size is one byte");
static_assert(PRINCIPAL_FILTERS_MAX <= UINT8_MAX, "counts are one byte");

/* --- claims --- */

void principal_claims_clear(struct principal_claims *claims)
{
    claims->expires_s = 0;
    claims->identity_size = 0;
    claims->publish_count = 0;
    claims->subscribe_count = 0;
    claims->filter_bytes_size = 0;
}

bool principal_claims_identify(struct principal_claims *claims, struct span identity)
{
    if (identity.size > PRINCIPAL_IDENTITY_MAX)
        return false;
    if (identity.size)
        memcpy(claims->identity, identity.data, identity.size);
    claims->identity_size = (uint8_t)identity.size;
    return true;
}

static bool filter_add(struct principal_claims *claims, struct span filter)
{
    unsigned count = claims->publish_count + claims->subscribe_count;
    if (count == PRINCIPAL_FILTERS_MAX || topic_filter_check(filter) != TOPIC_OK ||
        filter.size > sizeof claims->filter_bytes - claims->filter_bytes_size)
        return false;
    memcpy(claims->filter_bytes + claims->filter_bytes_size, filter.data, filter.size);
    claims->filter_bytes_size += (uint32_t)filter.size;
    claims->filter_sizes[count] = (uint16_t)filter.size;
    return true;
}

bool principal_claims_allow_publish(struct principal_claims *claims, struct span filter)
{
    CHECK(claims->subscribe_count == 0);
    bool added = filter_add(claims, filter);
    claims->publish_count += added;
    return added;
}

bool principal_claims_allow_subscribe(struct principal_claims *claims, struct span filter)
{
    bool added = filter_add(claims, filter);
    claims->subscribe_count += added;
    return added;
}

/* --- blocks --- */

static unsigned block_filters(const struct block *block)
{
    return block->publish_count + block->subscribe_count;
}

static const char *block_identity(const struct block *block)
{
    return (const char *)(block->filter_sizes + block_filters(block));
}

/* Gives a block, NULL: no memory. */
static struct block *block_create(const struct principal_claims *claims)
{
    size_t filters = (size_t)claims->publish_count + claims->subscribe_count;
    size_t sizes = filters * sizeof(uint16_t);
    size_t size = sizeof(struct block) + sizes + claims->identity_size + claims->filter_bytes_size;
    struct block *block = calloc(1, size);
    if (!block)
        return NULL;
    block->expires_s = claims->expires_s;
    block->size = (uint32_t)size;
    block->identity_size = claims->identity_size;
    block->publish_count = claims->publish_count;
    block->subscribe_count = claims->subscribe_count;
    char *at = (char *)block->filter_sizes;
    memcpy(at, claims->filter_sizes, sizes);
    memcpy(at + sizes, claims->identity, claims->identity_size);
    memcpy(at + sizes + claims->identity_size, claims->filter_bytes, claims->filter_bytes_size);
    return block;
}

static bool block_equal(const struct block *a, const struct block *b)
{
    return a->size == b->size && memcmp(a, b, a->size) == 0;
}

/* Whether one of the filters from `first` to before `last` allows it. */
static bool block_allows(const struct block *block, unsigned first, unsigned last, struct span topic,
                         bool (*allows)(struct span filter, struct span topic))
{
    const char *at = block_identity(block) + block->identity_size;
    for (unsigned i = 0; i < last; i++) {
        struct span filter = {at, block->filter_sizes[i]};
        if (i >= first && allows(filter, topic))
            return true;
        at += filter.size;
    }
    return false;
}

/* --- the table --- */

static struct record *record_of(const struct principals *principals, uint32_t index)
{
    return slab_at(&principals->slab, index);
}

struct principals *principals_create(void)
{
    struct principals *principals = calloc(1, sizeof *principals);
    if (!principals)
        return NULL;
    slab_init(&principals->slab, sizeof(struct record), PRINCIPALS_MAX);
    if (!index_init(&principals->index, &principals->slab))
        goto no_index;
    uint32_t anybody = slab_take(&principals->slab); /* the slab's 0 is nobody */
    if (anybody == 0)
        goto no_anybody;
    CHECK(anybody == PRINCIPAL_ANYBODY);
    return principals;
no_anybody:
    index_destroy(&principals->index);
no_index:
    slab_destroy(&principals->slab);
    free(principals);
    return NULL;
}

static bool is_fixed(uint32_t index)
{
    return index == PRINCIPAL_NOBODY || index == PRINCIPAL_ANYBODY;
}

/* Frees the blocks that are still referenced: numbers are looked through until all were met. */
void principals_destroy(struct principals *principals)
{
    for (uint32_t bucket = 0; bucket < principals->index.bucket_count; bucket++)
        for (uint32_t n = principals->index.buckets[bucket]; n; n = record_of(principals, n)->link.next)
            free(record_of(principals, n)->block);
    index_destroy(&principals->index);
    slab_destroy(&principals->slab);
    free(principals);
}

static uint32_t find(const struct principals *principals, uint64_t hash, const struct block *block)
{
    uint32_t n = index_first(&principals->index, hash);
    while (n && !block_equal(record_of(principals, n)->block, block))
        n = index_next(&principals->index, n);
    return n;
}

/* Takes the block. */
static uint32_t insert(struct principals *principals, uint64_t hash, struct block *block)
{
    uint32_t number = slab_take(&principals->slab);
    if (number == 0) {
        free(block);
        return PRINCIPAL_NONE;
    }
    *record_of(principals, number) = (struct record){.link.hash = hash, .references = 1, .block = block};
    index_insert(&principals->index, number);
    principals->count++;
    return number;
}

uint32_t principals_add(struct principals *principals, const struct principal_claims *claims)
{
    struct block *block = block_create(claims);
    if (!block)
        return PRINCIPAL_NONE;
    uint64_t hash = XXH3_64bits(block, block->size);
    uint32_t known = find(principals, hash, block);
    if (known == 0)
        return insert(principals, hash, block);
    free(block);
    principals_take(principals, known);
    return known;
}

void principals_take(struct principals *principals, uint32_t index)
{
    if (!is_fixed(index))
        record_of(principals, index)->references++;
}

void principals_drop(struct principals *principals, uint32_t index)
{
    if (is_fixed(index))
        return;
    struct record *record = record_of(principals, index);
    CHECK(record->references > 0);
    if (--record->references > 0)
        return;
    index_remove(&principals->index, index);
    free(record->block);
    slab_give(&principals->slab, index);
    principals->count--;
}

uint32_t principals_count(const struct principals *principals)
{
    return principals->count;
}

/* --- questions --- */

struct span principal_identity(const struct principals *principals, uint32_t index)
{
    if (is_fixed(index))
        return SPAN_NONE;
    const struct block *block = record_of(principals, index)->block;
    return (struct span){block_identity(block), block->identity_size};
}

uint64_t principal_expires_s(const struct principals *principals, uint32_t index)
{
    return is_fixed(index) ? 0 : record_of(principals, index)->block->expires_s;
}

bool principal_may_publish(const struct principals *principals, uint32_t index, struct span topic)
{
    if (is_fixed(index))
        return index == PRINCIPAL_ANYBODY;
    const struct block *block = record_of(principals, index)->block;
    return block_allows(block, 0, block->publish_count, topic, topic_filter_matches);
}

bool principal_may_subscribe(const struct principals *principals, uint32_t index, struct span filter)
{
    if (is_fixed(index))
        return index == PRINCIPAL_ANYBODY;
    const struct block *block = record_of(principals, index)->block;
    return block_allows(block, block->publish_count, block_filters(block), filter, topic_filter_covers);
}
