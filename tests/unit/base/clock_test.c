/*
 * clock_test: the host's clocks go forward, in the units that they say, and stand for this year.
 */
#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

static void monotonic_never_falls(void **state)
{
    (void)state;
    int64_t last = clock_of_host.monotonic_us(&clock_of_host);
    for (int i = 0; i < 100000; i++) {
        int64_t now = clock_of_host.monotonic_us(&clock_of_host);
        assert_true(now >= last);
        last = now;
    }
}

static void monotonic_is_in_microseconds(void **state)
{
    (void)state;
    int64_t before = clock_of_host.monotonic_us(&clock_of_host);
    const struct timespec pause = {.tv_nsec = 5000000};
    nanosleep(&pause, NULL);
    assert_true(clock_of_host.monotonic_us(&clock_of_host) - before >= 5000);
}

static void wall_is_in_milliseconds_since_1970(void **state)
{
    (void)state;
    int64_t now = clock_of_host.wall_ms(&clock_of_host);
    assert_true(now / 1000 >= (int64_t)time(NULL) - 1 && now / 1000 <= (int64_t)time(NULL) + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(monotonic_never_falls),
        cmocka_unit_test(monotonic_is_in_microseconds),
        cmocka_unit_test(wall_is_in_milliseconds_since_1970),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
