/*
 * http_chunked: the decoder of chunked bodies (RFC 9112 7.1).
 *
 * Framing is read byte by byte, body bytes are moved in one go. Only exactly what the grammar says passes: that some
 * readers accept a bare LF or white space behind a size, and others don't, is what request smuggling is made of.
 *
 *       ┌────────────────── LF ◀── DATA_LF ◀── CR ── DATA_CR ◀── all bytes ──┐
 *       ▼                                                                      │
 *      SIZE ──▶ EXTENSION ──▶ CR ──▶ SIZE_LF ──── LF, size > 0 ────────────▶ DATA
 *                                       └──────── LF, size 0 ──▶ TRAILER ── CR ──▶ END_LF ── LF ──▶ END
 *                                                                ▲     └── name ──▶ TRAILER_NAME ── : ──┐
 *                                                                └── LF ── TRAILER_LF ◀── CR ── TRAILER_VALUE
 */
#include "protocol/http.h"

#include <assert.h>

#include "protocol/http_chars.h"

enum chunked_state {
    CHUNKED_SIZE, /* left, digits, line_bytes; 0: the state of a new decoder */
    CHUNKED_EXTENSION,
    CHUNKED_SIZE_LF,
    CHUNKED_DATA, /* left */
    CHUNKED_DATA_CR,
    CHUNKED_DATA_LF,
    CHUNKED_TRAILER, /* line_bytes: of all trailers together */
    CHUNKED_TRAILER_NAME,
    CHUNKED_TRAILER_VALUE,
    CHUNKED_TRAILER_LF,
    CHUNKED_END_LF,
    CHUNKED_END,
    CHUNKED_BROKEN, /* status */
};

#define CHUNK_LINE_BYTES_MAX  256 /* of a size with its extensions */
#define TRAILERS_BYTES_MAX    1024
#define CHUNK_SIZE_DIGITS_MAX 15 /* fits into 60 bits: no overflow */

void http_chunked_init(struct http_chunked *chunked, uint64_t body_bytes_max)
{
    *chunked = (struct http_chunked){.body_bytes_max = body_bytes_max};
}

static uint8_t chunked_break(struct http_chunked *chunked, int16_t status)
{
    chunked->status = status;
    return CHUNKED_BROKEN;
}

static uint8_t chunked_size_byte(struct http_chunked *chunked, char byte)
{
    int digit = char_hex(byte);
    if (digit >= 0 && chunked->digits < CHUNK_SIZE_DIGITS_MAX) {
        chunked->left = chunked->left << 4 | (uint64_t)digit;
        chunked->digits++;
        return CHUNKED_SIZE;
    }
    if (chunked->digits > 0 && byte == '\r')
        return CHUNKED_SIZE_LF;
    if (chunked->digits > 0 && byte == ';')
        return CHUNKED_EXTENSION;
    return chunked_break(chunked, 400);
}

/* The size line is complete. */
static uint8_t chunked_begin(struct http_chunked *chunked)
{
    chunked->line_bytes = 0;
    chunked->digits = 0;
    if (chunked->left == 0)
        return CHUNKED_TRAILER;
    if (chunked->left > chunked->body_bytes_max - chunked->body_bytes)
        return chunked_break(chunked, 413);
    chunked->body_bytes += chunked->left;
    return CHUNKED_DATA;
}

static uint8_t chunked_text_byte(struct http_chunked *chunked, char byte, uint8_t here, uint8_t after_cr)
{
    if (byte == '\r')
        return after_cr;
    return char_is(byte, CHAR_VALUE) ? here : chunked_break(chunked, 400);
}

static uint8_t chunked_expect(struct http_chunked *chunked, char byte, char expected, uint8_t next)
{
    return byte == expected ? next : chunked_break(chunked, 400);
}

/* A trailer's first byte, or the CR of the empty line that ends the body. */
static uint8_t chunked_trailer_byte(struct http_chunked *chunked, char byte)
{
    if (byte == '\r')
        return CHUNKED_END_LF;
    return char_is(byte, CHAR_TOKEN) ? CHUNKED_TRAILER_NAME : chunked_break(chunked, 400);
}

static uint8_t chunked_trailer_name_byte(struct http_chunked *chunked, char byte)
{
    if (byte == ':')
        return CHUNKED_TRAILER_VALUE;
    return char_is(byte, CHAR_TOKEN) ? CHUNKED_TRAILER_NAME : chunked_break(chunked, 400);
}

/* Whether the line that this byte belongs to has grown too long. */
static bool chunked_line_full(struct http_chunked *chunked)
{
    bool trailers = chunked->state >= CHUNKED_TRAILER;
    return chunked->line_bytes++ >= (trailers ? TRAILERS_BYTES_MAX : CHUNK_LINE_BYTES_MAX);
}

/* The state after one byte of framing. */
static uint8_t chunked_next(struct http_chunked *chunked, char byte)
{
    if (chunked_line_full(chunked))
        return chunked_break(chunked, 400);
    switch ((enum chunked_state)chunked->state) {
    case CHUNKED_SIZE:
        return chunked_size_byte(chunked, byte);
    case CHUNKED_EXTENSION:
        return chunked_text_byte(chunked, byte, CHUNKED_EXTENSION, CHUNKED_SIZE_LF);
    case CHUNKED_SIZE_LF:
        return byte == '\n' ? chunked_begin(chunked) : chunked_break(chunked, 400);
    case CHUNKED_DATA_CR:
        return chunked_expect(chunked, byte, '\r', CHUNKED_DATA_LF);
    case CHUNKED_DATA_LF:
        chunked->line_bytes = 0;
        return chunked_expect(chunked, byte, '\n', CHUNKED_SIZE);
    case CHUNKED_TRAILER:
        return chunked_trailer_byte(chunked, byte);
    case CHUNKED_TRAILER_NAME:
        return chunked_trailer_name_byte(chunked, byte);
    case CHUNKED_TRAILER_VALUE:
        return chunked_text_byte(chunked, byte, CHUNKED_TRAILER_VALUE, CHUNKED_TRAILER_LF);
    case CHUNKED_TRAILER_LF:
        return chunked_expect(chunked, byte, '\n', CHUNKED_TRAILER);
    case CHUNKED_END_LF:
        return chunked_expect(chunked, byte, '\n', CHUNKED_END);
    case CHUNKED_DATA:
    case CHUNKED_END:
    case CHUNKED_BROKEN:
        break;
    }
    assert(!"these have no framing bytes");
    return CHUNKED_BROKEN;
}

/* Moves body bytes to the front. Returns how many. */
static size_t chunked_move(struct http_chunked *chunked, char *to, const char *from, size_t size)
{
    size_t taken = size < chunked->left ? size : (size_t)chunked->left;
    if (to != from)
        memmove(to, from, taken);
    chunked->left -= taken;
    if (chunked->left == 0)
        chunked->state = CHUNKED_DATA_CR;
    return taken;
}

enum http_parse http_chunked_feed(struct http_chunked *chunked, char *bytes, size_t size, size_t *consumed,
                                  size_t *decoded)
{
    size_t at = 0;
    size_t written = 0;
    while (at < size && chunked->state != CHUNKED_END && chunked->state != CHUNKED_BROKEN) {
        if (chunked->state == CHUNKED_DATA) {
            size_t taken = chunked_move(chunked, bytes + written, bytes + at, size - at);
            at += taken;
            written += taken;
        } else {
            chunked->state = chunked_next(chunked, bytes[at++]);
        }
    }
    *consumed = at;
    *decoded = written;
    if (chunked->state == CHUNKED_BROKEN)
        return HTTP_BAD;
    return chunked->state == CHUNKED_END ? HTTP_DONE : HTTP_MORE;
}
