/*
 * name_test: names are what they were made of, counted, and found by a hash that is the same everywhere.
 */
#include "mesh/name.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void name_is_what_it_was_made_of(void **state)
{
    (void)state;
    char text[255];
    memset(text, 'x', sizeof text);
    for (size_t size = 1; size <= sizeof text; size++) {
        struct name *name = name_create((struct span){text, size});
        assert_true(span_equal(name_span(name), (struct span){text, size}));
        assert_ptr_not_equal(name_span(name).data, text);
        name_drop(name);
    }
}

static void last_reference_frees(void **state)
{
    (void)state;
    uint64_t before = name_count_in_use();
    struct name *name = name_create(SPAN_LITERAL("a/b"));
    assert_ptr_equal(name_share(name), name);
    name_drop(name);
    assert_int_equal(name_count_in_use(), before + 1);
    assert_true(span_equal(name_span(name), SPAN_LITERAL("a/b")));
    name_drop(name);
    assert_int_equal(name_count_in_use(), before);
}

/* Other processes and hosts must come to the same hash: this is XXH3_64bits with no seed. */
static void hash_is_fixed(void **state)
{
    (void)state;
    assert_true(name_hash(SPAN_LITERAL("")) == 0x2D06800538D394C2u);
    assert_true(name_hash(SPAN_LITERAL("a")) == 0xE6C632B61E964E1Fu);
    assert_true(name_hash(SPAN_LITERAL("abc")) == 0x78AF5F94892F3950u);
}

static void topics_spread_over_shards(void **state)
{
    (void)state;
    uint32_t owned[5] = {0};
    for (uint32_t i = 0; i < 5000; i++) {
        char text[] = {'t', (char)('a' + i % 26), (char)('a' + i / 26 % 26), (char)('a' + i / 676 % 26)};
        owned[name_owner(name_hash((struct span){text, sizeof text}), 5)]++;
    }
    for (uint32_t shard = 0; shard < 5; shard++)
        assert_in_range(owned[shard], 850, 1150);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(name_is_what_it_was_made_of),
        cmocka_unit_test(last_reference_frees),
        cmocka_unit_test(hash_is_fixed),
        cmocka_unit_test(topics_spread_over_shards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
