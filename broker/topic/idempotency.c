/* idempotency: see idempotency.h. Records stand in a queue by age, and in an index by hash. */
#include "topic/idempotency.h"

#include <xxhash.h>

struct record {
    struct index_link link; /* the first half of the key's hash */
    uint32_t newer;         /* in the queue by age */
    uint64_t second_half;
    struct idempotency_answer answer;
    int64_t time_ms;
};

static struct record *record_at(struct idempotency *window, uint32_t number)
{
    return slab_at(&window->records, number);
}

struct idempotency_id idempotency_id(uint64_t topic_hash, struct span key)
{
    XXH128_hash_t hash = XXH3_128bits_withSeed(key.data, key.size, topic_hash);
    return (struct idempotency_id){.first_half = hash.low64, .second_half = hash.high64};
}

bool idempotency_init(struct idempotency *window, uint32_t keys_max, uint32_t age_max_s)
{
    *window = (struct idempotency){.keys_max = keys_max, .age_max_ms = (int64_t)age_max_s * 1000};
    slab_init(&window->records, sizeof(struct record), keys_max);
    return index_init_sparse(&window->index, &window->records);
}

void idempotency_destroy(struct idempotency *window)
{
    index_destroy(&window->index);
    slab_destroy(&window->records);
}

static void oldest_forget(struct idempotency *window)
{
    uint32_t number = window->oldest;
    window->oldest = record_at(window, number)->newer;
    if (window->oldest) {
        index_prefetch(&window->index, record_at(window, window->oldest)->link.hash); /* the next to be forgotten */
    } else {
        window->newest = 0;
    }
    index_remove(&window->index, number);
    slab_give(&window->records, number);
}

void idempotency_sweep(struct idempotency *window, int64_t now_ms)
{
    while (window->oldest && record_at(window, window->oldest)->time_ms + window->age_max_ms < now_ms) {
        oldest_forget(window);
    }
}

void idempotency_prefetch(const struct idempotency *window, const struct idempotency_id *id)
{
    index_prefetch(&window->index, id->first_half);
}

bool idempotency_find(struct idempotency *window, const struct idempotency_id *id, int64_t now_ms,
                      struct idempotency_answer *answer)
{
    for (uint32_t n = index_first(&window->index, id->first_half); n; n = index_next(&window->index, n)) {
        const struct record *record = record_at(window, n);
        if (record->second_half == id->second_half && record->time_ms + window->age_max_ms >= now_ms) {
            *answer = record->answer;
            return true;
        } /* else go on: a wall clock that jumps may leave an old record of the same key */
    }
    return false;
}

bool idempotency_add(struct idempotency *window, const struct idempotency_id *id, int64_t now_ms,
                     struct idempotency_answer answer)
{
    idempotency_sweep(window, now_ms);
    if (window->keys_max == 0) {
        return false;
    }
    if (window->records.used >= window->keys_max) {
        window->evictions++;
        oldest_forget(window);
    }
    uint32_t number = slab_take(&window->records);
    if (!number) {
        return false;
    }
    *record_at(window, number) = (struct record){
        .link.hash = id->first_half, .second_half = id->second_half, .answer = answer, .time_ms = now_ms};
    index_insert(&window->index, number);
    if (window->newest) {
        record_at(window, window->newest)->newer = number;
    } else {
        window->oldest = number;
    }
    window->newest = number;
    return true;
}
