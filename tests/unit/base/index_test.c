/*
 * index_test: what is in the index is found and nothing else, while buckets are split and joined; against a look at
 * every record, with many that share a hash.
 */
#include "base/index.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define RECORDS_MAX 5000

struct record {
    struct index_link link;
    bool in;
};

static uint32_t random_state;

static uint32_t chance(uint32_t bound)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)random_state * bound) >> 32);
}

struct table {
    struct slab slab;
    struct index index;
    uint32_t numbers[RECORDS_MAX];
    uint32_t count;
};

static struct record *record_at(const struct table *table, uint32_t number)
{
    return slab_at(&table->slab, number);
}

static void table_init(struct table *table, bool sparse)
{
    table->count = 0;
    slab_init(&table->slab, sizeof(struct record), RECORDS_MAX);
    assert_true(sparse ? index_init_sparse(&table->index, &table->slab) : index_init(&table->index, &table->slab));
}

static void table_destroy(struct table *table)
{
    index_destroy(&table->index);
    slab_destroy(&table->slab);
}

static uint32_t add(struct table *table, uint64_t hash)
{
    uint32_t number = slab_take(&table->slab);
    assert_int_not_equal(number, 0);
    *record_at(table, number) = (struct record){.link.hash = hash, .in = true};
    index_insert(&table->index, number);
    table->numbers[table->count++] = number;
    return number;
}

static void take_out(struct table *table, uint32_t at)
{
    uint32_t number = table->numbers[at];
    index_remove(&table->index, number);
    slab_give(&table->slab, number);
    table->numbers[at] = table->numbers[--table->count];
}

/* Walks the chain of a hash: all with it are there once, and no others. */
static void check_hash(const struct table *table, uint64_t hash)
{
    uint32_t expected = 0, found = 0;
    for (uint32_t i = 0; i < table->count; i++)
        expected += record_at(table, table->numbers[i])->link.hash == hash;
    for (uint32_t n = index_first(&table->index, hash); n; n = index_next(&table->index, n), found++) {
        assert_true(record_at(table, n)->in && record_at(table, n)->link.hash == hash);
        assert_true(found < expected);
    }
    assert_int_equal(found, expected);
}

static void random_inserts_and_removes(void **state)
{
    (void)state;
    static struct table table;
    static const uint32_t spreads[] = {3, 400, UINT32_MAX}; /* hashes that many share, and hashes of one's own */
    for (uint32_t s = 0; s < 2 * sizeof spreads / sizeof spreads[0]; s++) {
        uint32_t spread = spreads[s / 2];
        table_init(&table, s % 2);
        random_state = 5 + s;
        for (uint32_t step = 0; step < 40000; step++) {
            bool filling = step / 8000 % 2 == 0;
            if (chance(10) < (filling ? 8u : 2u) && table.count < RECORDS_MAX)
                add(&table, ((uint64_t)chance(spread) << 32 | chance(spread)) * 2654435761u);
            else if (table.count > 0)
                take_out(&table, chance(table.count));
            assert_int_equal(table.index.used, table.count);
            if (step % 50 == 0 && table.count > 0)
                check_hash(&table, record_at(&table, table.numbers[chance(table.count)])->link.hash);
        }
        while (table.count > 0)
            take_out(&table, 0);
        table_destroy(&table);
    }
}

static void buckets_follow_the_records(void **state)
{
    (void)state;
    static struct table table;
    table_init(&table, false);
    assert_int_equal(table.index.bucket_count, 16);
    for (uint64_t i = 0; i < 1000; i++)
        add(&table, i * 0x9E3779B97F4A7C15u);
    assert_int_equal(table.index.bucket_count, 1000);
    while (table.count > 500)
        take_out(&table, 0);
    assert_int_equal(table.index.bucket_count, 1000);
    while (table.count > 0) { /* below the half one goes with each record */
        take_out(&table, 0);
        assert_int_equal(table.index.bucket_count, 500 + table.count);
    }
    for (int i = 0; i < 1000; i++) {
        add(&table, 7);
        take_out(&table, 0);
    }
    assert_int_equal(table.index.bucket_count, 16);
    table_destroy(&table);
}

static void sparse_ones_have_four_buckets_a_record(void **state)
{
    (void)state;
    static struct table table;
    table_init(&table, true);
    for (uint64_t i = 0; i < 1000; i++)
        add(&table, i * 0x9E3779B97F4A7C15u);
    uint32_t most = table.index.bucket_count;
    assert_in_range(most, 3996, 4000);
    while (table.count > 0) /* below the half four go with each record */
        take_out(&table, 0);
    assert_int_equal(table.index.bucket_count, most - 4 * 500);
    for (int i = 0; i < 1000; i++) {
        add(&table, 7);
        take_out(&table, 0);
    }
    assert_int_equal(table.index.bucket_count, 16);
    table_destroy(&table);
}

static void nothing_is_found_in_an_empty_one(void **state)
{
    (void)state;
    static struct table table;
    table_init(&table, false);
    assert_int_equal(index_first(&table.index, 0), 0);
    assert_int_equal(index_first(&table.index, UINT64_MAX), 0);
    uint32_t number = add(&table, 7);
    assert_int_equal(index_first(&table.index, 7), number);
    assert_int_equal(index_first(&table.index, 7 + 16), 0); /* of the same bucket */
    assert_int_equal(index_next(&table.index, number), 0);
    table_destroy(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_inserts_and_removes),
        cmocka_unit_test(buckets_follow_the_records),
        cmocka_unit_test(sparse_ones_have_four_buckets_a_record),
        cmocka_unit_test(nothing_is_found_in_an_empty_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
