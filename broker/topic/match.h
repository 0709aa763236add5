/*
 * match: all filters that match a name, however many.
 */
#ifndef SHOAL_TOPIC_MATCH_H
#define SHOAL_TOPIC_MATCH_H

#include "base/vector.h"
#include "topic/filters.h"

/* Puts the values into the vector, which grows as needed. False: no memory, the vector is empty. */
static inline bool match_all(const struct filters *filters, struct span name, struct vector *values)
{
    uint32_t count = filters_match(filters, name, values->items, values->room);
    if (count > values->room) {
        vector_free(values);
        values->items = malloc(count * sizeof *values->items);
        if (!values->items) {
            return false;
        }
        values->room = count;
        filters_match(filters, name, values->items, count);
    }
    values->size = count;
    return true;
}

#endif
