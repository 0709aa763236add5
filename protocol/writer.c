/*
 * writer: the pieces that are more than a copy. Strings go out in runs: most bytes of most texts need no escape.
 */
#include "protocol/writer.h"

#include "protocol/base64.h"
#include "protocol/dialect.h"

void writer_u64(struct writer *writer, uint64_t value)
{
    char digits[20]; /* of 2^64 - 1 */
    size_t begin = sizeof digits;
    do {
        digits[--begin] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    writer_put(writer, (struct span){digits + begin, sizeof digits - begin});
}

void writer_epoch(struct writer *writer, uint64_t epoch)
{
    char digits[EPOCH_TEXT_SIZE];
    epoch_write(epoch, digits);
    writer_put(writer, (struct span){digits, sizeof digits});
}

/* What JSON does not let stand in a string (RFC 8259 7). */
static bool json_needs_escape(char c)
{
    return (unsigned char)c < 0x20 || c == '"' || c == '\\';
}

static void json_escape_put(struct writer *writer, char c)
{
    static const char plain[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt", hex[] = "0123456789abcdef";
    const char *short_form = memchr(plain, c, sizeof plain - 1);
    if (short_form) {
        char escape[] = {'\\', letters[short_form - plain]};
        writer_put(writer, (struct span){escape, sizeof escape});
    } else {
        char escape[] = {'\\', 'u', '0', '0', hex[(unsigned char)c >> 4], hex[c & 15]};
        writer_put(writer, (struct span){escape, sizeof escape});
    }
}

/* Bytes that stand in a word eight times over. */
#define EIGHT_TIMES(byte) ((uint64_t)(byte)*0x0101010101010101u)

/* Whether one of eight bytes is less than `limit`, at most 128. */
static bool any_below(uint64_t word, uint8_t limit)
{
    return (word - EIGHT_TIMES(limit)) & ~word & EIGHT_TIMES(0x80);
}

/* With how many bytes a text begins that stand in a string as they are: most texts have no others. */
static size_t json_plain_size(struct span text)
{
    size_t size = 0;
    uint64_t word;
    for (; size + sizeof word <= text.size; size += sizeof word) {
        memcpy(&word, text.data + size, sizeof word);
        if (any_below(word, 0x20) || any_below(word ^ EIGHT_TIMES('"'), 1) || any_below(word ^ EIGHT_TIMES('\\'), 1))
            break;
    }
    while (size < text.size && !json_needs_escape(text.data[size]))
        size++;
    return size;
}

void writer_json_string(struct writer *writer, struct span text)
{
    writer_literal(writer, "\"");
    for (size_t at = 0; at < text.size; at++) {
        struct span plain = {text.data + at, json_plain_size((struct span){text.data + at, text.size - at})};
        writer_put(writer, plain);
        at += plain.size;
        if (at < text.size)
            json_escape_put(writer, text.data[at]);
    }
    writer_literal(writer, "\"");
}

void writer_base64(struct writer *writer, struct span bytes)
{
    size_t size = base64_size(bytes.size);
    if (writer->size <= writer->room && size <= writer->room - writer->size)
        base64_write(writer->out + writer->size, bytes);
    writer->size += size;
}
