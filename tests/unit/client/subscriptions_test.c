/*
 * subscriptions_test: which filters may stand side by side (against all topics of a small world), whose a message is,
 * and the life of a subscription; a filter's positions.
 */
#include "client/subscriptions.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "protocol/dialect_bin.h"
#include "protocol/topic.h"

static struct span of(const char *text)
{
    return (struct span){text, strlen(text)};
}

static struct shoal_subscription *add(struct subscriptions *table, const char *filter)
{
    assert_int_equal(subscriptions_check(table, of(filter)), SHOAL_OK);
    return subscriptions_add(table, of(filter));
}

/* Every topic of up to 3 levels out of a, b and $a. */
static bool meet_by_search(const char *one, const char *other)
{
    static const char *const levels[] = {"a", "b", "$a"};
    for (int n = 0; n < 3 + 9 + 27; n++) {
        char topic[32];
        if (n < 3)
            snprintf(topic, sizeof topic, "%s", levels[n]);
        else if (n < 12)
            snprintf(topic, sizeof topic, "%s/%s", levels[(n - 3) / 3], levels[(n - 3) % 3]);
        else
            snprintf(topic, sizeof topic, "%s/%s/%s", levels[(n - 12) / 9], levels[(n - 12) / 3 % 3],
                     levels[(n - 12) % 3]);
        if (topic_filter_matches(of(one), of(topic)) && topic_filter_matches(of(other), of(topic)))
            return true;
    }
    return false;
}

static void overlaps(void **state)
{
    (void)state;
    static const char *const filters[] = {"a",   "b",     "a/b", "$a",   "#",    "+",     "a/#",   "b/#",   "+/b",
                                          "+/#", "a/+/b", "+/+", "$a/+", "$a/#", "+/b/#", "a/b/#", "+/+/+", "a/+"};
    size_t count = sizeof filters / sizeof filters[0];
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < count; j++) {
            struct subscriptions table = {0};
            add(&table, filters[i]);
            enum shoal_error error = subscriptions_check(&table, of(filters[j]));
            enum shoal_error expected = i == j                                   ? SHOAL_ERROR_ALREADY_SUBSCRIBED
                                        : meet_by_search(filters[i], filters[j]) ? SHOAL_ERROR_OVERLAP
                                                                                 : SHOAL_OK;
            if (error != expected)
                fail_msg("%s and %s", filters[i], filters[j]);
            subscriptions_free(&table);
        }
    }
}

static void messages_find_theirs(void **state)
{
    (void)state;
    struct subscriptions table = {0};
    struct shoal_subscription *one = add(&table, "a"), *wild = add(&table, "b/#"), *other = add(&table, "c");
    assert_null(subscriptions_for(&table, of("a"))); /* not live yet */
    subscription_set_state(&table, one, SUBSCRIPTION_LIVE);
    subscription_set_state(&table, wild, SUBSCRIPTION_LIVE);
    assert_false(subscriptions_are_settled(&table));
    assert_ptr_equal(subscriptions_for(&table, of("a")), one);
    assert_ptr_equal(subscriptions_for(&table, of("a")), one);
    assert_ptr_equal(subscriptions_for(&table, of("b")), wild);
    assert_ptr_equal(subscriptions_for(&table, of("b/x/y")), wild);
    assert_null(subscriptions_for(&table, of("c")));
    assert_null(subscriptions_for(&table, of("d")));
    assert_ptr_equal(subscriptions_named(&table, of("b/#")), wild);
    subscription_set_state(&table, one, SUBSCRIPTION_DEAD);
    assert_null(subscriptions_for(&table, of("a")));
    assert_int_equal(table.count, 2);
    (void)other;
    subscriptions_reap(&table);
    subscriptions_free(&table);
}

/* What is asked for: as the program said at first, later from where it was. */
static void commands(void **state)
{
    (void)state;
    struct subscriptions table = {0};
    struct shoal_subscription *one = add(&table, "a"), *wild = add(&table, "b/#");
    struct command command;
    char id[BIN_ID_SIZE];
    one->from = (struct shoal_from){SHOAL_FROM_POSITION, {1, 2}};
    subscription_command(&table, one, id, SPAN_NONE, &command);
    assert_int_equal(command.from.kind, FROM_POSITION);
    assert_true(command.from.epoch == 1 && command.from.offset == 2);
    assert_true(bin_id_read(command.id) > 0x80000000u);
    subscription_set_state(&table, one, SUBSCRIPTION_ASKED);
    assert_ptr_equal(subscriptions_asked(&table, one->id), one);
    one->established = wild->established = true;
    one->position = (struct shoal_position){3, 4};
    wild->since_ms = 5;
    subscription_command(&table, one, id, SPAN_NONE, &command);
    assert_true(command.from.epoch == 3 && command.from.offset == 4);
    subscription_command(&table, wild, id, of("p"), &command);
    assert_int_equal(command.from.kind, FROM_POSITIONS);
    assert_int_equal(command.from.since_ms, 5);
    wild->restarts = true;
    subscription_command(&table, wild, id, SPAN_NONE, &command);
    assert_int_equal(command.from.kind, FROM_NEW);
    subscription_set_state(&table, wild, SUBSCRIPTION_ASKED);
    subscription_set_state(&table, wild, SUBSCRIPTION_ENDING);
    assert_ptr_equal(subscriptions_first(&table, SUBSCRIPTION_ENDING), wild);
    assert_int_equal(subscriptions_check(&table, of("b/c")), SHOAL_OK); /* it will be gone before */
    assert_false(subscriptions_are_settled(&table));
    subscriptions_disconnected(&table);
    assert_false(subscriptions_are_ending(&table));
    assert_int_equal(table.count, 1);
    assert_int_equal(one->state, SUBSCRIPTION_WANTED);
    subscriptions_free(&table);
}

/* Through all states, answered in the order of asking, and found by name: quadratic work would show here. */
static void many_subscriptions(void **state)
{
    (void)state;
    enum { MANY = 100000 };
    struct subscriptions table = {0};
    struct shoal_subscription *at, *wild = add(&table, "w/#");
    char topic[32];
    for (uint32_t i = 0; i < MANY; i++) {
        snprintf(topic, sizeof topic, "t/%u", i);
        add(&table, topic);
    }
    subscription_set_state(&table, wild, SUBSCRIPTION_LIVE);
    for (uint32_t i = 0; i < MANY; i++) { /* asked for as they came */
        at = subscriptions_first(&table, SUBSCRIPTION_WANTED);
        snprintf(topic, sizeof topic, "t/%u", i);
        assert_string_equal(at->filter, topic);
        at->id = i;
        subscription_set_state(&table, at, SUBSCRIPTION_ASKED);
    }
    assert_null(subscriptions_first(&table, SUBSCRIPTION_WANTED));
    for (uint32_t i = 0; i < MANY; i++) {
        at = subscriptions_asked(&table, i);
        assert_non_null(at);
        subscription_set_state(&table, at, SUBSCRIPTION_LIVE);
        assert_ptr_equal(subscriptions_for(&table, of("w/x")), wild);
    }
    assert_true(subscriptions_are_settled(&table));
    assert_int_equal(table.count, MANY + 1);
    for (uint32_t i = 0; i < MANY; i += 2) {
        snprintf(topic, sizeof topic, "t/%u", i);
        at = subscriptions_for(&table, of(topic));
        assert_non_null(at);
        subscription_set_state(&table, at, SUBSCRIPTION_DEAD);
        assert_null(subscriptions_for(&table, of(topic)));
    }
    subscriptions_reap(&table);
    assert_int_equal(table.count, MANY / 2 + 1);
    subscriptions_disconnected(&table);
    assert_null(subscriptions_first(&table, SUBSCRIPTION_LIVE));
    subscriptions_free(&table);
}

/* A broker that was busy is asked again later, in the order of its answers; what was never asked is not held up. */
static void delayed(void **state)
{
    (void)state;
    struct subscriptions table = {0};
    struct shoal_subscription *first = add(&table, "a"), *second = add(&table, "b"), *fresh = add(&table, "c");
    first->not_before_ms = 10;
    second->not_before_ms = 20;
    subscription_set_state(&table, first, SUBSCRIPTION_DELAYED);
    subscription_set_state(&table, second, SUBSCRIPTION_DELAYED);
    assert_ptr_equal(subscriptions_first(&table, SUBSCRIPTION_WANTED), fresh);
    subscriptions_retry(&table, 9);
    assert_int_equal(first->state, SUBSCRIPTION_DELAYED);
    subscriptions_retry(&table, 10);
    assert_int_equal(first->state, SUBSCRIPTION_WANTED);
    assert_int_equal(second->state, SUBSCRIPTION_DELAYED);
    assert_false(subscriptions_are_settled(&table));
    subscriptions_disconnected(&table);
    assert_int_equal(second->state, SUBSCRIPTION_WANTED);
    subscriptions_free(&table);
}

static void many_positions(void **state)
{
    (void)state;
    struct positions positions = {0};
    char topic[32];
    for (uint32_t i = 0; i < POSITIONS_MAX; i++) {
        int size = snprintf(topic, sizeof topic, "t/%u", i);
        struct shoal_position *position = positions_of(&positions, (struct span){topic, (size_t)size});
        assert_non_null(position);
        assert_int_equal(position->epoch, 0);
        *position = (struct shoal_position){i + 1, i};
    }
    assert_false(positions.incomplete);
    assert_int_equal(positions_of(&positions, of("t/77"))->epoch, 78);
    assert_null(positions_of(&positions, of("one/more")));
    assert_true(positions.incomplete);
    size_t size = positions_write(&positions, NULL, 0), at = 0, count = 0;
    assert_int_equal(size, positions.bytes + (size_t)17 * POSITIONS_MAX);
    char *bytes = malloc(size);
    assert_int_equal(positions_write(&positions, bytes, size), size);
    struct span name;
    uint64_t epoch, offset;
    while (dialect_bin.next_position((struct span){bytes, size}, &at, NULL, &name, &epoch, &offset)) {
        assert_true(epoch == offset + 1);
        count++;
    }
    assert_int_equal(count, POSITIONS_MAX);
    free(bytes);
    positions_free(&positions);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(overlaps), cmocka_unit_test(messages_find_theirs),
        cmocka_unit_test(commands), cmocka_unit_test(many_subscriptions),
        cmocka_unit_test(delayed),  cmocka_unit_test(many_positions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
