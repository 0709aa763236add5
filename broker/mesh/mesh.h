/*
 * mesh: the rings between all peers of a host, and how they wake each other.
 *
 * Peers are the shards, the control thread and the federation link. For each ordered pair there are two rings, asks
 * and tells (envelope.h says why two). A peer has a ring to itself, too: what it has for itself goes the same way, in
 * the same order.
 *
 * News. With 64 shards 130 rings lead to each, and in a turn one or two have something. So a receiver does not look at
 * rings, but at a summary on a line of its own: a bit for each sender.
 *
 *   sender:    pushes into rings …; once or twice a turn (mesh_ring_bells): news |= its bit (release)  [M2]
 *   receiver:  once a turn (mesh_look): unread |= news, news = 0 (acquire) [M2]; reads the rings of those in `unread`;
 *              then (mesh_settle) takes those out of it whose rings it found empty
 *
 * Where the receiver's exchange takes the bit, it sees all that was pushed before the bit was set; where it comes just
 * before it, the bit stands for the next look. So nothing lies in a ring whose sender is in neither set, but for what
 * the sender has pushed since it last rang. What a receiver leaves in a ring (no room to answer, or a ring's worth was
 * read) stays in `unread`, which is its own. A peer's sends to itself go into its own `unread` at once.
 *
 * Sleep and wake are one protocol, and this file is all of it:
 *
 *   sleeper:  asleep = 1 (seq_cst)  [M1]   looks at unread and news again; found something: asleep = 0, goes on
 *                                          found nothing: waits at its door (io_wait) until the bell rings
 *   sender:   news |= its bit, fence (seq_cst) [M1], asleep? then asleep = 0 and rings
 *
 * Of the two stores (asleep, news) and the two loads after them at least one sees the other's, so news is never slept
 * over. A bell is rung at most once for all that a turn has pushed, and never to a peer that is awake. Who pushes and
 * does not ring is not heard: mesh_ring_bells() is part of sending.
 *
 * Memory: peers² × 2 × slots × 64 bytes, mapped and touched as used. Bound: `slots`; policy: the sender keeps its
 * work; counter: mesh_full, of spsc.full.
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

/* Tells all that this peer has sent to since the last call, and wakes the sleepers among them. Thread: that of `from`.
 */
void mesh_ring_bells(struct mesh *mesh, uint32_t from);

/*
 * What a peer says of its time: all that it has to tell of what came before `ms` (wall clock, since 1970) is in the
 * rings, and the bells were rung. INT64_MAX: there is nothing, and it begins with nothing before it says otherwise;
 * as it is at the start. Thread: that of the peer.
 */
void mesh_set_told(struct mesh *mesh, uint32_t peer, int64_t ms);

/*
 * The least of what all others say. Who then looks into its rings finds all that was told of what came before, or has
 * found it. Thread: that of `peer`.
 */
int64_t mesh_told(struct mesh *mesh, uint32_t peer);

/* A set of peers. */
struct mesh_peers {
    uint64_t words[PEERS_MAX / 64];
};

/* The least peer of the set from `at` on; PEERS_MAX: none. */
static inline uint32_t mesh_peers_next(const struct mesh_peers *peers, uint32_t at)
{
    for (uint32_t word = at / 64; word < PEERS_MAX / 64; word++, at = word * 64) {
        uint64_t bits = peers->words[word] >> (at % 64);
        if (bits) {
            return at + (uint32_t)__builtin_ctzll(bits);
        }
    }
    return PEERS_MAX;
}

/* Those whose rings to this peer may have something; no others have. Thread: that of `peer`. */
struct mesh_peers mesh_look(struct mesh *mesh, uint32_t peer);

/* After reading: forgets those of `looked` whose rings are empty now. Thread: that of `peer`. */
void mesh_settle(struct mesh *mesh, uint32_t peer, const struct mesh_peers *looked);

/* Announces sleep. False: something has come, do not sleep. Thread: that of the peer. */
bool mesh_sleep(struct mesh *mesh, uint32_t peer);

/* Is awake again. Thread: that of the peer. */
void mesh_awake(struct mesh *mesh, uint32_t peer);

/* Pushes of this peer that found a full ring, so far. Thread: that of the peer. */
uint64_t mesh_full(const struct mesh *mesh, uint32_t from);

#endif
