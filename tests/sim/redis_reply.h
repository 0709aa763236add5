/*
 * redis_reply: values that a simulated server answers with, made and owned piece by piece.
 *
 * They are those of cluster/redis.h; here texts and items are allocated, and go with reply_clear().
 */
#ifndef SHOAL_TESTS_REDIS_REPLY_H
#define SHOAL_TESTS_REDIS_REPLY_H

#include <stdlib.h>

#include "base/check.h"
#include "cluster/redis.h"

static inline struct redis_value reply_text(enum redis_kind kind, struct span text)
{
    char *copy = malloc(text.size + 1);
    CHECK(copy);
    if (text.size) {
        memcpy(copy, text.data, text.size);
    }
    copy[text.size] = '\0';
    return (struct redis_value){.kind = kind, .text = {copy, text.size}};
}

static inline struct redis_value reply_string(struct span text)
{
    return reply_text(REDIS_STRING, text);
}

static inline struct redis_value reply_words(const char *text)
{
    return reply_text(REDIS_STRING, (struct span){text, strlen(text)});
}

static inline struct redis_value reply_failure(const char *text)
{
    return reply_text(REDIS_FAILURE, (struct span){text, strlen(text)});
}

static inline struct redis_value reply_integer(int64_t integer)
{
    return (struct redis_value){.kind = REDIS_INTEGER, .integer = integer};
}

static inline struct redis_value reply_nil(void)
{
    return (struct redis_value){.kind = REDIS_NIL};
}

/* `count` nils, for the caller to fill: reply_item(). */
static inline struct redis_value reply_array(uint32_t count)
{
    struct redis_value *items = calloc(count ? count : 1, sizeof *items);
    CHECK(items);
    return (struct redis_value){.kind = REDIS_ARRAY, .count = count, .items = items};
}

static inline struct redis_value *reply_item(struct redis_value *array, uint32_t at)
{
    CHECK(array->kind == REDIS_ARRAY && at < array->count);
    return (struct redis_value *)array->items + at; /* made by reply_array() */
}

static inline void reply_clear(struct redis_value *value)
{
    for (uint32_t i = 0; i < value->count; i++) {
        reply_clear(reply_item(value, i));
    }
    free((void *)(uintptr_t)value->text.data); /* made by reply_text() */
    free((void *)(uintptr_t)value->items);
    *value = (struct redis_value){.kind = REDIS_NIL};
}

/* About its size on the wire. */
static inline uint64_t reply_size(const struct redis_value *value)
{
    uint64_t size = 8 + value->text.size;
    for (uint32_t i = 0; i < value->count; i++) {
        size += reply_size(&value->items[i]);
    }
    return size;
}

#endif
