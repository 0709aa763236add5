/* digits: a number as decimal text, in a buffer of its own: a word of a command. Any thread. */
#ifndef SHOAL_CLUSTER_DIGITS_H
#define SHOAL_CLUSTER_DIGITS_H

#include <stdint.h>
#include <stdio.h>

#include "protocol/span.h"

struct digits {
    char text[24];
};

/* Borrowed from `digits`. */
static inline struct span digits_of(struct digits *digits, uint64_t number)
{
    int size = snprintf(digits->text, sizeof digits->text, "%llu", (unsigned long long)number);
    return (struct span){digits->text, (size_t)size};
}

#endif
