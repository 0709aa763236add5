/*
 * positions: where a filter's subscriber is in each topic that it has had a message of. Open addressing, linear
 * probing; a topic is never taken out. Bounded: of a filter with more topics than POSITIONS_MAX the positions are
 * incomplete, and it can only go on from new.
 *
 * Plain data: whoever calls holds the client's lock.
 */
#ifndef SHOAL_CLIENT_POSITIONS_H
#define SHOAL_CLIENT_POSITIONS_H

#include "protocol/span.h"
#include <shoal.h>

#define POSITIONS_MAX 16384

struct topic_position {
    uint64_t hash;
    struct shoal_position position;
    uint8_t size;
    char topic[];
};

struct positions {
    struct topic_position **slots; /* NULL: free */
    uint32_t capacity;             /* a power of two, 0 at first */
    uint32_t count;
    size_t bytes;    /* of all names */
    bool incomplete; /* a topic found no room */
};

void positions_free(struct positions *positions);

/* The position of a topic, made with epoch 0 if need be. NULL: no room or no memory; positions are incomplete then. */
struct shoal_position *positions_of(struct positions *positions, struct span topic);

/* As from.positions of the binary dialect; returns its size (measure with room 0). */
size_t positions_write(const struct positions *positions, char *out, size_t room);

#endif
