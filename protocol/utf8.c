/*
 * utf8: the validator. What it accepts and promises is in the header.
 *
 * UTF-8 is nearly regular: after its first byte a character wants one to three more, each from 80 to BF. Only the
 * second byte is sometimes narrower, and that is all there is to overlong forms, surrogates and the upper end:
 *
 *      first      more   second       what the narrower range keeps out
 *      C2 to DF   1      80 to BF     (C0 and C1 could only begin overlong forms)
 *      E0         2      A0 to BF     overlong
 *      ED         2      80 to 9F     surrogates
 *      E1 to EF   2      80 to BF
 *      F0         3      90 to BF     overlong
 *      F1 to F3   3      80 to BF
 *      F4         3      80 to 8F     above U+10FFFF (F5 to FF never occur)
 *
 * So the state is: how many more, and the range of the next one. It fits into 24 bits, and 0 is "between characters".
 */
#include "protocol/utf8.h"

#include <string.h>

#define WANT(more, low, high) ((uint32_t)(more) << 16 | (uint32_t)(low) << 8 | (uint32_t)(high))
#define INVALID               UINT32_MAX

/* The state after the first byte of a character of several bytes. */
static uint32_t after_first(uint8_t byte)
{
    if (byte < 0xC2 || byte > 0xF4)
        return INVALID;
    if (byte < 0xE0)
        return WANT(1, 0x80, 0xBF);
    if (byte < 0xF0)
        return byte == 0xE0 ? WANT(2, 0xA0, 0xBF) : byte == 0xED ? WANT(2, 0x80, 0x9F) : WANT(2, 0x80, 0xBF);
    return byte == 0xF0 ? WANT(3, 0x90, 0xBF) : byte == 0xF4 ? WANT(3, 0x80, 0x8F) : WANT(3, 0x80, 0xBF);
}

/* The state after one of the bytes that were wanted. */
static uint32_t after_wanted(uint32_t state, uint8_t byte)
{
    uint32_t more = state >> 16;
    if (byte < (state >> 8 & 0xFF) || byte > (state & 0xFF))
        return INVALID;
    return more > 1 ? WANT(more - 1, 0x80, 0xBF) : UTF8_START;
}

/* How many bytes at the front are plain ASCII, counted in whole words: most text is nothing else. */
static size_t ascii_words(const char *bytes, size_t size)
{
    size_t at = 0;
    for (uint64_t word; at + sizeof word <= size; at += sizeof word) {
        memcpy(&word, bytes + at, sizeof word);
        if (word & UINT64_C(0x8080808080808080))
            break;
    }
    return at;
}

bool utf8_feed(uint32_t *state, const char *bytes, size_t size)
{
    uint32_t now = *state;
    for (size_t at = 0; at < size; at++) {
        if (now == UTF8_START) {
            at += ascii_words(bytes + at, size - at);
            while (at < size && (uint8_t)bytes[at] < 0x80)
                at++;
            if (at == size)
                break;
            now = after_first((uint8_t)bytes[at]);
        } else {
            now = after_wanted(now, (uint8_t)bytes[at]);
        }
        if (now == INVALID)
            return false;
    }
    *state = now;
    return true;
}

bool utf8_valid(const char *bytes, size_t size)
{
    uint32_t state = UTF8_START;
    return utf8_feed(&state, bytes, size) && utf8_complete(state);
}
