/*
 * dialect: the table of dialects, and how positions are written as text.
 */
#include "protocol/dialect.h"

#include <assert.h>

#include "protocol/json.h"

static const struct dialect *const dialects[DIALECT_COUNT] = {
    [DIALECT_RAW] = &dialect_raw,
    [DIALECT_JSON] = &dialect_json,
    [DIALECT_BIN] = &dialect_bin,
    [DIALECT_SSE] = &dialect_sse,
};

const struct dialect *dialect_of(enum dialect_id id)
{
    assert(id < DIALECT_COUNT);
    return dialects[id];
}

void epoch_write(uint64_t epoch, char out[EPOCH_TEXT_SIZE])
{
    for (int i = EPOCH_TEXT_SIZE - 1; i >= 0; i--, epoch >>= 4)
        out[i] = "0123456789abcdef"[epoch & 15];
}

/* -1: not a hex digit. */
static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool epoch_read(struct span text, uint64_t *epoch)
{
    if (text.size == 0 || text.size > EPOCH_TEXT_SIZE)
        return false;
    uint64_t value = 0;
    for (size_t i = 0; i < text.size; i++) {
        int digit = hex_digit(text.data[i]);
        if (digit < 0)
            return false;
        value = value << 4 | (uint64_t)digit;
    }
    *epoch = value;
    return true;
}

bool position_read(struct span text, uint64_t *epoch, uint64_t *offset)
{
    const char *colon = text.size > 0 ? memchr(text.data, ':', text.size) : NULL;
    if (!colon)
        return false;
    struct span before = {text.data, (size_t)(colon - text.data)};
    struct span after = {colon + 1, text.size - before.size - 1};
    return epoch_read(before, epoch) && json_u64_read(after, offset);
}
