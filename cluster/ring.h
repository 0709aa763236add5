/*
 * ring: which of several Redis servers has a topic, by consistent hashing.
 *
 *      points of server A ── B ── A ── C ── B ── … around 2^64       a topic belongs to the next point at or after
 *                ▲ the topic's hash, mixed once more                 its own place, around the end to the first
 *
 * A server's points are hashes of its address as it is written in cluster.redis, so all hosts with the same list agree,
 * whatever its order is (but each must write a server alike: not here a name and there a number); and a server that is
 * added takes 1/n of the topics from all others and moves no other topic. The spread over four servers is within some
 * 15 % of even with 160 points each (tests/unit/cluster/ring_test.c prints it).
 *
 * Fixed after start. Any thread.
 */
#ifndef SHOAL_CLUSTER_RING_H
#define SHOAL_CLUSTER_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/span.h"

#define RING_POINTS 160

struct ring {
    struct ring_point *points; /* ascending */
    uint32_t count;
};

/* `names`: one a server, all different. False: no memory. */
bool ring_init(struct ring *ring, uint32_t servers, const struct span *names);
void ring_free(struct ring *ring);

/* The server of a topic with this hash (mesh/name.h). */
uint32_t ring_server(const struct ring *ring, uint64_t hash);

#endif
