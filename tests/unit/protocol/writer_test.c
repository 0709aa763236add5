/*
 * writer_test: JSON strings, against a slow obvious writer: each byte that needs care, at each place of texts that are
 * shorter and longer than what is looked at at once.
 */
#include "protocol/writer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define TEXT_MAX 40

static size_t slow_json_string(struct span text, char *out)
{
    size_t size = 0;
    out[size++] = '"';
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.data[i];
        const char *place = c ? strchr("\"\\\b\f\n\r\t", c) : NULL;
        if (place)
            size += (size_t)snprintf(out + size, 3, "\\%c", "\"\\bfnrt"[place - "\"\\\b\f\n\r\t"]);
        else if (c < 0x20)
            size += (size_t)snprintf(out + size, 7, "\\u%04x", c);
        else
            out[size++] = (char)c;
    }
    out[size++] = '"';
    return size;
}

static void assert_written(struct span text)
{
    char expected[6 * TEXT_MAX + 8], found[sizeof expected];
    size_t size = slow_json_string(text, expected);
    struct writer measured = {0}, writer = {.out = found, .room = sizeof found};
    writer_json_string(&measured, text);
    writer_json_string(&writer, text);
    assert_int_equal(measured.size, size);
    assert_int_equal(writer.size, size);
    assert_memory_equal(found, expected, size);
}

static void every_byte_everywhere(void **state)
{
    (void)state;
    char text[TEXT_MAX];
    for (int c = 0; c < 256; c++) {
        for (size_t size = 0; size <= TEXT_MAX; size++) {
            memset(text, '!', sizeof text); /* the nearest neighbour of what is escaped: " and the space */
            assert_written((struct span){text, size});
            for (size_t at = 0; at < size; at++) {
                text[at] = (char)c;
                assert_written((struct span){text, size});
                text[at] = (char)(at % 2 ? '~' : ' ');
            }
        }
    }
}

static void chance(void **state)
{
    (void)state;
    char text[TEXT_MAX];
    uint32_t random = 1;
    for (int n = 0; n < 20000; n++) {
        for (size_t i = 0; i < sizeof text; i++) {
            random = random * 1664525u + 1013904223u;
            text[i] = (char)(random >> 24);
        }
        assert_written((struct span){text, (size_t)n % (TEXT_MAX + 1)});
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_everywhere),
        cmocka_unit_test(chance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
