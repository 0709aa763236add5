/*
 * vector: numbers in a row, growing at the end. A subscription that has nothing to do is four bytes in one of these.
 *
 * Growth is by half up to a page, then by an eighth, so that a topic with a million subscribers does not carry twice
 * their room. Thread: the owner's only.
 */
#ifndef SHOAL_BASE_VECTOR_H
#define SHOAL_BASE_VECTOR_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

struct vector {
    uint32_t *items;
    uint32_t size;
    uint32_t room;
};

/* False: no memory, nothing changed. */
static inline bool vector_push(struct vector *vector, uint32_t item)
{
    if (vector->size == vector->room) {
        uint32_t room = vector->room + (vector->room < 1024 ? vector->room / 2 + 2 : vector->room / 8);
        uint32_t *items = realloc(vector->items, room * sizeof *items);
        if (!items) {
            return false;
        }
        vector->items = items;
        vector->room = room;
    }
    vector->items[vector->size++] = item;
    return true;
}

/* Drops the last one; memory goes back when three quarters are unused. */
static inline void vector_pop(struct vector *vector)
{
    vector->size--;
    if (vector->size == 0) {
        free(vector->items);
        *vector = (struct vector){0};
    } else if (vector->size < vector->room / 4) {
        uint32_t *items = realloc(vector->items, vector->room / 2 * sizeof *items);
        if (items) {
            vector->items = items;
            vector->room /= 2;
        }
    }
}

static inline void vector_free(struct vector *vector)
{
    free(vector->items);
    *vector = (struct vector){0};
}

#endif
