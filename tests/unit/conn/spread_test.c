/*
 * spread_test: the times at which a crowd is told to come back: within bounds, evenly spread, and none for a few.
 */
#include "conn/spread.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "protocol/close_code.h"

static void few_are_told_nothing(void **state)
{
    (void)state;
    struct spread spread = {.at_us = 1};
    for (int i = 0; i < 90; i++) /* a place is a millisecond */
        assert_int_equal(spread_after_ms(&spread, 1000, 1, 0, 1), 0);
    for (int64_t s = 1; s < 1000; s++)
        assert_int_equal(spread_after_ms(&spread, 1000, 1, 0, s * 1000000), 0);
}

static void nobody_is_told_where_there_is_no_rate(void **state)
{
    (void)state;
    struct spread spread = {0};
    for (int i = 0; i < 100000; i++)
        assert_int_equal(spread_after_ms(&spread, 0, 1, 0, 0), 0);
}

static void who_could_not_be_served_is_told_about_a_second(void **state)
{
    (void)state;
    struct spread spread = {0};
    for (int i = 0; i < 1000; i++)
        assert_in_range(spread_after_ms(&spread, 0, 1, SPREAD_LATER_MS, 0), SPREAD_LATER_MS / 2,
                        SPREAD_LATER_MS * 3 / 2);
}

/* Of a crowd told at once no second but the first (those told nothing) has much more than the rate, nor much less. */
static void crowd_comes_back_at_the_rate(void **state)
{
    (void)state;
    enum { CROWD = 100000, RATE = 4000, SHARDS = 4, SECONDS = 150 }; /* this shard's share: 1000 a second */
    static uint32_t comes[SECONDS + 1];
    struct spread spread = {.random = 7};
    memset(comes, 0, sizeof comes);
    for (int i = 0; i < CROWD; i++) {
        uint32_t after_ms = spread_after_ms(&spread, RATE, SHARDS, 0, 0);
        assert_true(after_ms < SECONDS * 1000);
        comes[after_ms / 1000]++;
    }
    assert_true(comes[0] <= 1400);
    for (int second = 1; second < SECONDS; second++)
        assert_true(comes[second] <= 1300);
    for (int second = 1; second < 50; second++)
        assert_true(comes[second] >= 900);
}

static void queue_is_bounded(void **state)
{
    (void)state;
    struct spread spread = {.random = 7};
    uint32_t most_ms = 0;
    for (int i = 0; i < 100000; i++) {
        uint32_t after_ms = spread_after_ms(&spread, 1, 255, SPREAD_LATER_MS, 0);
        most_ms = after_ms > most_ms ? after_ms : most_ms;
    }
    assert_in_range(most_ms, CLOSE_AFTER_MS_MAX * 9 / 10, CLOSE_AFTER_MS_MAX);
    assert_int_equal(spread_after_ms(&spread, 10000, 1, 0, SPREAD_QUEUE_US), 0); /* and passes with time */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(few_are_told_nothing),
        cmocka_unit_test(nobody_is_told_where_there_is_no_rate),
        cmocka_unit_test(who_could_not_be_served_is_told_about_a_second),
        cmocka_unit_test(crowd_comes_back_at_the_rate),
        cmocka_unit_test(queue_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
