/*
 * vector_test: what is pushed is there in its order, growth stays modest, and memory goes back.
 */
#include "base/vector.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void keeps_its_order_through_growth(void **state)
{
    (void)state;
    struct vector vector = {0};
    for (uint32_t i = 0; i < 100000; i++) {
        assert_true(vector_push(&vector, i * 3));
        assert_true(vector.size <= vector.room);
    }
    for (uint32_t i = 0; i < 100000; i++)
        assert_int_equal(vector.items[i], i * 3);
    assert_true(vector.room - vector.size <= vector.size / 8 + 1);
    vector_free(&vector);
    assert_null(vector.items);
    assert_int_equal(vector.size + vector.room, 0);
}

static void memory_goes_back(void **state)
{
    (void)state;
    struct vector vector = {0};
    for (uint32_t i = 0; i < 10000; i++)
        vector_push(&vector, i);
    while (vector.size > 1) {
        vector_pop(&vector);
        assert_true(vector.room <= vector.size * 4 + 4);
        assert_int_equal(vector.items[vector.size - 1], vector.size - 1);
    }
    vector_pop(&vector);
    assert_null(vector.items); /* an empty one has no memory */
    assert_true(vector_push(&vector, 9));
    assert_int_equal(vector.items[0], 9);
    vector_free(&vector);
}

/* On the edge of a growth, pushing and popping in turn does not move the items each time. */
static void edge_is_not_a_cliff(void **state)
{
    (void)state;
    struct vector vector = {0};
    for (uint32_t i = 0; i < 1000; i++)
        vector_push(&vector, i);
    while (vector.size < vector.room)
        vector_push(&vector, 0);
    vector_push(&vector, 0);
    uint32_t room = vector.room;
    for (int i = 0; i < 100; i++) {
        vector_pop(&vector);
        vector_push(&vector, 0);
        assert_int_equal(vector.room, room);
    }
    vector_free(&vector);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_its_order_through_growth),
        cmocka_unit_test(memory_goes_back),
        cmocka_unit_test(edge_is_not_a_cliff),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
