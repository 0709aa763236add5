/*
 * mesh: the rings between all peers of a host, and how they wake each other.
 *
 * Peers are the shards, the control thread and the federation link. For each ordered pair there are two rings, asks
 * and tells (envelope.h says why two). A peer has a ring to itself, too: what it has for itself goes the same way, in
 * the same order.
 *
 * Sleep and wake are one protocol, and this file is all of it:
 *
 *   sleeper:  asleep = 1 (seq_cst)  [M1]   looks at its rings again; found something: asleep = 0, goes on
 *                                          found nothing: waits at its door (io_wait) until the bell rings
 *   sender:   pushes, then, once a turn (mesh_ring_bells): fence (seq_cst) [M1], asleep? then asleep = 0 and rings
 *
 * Of the two stores (asleep, head) and the two loads after them at least one sees the other's, so a push is never slept
 * over. A bell is rung at most once for all that a turn has pushed, and never to a peer that is awake.
 *
 * Memory: peers² × 2 × slots × 64 bytes, mapped and touched as used. Bound: `slots`; policy: the sender keeps its
 * work; counter: spsc.full, summed by mesh_full().
 */
#ifndef SHOAL_MESH_MESH_H
#define SHOAL_MESH_MESH_H

#include "mesh/spsc.h"

struct mesh_bell {
    void (*ring)(void *door); /* any thread */
    void *door;
};

struct mesh_peer;

struct mesh {
    uint32_t peer_count;
    uint32_t slots;
    struct mesh_peer *peers;
    struct spsc *asks; /* [from * peer_count + to] */
    struct spsc *tells;
    struct envelope *memory;
    size_t memory_bytes;
};

/* `slots`: a power of two, at least 4. False: no memory. At start, before the peers run. */
bool mesh_init(struct mesh *mesh, uint32_t peer_count, uint32_t slots);
void mesh_destroy(struct mesh *mesh);

/* How a peer is woken. Before the peers run. */
void mesh_set_bell(struct mesh *mesh, uint32_t peer, struct mesh_bell bell);

/* Sends; sets envelope->from. False: the ring is full, the caller keeps its work. Thread: that of peer `from`. */
bool mesh_ask(struct mesh *mesh, uint32_t from, uint32_t to, struct envelope *envelope);
bool mesh_tell(struct mesh *mesh, uint32_t from, uint32_t to, struct envelope *envelope);

/* Tells that would fit now. Thread: that of peer `from`. */
uint32_t mesh_tell_room(struct mesh *mesh, uint32_t from, uint32_t to);

static inline struct spsc *mesh_asks(struct mesh *mesh, uint32_t from, uint32_t to)
{
    return &mesh->asks[from * mesh->peer_count + to];
}

static inline struct spsc *mesh_tells(struct mesh *mesh, uint32_t from, uint32_t to)
{
    return &mesh->tells[from * mesh->peer_count + to];
}

/* Wakes the sleepers among those that this peer has sent to since the last call. Thread: that of peer `from`. */
void mesh_ring_bells(struct mesh *mesh, uint32_t from);

/* Announces sleep. False: something has come, do not sleep. Thread: that of the peer. */
bool mesh_sleep(struct mesh *mesh, uint32_t peer);

/* Is awake again. Thread: that of the peer. */
void mesh_awake(struct mesh *mesh, uint32_t peer);

/* Pushes of this peer that found a full ring, so far. Thread: that of the peer. */
uint64_t mesh_full(const struct mesh *mesh, uint32_t from);

#endif
