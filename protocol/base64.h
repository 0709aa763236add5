/*
 * base64: binary payloads within text (RFC 4648 4: the standard alphabet, padded).
 *
 * Pure; any thread.
 */
#ifndef SHOAL_PROTOCOL_BASE64_H
#define SHOAL_PROTOCOL_BASE64_H

#include "protocol/span.h"

/* What base64_write() writes for so many bytes. */
static inline size_t base64_size(size_t bytes)
{
    return (bytes + 2) / 3 * 4;
}

/* Writes base64_size(bytes.size) characters. */
void base64_write(char *out, struct span bytes);

/*
 * Reads what base64_write() writes and nothing else: no space, no missing `=`, no bits left over. Writes at most three
 * quarters of text.size; `out` may be where the text is. False: it is not base64.
 */
bool base64_read(struct span text, char *out, size_t *size);

#endif
