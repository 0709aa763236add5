/*
 * relays: relays (mesh/relay.h) in a line, first in, first out, linked through their own field.
 *
 * A line owns what stands in it. Thread: the link's.
 */
#ifndef SHOAL_CLUSTER_RELAYS_H
#define SHOAL_CLUSTER_RELAYS_H

#include "mesh/relay.h"

struct relays {
    struct relay *first;
    struct relay *last;
    uint32_t count;
};

/* Takes the relay. */
static inline void relays_push(struct relays *line, struct relay *relay)
{
    relay->next = NULL;
    if (line->last) {
        line->last->next = relay;
    } else {
        line->first = relay;
    }
    line->last = relay;
    line->count++;
}

/* Gives the first one, or NULL: the line is empty. */
static inline struct relay *relays_take(struct relays *line)
{
    struct relay *relay = line->first;
    if (relay) {
        line->first = relay->next;
        line->last = line->first ? line->last : NULL;
        line->count--;
        relay->next = NULL;
    }
    return relay;
}

/* Moves all of `more` behind what stands in the line. */
static inline void relays_append(struct relays *line, struct relays *more)
{
    if (more->first) {
        if (line->last) {
            line->last->next = more->first;
        } else {
            line->first = more->first;
        }
        line->last = more->last;
        line->count += more->count;
        *more = (struct relays){0};
    }
}

static inline void relays_free(struct relays *line)
{
    struct relay *relay;
    while ((relay = relays_take(line)) != NULL) {
        relay_free(relay);
    }
}

#endif
