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

void writer_json_string(struct writer *writer, struct span text)
{
    struct span run = {text.data, 0};
    writer_literal(writer, "\"");
    for (size_t i = 0; i < text.size; i++) {
        if (!json_needs_escape(text.data[i])) {
            run.size++;
            continue;
        }
        writer_put(writer, run);
        json_escape_put(writer, text.data[i]);
        run = (struct span){text.data + i + 1, 0};
    }
    writer_put(writer, run);
    writer_literal(writer, "\"");
}

void writer_base64(struct writer *writer, struct span bytes)
{
    size_t size = base64_size(bytes.size);
    if (writer->size <= writer->room && size <= writer->room - writer->size)
        base64_write(writer->out + writer->size, bytes);
    writer->size += size;
}
