/*
 * name: a topic's or filter's name, stored once a host and shared by all who know it.
 *
 * Immutable; counted references, which any thread may add and drop.
 */
#ifndef SHOAL_MESH_NAME_H
#define SHOAL_MESH_NAME_H

#include <stdatomic.h>
#include <stdint.h>

#include "protocol/span.h"

struct name {
    _Atomic uint32_t references;
    uint8_t size;
    char bytes[];
};

/* How many names this process has now. Any thread. */
uint64_t name_count_in_use(void);

/* Gives a reference. NULL: no memory. `text` at most 255 bytes. */
struct name *name_create(struct span text);

/* Adds a reference, and gives the same name. */
static inline struct name *name_share(struct name *name)
{
    atomic_fetch_add_explicit(&name->references, 1, memory_order_relaxed);
    return name;
}

/* Takes a reference. */
void name_drop(struct name *name);

static inline struct span name_span(const struct name *name)
{
    return (struct span){name->bytes, name->size};
}

/* The hash that decides on a topic's owner and finds it in tables: XXH3_64bits. */
uint64_t name_hash(struct span text);

/* The shard that owns a topic. */
static inline uint32_t name_owner(uint64_t hash, uint32_t shards)
{
    return (uint32_t)(hash % shards);
}

#endif
