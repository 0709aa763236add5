/*
 * idempotency_test: a key is known for as long and as many as the window says, in its own topic alone.
 */
#include "topic/idempotency.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct span key_of(uint32_t number)
{
    static char text[16];
    return (struct span){text, (size_t)snprintf(text, sizeof text, "key%u", number)};
}

static bool add(struct idempotency *window, uint32_t key, int64_t now_ms)
{
    struct idempotency_id id = idempotency_id(1, key_of(key));
    return idempotency_add(window, &id, now_ms, (struct idempotency_answer){.epoch = 7, .offset = key});
}

static bool knows(struct idempotency *window, uint32_t key, int64_t now_ms)
{
    struct idempotency_answer answer;
    struct idempotency_id id = idempotency_id(1, key_of(key));
    if (!idempotency_find(window, &id, now_ms, &answer))
        return false;
    assert_int_equal(answer.epoch, 7);
    assert_int_equal(answer.offset, key);
    return true;
}

static void key_is_of_its_topic(void **state)
{
    (void)state;
    struct idempotency window;
    struct idempotency_answer answer;
    assert_true(idempotency_init(&window, 100, 10));
    assert_true(add(&window, 1, 0));
    assert_true(knows(&window, 1, 0));
    assert_false(knows(&window, 2, 0));
    struct idempotency_id id = idempotency_id(2, key_of(1));
    assert_false(idempotency_find(&window, &id, 0, &answer));
    idempotency_destroy(&window);
}

static void window_by_count_forgets_the_oldest(void **state)
{
    (void)state;
    struct idempotency window;
    assert_true(idempotency_init(&window, 100, 3600));
    for (uint32_t i = 0; i < 1000; i++) {
        assert_true(add(&window, i, i));
        assert_true(knows(&window, i, i));
        if (i >= 100) {
            assert_false(knows(&window, i - 100, i));
            assert_true(knows(&window, i - 99, i));
        }
        assert_true(window.records.used <= 100);
    }
    assert_int_equal(window.evictions, 900);
    idempotency_destroy(&window);
}

static void window_by_time(void **state)
{
    (void)state;
    struct idempotency window;
    assert_true(idempotency_init(&window, 100000, 10));
    for (uint32_t i = 0; i < 100; i++)
        add(&window, i, i * 1000);
    assert_true(knows(&window, 99, 109000));
    assert_false(knows(&window, 99, 109001)); /* whether it was swept or not */
    idempotency_sweep(&window, 99000);
    assert_int_equal(window.records.used, 11);
    idempotency_sweep(&window, 1000000);
    assert_int_equal(window.records.used, 0);
    assert_true(add(&window, 5, 1000000));
    assert_true(knows(&window, 5, 1000000));
    idempotency_destroy(&window);
}

/* The wall clock may jump: an old record that can't be swept yet does not hide a newer one of the same key. */
static void clock_that_jumps(void **state)
{
    (void)state;
    struct idempotency window;
    assert_true(idempotency_init(&window, 100, 10));
    add(&window, 1, 100000); /* before a jump back */
    for (uint32_t i = 0; i < 50; i++)
        add(&window, 100 + i, 2000);
    add(&window, 2, 3000);
    assert_false(knows(&window, 2, 20000));
    assert_true(add(&window, 2, 20000));
    for (uint32_t i = 0; i < 40; i++) { /* buckets are split meanwhile */
        assert_true(knows(&window, 2, 20000));
        add(&window, 200 + i, 20000);
    }
    idempotency_destroy(&window);
}

static void empty_window_remembers_nothing(void **state)
{
    (void)state;
    struct idempotency window;
    assert_true(idempotency_init(&window, 0, 10));
    assert_false(add(&window, 1, 0));
    assert_false(knows(&window, 1, 0));
    idempotency_sweep(&window, 100000);
    idempotency_destroy(&window);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(key_is_of_its_topic),
        cmocka_unit_test(window_by_count_forgets_the_oldest),
        cmocka_unit_test(window_by_time),
        cmocka_unit_test(clock_that_jumps),
        cmocka_unit_test(empty_window_remembers_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
