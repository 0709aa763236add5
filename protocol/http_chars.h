/*
 * http_chars: which characters may stand where in HTTP. Used by the http files only.
 */
#ifndef SHOAL_PROTOCOL_HTTP_CHARS_H
#define SHOAL_PROTOCOL_HTTP_CHARS_H

#include <stdbool.h>
#include <stdint.h>

enum char_class {
    CHAR_TOKEN = 1,  /* RFC 9110 5.6.2: letters, digits and !#$%&'*+-.^_`|~ */
    CHAR_VALUE = 2,  /* of a header's value: visible, space, tab, and 80 to FF (RFC 9110 5.5) */
    CHAR_TARGET = 4, /* of a request target: visible ASCII. Looser than a URI, but for '#' that never is sent */
    CHAR_HOST = 8,   /* of a host and port: no delimiter of a URI but those of an address */
};

/* The classes that each byte belongs to, as a sum. */
extern const uint8_t http_char_classes[256];

static inline bool char_is(char byte, enum char_class class)
{
    return http_char_classes[(uint8_t)byte] & class;
}

static inline bool char_is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

/* -1: not a hex digit. */
static inline int char_hex(char byte)
{
    if (char_is_digit(byte))
        return byte - '0';
    char lower = (char)(byte | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

#endif
