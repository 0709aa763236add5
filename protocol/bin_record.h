/*
 * bin_record: the pieces that records of the binary dialect are made of; shared by its two ends, dialect_bin.c (the
 * broker's) and dialect_bin_client.c, and by nobody else. The form of a record is drawn in dialect_bin.h.
 */
#ifndef SHOAL_PROTOCOL_BIN_RECORD_H
#define SHOAL_PROTOCOL_BIN_RECORD_H

#include <stdint.h>

#include "protocol/dialect_bin.h"
#include "protocol/writer.h"

#define BIN_TEXT_BYTES_MAX 255 /* of a string with its size in one byte */
#define BIN_KEY_BYTES_MAX  128

enum { OK_HAS_POSITION = 1, OK_HAS_RECOVERED = 2, OK_RECOVERED = 4 };
enum { ERROR_RETRY = 1 };
enum { PUBLISH_AGAIN = 0x80 }; /* beside the kind */

/* ---- little-endian numbers of up to 8 bytes ---- */

static inline uint64_t number_load(const char *bytes, size_t size)
{
    uint64_t value = 0;
    for (size_t i = size; i > 0; i--)
        value = value << 8 | (uint8_t)bytes[i - 1];
    return value;
}

static inline void number_store(char *bytes, size_t size, uint64_t value)
{
    for (size_t i = 0; i < size; i++, value >>= 8)
        bytes[i] = (char)(value & 0xFF);
}

static inline void put_number(struct writer *writer, size_t size, uint64_t value)
{
    char bytes[8];
    number_store(bytes, size, value);
    writer_put(writer, (struct span){bytes, size});
}

#define put_u8(writer, value)  put_number(writer, 1, value)
#define put_u16(writer, value) put_number(writer, 2, value)
#define put_u32(writer, value) put_number(writer, 4, value)
#define put_u64(writer, value) put_number(writer, 8, value)

/* ---- reading a body ---- */

/* What is left of it. A piece that is not there leaves `failed`, and reads as nothing. */
struct reader {
    struct span left;
    bool failed;
};

static inline struct span take(struct reader *reader, size_t size)
{
    if (size > reader->left.size) {
        reader->failed = true;
        return SPAN_NONE;
    }
    struct span piece = {reader->left.data, size};
    reader->left = (struct span){piece.data + size, reader->left.size - size};
    return piece;
}

static inline uint64_t take_number(struct reader *reader, size_t size)
{
    struct span piece = take(reader, size);
    return number_load(piece.data, piece.size);
}

#define take_u8(reader)  ((uint8_t)take_number(reader, 1))
#define take_u16(reader) ((uint16_t)take_number(reader, 2))
#define take_u32(reader) ((uint32_t)take_number(reader, 4))
#define take_u64(reader) take_number(reader, 8)

static inline struct span take_rest(struct reader *reader)
{
    return take(reader, reader->left.size);
}

static inline struct span take_topic(struct reader *reader)
{
    return take(reader, take_u8(reader));
}

/* ---- records ---- */

/* False: the size does not end within its 4 bytes, or says more than there is. *at is moved behind the record. */
bool record_next(struct span message, size_t *at, uint8_t *type, struct span *body);

/*
 * Writes one record if it fits into `room`, and returns its exact size: `body` is called to measure, and then to write
 * behind the header.
 */
size_t record_write(enum bin_type type, void (*body)(struct writer *, const void *), const void *what, char *out,
                    size_t room);

#endif
