/*
 * writer: text put together in a buffer of the caller's, or only measured.
 *
 * Each function appends a piece and adds its exact size to `size`; bytes are stored only as long as they fit. So one
 * function that writes a body also measures it (room 0), and the two can't disagree:
 *
 *      struct writer w = {.out = out, .room = room};
 *      writer_literal(&w, "\"offset\":");
 *      writer_u64(&w, offset);
 *      return w.size;                       // the text is whole if this is at most `room`
 *
 * Pure; any thread.
 */
#ifndef SHOAL_PROTOCOL_WRITER_H
#define SHOAL_PROTOCOL_WRITER_H

#include <stdint.h>

#include "protocol/span.h"

struct writer {
    char *out;
    size_t room;
    size_t size; /* of all that was written, stored or not */
};

/* The bytes as they are. Once a piece did not fit, no later one is stored. */
static inline void writer_put(struct writer *writer, struct span bytes)
{
    if (bytes.size > 0 && writer->size <= writer->room && bytes.size <= writer->room - writer->size)
        memcpy(writer->out + writer->size, bytes.data, bytes.size);
    writer->size += bytes.size;
}

#define writer_literal(writer, text) writer_put((writer), SPAN_LITERAL(text))

/* In decimal. */
void writer_u64(struct writer *writer, uint64_t value);

/* 16 lower-case hex digits. */
void writer_epoch(struct writer *writer, uint64_t epoch);

/* As a JSON string with its quotes. `text` is valid UTF-8. */
void writer_json_string(struct writer *writer, struct span text);

/* In base64 (RFC 4648 4, padded). */
void writer_base64(struct writer *writer, struct span bytes);

#endif
