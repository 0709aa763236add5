/*
 * wire_test: what is written is read again, byte by byte as the table in wire.h has it; what no link has written is
 * refused, whole or cut.
 */
#include "cluster/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct wire message = {
    .logged = true,
    .kind = 2,
    .instance = 0x0102030405060708,
    .sequence = 0xfffefdfcfbfaf9f8,
    .time_ms = 1700000000123,
    .epoch = 0xdeadbeef00c0ffee,
    .offset = 42,
    .topic = {"a/b", 3},
    .payload = {"hello", 5},
};

static size_t write_message(char *bytes)
{
    wire_write(&message, bytes);
    memcpy(bytes + WIRE_HEADER_SIZE, message.topic.data, message.topic.size);
    memcpy(bytes + WIRE_HEADER_SIZE + message.topic.size, message.payload.data, message.payload.size);
    return WIRE_HEADER_SIZE + message.topic.size + message.payload.size;
}

static void bytes_are_those_of_the_table(void **state)
{
    (void)state;
    static const char expected[] = "\x01\x01\x02\x03"
                                   "\x01\x02\x03\x04\x05\x06\x07\x08"
                                   "\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8"
                                   "\x00\x00\x01\x8b\xcf\xe5\x68\x7b"
                                   "deadbeef00c0ffee"
                                   "000000000000002a"
                                   "a/bhello";
    char bytes[128];
    assert_int_equal(write_message(bytes), sizeof expected - 1);
    assert_memory_equal(bytes, expected, sizeof expected - 1);
}

static void what_was_written_is_read(void **state)
{
    (void)state;
    char bytes[128];
    struct wire wire;
    assert_true(wire_parse((struct span){bytes, write_message(bytes)}, &wire));
    assert_true(wire.logged);
    assert_int_equal(wire.kind, message.kind);
    assert_int_equal(wire.instance, message.instance);
    assert_int_equal(wire.sequence, message.sequence);
    assert_int_equal(wire.time_ms, message.time_ms);
    assert_int_equal(wire.epoch, message.epoch);
    assert_int_equal(wire.offset, message.offset);
    assert_true(span_equal(wire.topic, message.topic));
    assert_true(span_equal(wire.payload, message.payload));
}

/* Each cut stands in memory of its own size, so that a sanitizer sees a read beyond it. */
static void whatever_is_cut_is_refused(void **state)
{
    (void)state;
    char bytes[128];
    size_t whole = write_message(bytes);
    for (size_t size = 0; size <= whole; size++) {
        char *cut = malloc(size ? size : 1);
        struct wire wire;
        memcpy(cut, bytes, size);
        assert_int_equal(wire_parse((struct span){cut, size}, &wire), size >= WIRE_HEADER_SIZE + message.topic.size);
        free(cut);
    }
}

static void what_no_link_writes_is_refused(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        char byte;
    } cases[] = {{0, 2},
                 {0, 0},
                 {1, 2},
                 {2, 3},
                 {3, 0},
                 {3, 9},
                 {60, '$'},
                 {60, '#'},
                 {62, '/'},
                 {WIRE_STAMP_AT, 'g'},
                 {WIRE_STAMP_AT, 'A'},
                 {59, ' '}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char bytes[128];
        struct wire wire;
        size_t size = write_message(bytes);
        bytes[cases[i].at] = cases[i].byte;
        assert_false(wire_parse((struct span){bytes, size}, &wire));
    }
}

/* An owner that began its log before offset 1 would take all that comes for repetitions. */
static void positions_that_no_script_gives_are_refused(void **state)
{
    (void)state;
    static const struct {
        bool logged;
        uint64_t epoch;
        uint64_t offset;
        bool parsed;
    } cases[] = {{true, 0, 1, false},
                 {true, 1, 0, false},
                 {true, 1, UINT64_MAX, false},
                 {true, 1, WIRE_OFFSET_MAX + 1, false},
                 {true, 1, WIRE_OFFSET_MAX, true},
                 {false, 0, 0, true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char bytes[128];
        struct wire wire = message;
        wire.logged = cases[i].logged;
        wire.epoch = cases[i].epoch;
        wire.offset = cases[i].offset;
        size_t size = write_message(bytes);
        wire_write(&wire, bytes);
        assert_int_equal(wire_parse((struct span){bytes, size}, &wire), cases[i].parsed);
    }
}

static void hex_is_sixteen_small_digits(void **state)
{
    (void)state;
    static const uint64_t values[] = {0, 1, 0xabcdef, UINT64_MAX, 1ull << 63};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        char hex[WIRE_HEX_SIZE];
        uint64_t value;
        wire_hex_write(values[i], hex);
        assert_true(wire_hex_parse((struct span){hex, sizeof hex}, &value));
        assert_int_equal(value, values[i]);
        assert_false(wire_hex_parse((struct span){hex, sizeof hex - 1}, &value));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_those_of_the_table), cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(whatever_is_cut_is_refused),   cmocka_unit_test(what_no_link_writes_is_refused),
        cmocka_unit_test(hex_is_sixteen_small_digits),  cmocka_unit_test(positions_that_no_script_gives_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
