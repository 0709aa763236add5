/*
 * patterns_test: filters as Redis has them, and filters of several shards on several servers: admitted, confirmed, cut
 * off, given up, and each ask answered exactly once.
 */
#include "cluster/patterns.h"

#include <fnmatch.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/check.h"
#include "mesh/relay.h"

#define SHARDS 2
#define PEER   2

static struct patterns patterns;
static struct link_stats stats;
static struct mesh mesh;

/* What shards were told of what may be missed. */
static bool missed[SHARDS];
static uint32_t cuts[SHARDS];

static int setup(void **state)
{
    (void)state;
    stats = (struct link_stats){0};
    memset(missed, 0, sizeof missed);
    memset(cuts, 0, sizeof cuts);
    return mesh_init(&mesh, PEER + 1, 64) && patterns_init(&patterns, 3, 1, &stats) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    patterns_destroy(&patterns);
    mesh_destroy(&mesh);
    return name_count_in_use() == 0 ? 0 : -1;
}

static void ask(uint8_t shard, const char *filter, uint32_t feed, uint8_t lanes, uint8_t before)
{
    struct envelope envelope = {
        .kind = ASK_FILTER, .from = shard, .feed = feed, .lanes = lanes, .lanes_before = before};
    envelope.name = name_create((struct span){filter, strlen(filter)});
    CHECK(envelope.name);
    assert_true(patterns_ask(&patterns, &envelope));
}

/* How many answers a shard has got, of a feed. */
static uint32_t answers(uint32_t shard, uint32_t feed)
{
    uint32_t count = 0;
    assert_true(patterns_tell(&patterns, &mesh, PEER, SHARDS));
    struct spsc *ring = mesh_tells(&mesh, PEER, shard);
    for (const struct envelope *tell; (tell = spsc_peek(ring)) != NULL; spsc_pop(ring)) {
        if (tell->kind == TELL_PATTERNS) {
            missed[shard] = tell->status == RELAY_AWAY;
            cuts[shard] += missed[shard];
            continue;
        }
        assert_int_equal(tell->kind, TELL_FILTERED);
        count += tell->feed == feed;
    }
    return count;
}

static bool next(uint32_t server, struct interest_change *change)
{
    if (!patterns_next(&patterns, server, change)) {
        return false;
    }
    name_drop(change->name);
    return true;
}

static void confirm(uint32_t server)
{
    struct interest_change change;
    assert_true(next(server, &change));
    assert_true(change.subscribe);
    patterns_acked(&patterns, server, change.number, change.serial);
}

static void a_filter_is_answered_when_all_servers_have_it(void **state)
{
    (void)state;
    patterns_up(&patterns, 0);
    patterns_up(&patterns, 3);
    ask(0, "a/#", 5, 1, 0);
    confirm(0);
    assert_false(patterns_is_complete(&patterns, 3));
    assert_int_equal(answers(0, 5), 0);
    confirm(3);
    assert_int_equal(answers(0, 5), 1);
    ask(1, "a/#", 6, 1, 0);
    assert_int_equal(answers(1, 6), 1);
    ask(0, "a/#", 5, 3, 1); /* further lanes: nothing new for Redis */
    assert_int_equal(answers(0, 5), 1);
    struct interest_change change;
    assert_false(next(0, &change) || next(3, &change));
    ask(0, "a/#", 5, 0, 3);
    assert_int_equal(answers(0, 5), 1);
    assert_false(next(0, &change));
    ask(1, "a/#", 6, 0, 1);
    assert_int_equal(answers(1, 6), 1);
    assert_true(next(0, &change) && !change.subscribe);
    assert_true(next(3, &change) && !change.subscribe);
    assert_false(next(0, &change));
    assert_int_equal(patterns.filters.used, 0);
}

static void a_server_that_goes_is_not_waited_for(void **state)
{
    (void)state;
    ask(0, "a/#", 1, 1, 0);
    assert_int_equal(answers(0, 1), 1); /* none is there */
    patterns_up(&patterns, 0);
    patterns_up(&patterns, 1);
    confirm(0);
    ask(1, "a/#", 2, 1, 0);
    assert_int_equal(answers(1, 2), 0);
    patterns_cut(&patterns, 1);
    assert_int_equal(answers(1, 2), 1);
    patterns_up(&patterns, 1);
    assert_true(patterns_is_complete(&patterns, 0));
    assert_false(patterns_is_complete(&patterns, 1));
    confirm(1);
    assert_true(patterns_is_complete(&patterns, 1));
}

/* Both shards, as they were told last. */
static void assert_told(bool is_missed, uint32_t times)
{
    for (uint32_t shard = 0; shard < SHARDS; shard++) {
        answers(shard, 0);
        assert_int_equal(missed[shard], is_missed);
        assert_int_equal(cuts[shard], times);
    }
}

static void shards_are_told_while_something_is_missed(void **state)
{
    (void)state;
    ask(0, "a/#", 1, 1, 0);
    patterns_up(&patterns, 0);
    assert_told(false, 0); /* a filter that is new misses nothing */
    confirm(0);
    patterns_up(&patterns, 1);
    confirm(1);
    assert_told(false, 0);
    patterns_cut(&patterns, 0);
    assert_told(true, 1);
    patterns_cut(&patterns, 1);
    patterns_up(&patterns, 0);
    assert_told(true, 1);
    confirm(0);
    assert_told(true, 1);
    patterns_up(&patterns, 1);
    assert_told(true, 1);
    confirm(1);
    assert_told(false, 1);
    patterns_cut(&patterns, 1); /* over before anybody looks */
    patterns_up(&patterns, 1);
    confirm(1);
    assert_told(false, 2);
}

static void filters_that_come_and_go_while_no_server_is_there_leave_nothing(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 100; i++) {
        char filter[16];
        snprintf(filter, sizeof filter, "f%u/#", i);
        ask(0, filter, i, 1, 0);
        ask(0, filter, i, 0, 1);
        assert_int_equal(answers(0, i), 2);
    }
    assert_int_equal(patterns.filters.used, 0);
}

static void one_that_is_given_up_before_it_was_confirmed_is_confirmed_first(void **state)
{
    (void)state;
    struct interest_change first, change;
    patterns_up(&patterns, 0);
    ask(0, "a/#", 1, 1, 0);
    assert_true(next(0, &first));
    ask(0, "a/#", 1, 0, 1);
    assert_false(next(0, &change));
    patterns_acked(&patterns, 0, first.number, first.serial);
    assert_true(next(0, &change) && !change.subscribe);
    ask(0, "a/#", 1, 1, 0);
    assert_true(next(0, &change) && change.subscribe);
    patterns_acked(&patterns, 0, change.number, change.serial);
    assert_int_equal(answers(0, 1), 3);
    assert_int_equal(patterns.acked[0], 1);
}

static void what_is_refused_is_answered_and_counted(void **state)
{
    (void)state;
    patterns_up(&patterns, 0);
    ask(0, "#", 1, 1, 0);
    ask(0, "+/a", 1, 1, 0);
    ask(0, "$shoal/#", 1, 1, 0);
    assert_int_equal(answers(0, 1), 3);
    assert_int_equal(STATS_READ(&stats, filters_refused_levels), 2);
    for (uint32_t i = 0; i < 4; i++) {
        char filter[16];
        snprintf(filter, sizeof filter, "f%u/#", i);
        ask(1, filter, i, 1, 0);
    }
    assert_int_equal(STATS_READ(&stats, filters_refused_limit), 1);
    assert_int_equal(answers(1, 3), 1);
    ask(1, "f3/#", 3, 0, 1); /* that was refused */
    assert_int_equal(patterns.wanted, 3);
    ask(1, "f0/#", 0, 0, 1);
    ask(1, "f3/#", 3, 1, 0); /* now there is room */
    assert_int_equal(patterns.wanted, 3);
    assert_int_equal(STATS_READ(&stats, filters_refused_limit), 1);
}

static void assert_pattern(const char *filter, const char *first, const char *second)
{
    struct pattern made[2];
    uint32_t count = pattern_write(SPAN_LITERAL("P*:"), (struct span){filter, strlen(filter)}, made);
    assert_int_equal(count, second ? 2 : 1);
    assert_int_equal(made[0].size, strlen(first));
    assert_memory_equal(made[0].bytes, first, made[0].size);
    if (second) {
        assert_int_equal(made[1].size, strlen(second));
        assert_memory_equal(made[1].bytes, second, made[1].size);
    }
}

static void patterns_are_written(void **state)
{
    (void)state;
    assert_pattern("a/+/b", "P\\*:{a/*/b}", NULL);
    assert_pattern("a/+", "P\\*:{a/*}", NULL);
    assert_pattern("a/#", "P\\*:{a/**}", "P\\*:{a\\}");
    assert_pattern("#", "P\\*:{**}", NULL);
    assert_pattern("+/#", "P\\*:{*/**}", "P\\*:{*\\}");
    assert_pattern("a?[b]*/c\\+/+", "P\\*:{a\\?\\[b\\]\\*/c\\\\+/*}", NULL);
    char longest[TOPIC_BYTES_MAX + 1] = {0};
    char prefix[PATTERN_PREFIX_MAX];
    struct pattern made[2];
    memset(longest, '*', TOPIC_BYTES_MAX);
    memset(prefix, '*', sizeof prefix);
    pattern_write((struct span){prefix, sizeof prefix}, (struct span){longest, TOPIC_BYTES_MAX}, made);
    assert_int_equal(made[0].size, PATTERN_BYTES_MAX);
}

/* Redis knows no more than texts: of two filters with a pattern in common, one that ends would take it from the other.
 */
static void filters_have_no_pattern_in_common(void **state)
{
    (void)state;
    static const char *const filters[] = {"#",     "+",       "+/#",   "a/+",     "a/#",     "a/+/#",
                                          "a/+/+", "a/+/+/#", "+/+/#", "a/b/+/#", "a/b\\/+", "a/b\\/+/#"};
    struct pattern all[2 * sizeof filters / sizeof *filters];
    uint32_t count = 0;
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++) {
        count += pattern_write(SPAN_LITERAL("P:"), (struct span){filters[i], strlen(filters[i])}, &all[count]);
    }
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t j = 0; j < i; j++) {
            assert_false(
                span_equal((struct span){all[i].bytes, all[i].size}, (struct span){all[j].bytes, all[j].size}));
        }
    }
}

/* Patterns of Redis are those of fnmatch() without flags, for what is asked here. */
static void patterns_match_all_that_filters_do(void **state)
{
    (void)state;
    static const struct {
        const char *filter;
        const char *topic;
        bool matches;
    } cases[] = {
        {"a/+", "a/b", true},    {"a/+", "a", false},        {"a/#", "a", true},   {"a/#", "a/b/c", true},
        {"a/#", "ab", false},    {"a/+/c", "a/b/c", true},   {"#", "x/y", true},   {"a*/#", "a*/b", true},
        {"a*/#", "ax/b", false}, {"a[bc]/+", "ab/x", false}, {"+/b", "a/b", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pattern made[2];
        char channel[300];
        snprintf(channel, sizeof channel, "P:{%s}", cases[i].topic);
        uint32_t count =
            pattern_write(SPAN_LITERAL("P:"), (struct span){cases[i].filter, strlen(cases[i].filter)}, made);
        bool matches = false;
        for (uint32_t p = 0; p < count; p++) {
            char text[PATTERN_BYTES_MAX + 1];
            snprintf(text, sizeof text, "%.*s", (int)made[p].size, made[p].bytes);
            matches |= fnmatch(text, channel, 0) == 0;
        }
        assert_int_equal(matches, cases[i].matches);
    }
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_filter_is_answered_when_all_servers_have_it),
        TEST(a_server_that_goes_is_not_waited_for),
        TEST(shards_are_told_while_something_is_missed),
        TEST(filters_that_come_and_go_while_no_server_is_there_leave_nothing),
        TEST(one_that_is_given_up_before_it_was_confirmed_is_confirmed_first),
        TEST(what_is_refused_is_answered_and_counted),
        TEST(patterns_are_written),
        TEST(filters_have_no_pattern_in_common),
        TEST(patterns_match_all_that_filters_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
