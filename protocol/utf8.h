/*
 * utf8: checks that bytes are valid UTF-8 (RFC 3629), in pieces of any size.
 *
 * What is refused: overlong forms, surrogates (U+D800 to U+DFFF), anything above U+10FFFF, and bytes that never occur.
 * A piece is refused at the first byte that no valid text could have there, not at the end of the character: this is
 * what RFC 6455 8.1 needs to fail a text message early. Pure; any thread.
 */
#ifndef SHOAL_PROTOCOL_UTF8_H
#define SHOAL_PROTOCOL_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The state between two pieces: 0 between characters; else which bytes must follow. Starts as UTF8_START. */
#define UTF8_START UINT32_C(0)

/* Checks the next `size` bytes. False: invalid whatever follows; the state is then void. */
bool utf8_feed(uint32_t *state, const char *bytes, size_t size);

/* Whether the text may end here: no character is cut in two. */
static inline bool utf8_complete(uint32_t state)
{
    return state == UTF8_START;
}

/* Whether this is a whole valid text. */
bool utf8_valid(const char *bytes, size_t size);

#endif
