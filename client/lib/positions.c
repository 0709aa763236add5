/*
 * positions: see positions.h.
 */
#include "client/positions.h"

#include <stdlib.h>

#include "client/hash.h"
#include "protocol/dialect_bin.h"

void positions_free(struct positions *positions)
{
    for (uint32_t i = 0; i < positions->capacity; i++)
        free(positions->slots[i]);
    free(positions->slots);
    *positions = (struct positions){0};
}

/* The slot of a topic, or the free one where it belongs. */
static struct topic_position **find(const struct positions *positions, uint64_t hash, struct span topic)
{
    uint32_t at = (uint32_t)hash & (positions->capacity - 1);
    for (;; at = (at + 1) & (positions->capacity - 1)) {
        struct topic_position *known = positions->slots[at];
        if (!known || (known->hash == hash && span_equal((struct span){known->topic, known->size}, topic)))
            return &positions->slots[at];
    }
}

/* Room for one more, at most three quarters full. False: no memory. */
static bool grow(struct positions *positions)
{
    if (4 * (positions->count + 1) <= 3 * positions->capacity)
        return true;
    struct positions grown = *positions;
    grown.capacity = positions->capacity ? 2 * positions->capacity : 16;
    grown.slots = calloc(grown.capacity, sizeof(struct topic_position *));
    if (!grown.slots)
        return false;
    for (uint32_t i = 0; i < positions->capacity; i++) {
        struct topic_position *known = positions->slots[i];
        if (known)
            *find(&grown, known->hash, (struct span){known->topic, known->size}) = known;
    }
    free(positions->slots);
    *positions = grown;
    return true;
}

static struct topic_position *add(struct positions *positions, uint64_t hash, struct span topic)
{
    struct topic_position *made = NULL;
    if (positions->count < POSITIONS_MAX && grow(positions))
        made = malloc(sizeof *made + topic.size);
    if (!made) {
        positions->incomplete = true;
        return NULL;
    }
    *made = (struct topic_position){.hash = hash, .size = (uint8_t)topic.size};
    memcpy(made->topic, topic.data, topic.size);
    *find(positions, hash, topic) = made;
    positions->count++;
    positions->bytes += topic.size;
    return made;
}

struct shoal_position *positions_of(struct positions *positions, struct span topic)
{
    uint64_t hash = hash_of_text(topic);
    struct topic_position *known = positions->capacity ? *find(positions, hash, topic) : NULL;
    if (!known)
        known = add(positions, hash, topic);
    return known ? &known->position : NULL;
}

size_t positions_write(const struct positions *positions, char *out, size_t room)
{
    size_t size = 0;
    for (uint32_t i = 0; i < positions->capacity; i++) {
        const struct topic_position *known = positions->slots[i];
        if (known)
            size += bin_position_write((struct span){known->topic, known->size}, known->position.epoch,
                                       known->position.offset, room ? out + size : NULL, room ? room - size : 0);
    }
    return size;
}
