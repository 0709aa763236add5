/*
 * page_test: pages of what `read.lua` answers, and answers that are none.
 */
#include "cluster/page.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "protocol/command.h"

#define TEXT(literal)                                                                                                  \
    {                                                                                                                  \
        .kind = REDIS_STRING, .text = {(literal), sizeof(literal) - 1 }                                                \
    }
#define NUMBER(value)                                                                                                  \
    {                                                                                                                  \
        .kind = REDIS_INTEGER, .integer = (value)                                                                      \
    }
#define ARRAY(array, length)                                                                                           \
    {                                                                                                                  \
        .kind = REDIS_ARRAY, .items = (array), .count = (length)                                                       \
    }

static const struct redis_value first_fields[] = {TEXT("d"), TEXT("hello"), TEXT("k"),
                                                  TEXT("1"), TEXT("t"),     TEXT("77")};
static const struct redis_value second_fields[] = {TEXT("x"), TEXT("y"), TEXT("k"), TEXT("9"), TEXT("d"), TEXT("")};
static const struct redis_value first_entry[] = {TEXT("4-0"), ARRAY(first_fields, 6)};
static const struct redis_value second_entry[] = {TEXT("6-0"), ARRAY(second_fields, 6)};
static const struct redis_value entries[] = {ARRAY(first_entry, 2), ARRAY(second_entry, 2)};

static void entries_are_taken_with_their_payloads(void **state)
{
    (void)state;
    const struct redis_value items[] = {TEXT("00000000000000ff"), NUMBER(2), NUMBER(3), NUMBER(6), ARRAY(entries, 2)};
    const struct redis_value answer = ARRAY(items, 5);
    struct relay_page *page = page_create(&answer);
    assert_non_null(page);
    assert_int_equal(page->epoch, 255);
    assert_int_equal(page->epoch_base, 2);
    assert_int_equal(page->first, 3);
    assert_int_equal(page->tail, 6);
    assert_int_equal(page->count, 2);
    assert_int_equal(page->entries[0].offset, 4);
    assert_int_equal(page->entries[0].time_ms, 77);
    assert_int_equal(page->entries[0].kind, PAYLOAD_TEXT);
    assert_int_equal(page->entries[0].payload_size, 5);
    assert_memory_equal(page->entries[0].payload, "hello", 5);
    assert_int_equal(page->entries[1].offset, 6);
    assert_int_equal(page->entries[1].kind, PAYLOAD_BINARY); /* a kind of the future */
    assert_int_equal(page->entries[1].payload_size, 0);
    free(page);
}

static void what_is_no_page_is_refused(void **state)
{
    (void)state;
    static const struct redis_value half_entry[] = {TEXT("4-0")};
    static const struct redis_value bad_entries[] = {ARRAY(half_entry, 1)};
    static const struct redis_value entry_at_zero[] = {TEXT("0-1"), ARRAY(first_fields, 6)};
    static const struct redis_value zero_entries[] = {ARRAY(entry_at_zero, 2)};
    static const struct redis_value entry_far_off[] = {TEXT("18446744073709551615-0"), ARRAY(first_fields, 6)};
    static const struct redis_value far_entries[] = {ARRAY(entry_far_off, 2)};
    static const struct redis_value cases[][5] = {
        {TEXT("ff"), NUMBER(2), NUMBER(3), NUMBER(6), ARRAY(entries, 2)},
        {NUMBER(1), NUMBER(2), NUMBER(3), NUMBER(6), ARRAY(entries, 2)},
        {TEXT("00000000000000ff"), TEXT("2"), NUMBER(3), NUMBER(6), ARRAY(entries, 2)},
        {TEXT("00000000000000ff"), NUMBER(2), NUMBER(-3), NUMBER(6), ARRAY(entries, 2)},
        {TEXT("00000000000000ff"), NUMBER(2), NUMBER(3), NUMBER(6), NUMBER(0)},
        {TEXT("00000000000000ff"), NUMBER(2), NUMBER(3), NUMBER(6), ARRAY(bad_entries, 1)},
        {TEXT("00000000000000ff"), NUMBER(2), NUMBER(3), NUMBER(6), ARRAY(zero_entries, 1)},
        {TEXT("00000000000000ff"), NUMBER(2), NUMBER(3), NUMBER(6), ARRAY(far_entries, 1)},
        {TEXT("00000000000000ff"), NUMBER(2), NUMBER(3), NUMBER(INT64_MAX), ARRAY(entries, 2)},
        {TEXT("0000000000000000"), NUMBER(2), NUMBER(3), NUMBER(6), ARRAY(entries, 2)},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct redis_value answer = ARRAY(cases[i], 5);
        assert_null(page_create(&answer));
    }
    const struct redis_value nothing = {.kind = REDIS_NIL};
    const struct redis_value short_answer = ARRAY(cases[0], 4);
    assert_null(page_create(&nothing));
    assert_null(page_create(&short_answer));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_are_taken_with_their_payloads),
        cmocka_unit_test(what_is_no_page_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
