/*
 * spsc: a bounded ring between exactly one producer and one consumer.
 *
 *            tail (consumer)          head (producer)
 *              ▼                        ▼
 *      ┌───┬───┬───┬───┬───┬───┬───┬───┬───┬───┐
 *      │   │   │ e │ e │ e │ e │ e │ e │   │   │      slots: a power of two
 *      └───┴───┴───┴───┴───┴───┴───┴───┴───┴───┘
 *
 * `head` and `tail` run freely and wrap at 2^32; only their difference means anything (the number of envelopes in
 * the ring), and an index into the slots is one of them modulo the size.
 *
 * Who writes what: the producer head, the consumer tail, each on a cache line of its own, beside a copy of
 * the other's that it refreshes only when the ring looks full (or empty). So in a busy ring a push and a pop touch no
 * line that the other side writes, but the slot itself.
 *
 *   [S1] producer: slot written, then head stored (release)  ─▶  consumer: head loaded (acquire), then slot read
 *   [S2] consumer: slot read, then tail stored (release)  ─▶  producer: tail loaded (acquire), then slot written again
 *
 * Progress: wait-free on both sides; a full ring and an empty one are answers. Order is that of the pushes.
 */
#ifndef SHOAL_MESH_SPSC_H
#define SHOAL_MESH_SPSC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/limits.h"
#include "mesh/envelope.h"

struct spsc {
    /* fixed after start */
    struct envelope *slots;
    uint32_t mask;
    /* the producer's line */
    _Alignas(CACHE_LINE) _Atomic uint32_t head;
    uint32_t tail_seen;
    uint64_t full; /* pushes that found no room */
    /* the consumer's line */
    _Alignas(CACHE_LINE) _Atomic uint32_t tail;
    uint32_t head_seen;
};

static_assert(offsetof(struct spsc, tail) - offsetof(struct spsc, head) >= CACHE_LINE, "a line for each side");
static_assert(sizeof(struct spsc) % CACHE_LINE == 0, "rings in an array do not share a line");

/* Envelopes that fit now. Producer's thread. */
static inline uint32_t spsc_room(struct spsc *ring)
{
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    ring->tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire); /* [S2] */
    return ring->mask + 1 - (head - ring->tail_seen);
}

/* False: full. Producer's thread. */
static inline bool spsc_push(struct spsc *ring, const struct envelope *envelope)
{
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    if (head - ring->tail_seen > ring->mask) {
        ring->tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire); /* [S2] */
        if (head - ring->tail_seen > ring->mask) {
            ring->full++;
            return false;
        }
    }
    ring->slots[head & ring->mask] = *envelope;
    atomic_store_explicit(&ring->head, head + 1, memory_order_release); /* [S1] */
    return true;
}

/* The next envelope, in place, or NULL: empty. Valid until spsc_pop(). Consumer's thread. */
static inline const struct envelope *spsc_peek(struct spsc *ring)
{
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    if (tail == ring->head_seen) {
        ring->head_seen = atomic_load_explicit(&ring->head, memory_order_acquire); /* [S1] */
        if (tail == ring->head_seen) {
            return NULL;
        }
    }
    return &ring->slots[tail & ring->mask];
}

/* The envelope `ahead` places behind the next one, if spsc_peek() has seen it. NULL: not yet. Consumer's thread. */
static inline const struct envelope *spsc_peek_ahead(const struct spsc *ring, uint32_t ahead)
{
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    return ring->head_seen - tail > ahead ? &ring->slots[(tail + ahead) & ring->mask] : NULL;
}

/* Drops what spsc_peek() showed. Consumer's thread. */
static inline void spsc_pop(struct spsc *ring)
{
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    atomic_store_explicit(&ring->tail, tail + 1, memory_order_release); /* [S2] */
}

#endif
