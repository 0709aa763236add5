/*
 * http_chars: the table of RFC 9110 5.5 and 5.6.2, and of what is left of RFC 3986 when one only asks for delimiters.
 */
#include "protocol/http_chars.h"

#define VISIBLE (CHAR_VALUE | CHAR_TARGET)
#define NAME    (VISIBLE | CHAR_TOKEN | CHAR_HOST)

/* Ranges in a table are a GNU extension that both our compilers have; a later entry replaces an earlier one. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"
#ifdef __clang__
#pragma GCC diagnostic ignored "-Winitializer-overrides"
#endif
const uint8_t http_char_classes[256] = {
    ['\t'] = CHAR_VALUE,
    [' '] = CHAR_VALUE,
    [0x21 ... 0x7E] = VISIBLE,
    ['0' ... '9'] = NAME,
    ['A' ... 'Z'] = NAME,
    ['a' ... 'z'] = NAME,
    ['!'] = NAME,
    ['#'] = CHAR_VALUE | CHAR_TOKEN,
    ['$'] = NAME,
    ['%'] = NAME,
    ['&'] = NAME,
    ['\''] = NAME,
    ['*'] = NAME,
    ['+'] = NAME,
    ['-'] = NAME,
    ['.'] = NAME,
    ['^'] = VISIBLE | CHAR_TOKEN,
    ['_'] = NAME,
    ['`'] = VISIBLE | CHAR_TOKEN,
    ['|'] = VISIBLE | CHAR_TOKEN,
    ['~'] = NAME,
    [':'] = VISIBLE | CHAR_HOST,
    ['['] = VISIBLE | CHAR_HOST,
    [']'] = VISIBLE | CHAR_HOST,
    ['('] = VISIBLE | CHAR_HOST,
    [')'] = VISIBLE | CHAR_HOST,
    [','] = VISIBLE | CHAR_HOST,
    [';'] = VISIBLE | CHAR_HOST,
    ['='] = VISIBLE | CHAR_HOST,
    [0x80 ... 0xFF] = CHAR_VALUE,
};
#pragma GCC diagnostic pop
