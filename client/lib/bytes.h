/*
 * bytes: a queue of bytes that grows with the need and gives its memory back when it is empty and large.
 *
 *      take ◀─ ▒▒▒▒████████░░░░ ◀─ add      ▒ taken already   █ waiting   ░ room
 *                  at      size
 */
#ifndef SHOAL_CLIENT_BYTES_H
#define SHOAL_CLIENT_BYTES_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/span.h"

#define BYTES_KEPT_MAX (256u << 10) /* an empty queue keeps no more than this */

struct bytes {
    char *data;
    size_t at;
    size_t size;
    size_t room;
};

static inline size_t bytes_waiting(const struct bytes *bytes)
{
    return bytes->size - bytes->at;
}

/* Those that wait. Borrowed until the queue is changed. */
static inline struct span bytes_span(const struct bytes *bytes)
{
    return bytes->data ? (struct span){bytes->data + bytes->at, bytes_waiting(bytes)} : SPAN_NONE;
}

static inline void bytes_free(struct bytes *bytes)
{
    free(bytes->data);
    *bytes = (struct bytes){0};
}

/* Room for `more` behind those that wait, which move to the front. Gives the place; NULL: no memory. */
static inline char *bytes_reach(struct bytes *bytes, size_t more)
{
    size_t waiting = bytes_waiting(bytes);
    if (bytes->size + more > bytes->room && bytes->at) {
        memmove(bytes->data, bytes->data + bytes->at, waiting);
        bytes->at = 0;
        bytes->size = waiting;
    }
    if (bytes->size + more > bytes->room || !bytes->data) {
        size_t room = bytes->size + more + (bytes->size + more) / 2 + 1;
        char *grown = realloc(bytes->data, room);
        if (!grown)
            return NULL;
        bytes->data = grown;
        bytes->room = room;
    }
    return bytes->data + bytes->size;
}

/* False: no memory, nothing changed. */
static inline bool bytes_add(struct bytes *bytes, const void *data, size_t size)
{
    char *place = bytes_reach(bytes, size);
    if (place && size) {
        memcpy(place, data, size);
        bytes->size += size;
    }
    return place != NULL;
}

/* All are done. */
static inline void bytes_clear(struct bytes *bytes)
{
    bytes->at = bytes->size = 0;
    if (bytes->room > BYTES_KEPT_MAX)
        bytes_free(bytes);
}

/* The first `size` of those that wait are done. */
static inline void bytes_take(struct bytes *bytes, size_t size)
{
    bytes->at += size;
    if (bytes->at == bytes->size)
        bytes_clear(bytes);
}

#endif
