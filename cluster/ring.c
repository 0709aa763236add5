/* ring: see ring.h. */
#include "cluster/ring.h"

#include <stdlib.h>
#include <xxhash.h>

/* So that a topic's place is not its hash: that already decides on its shard, and names of points are hashed alike. */
#define PLACE_SEED 0x73686f616cull

struct ring_point {
    uint64_t place;
    uint32_t server;
};

static int by_place(const void *left, const void *right)
{
    const struct ring_point *a = left;
    const struct ring_point *b = right;
    if (a->place != b->place) {
        return a->place < b->place ? -1 : 1;
    }
    return a->server < b->server ? -1 : a->server > b->server;
}

bool ring_init(struct ring *ring, uint32_t servers, const struct span *names)
{
    *ring = (struct ring){.count = servers * RING_POINTS};
    ring->points = calloc(ring->count, sizeof *ring->points);
    if (!ring->points) {
        return false;
    }
    for (uint32_t i = 0; i < ring->count; i++) {
        struct span name = names[i / RING_POINTS];
        ring->points[i].server = i / RING_POINTS;
        ring->points[i].place = XXH3_64bits_withSeed(name.data, name.size, i % RING_POINTS);
    }
    qsort(ring->points, ring->count, sizeof *ring->points, by_place);
    return true;
}

void ring_free(struct ring *ring)
{
    free(ring->points);
    *ring = (struct ring){0};
}

uint32_t ring_server(const struct ring *ring, uint64_t hash)
{
    uint64_t place = XXH3_64bits_withSeed(&hash, sizeof hash, PLACE_SEED);
    uint32_t low = 0;
    uint32_t high = ring->count; /* the first point at or after the place is in [low, high] */
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (ring->points[middle].place < place) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return ring->points[low == ring->count ? 0 : low].server;
}
