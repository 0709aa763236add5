/*
 * slab_test: records are zero when they are taken and keep what is written, the lowest segment is filled first, and
 * memory goes back with the segments; through random takes and gives, against a plain list.
 */
#include "base/slab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct record {
    uint32_t words[6];
};

static uint32_t random_state;

static uint32_t chance(uint32_t bound)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)random_state * bound) >> 32);
}

static bool is_zero(const struct record *record)
{
    static const struct record zero;
    return memcmp(record, &zero, sizeof zero) == 0;
}

static void numbers_start_at_one_and_are_dense(void **state)
{
    (void)state;
    struct slab slab;
    slab_init(&slab, sizeof(struct record), 100000);
    assert_int_equal(slab_end(&slab), 0);
    for (uint32_t i = 1; i <= 10000; i++)
        assert_int_equal(slab_take(&slab), i);
    assert_int_equal(slab.used, 10000);
    assert_int_equal(slab_end(&slab), 3 * SLAB_SEGMENT_RECORDS);
    slab_destroy(&slab);
}

static void freed_records_come_back_as_zeros(void **state)
{
    (void)state;
    struct slab slab;
    slab_init(&slab, sizeof(struct record), 100000);
    uint32_t one = slab_take(&slab), two = slab_take(&slab);
    memset(slab_at(&slab, one), 0xAA, sizeof(struct record));
    memset(slab_at(&slab, two), 0xBB, sizeof(struct record));
    slab_give(&slab, one);
    assert_int_equal(slab_take(&slab), one);
    assert_true(is_zero(slab_at(&slab, one)));
    slab_give(&slab, one);
    slab_give(&slab, two); /* the segment is empty: all of it is fresh again */
    for (uint32_t i = 1; i < SLAB_SEGMENT_RECORDS; i++)
        assert_true(is_zero(slab_at(&slab, slab_take(&slab))));
    slab_destroy(&slab);
}

static void bound_is_kept(void **state)
{
    (void)state;
    struct slab slab;
    slab_init(&slab, sizeof(struct record), 3);
    uint32_t one = slab_take(&slab);
    slab_take(&slab);
    assert_int_not_equal(slab_take(&slab), 0);
    assert_int_equal(slab_take(&slab), 0);
    slab_give(&slab, one);
    assert_int_equal(slab_take(&slab), one);
    assert_int_equal(slab_take(&slab), 0);
    slab_destroy(&slab);
    slab_init(&slab, sizeof(struct record), 0);
    assert_int_equal(slab_take(&slab), 0);
    slab_destroy(&slab);
}

/* An empty segment goes back to the kernel; one is kept, so that a table on the edge does not map and unmap. */
static void segments_go_back(void **state)
{
    (void)state;
    struct slab slab;
    slab_init(&slab, sizeof(struct record), 100000);
    const uint64_t segment = SLAB_SEGMENT_RECORDS * sizeof(struct record);
    for (uint32_t i = 0; i < 4 * SLAB_SEGMENT_RECORDS - 1; i++)
        slab_take(&slab);
    assert_int_equal(slab.mapped_bytes, 4 * segment);
    for (uint32_t n = 4 * SLAB_SEGMENT_RECORDS - 1; n >= SLAB_SEGMENT_RECORDS; n--)
        slab_give(&slab, n);
    assert_int_equal(slab.mapped_bytes, 2 * segment); /* the first, and a spare one */
    assert_true(slab_mapped(&slab, 1));
    assert_false(slab_mapped(&slab, 3 * SLAB_SEGMENT_RECORDS));
    assert_int_equal(slab_end(&slab), 2 * SLAB_SEGMENT_RECORDS);
    assert_int_equal(slab_take(&slab), SLAB_SEGMENT_RECORDS);
    slab_destroy(&slab);
    assert_int_equal(slab.mapped_bytes, 0);
}

/* A hole in the middle is used again when nothing lower has room. */
static void table_that_has_shrunk_stays_dense(void **state)
{
    (void)state;
    struct slab slab;
    slab_init(&slab, sizeof(struct record), 100000);
    const uint32_t segment = SLAB_SEGMENT_RECORDS;
    for (uint32_t i = 0; i < 5 * segment - 1; i++)
        slab_take(&slab);
    for (uint32_t n = segment; n < 2 * segment; n++)
        slab_give(&slab, n);
    for (uint32_t n = 2 * segment; n < 3 * segment; n++)
        slab_give(&slab, n);
    slab_give(&slab, 7);
    assert_int_equal(slab_take(&slab), 7);
    for (uint32_t i = 0; i < 2 * segment; i++)
        assert_in_range(slab_take(&slab), segment, 3 * segment - 1);
    assert_int_equal(slab_take(&slab), 5 * segment);
    slab_destroy(&slab);
}

#define RECORDS_MAX 30000

/* Each record that is in use carries its number and a mark. */
static void random_takes_and_gives(void **state)
{
    (void)state;
    static uint32_t marks[RECORDS_MAX * 2], used[RECORDS_MAX];
    random_state = 11;
    struct slab slab;
    slab_init(&slab, sizeof(struct record), RECORDS_MAX);
    uint32_t count = 0;
    for (uint32_t step = 0; step < 600000; step++) {
        bool filling = step / 50000 % 2 == 0;
        if (chance(10) < (filling ? 7u : 3u)) {
            uint32_t number = slab_take(&slab);
            assert_int_equal(number == 0, count == RECORDS_MAX);
            if (number == 0)
                continue;
            struct record *record = slab_at(&slab, number);
            assert_true(is_zero(record));
            assert_int_equal(marks[number], 0);
            marks[number] = step + 1;
            *record = (struct record){{number, step + 1, number, step + 1, number, step + 1}};
            used[count++] = number;
        } else if (count > 0) {
            uint32_t at = chance(count), number = used[at];
            const struct record *record = slab_at(&slab, number);
            assert_true(record->words[0] == number && record->words[1] == marks[number]);
            assert_true(record->words[4] == number && record->words[5] == marks[number]);
            slab_give(&slab, number);
            marks[number] = 0;
            used[at] = used[--count];
        }
        assert_int_equal(slab.used, count);
    }
    while (count > 0)
        slab_give(&slab, used[--count]);
    assert_true(slab.mapped_bytes <= SLAB_SEGMENT_RECORDS * sizeof(struct record));
    slab_destroy(&slab);
}

static void claimed_numbers_are_the_callers(void **state)
{
    (void)state;
    struct slab slab;
    slab_init(&slab, sizeof(struct record), 2 * SLAB_SEGMENT_RECORDS);
    assert_true(slab_claim(&slab, 0)); /* a record like any other */
    assert_true(slab_claim(&slab, SLAB_SEGMENT_RECORDS + 5));
    assert_false(slab_claim(&slab, 2 * SLAB_SEGMENT_RECORDS));
    memset(slab_at(&slab, 0), 0xAA, sizeof(struct record));
    slab_unclaim(&slab, 0);
    assert_true(slab_claim(&slab, 0));
    assert_true(is_zero(slab_at(&slab, 0)));
    slab_unclaim(&slab, 0);
    slab_unclaim(&slab, SLAB_SEGMENT_RECORDS + 5);
    assert_int_equal(slab.used, 0);
    assert_int_equal(slab.mapped_bytes, SLAB_SEGMENT_RECORDS * sizeof(struct record)); /* the spare one */
    slab_destroy(&slab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_start_at_one_and_are_dense),
        cmocka_unit_test(freed_records_come_back_as_zeros),
        cmocka_unit_test(bound_is_kept),
        cmocka_unit_test(segments_go_back),
        cmocka_unit_test(table_that_has_shrunk_stays_dense),
        cmocka_unit_test(random_takes_and_gives),
        cmocka_unit_test(claimed_numbers_are_the_callers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
