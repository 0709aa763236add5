/*
 * feed_walk_test: the round of a walk: that each subscriber is sent to once a round whatever comes meanwhile, and that
 * those who come and go in the middle of it change nothing for the others. What a walk does among all else is
 * feed_test's random run.
 */
#include "host.h"

#define SUBSCRIBERS 40u

static struct {
    struct host *host;
    struct feeds *feeds;
    const char *topic;
    uint32_t number; /* of the feed */
    struct feed *feed;
    uint64_t had[SUBSCRIBERS + 1]; /* by subscription: the last message */
    uint32_t sends[SUBSCRIBERS + 1];
} run;

static void publish(void)
{
    host_publish_now(run.host, 0, run.topic, "x");
}

/* Takes the next subscriber, as conn/deliver does. 0: the oldest part is at its end. */
static uint32_t send_next(void)
{
    uint32_t subscription = feed_walk_next(run.feeds, run.feed);
    if (subscription && !subscription_at(run.feeds, subscription)->cursor) {
        assert_int_equal(run.had[subscription], run.feed->walked);
        run.had[subscription] = walk_at(run.feeds, run.feed)->target;
        run.sends[subscription]++;
    }
    return subscription;
}

static void setup(void)
{
    const struct from from = {.kind = FROM_NEW};
    memset(&run, 0, sizeof run);
    run.host = host_create(1, 64, NULL);
    run.feeds = &run.host->peers[0]->feeds;
    run.topic = "t";
    for (uint32_t i = 1; i <= SUBSCRIBERS; i++)
        assert_int_equal(host_subscribe(run.host, 0, i, LANE_RAW, run.topic, from), i);
    host_settle(run.host);
    run.number = feeds_find(run.feeds, host_span(run.topic), false);
    run.feed = feed_at(run.feeds, run.number);
}

static void finish(void)
{
    uint32_t published_us;
    while (feed_walk_begin(run.feeds, run.number)) {
        while (send_next() != 0) {
        }
        feed_walk_settle(run.feeds, run.number, &published_us);
    }
    for (uint32_t i = 0; i < run.feed->subscribers.size; i++)
        assert_int_equal(run.had[run.feed->subscribers.items[i]], run.feed->tail);
    while (feeds_dirty_take(run.feeds) != 0) {
    }
    host_destroy(run.host);
}

/* `sends` of the present round, a message behind every fifth of them. */
static void walk_under_load(uint32_t sends)
{
    uint32_t published_us;
    while (sends > 0) {
        assert_true(feed_walk_begin(run.feeds, run.number));
        for (uint32_t i = 0; i < 5 && sends > 0 && send_next() != 0; i++)
            sends--;
        feed_walk_settle(run.feeds, run.number, &published_us);
        publish();
    }
}

static void each_is_sent_to_once_a_round(void **state)
{
    (void)state;
    setup();
    publish();
    walk_under_load(SUBSCRIBERS * 10);
    for (uint32_t i = 1; i <= SUBSCRIBERS; i++)
        assert_int_equal(run.sends[i], 10);
    assert_true(run.feed->tail >= 80);
    finish();
}

/* Whoever is taken out, of whichever part, the others are sent what they lack, and nothing twice. */
static void others_stay_where_they_are_when_one_leaves(void **state)
{
    (void)state;
    for (uint32_t leaver = 1; leaver <= SUBSCRIBERS; leaver++) {
        setup();
        publish();
        walk_under_load(SUBSCRIBERS + 13);
        feeds_unsubscribe(run.feeds, leaver);
        walk_under_load(7);
        feeds_unsubscribe(run.feeds, leaver % SUBSCRIBERS + 1);
        finish();
    }
}

/* At the tail, and no part stands there: with a cursor, until one does. */
static void who_comes_in_a_round_is_parked_until_a_part_is_there(void **state)
{
    (void)state;
    const struct from from = {.kind = FROM_NEW};
    setup();
    publish();
    walk_under_load(SUBSCRIBERS / 2); /* and a message that is in no target yet */
    feeds_unsubscribe(run.feeds, SUBSCRIBERS);
    uint32_t late = host_subscribe(run.host, 0, 99, LANE_RAW, run.topic, from);
    host_settle(run.host);
    assert_int_equal(late, SUBSCRIBERS);
    assert_int_not_equal(subscription_at(run.feeds, late)->cursor, 0);
    run.had[late] = run.feed->tail;
    assert_true(feed_walk_begin(run.feeds, run.number)); /* takes the message in */
    assert_int_equal(subscription_at(run.feeds, late)->cursor, 0);
    assert_int_equal(feed_offset_of(run.feeds, run.feed, late), run.feed->tail);
    finish();
}

/* The last one leaves in the middle: what was to be walked is walked. */
static void walk_ends_when_nobody_is_left(void **state)
{
    (void)state;
    setup();
    publish();
    walk_under_load(11);
    for (uint32_t i = 1; i <= SUBSCRIBERS; i++)
        feeds_unsubscribe(run.feeds, i);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_is_sent_to_once_a_round),
        cmocka_unit_test(others_stay_where_they_are_when_one_leaves),
        cmocka_unit_test(who_comes_in_a_round_is_parked_until_a_part_is_there),
        cmocka_unit_test(walk_ends_when_nobody_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
