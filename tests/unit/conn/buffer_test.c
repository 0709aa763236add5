/*
 * buffer_test: bytes come out in the order in which they went in, whatever is taken between, and an empty buffer has
 * no memory.
 */
#include "conn/buffer.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static uint32_t random_state = 3;

static uint32_t chance(uint32_t bound)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)random_state * bound) >> 32);
}

static void bytes_stay_in_order(void **state)
{
    (void)state;
    struct buffer buffer = {0};
    uint8_t in = 0, out = 0;
    for (int step = 0; step < 20000; step++) {
        uint8_t bytes[700];
        uint32_t size = chance(sizeof bytes);
        for (uint32_t i = 0; i < size; i++)
            bytes[i] = in++;
        assert_true(buffer_add(&buffer, bytes, size));
        uint32_t taken = chance(buffer_waiting(&buffer) + 1);
        if (chance(10) == 0)
            taken = buffer_waiting(&buffer);
        assert_true(buffer.bytes || taken == 0);
        for (uint32_t i = 0; i < taken && buffer.bytes; i++)
            assert_int_equal((uint8_t)buffer.bytes[buffer.at + i], out++);
        buffer_take(&buffer, taken);
        assert_int_equal((uint8_t)(in - out), (uint8_t)buffer_waiting(&buffer));
    }
    buffer_free(&buffer);
}

static void empty_buffer_has_no_memory(void **state)
{
    (void)state;
    struct buffer buffer = {0};
    assert_true(buffer_add(&buffer, "abc", 3));
    buffer_take(&buffer, 2);
    assert_int_equal(buffer_waiting(&buffer), 1);
    buffer_take(&buffer, 1);
    assert_null(buffer.bytes);
    assert_int_equal(buffer_waiting(&buffer), 0);
    buffer_take(&buffer, 0);
    buffer_free(&buffer);
}

static void front_comes_first(void **state)
{
    (void)state;
    struct buffer buffer = {0};
    assert_true(buffer_add(&buffer, "..later", 7));
    buffer_take(&buffer, 2);
    assert_true(buffer_add_front(&buffer, "first ", 6));
    assert_int_equal(buffer_waiting(&buffer), 11);
    assert_memory_equal(buffer.bytes + buffer.at, "first later", 11);
    buffer_free(&buffer);
    assert_true(buffer_add_front(&buffer, "x", 1)); /* before nothing */
    assert_int_equal(buffer_waiting(&buffer), 1);
    buffer_free(&buffer);
}

/* Room that was asked for is the caller's to fill; what was taken is given up for it. */
static void reach_gives_room(void **state)
{
    (void)state;
    struct buffer buffer = {0};
    char *place = buffer_reach(&buffer, 1000);
    memset(place, 'a', 1000);
    buffer.size += 1000;
    buffer_take(&buffer, 990);
    place = buffer_reach(&buffer, 5000);
    memset(place, 'b', 5000);
    buffer.size += 5000;
    assert_int_equal(buffer.at, 0);
    assert_int_equal(buffer_waiting(&buffer), 5010);
    assert_memory_equal(buffer.bytes, "aaaaaaaaaab", 11);
    assert_true(buffer.room < 8000);
    buffer_free(&buffer);
}

/* A buffer counts in 32 bits: more is refused, and nothing is changed. */
static void more_than_32_bits_are_refused(void **state)
{
    (void)state;
    struct buffer buffer = {0};
    assert_true(buffer_add(&buffer, "abc", 3));
    assert_null(buffer_reach(&buffer, UINT32_MAX));
    assert_int_equal(buffer_waiting(&buffer), 3);
    assert_memory_equal(buffer.bytes, "abc", 3);
    buffer_free(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_stay_in_order),
        cmocka_unit_test(empty_buffer_has_no_memory),
        cmocka_unit_test(front_comes_first),
        cmocka_unit_test(reach_gives_room),
        cmocka_unit_test(more_than_32_bits_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
