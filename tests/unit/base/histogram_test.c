/*
 * histogram_test: every value has one bucket, buckets meet without a hole, and none is more than a quarter wide.
 */
#include "base/histogram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void buckets_meet(void **state)
{
    (void)state;
    uint32_t lower = 0;
    for (uint32_t bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
        uint32_t upper = histogram_upper(bucket);
        assert_true(upper >= lower);
        assert_int_equal(histogram_bucket(lower), bucket);
        assert_int_equal(histogram_bucket(upper), bucket);
        assert_true((uint64_t)(upper - lower) * 4 <= lower);
        lower = upper + 1;
    }
    assert_int_equal(lower - 1, HISTOGRAM_VALUE_MAX);
}

static void values_are_counted_where_they_belong(void **state)
{
    (void)state;
    struct histogram histogram = {0};
    static const uint32_t values[] = {0, 3, 4, 17, 17, 100000, HISTOGRAM_VALUE_MAX, UINT32_MAX};
    uint64_t sum = 0, count = 0;
    for (uint32_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        histogram_add(&histogram, values[i]);
        sum += values[i] < HISTOGRAM_VALUE_MAX ? values[i] : HISTOGRAM_VALUE_MAX;
    }
    for (uint32_t bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++)
        count += histogram_count(&histogram, bucket);
    assert_int_equal(count, sizeof values / sizeof values[0]);
    assert_int_equal(histogram.sum, sum);
    assert_int_equal(histogram_count(&histogram, histogram_bucket(17)), 2);
    assert_int_equal(histogram_count(&histogram, HISTOGRAM_BUCKETS - 1), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buckets_meet),
        cmocka_unit_test(values_are_counted_where_they_belong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
