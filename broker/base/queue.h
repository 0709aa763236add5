/*
 * queue: records of a slab in a line, first in, first out, linked through a field of their own.
 *
 *      first ─▶ record ─▶ record ─▶ record ◀─ last
 *
 * The record's owner knows whether it is in the line (a flag): the queue does not look. Thread: the slab's.
 */
#ifndef SHOAL_BASE_QUEUE_H
#define SHOAL_BASE_QUEUE_H

#include "base/slab.h"

struct queue {
    uint32_t first; /* 0: empty */
    uint32_t last;
};

/* The field of a record that links it: `link` is its offset in the record. */
static inline uint32_t *queue_link(const struct slab *slab, size_t link, uint32_t number)
{
    return (uint32_t *)((char *)slab_at(slab, number) + link);
}

/* Puts a record that is not in the line at its end. */
static inline void queue_push(struct queue *queue, const struct slab *slab, size_t link, uint32_t number)
{
    *queue_link(slab, link, number) = 0;
    if (queue->last) {
        *queue_link(slab, link, queue->last) = number;
    } else {
        queue->first = number;
    }
    queue->last = number;
}

/* Puts a whole line at the end of another one of the same slab and link. */
static inline void queue_append(struct queue *queue, const struct slab *slab, size_t link, struct queue *more)
{
    if (more->first) {
        if (queue->last) {
            *queue_link(slab, link, queue->last) = more->first;
        } else {
            queue->first = more->first;
        }
        queue->last = more->last;
        *more = (struct queue){0};
    }
}

/* Takes the first out of the line. 0: there is none. */
static inline uint32_t queue_take(struct queue *queue, const struct slab *slab, size_t link)
{
    uint32_t number = queue->first;
    if (number) {
        queue->first = *queue_link(slab, link, number);
        if (!queue->first) {
            queue->last = 0;
        }
    }
    return number;
}

#endif
