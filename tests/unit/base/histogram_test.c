/*
 * Buckets: each value has one, buckets follow each other without holes, and none is wider than a quarter of its values.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/histogram.h"

static void buckets_follow_each_other(void **state)
{
    (void)state;
    uint32_t lower = 0;
    for (uint32_t bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
        uint32_t upper = histogram_upper(bucket);
        assert_true(upper >= lower);
        assert_int_equal(histogram_bucket(lower), bucket);
        assert_int_equal(histogram_bucket(upper), bucket);
        assert_true(upper - lower <= lower / 4);
        lower = upper + 1;
    }
    assert_int_equal(lower - 1, HISTOGRAM_VALUE_MAX);
}

static void values_are_counted_and_summed(void **state)
{
    (void)state;
    struct histogram histogram = {0};
    histogram_add(&histogram, 0);
    histogram_add(&histogram, 100);
    histogram_add(&histogram, 101);
    histogram_add(&histogram, UINT32_MAX);
    assert_int_equal(histogram_count(&histogram, 0), 1);
    assert_int_equal(histogram_count(&histogram, histogram_bucket(100)), 2);
    assert_int_equal(histogram_count(&histogram, HISTOGRAM_BUCKETS - 1), 1);
    assert_int_equal(histogram.sum, 201 + (uint64_t)HISTOGRAM_VALUE_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buckets_follow_each_other),
        cmocka_unit_test(values_are_counted_and_summed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
