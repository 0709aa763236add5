/*
 * delays_test: percentiles of the load's histogram beside those of the sorted values themselves: never below, and at
 * most 1/64 above; the largest value as it is; two histograms merged are the histogram of both.
 */
#include "delays.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define VALUES 20000u

static struct delays delays, other;
static uint64_t values[VALUES];
static uint64_t random_state = 1;

/* Of any size up to DELAY_MAX_NS, small ones as often as large ones. */
static uint64_t chance(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    uint64_t bits = random_state >> 58 & 0x3F;
    return (random_state >> 20) & ((UINT64_C(1) << bits % 37) - 1);
}

static int compare(const void *one, const void *two)
{
    uint64_t a = *(const uint64_t *)one, b = *(const uint64_t *)two;
    return (a > b) - (a < b);
}

static void fill(void)
{
    memset(&delays, 0, sizeof delays);
    memset(&other, 0, sizeof other);
    for (uint32_t i = 0; i < VALUES; i++) {
        values[i] = chance();
        delays_add(i % 3 ? &delays : &other, values[i]);
    }
    qsort(values, VALUES, sizeof *values, compare);
}

static void percentiles_are_at_most_one_64th_too_large(void **state)
{
    (void)state;
    fill();
    delays_merge(&delays, &other);
    assert_int_equal(delays.count, VALUES);
    for (uint32_t rank = 1; rank <= VALUES; rank++) {
        uint64_t exact = values[rank - 1], read = delays_at(&delays, (double)rank / VALUES);
        assert_true(read >= exact);
        assert_true(read <= exact + exact / DELAY_STEPS);
    }
}

static void the_largest_is_kept(void **state)
{
    (void)state;
    memset(&delays, 0, sizeof delays);
    delays_add(&delays, 1000001);
    assert_int_equal(delays_at(&delays, 1.0), 1000001);
    delays_add(&delays, DELAY_MAX_NS + 5);
    assert_int_equal(delays_at(&delays, 1.0), DELAY_MAX_NS);
    assert_int_equal(delays.max_ns, DELAY_MAX_NS);
}

static void nothing_has_no_percentile(void **state)
{
    (void)state;
    memset(&delays, 0, sizeof delays);
    assert_int_equal(delays_at(&delays, 0.5), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percentiles_are_at_most_one_64th_too_large),
        cmocka_unit_test(the_largest_is_kept),
        cmocka_unit_test(nothing_has_no_percentile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
