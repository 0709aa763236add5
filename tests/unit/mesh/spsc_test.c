/*
 * spsc_test: order, room and fullness of the ring on one thread, across the wrap of its indices. Two threads are
 * tests/stress/spsc_stress.c.
 */
#include "mesh/spsc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define SLOTS 8

static struct envelope slots[SLOTS];

/* An empty ring whose indices stand at `at`. */
static struct spsc ring_at(uint32_t at)
{
    return (struct spsc){.slots = slots, .mask = SLOTS - 1, .head = at, .tail = at, .tail_seen = at, .head_seen = at};
}

static void full_and_empty_are_answers(void **state)
{
    (void)state;
    struct spsc ring = ring_at(0);
    assert_null(spsc_peek(&ring));
    assert_int_equal(spsc_room(&ring), SLOTS);
    for (uint64_t i = 0; i < SLOTS; i++)
        assert_true(spsc_push(&ring, &(struct envelope){.offset = i}));
    assert_int_equal(spsc_room(&ring), 0);
    assert_false(spsc_push(&ring, &(struct envelope){.offset = 99}));
    assert_false(spsc_push(&ring, &(struct envelope){.offset = 99}));
    assert_int_equal(ring.full, 2);
    for (uint64_t i = 0; i < SLOTS; i++) {
        assert_int_equal(spsc_peek(&ring)->offset, i);
        assert_int_equal(spsc_peek(&ring)->offset, i); /* stays until it is popped */
        spsc_pop(&ring);
    }
    assert_null(spsc_peek(&ring));
}

static void one_slot_that_is_freed_is_room(void **state)
{
    (void)state;
    struct spsc ring = ring_at(0);
    for (uint64_t i = 0; i < SLOTS; i++)
        spsc_push(&ring, &(struct envelope){.offset = i});
    assert_non_null(spsc_peek(&ring));
    assert_false(spsc_push(&ring, &(struct envelope){.offset = 8})); /* peeked, but not popped */
    spsc_pop(&ring);
    assert_int_equal(spsc_room(&ring), 1);
    assert_true(spsc_push(&ring, &(struct envelope){.offset = 8}));
    assert_false(spsc_push(&ring, &(struct envelope){.offset = 9}));
}

static void indices_wrap(void **state)
{
    (void)state;
    for (uint32_t back = 0; back < 2 * SLOTS; back++) {
        struct spsc ring = ring_at(UINT32_MAX - back);
        uint64_t pushed = 0, popped = 0;
        for (uint32_t round = 0; round < 40; round++) {
            for (uint32_t i = 0; i < round % (SLOTS + 1); i++)
                pushed += spsc_push(&ring, &(struct envelope){.offset = pushed});
            assert_int_equal(spsc_room(&ring), SLOTS - (pushed - popped));
            for (uint32_t i = 0; i < round % 5 && spsc_peek(&ring); i++) {
                assert_int_equal(spsc_peek(&ring)->offset, popped++);
                spsc_pop(&ring);
            }
        }
        assert_true(pushed > 2 * SLOTS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_and_empty_are_answers),
        cmocka_unit_test(one_slot_that_is_freed_is_room),
        cmocka_unit_test(indices_wrap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
