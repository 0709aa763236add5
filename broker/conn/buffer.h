/*
 * buffer: bytes on their way in or out of a connection that can't go on yet.
 *
 *      bytes ─▶ ▒▒▒▒████████░░░░      ▒ taken already   █ waiting   ░ room
 *                   at      size
 *
 * Lives in a session only, and has no memory while it is empty.
 */
#ifndef SHOAL_CONN_BUFFER_H
#define SHOAL_CONN_BUFFER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct buffer {
    char *bytes;
    uint32_t at;
    uint32_t size;
    uint32_t room;
};

static inline uint32_t buffer_waiting(const struct buffer *buffer)
{
    return buffer->size - buffer->at;
}

static inline void buffer_free(struct buffer *buffer)
{
    free(buffer->bytes);
    *buffer = (struct buffer){0};
}

/* Room for `more` bytes behind those that wait, which move to the front. Gives the place; NULL: no memory. */
static inline char *buffer_reach(struct buffer *buffer, size_t more)
{
    uint32_t waiting = buffer_waiting(buffer);
    if (buffer->at && buffer->bytes) { /* the second for gcc, which sees an `at` without bytes coming */
        memmove(buffer->bytes, buffer->bytes + buffer->at, waiting);
        buffer->at = 0;
        buffer->size = waiting;
    }
    size_t needed = waiting + more;
    if (needed > buffer->room) {
        size_t room = needed < 256 ? 256 : needed + needed / 2;
        char *grown = room <= UINT32_MAX ? realloc(buffer->bytes, room) : NULL;
        if (!grown) {
            return NULL;
        }
        buffer->bytes = grown;
        buffer->room = (uint32_t)room;
    }
    return buffer->bytes + buffer->size;
}

/* False: no memory, nothing changed. */
static inline bool buffer_add(struct buffer *buffer, const void *bytes, size_t size)
{
    if (size == 0) {
        return true; /* an empty buffer has no place to show */
    }
    char *place = buffer_reach(buffer, size);
    if (place) {
        memcpy(place, bytes, size);
        buffer->size += (uint32_t)size;
    }
    return place != NULL;
}

/* Puts bytes before those that wait. False: no memory, nothing changed. */
static inline bool buffer_add_front(struct buffer *buffer, const void *bytes, size_t size)
{
    if (!buffer_reach(buffer, size)) {
        return false;
    }
    memmove(buffer->bytes + size, buffer->bytes, buffer->size);
    memcpy(buffer->bytes, bytes, size);
    buffer->size += (uint32_t)size;
    return true;
}

/* The first `size` of those that wait are done. */
static inline void buffer_take(struct buffer *buffer, size_t size)
{
    buffer->at += (uint32_t)size;
    if (buffer->at == buffer->size) {
        buffer_free(buffer);
    }
}

#endif
