/*
 * base64: groups of three bytes as four digits of six bits.
 *
 * Not libcrypto's: its reader lets space and half a padding pass, and its writer adds a NUL that nobody has room for.
 */
#include "protocol/base64.h"

#include <stdint.h>

/* One to three bytes as four characters. */
static void group_write(char out[4], const char *bytes, size_t count)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = 0;
    for (size_t i = 0; i < 3; i++)
        bits = bits << 8 | (i < count ? (uint8_t)bytes[i] : 0);
    for (size_t i = 0; i < 4; i++)
        out[i] = i <= count ? digits[bits >> (18 - 6 * i) & 63] : '=';
}

void base64_write(char *out, struct span bytes)
{
    for (size_t at = 0; at < bytes.size; at += 3, out += 4)
        group_write(out, bytes.data + at, bytes.size - at < 3 ? bytes.size - at : 3);
}

/* -1: not one of the 64. */
static int digit_read(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Four characters, of which the last `padding` are `=`, as three bytes less those. */
static bool group_read(const char *group, unsigned padding, char out[3])
{
    uint32_t bits = 0;
    for (unsigned i = 0; i < 4; i++) {
        int digit = i < 4 - padding ? digit_read(group[i]) : 0;
        if (digit < 0)
            return false;
        bits = bits << 6 | (uint32_t)digit;
    }
    for (unsigned i = 0; i < 3; i++)
        out[i] = (char)(bits >> (16 - 8 * i));
    return (bits & ((UINT32_C(1) << 8 * padding) - 1)) == 0; /* 3.5: what is left over is zero */
}

bool base64_read(struct span text, char *out, size_t *size)
{
    *size = 0;
    if (text.size % 4 != 0)
        return false;
    for (size_t at = 0; at < text.size; at += 4) {
        bool last = at + 4 == text.size;
        unsigned padding = !last || text.data[at + 3] != '=' ? 0 : text.data[at + 2] != '=' ? 1 : 2;
        char bytes[3];
        if (!group_read(text.data + at, padding, bytes))
            return false;
        memcpy(out + *size, bytes, 3 - padding);
        *size += 3 - padding;
    }
    return true;
}
