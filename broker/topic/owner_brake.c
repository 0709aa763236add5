/*
 * owner_brake: publishers who wait for the fan-out of filters. See owner.h.
 */
#include "topic/owner.h"

/* A filter's feed on one shard that is behind, and the answers that wait for it. */
struct brake {
    struct index_link link; /* of the filter's name */
    struct tickets held;
    uint32_t feed; /* number in its shard's table of feeds */
    uint8_t shard;
};

static struct brake *brake_at(const struct owner *owner, uint32_t number)
{
    return slab_at(&owner->brakes, number);
}

bool owner_brakes_init(struct owner *owner, uint32_t filters_max, uint64_t seed)
{
    slab_init(&owner->brakes, sizeof(struct brake), filters_max);
    owner->braked = filters_create(filters_max, seed);
    return owner->braked && index_init(&owner->brakes_by_name, &owner->brakes);
}

void owner_brakes_destroy(struct owner *owner)
{
    for (uint32_t n = 1; n < slab_end(&owner->brakes); n++) {
        if (slab_mapped(&owner->brakes, n)) {
            tickets_free(&brake_at(owner, n)->held);
        }
    }
    filters_destroy(owner->braked);
    index_destroy(&owner->brakes_by_name);
    slab_destroy(&owner->brakes);
}

static uint32_t brake_find(const struct owner *owner, uint64_t hash, uint32_t shard, uint32_t feed)
{
    for (uint32_t n = index_first(&owner->brakes_by_name, hash); n; n = index_next(&owner->brakes_by_name, n)) {
        if (brake_at(owner, n)->shard == shard && brake_at(owner, n)->feed == feed) {
            return n;
        }
    }
    return 0;
}

void owner_brake(struct owner *owner, const struct envelope *ask)
{
    uint32_t number = slab_take(&owner->brakes);
    if (number && filters_add(owner->braked, name_span(ask->name), number)) {
        *brake_at(owner, number) = (struct brake){.link.hash = ask->hash, .feed = ask->feed, .shard = ask->from};
        index_insert(&owner->brakes_by_name, number);
    } else { /* without it, whoever is behind may be told a gap */
        if (number) {
            slab_give(&owner->brakes, number);
        }
        STATS_ADD(owner->stats, memory_refusals, 1);
    }
    name_drop(ask->name);
}

void owner_release(struct owner *owner, const struct envelope *ask)
{
    uint32_t number = brake_find(owner, ask->hash, ask->from, ask->feed);
    if (number) {
        filters_remove(owner->braked, name_span(ask->name), number);
        index_remove(&owner->brakes_by_name, number);
        owner_answer_held(owner, &brake_at(owner, number)->held);
        slab_give(&owner->brakes, number);
    }
    name_drop(ask->name);
}

struct tickets *owner_braked(struct owner *owner, struct span topic)
{
    uint32_t number;
    bool braked = filters_count(owner->braked) > 0 && filters_match(owner->braked, topic, &number, 1) > 0;
    return braked ? &brake_at(owner, number)->held : NULL;
}
