/*
 * watermark_test: it never passes what is not done, and it gets on although something is always under way.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/watermark.h"

static void it_waits_for_what_was_begun(void **state)
{
    (void)state;
    struct watermark watermark = {0};
    watermark_advance(&watermark, 10);
    assert_int_equal(watermark.ms, 10); /* nothing is under way */
    uint8_t first = watermark_begin(&watermark);
    watermark_advance(&watermark, 20);
    assert_int_equal(watermark.ms, 10);
    uint8_t second = watermark_begin(&watermark);
    watermark_advance(&watermark, 30);
    watermark_advance(&watermark, 40);
    assert_int_equal(watermark.ms, 10);
    watermark_end(&watermark, first);
    watermark_advance(&watermark, 50);
    assert_int_equal(watermark.ms, 20); /* the second one began after that */
    watermark_end(&watermark, second);
    watermark_advance(&watermark, 60);
    assert_int_equal(watermark.ms, 60);
    assert_int_equal(watermark_pending(&watermark), 0);
}

/* Up to eight things at a time by chance, each for a while: held against the oldest that is there. */
static void it_follows_the_oldest(void **state)
{
    (void)state;
    enum { THINGS = 8, TICKS = 20000, LONGEST = 50 };
    struct watermark watermark = {0};
    struct {
        int64_t began, ends;
        uint8_t generation;
    } things[THINGS] = {0};
    srandom(1);
    for (int64_t now = 1; now <= TICKS; now++) {
        int64_t oldest = now;
        for (int i = 0; i < THINGS; i++) {
            if (things[i].ends == now)
                watermark_end(&watermark, things[i].generation);
            if (things[i].ends <= now && (i == 0 || random() % 4 == 0)) {
                things[i].began = now;
                things[i].ends = now + 1 + random() % LONGEST;
                things[i].generation = watermark_begin(&watermark);
            }
            if (things[i].ends > now && things[i].began < oldest)
                oldest = things[i].began;
        }
        watermark_advance(&watermark, now);
        assert_true(watermark.ms <= oldest);
        assert_true(watermark.ms >= now - 3 * LONGEST);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_waits_for_what_was_begun),
        cmocka_unit_test(it_follows_the_oldest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
