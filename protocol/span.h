/*
 * span: bytes that somebody else owns.
 *
 * All of protocol/ speaks of its input in spans: a pointer and a size, borrowed from the caller's buffer, valid as
 * long as that buffer is. Not terminated by a NUL.
 */
#ifndef SHOAL_PROTOCOL_SPAN_H
#define SHOAL_PROTOCOL_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct span {
    const char *data;
    size_t size;
};

#define SPAN_NONE          ((struct span){NULL, 0})
#define SPAN_LITERAL(text) ((struct span){(text), sizeof(text) - 1})

/* The bytes of a text that ends with a NUL, without it. */
static inline struct span span_of_text(const char *text)
{
    return (struct span){text, strlen(text)};
}

static inline bool span_begins(struct span span, const char *with)
{
    size_t size = strlen(with);
    return span.size >= size && memcmp(span.data, with, size) == 0;
}

static inline bool span_equal(struct span a, struct span b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

#endif
