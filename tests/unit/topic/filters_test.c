/*
 * filters_test: the trie against a list of filters that are all tried in turn, through random additions and removals;
 * its bounds, its memory, and the shapes that hurt.
 */
#include "topic/filters.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "protocol/topic.h"

static struct span of(const char *text)
{
    return (struct span){text, strlen(text)};
}

static uint32_t number_state = 1;

/* Numbers that are the same in each run. */
static uint32_t number_below(uint32_t bound)
{
    number_state = number_state * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)number_state * bound) >> 32);
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* The values that match, sorted, as text. */
static const char *matches(const struct filters *filters, const char *name)
{
    static char text[256];
    uint32_t values[16], count = filters_match(filters, of(name), values, 16);
    assert_in_range(count, 0, 16);
    qsort(values, count, sizeof values[0], compare);
    text[0] = 0;
    for (uint32_t i = 0; i < count; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%u", i ? " " : "", values[i]);
    return text;
}

static void each_kind_of_filter(void **state)
{
    (void)state;
    struct filters *filters = filters_create(100, 1);
    static const char *const texts[] = {"a/b", "a/+", "a/#", "+/b", "#", "+", "+/#", "$s/#", "$s/+", "a/b/#"};
    for (uint32_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_true(filters_add(filters, of(texts[i]), i));
    assert_string_equal(matches(filters, "a/b"), "0 1 2 3 4 6 9");
    assert_string_equal(matches(filters, "a"), "2 4 5 6");
    assert_string_equal(matches(filters, "a/c"), "1 2 4 6");
    assert_string_equal(matches(filters, "a/b/c"), "2 4 6 9");
    assert_string_equal(matches(filters, "x"), "4 5 6");
    assert_string_equal(matches(filters, "$s"), "7");
    assert_string_equal(matches(filters, "$s/b"), "7 8");
    assert_string_equal(matches(filters, "$t/b"), "");
    filters_destroy(filters);
}

static void a_filter_has_several_values(void **state)
{
    (void)state;
    struct filters *filters = filters_create(100, 1);
    assert_int_equal(filters_version(filters), 1);
    for (uint32_t value = 0; value < 4; value++)
        assert_true(filters_add(filters, of("a/#"), value));
    assert_true(filters_add(filters, of("a/#"), 2)); /* changes nothing */
    assert_int_equal(filters_count(filters), 4);
    assert_int_equal(filters_version(filters), 5);
    assert_string_equal(matches(filters, "a/x"), "0 1 2 3");

    assert_true(filters_remove(filters, of("a/#"), 1));
    assert_false(filters_remove(filters, of("a/#"), 1));
    assert_false(filters_remove(filters, of("a"), 2));
    assert_false(filters_remove(filters, of("a/+"), 2));
    assert_false(filters_remove(filters, of("#"), 2));
    assert_int_equal(filters_version(filters), 6);
    assert_string_equal(matches(filters, "a/x"), "0 2 3");

    uint32_t two[2] = {99, 99};
    assert_int_equal(filters_match(filters, of("a"), two, 1), 3); /* tells how many there are, writes what fits */
    assert_int_equal(two[1], 99);
    assert_int_equal(filters_match(filters, of("a"), NULL, 0), 3);
    filters_destroy(filters);
}

static void a_full_set_is_left_as_it_was(void **state)
{
    (void)state;
    struct filters *filters = filters_create(2, 1); /* so 8 levels besides the root */
    assert_true(filters_add(filters, of("a/b/c"), 1));
    assert_true(filters_add(filters, of("a"), 2));
    assert_false(filters_add(filters, of("x/y"), 3)); /* no room for a value: its levels don't stay either */
    assert_true(filters_remove(filters, of("a"), 2));
    uint64_t version = filters_version(filters);
    assert_false(filters_add(filters, of("1/2/3/4/5/6"), 2)); /* no room for the last level: none of the others stays */
    assert_int_equal(filters_version(filters), version);
    assert_true(filters_add(filters, of("1/2/3/4/5"), 2));
    assert_string_equal(matches(filters, "1/2/3/4/5"), "2");
    assert_true(filters_remove(filters, of("1/2/3/4/5"), 2));
    assert_true(filters_add(filters, of("a/b/c/4/5/6/7/8"), 2));
    filters_destroy(filters);
}

static void long_levels_are_told_apart(void **state)
{
    (void)state;
    struct filters *filters = filters_create(1000, 1);
    char text[TOPIC_BYTES_MAX];
    memset(text, 'x', sizeof text);
    for (uint32_t size = 1; size <= sizeof text; size++)
        assert_true(filters_add(filters, (struct span){text, size}, size));
    for (uint32_t at = 0; at < sizeof text; at++) {
        text[at] = 'y'; /* one byte differs, wherever it lies */
        assert_int_equal(filters_match(filters, (struct span){text, sizeof text}, NULL, 0), 0);
        text[at] = 'x';
    }
    for (uint32_t size = 1; size <= sizeof text; size++) {
        uint32_t value = 0;
        assert_int_equal(filters_match(filters, (struct span){text, size}, &value, 1), 1);
        assert_int_equal(value, size);
        assert_true(filters_remove(filters, (struct span){text, size}, size));
    }
    filters_destroy(filters);
}

/* Every way of putting + or a letter at each of 10 levels matches one name; and 128 levels deep nothing overflows. */
static void many_ways_and_deep_ones(void **state)
{
    (void)state;
    struct filters *filters = filters_create(5000, 1);
    char text[TOPIC_BYTES_MAX];
    memset(text, '/', sizeof text);
    for (uint32_t ways = 0; ways < 1024; ways++) {
        for (uint32_t i = 0; i < 10; i++)
            text[2 * i] = ways >> i & 1 ? '+' : 'a';
        assert_true(filters_add(filters, (struct span){text, 19}, ways));
    }
    assert_int_equal(filters_match(filters, of("a/a/a/a/a/a/a/a/a/a"), NULL, 0), 1024);
    assert_int_equal(filters_match(filters, of("a/a/a/a/a/a/b/a/a/a"), NULL, 0), 512);

    for (uint32_t pluses = 0; pluses <= TOPIC_LEVELS_MAX; pluses++) {
        for (uint32_t i = 0; i < TOPIC_LEVELS_MAX; i++)
            text[2 * i] = i < pluses ? '+' : 'z';
        assert_true(filters_add(filters, (struct span){text, sizeof text}, pluses));
        text[2 * (TOPIC_LEVELS_MAX - 1)] = '#';
        assert_true(filters_add(filters, (struct span){text, sizeof text}, 1000 + pluses));
    }
    for (uint32_t i = 0; i < TOPIC_LEVELS_MAX; i++)
        text[2 * i] = 'z';
    assert_int_equal(filters_match(filters, (struct span){text, sizeof text}, NULL, 0), 2 * (TOPIC_LEVELS_MAX + 1));
    filters_destroy(filters);
}

/*
 * Against a list.
 */

#define MODEL_MAX 400
#define TEXT_ROOM 80

struct entry {
    char text[TEXT_ROOM];
    uint32_t value;
};

static struct entry model[MODEL_MAX];
static uint32_t model_count;

/* Few words, so that much is shared and much matches. */
static void text_any(char out[TEXT_ROOM], bool filter)
{
    static const char *const words[] = {"a", "b", "c", "$a", "a level that is longer than fits"};
    uint32_t levels = 1 + number_below(4);
    out[0] = 0;
    for (uint32_t i = 0; i < levels; i++) {
        const char *word = filter && number_below(3) == 0 ? "+" : words[number_below(5)];
        if (filter && i + 1 == levels && number_below(4) == 0)
            word = "#";
        /* two long levels at most: 80 bytes */
        snprintf(out + strlen(out), TEXT_ROOM - strlen(out), "%s%s", i ? "/" : "",
                 strlen(out) > 36 && strlen(word) > 2 ? "b" : word);
    }
}

static uint32_t model_find(const char *text, uint32_t value)
{
    uint32_t i = 0;
    while (i < model_count && (strcmp(model[i].text, text) != 0 || model[i].value != value))
        i++;
    return i;
}

static void model_change(struct filters *filters, bool add)
{
    struct entry entry;
    text_any(entry.text, true);
    entry.value = number_below(8);
    if (!add && model_count && number_below(4))
        entry = model[number_below(model_count)];
    uint32_t at = model_find(entry.text, entry.value);
    uint64_t version = filters_version(filters);
    bool changes = add ? at == model_count : at < model_count;
    if (add) {
        assert_true(filters_add(filters, of(entry.text), entry.value));
        model[at] = entry;
        model_count += changes;
    } else {
        assert_int_equal(filters_remove(filters, of(entry.text), entry.value), changes);
        if (changes)
            model[at] = model[--model_count];
    }
    assert_int_equal(filters_version(filters), version + changes);
    assert_int_equal(filters_count(filters), model_count);
}

static void model_compare(const struct filters *filters)
{
    char name[TEXT_ROOM];
    uint32_t want[MODEL_MAX], got[MODEL_MAX], count = 0;
    text_any(name, false);
    for (uint32_t i = 0; i < model_count; i++) {
        if (topic_filter_matches(of(model[i].text), of(name)))
            want[count++] = model[i].value;
    }
    assert_int_equal(filters_match(filters, of(name), got, MODEL_MAX), count);
    qsort(want, count, sizeof want[0], compare);
    qsort(got, count, sizeof got[0], compare);
    assert_memory_equal(want, got, count * sizeof want[0]);
}

static void random_changes_agree_with_a_list(void **state)
{
    (void)state;
    struct filters *filters = filters_create(MODEL_MAX, 7);
    for (int round = 0; round < 60000; round++) {
        bool grow = (round / 3000) % 2 == 0; /* tides: up to the brim and down again */
        bool add = number_below(10) < (grow ? 7u : 3u) && model_count < MODEL_MAX - 1;
        model_change(filters, add);
        model_compare(filters);
    }
    while (model_count > 0) {
        model_count--;
        assert_true(filters_remove(filters, of(model[model_count].text), model[model_count].value));
    }
    assert_int_equal(filters_count(filters), 0);
    filters_destroy(filters);
}

static uint64_t bytes_of_many(struct filters *filters, uint32_t count, const char *format, bool add)
{
    char text[64];
    for (uint32_t i = 0; i < count; i++) {
        snprintf(text, sizeof text, format, i);
        assert_true(add ? filters_add(filters, of(text), i) : filters_remove(filters, of(text), i));
    }
    return filters_bytes(filters);
}

/* The price in the header, and that it is paid back. */
static void memory_comes_and_goes(void **state)
{
    (void)state;
    enum { COUNT = 200000 };
    struct filters *filters = filters_create(COUNT, 1);
    uint64_t empty = filters_bytes(filters);
    assert_in_range(bytes_of_many(filters, COUNT, "user/%u/#", true), COUNT * 60, COUNT * 75);
    bytes_of_many(filters, COUNT, "user/%u/#", false);
    assert_in_range(bytes_of_many(filters, COUNT, "user/%u/+", true), COUNT * 115, COUNT * 140);
    assert_in_range(bytes_of_many(filters, COUNT, "user/%u/+", false), empty, empty + 3 * 4096 * 64);
    filters_destroy(filters);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_of_filter),          cmocka_unit_test(a_filter_has_several_values),
        cmocka_unit_test(a_full_set_is_left_as_it_was), cmocka_unit_test(long_levels_are_told_apart),
        cmocka_unit_test(many_ways_and_deep_ones),      cmocka_unit_test(random_changes_agree_with_a_list),
        cmocka_unit_test(memory_comes_and_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
