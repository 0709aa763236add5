/*
 * lanes: a chunk's bytes for a subscriber, written now if nobody has needed them before.
 */
#ifndef SHOAL_CONN_LANES_H
#define SHOAL_CONN_LANES_H

#include "base/check.h"
#include "conn/conn.h"

/*
 * The lane of a chunk. A sealed chunk may lack it (a subscriber with another dialect resumes from history); the open
 * one has every lane that somebody follows.
 */
static inline const struct chunk_lane *lane_of_chunk(struct conns *conns, struct chunk *chunk, enum lane lane,
                                                     struct span topic)
{
    if (!chunk_lane(chunk, lane)) {
        const struct chunk *next = chunk_next(chunk);
        CHECK(next);
        CHECK_MSG(chunk_lane_make(chunk, lane, (uint32_t)(next->base - chunk->base), conns->writer, topic),
                  "no memory to write a lane of the history");
    }
    return chunk_lane(chunk, lane);
}

#endif
