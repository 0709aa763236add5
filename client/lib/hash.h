/*
 * hash: of the names of topics and filters, for the tables of the library.
 */
#ifndef SHOAL_CLIENT_HASH_H
#define SHOAL_CLIENT_HASH_H

#include <stdint.h>

#include "protocol/span.h"

/* FNV-1a, and its upper half into the lower. Names are short, and who makes them collide harms nobody but this client.
 */
static inline uint64_t hash_of_text(struct span text)
{
    uint64_t hash = 0xCBF29CE484222325u;
    for (size_t i = 0; i < text.size; i++)
        hash = (hash ^ (uint8_t)text.data[i]) * 0x100000001B3u;
    return hash ^ hash >> 32;
}

#endif
