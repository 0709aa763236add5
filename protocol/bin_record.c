/*
 * bin_record: where records begin and end. See bin_record.h.
 */
#include "protocol/bin_record.h"

#include <assert.h>

/* Returns the header's size. */
static size_t header_write(char out[BIN_HEADER_BYTES_MAX], enum bin_type type, size_t body)
{
    size_t size = 0;
    out[size++] = (char)type;
    for (; body >= 0x80; body >>= 7)
        out[size++] = (char)(body | 0x80);
    out[size++] = (char)body;
    return size;
}

bool record_next(struct span message, size_t *at, uint8_t *type, struct span *body)
{
    size_t next = *at + 1, size = 0;
    for (int shift = 0;; shift += 7) {
        if (next >= message.size || shift > 21)
            return false;
        uint8_t byte = (uint8_t)message.data[next++];
        size |= (size_t)(byte & 0x7F) << shift;
        if (byte < 0x80)
            break;
    }
    if (size > message.size - next)
        return false;
    *type = (uint8_t)message.data[*at];
    *body = (struct span){message.data + next, size};
    *at = next + size;
    return true;
}

size_t record_write(enum bin_type type, void (*body)(struct writer *, const void *), const void *what, char *out,
                    size_t room)
{
    struct writer measure = {0};
    body(&measure, what);
    assert(measure.size <= BIN_BODY_BYTES_MAX);
    char header[BIN_HEADER_BYTES_MAX];
    struct writer writer = {.out = out, .room = room};
    writer_put(&writer, (struct span){header, header_write(header, type, measure.size)});
    if (writer.size + measure.size <= room)
        body(&writer, what);
    else
        writer.size += measure.size;
    return writer.size;
}
