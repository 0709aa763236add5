/*
 * owner_test: publishing, following and history at the owner of a topic, over a real mesh of one or two peers; what an
 * owner does when rings are full, and when the fan-out is behind.
 */
#include "host.h"

static const struct from from_new = {.kind = FROM_NEW};
static const struct from from_last = {.kind = FROM_LAST};

static struct from from_position(uint64_t epoch, uint64_t offset)
{
    return (struct from){.kind = FROM_POSITION, .epoch = epoch, .offset = offset};
}

static void offsets_count_from_one_a_topic(void **state)
{
    (void)state;
    struct host *host = host_create(2, 64, NULL);
    const char *a = host_name_of(host, 0, "a"), *b = host_name_of(host, 1, "b");
    assert_int_equal(host_publish_now(host, 0, a, "x"), 1);
    assert_int_equal(host_publish_now(host, 1, a, "x"), 2);
    assert_int_equal(host_publish_now(host, 0, b, "x"), 1);
    assert_int_equal(host_publish_now(host, 1, b, "x"), 2);
    assert_int_not_equal(host_topic(host, a)->epoch, 0);
    assert_int_not_equal(host_topic(host, a)->epoch, host_topic(host, b)->epoch);
    assert_int_equal(host_answer(host, 1)->epoch, host_topic(host, b)->epoch);
    assert_int_equal(chunk_count_in_use(), host->chunks_before); /* nobody reads, nothing is kept */
    host_destroy(host);
}

static void repeated_key_gets_the_first_answer(void **state)
{
    (void)state;
    struct host *host = host_create(1, 64, NULL);
    for (int i = 0; i < 3; i++) {
        assert_true(host_try_publish(host, 0, "t", host_span("x"), "key"));
        host_settle(host);
        assert_int_equal(host_answer(host, 0)->offset, 1);
        assert_int_equal(host_answer(host, 0)->epoch, host_topic(host, "t")->epoch);
    }
    assert_true(host_try_publish(host, 0, "u", host_span("x"), "key")); /* of another topic */
    assert_true(host_try_publish(host, 0, "t", host_span("x"), "key2"));
    host_settle(host);
    assert_int_equal(host_topic(host, "t")->log.tail, 2);
    assert_int_equal(host_topic(host, "u")->log.tail, 1);
    assert_int_equal(STATS_READ(&host->peers[0]->stats, publishes_repeated), 2);
    assert_int_equal(STATS_READ(&host->peers[0]->stats, publishes), 3);
    host_destroy(host);
}

static void topics_beyond_the_limit_are_refused(void **state)
{
    (void)state;
    struct host *host = host_create(1, 64, (const char *const[]){"limits.topics=2", "topics.idle_s=1", NULL});
    host_publish_now(host, 0, "a", "x");
    host_publish_now(host, 0, "b", "x");
    host_publish(host, 0, "c", "x");
    uint32_t subscription = host_subscribe(host, 0, 1, LANE_RAW, "d", from_new);
    host_settle(host);
    assert_int_equal(host_answer(host, 0)->status, REPLY_TOPICS_LIMIT);
    assert_int_equal(host_subscribed(host, 0, subscription)->error, REPLY_TOPICS_LIMIT);
    feeds_unsubscribe(&host->peers[0]->feeds, subscription);
    host_settle(host);
    assert_int_equal(host->peers[0]->feeds.feeds.used, 0);
    host_time(host, 5000); /* the others are forgotten, and there is room again */
    owner_sweep(&host->peers[0]->owner, slab_end(&host->peers[0]->owner.topics));
    assert_int_equal(STATS_READ(&host->peers[0]->stats, topics), 0);
    assert_int_equal(STATS_READ(&host->peers[0]->stats, topics_forgotten), 2);
    host_publish_now(host, 0, "c", "x");
    host_destroy(host);
}

static void forgotten_topic_has_another_epoch(void **state)
{
    (void)state;
    struct host *host = host_create(1, 64, (const char *const[]){"topics.idle_s=1", NULL});
    host_publish_now(host, 0, "t", "x");
    uint64_t epoch = host_topic(host, "t")->epoch;
    host_time(host, 5000);
    owner_sweep(&host->peers[0]->owner, slab_end(&host->peers[0]->owner.topics));
    assert_null(host_topic(host, "t"));
    assert_int_equal(host_publish_now(host, 0, "t", "x"), 1);
    assert_int_not_equal(host_topic(host, "t")->epoch, epoch);
    host_destroy(host);
}

/* --- following --- */

static void follower_comes_and_goes(void **state)
{
    (void)state;
    struct host *host = host_create(2, 64, NULL);
    const char *topic = host_name_of(host, 0, "t");
    host_publish_now(host, 0, topic, "before");
    uint32_t one = host_subscribe(host, 1, 7, LANE_JSON, topic, from_new);
    host_settle(host);
    assert_int_equal(host_subscribed(host, 1, one)->offset, 1);
    assert_int_equal(host_topic(host, topic)->lanes, LANE_BIT(LANE_RAW) | LANE_BIT(LANE_JSON));
    assert_int_equal(STATS_READ(&host->peers[0]->stats, followers), 1);
    host_publish_now(host, 0, topic, "one");
    const struct feed *feed =
        feed_at(&host->peers[1]->feeds, feeds_find(&host->peers[1]->feeds, host_span(topic), false));
    assert_int_equal(feed->tail, 2);
    assert_int_equal(feed->walked, 1);
    assert_non_null(feed->base);
    host_deliver(host, 1, NULL, NULL);
    assert_int_equal(feed->walked, 2);
    assert_null(feed->base);
    feeds_unsubscribe(&host->peers[1]->feeds, one);
    host_settle(host);
    assert_int_equal(host_topic(host, topic)->followers, 0);
    assert_int_equal(host_topic(host, topic)->lanes, LANE_BIT(LANE_RAW));
    assert_int_equal(host->peers[1]->feeds.feeds.used, 0);
    host_publish_now(host, 0, topic, "after"); /* lets go of the log: nobody reads it */
    assert_int_equal(chunk_count_in_use(), host->chunks_before);
    host_destroy(host);
}

static void many_messages_are_one_tell(void **state)
{
    (void)state;
    struct host *host = host_create(2, 64, NULL);
    const char *topic = host_name_of(host, 0, "t");
    host_subscribe(host, 1, 7, LANE_RAW, topic, from_new);
    host_settle(host);
    for (int i = 0; i < 50; i++)
        host_publish(host, 0, topic, "x");
    host_asks(host, 0, UINT32_MAX);
    owner_advance(&host->peers[0]->owner);
    assert_int_equal(mesh_tell_room(&host->mesh, 0, 1), 63);
    host_settle(host);
    host_deliver(host, 1, NULL, NULL);
    host_destroy(host);
}

/* Tells that find no room wait at the owner, and are one when there is room. */
static void full_ring_only_delays(void **state)
{
    (void)state;
    struct host *host = host_create(2, 4, NULL);
    char topics[6][64];
    for (int i = 0; i < 6; i++) {
        char stem[16];
        snprintf(stem, sizeof stem, "t/%d/", i);
        snprintf(topics[i], sizeof topics[i], "%s", host_name_of(host, 0, stem));
        host_subscribe(host, 1, 7, LANE_RAW, topics[i], from_new);
        host_settle(host);
    }
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 6; i++) {
            host_publish(host, 0, topics[i], "x");
            host_turn(host, 0); /* peer 1 sleeps, and its ring fills */
        }
    }
    assert_true(owner_is_dirty(&host->peers[0]->owner));
    assert_int_equal(mesh_tell_room(&host->mesh, 0, 1), 0);
    host_settle(host);
    for (int i = 0; i < 6; i++) {
        const struct feeds *feeds = &host->peers[1]->feeds;
        assert_int_equal(feed_at(feeds, feeds_find(&host->peers[1]->feeds, host_span(topics[i]), false))->tail, 20);
    }
    host_deliver(host, 1, NULL, NULL);
    host_destroy(host);
}

/*
 * Up to when everything was told, at the owner, and delivered, at the filter's feed: not beyond a message whose topic
 * has still to be made known to the follower, nor beyond one that no subscriber has been sent.
 */
static void watermarks_wait_for_what_is_on_its_way(void **state)
{
    (void)state;
    struct host *host = host_create(2, 64, NULL);
    struct watermark *told = &host->peers[0]->owner.told, *delivered = &host->peers[1]->feeds.delivered;
    host_subscribe(host, 1, 7, LANE_RAW, "a/#", from_new);
    host_settle(host);
    for (int64_t ms = 10; ms < 100; ms += 10) {
        watermark_advance(told, ms);
        watermark_advance(delivered, ms);
        assert_int_equal(told->ms, ms);
        assert_int_equal(delivered->ms, ms);
        host_publish(host, 0, host_name_of(host, 0, ms % 20 ? "a/young" : "a/old"), "x");
        host_turn(host, 0);
        watermark_advance(told, ms + 1);
        watermark_advance(told, ms + 2);
        assert_in_range(told->ms, ms, watermark_pending(told) ? ms : ms + 2);
        assert_int_equal(watermark_pending(told), ms == 10 || ms == 20); /* the topic is new */
        host_settle(host);
        assert_int_equal(watermark_pending(told), 0);
        watermark_advance(delivered, ms + 1);
        watermark_advance(delivered, ms + 2);
        assert_int_equal(delivered->ms, ms);
        host_deliver(host, 1, NULL, NULL);
        assert_int_equal(watermark_pending(delivered), 0);
    }
    host_settle(host);
    host_destroy(host);
}

/* --- filters --- */

struct seen {
    uint32_t count;
};

static void count_seen(void *context, uint32_t subscription, uint64_t from, uint64_t to)
{
    (void)subscription;
    ((struct seen *)context)->count += (uint32_t)(to - from + 1);
}

static void filter_follows_topics_as_they_come(void **state)
{
    (void)state;
    struct host *host = host_create(2, 64, NULL);
    struct seen seen = {0};
    const char *a = host_name_of(host, 0, "s/a"), *b = host_name_of(host, 1, "s/b");
    host_publish_now(host, 0, a, "before");
    uint32_t filter = host_subscribe(host, 1, 7, LANE_JSON, "s/#", from_new);
    host_settle(host);
    assert_int_equal(host_subscribed(host, 1, filter)->error, REPLY_OK);
    for (int i = 0; i < 3; i++) {
        host_publish_now(host, 0, a, "x");
        host_publish_now(host, 0, b, "x");
        host_publish_now(host, 0, "other", "x");
    }
    host_deliver(host, 1, count_seen, &seen);
    assert_int_equal(seen.count, 6);
    assert_int_equal(STATS_READ(&host->peers[1]->stats, filter_copies), 6);
    feeds_unsubscribe(&host->peers[1]->feeds, filter);
    host_settle(host);
    feeds_sweep(&host->peers[1]->feeds, slab_end(&host->peers[1]->feeds.feeds));
    host_settle(host);
    assert_int_equal(host->peers[1]->feeds.feeds.used, 0);
    assert_int_equal(host_topic(host, a)->followers, 0);
    assert_int_equal(filters_count(host->peers[0]->owner.filters), 0);
    host_destroy(host);
}

/* The message that makes the topic match, and a join, in one turn of the owner: the join is answered behind it. */
static void join_of_a_topic_that_was_not_announced_yet(void **state)
{
    (void)state;
    struct host *host = host_create(2, 64, NULL);
    struct seen seen = {0};
    const char *topic = host_name_of(host, 0, "s/a");
    for (int i = 0; i < 30; i++)
        host_publish_now(host, 0, topic, "before");
    host_subscribe(host, 1, 7, LANE_RAW, "s/#", from_new);
    host_settle(host);
    host_publish(host, 0, topic, "both");
    uint32_t plain = host_subscribe(host, 1, 8, LANE_RAW, topic, from_new);
    feeds_send(&host->peers[1]->feeds);
    host_asks(host, 0, UINT32_MAX); /* publish, then join, before owner_advance() */
    host_settle(host);
    assert_int_equal(host_subscribed(host, 1, plain)->offset, 31);
    host_deliver(host, 1, count_seen, &seen);
    assert_int_equal(seen.count, 1); /* by the filter; the plain one came behind it */
    host_publish_now(host, 0, topic, "both");
    host_deliver(host, 1, count_seen, &seen);
    assert_int_equal(seen.count, 3);
    host_destroy(host);
}

/* --- history --- */

static const struct feed_answer *resume(struct host *host, const char *topic, struct from from)
{
    uint32_t subscription = host_subscribe(host, 0, 9, LANE_RAW, topic, from);
    host_settle(host);
    const struct feed_answer *answer = host_subscribed(host, 0, subscription);
    assert_non_null(answer);
    feeds_unsubscribe(&host->peers[0]->feeds, subscription);
    host_settle(host);
    return answer;
}

static void history_is_reached_or_what_is_lost_is_told(void **state)
{
    (void)state;
    struct host *host = host_create(1, 64, (const char *const[]){"namespace.default.history_messages=5", NULL});
    for (int i = 0; i < 12; i++)
        host_publish_now(host, 0, "t", "x");
    uint64_t epoch = host_topic(host, "t")->epoch;
    const struct feed_answer *answer = resume(host, "t", from_position(epoch, 9));
    assert_true(answer->has_recovered && answer->recovered && !answer->lost);
    assert_int_equal(answer->offset, 9);
    answer = resume(host, "t", from_position(epoch, 7)); /* 8 is the oldest of five */
    assert_true(answer->recovered);
    assert_int_equal(answer->offset, 7);
    answer = resume(host, "t", from_position(epoch, 3));
    assert_true(!answer->recovered && answer->lost);
    assert_int_equal(answer->reason, GAP_EXPIRED);
    assert_int_equal(answer->gap_from, 4);
    assert_int_equal(answer->gap_to, 7);
    answer = resume(host, "t", from_position(epoch + 1, 3));
    assert_true(!answer->recovered && answer->lost);
    assert_int_equal(answer->reason, GAP_EPOCH);
    assert_int_equal(answer->offset, 7);
    answer = resume(host, "t", from_position(epoch, 12));
    assert_true(answer->recovered);
    assert_int_equal(answer->offset, 12);
    assert_int_equal(resume(host, "t", from_position(epoch, 13))->error, REPLY_POSITION_INVALID);
    assert_int_equal(resume(host, "t", from_last)->offset, 11);
    assert_int_equal(resume(host, "empty", from_last)->offset, 0);
    host_destroy(host);
}

static void history_of_a_topic_that_keeps_none(void **state)
{
    (void)state;
    struct host *host = host_create(1, 64, NULL);
    for (int i = 0; i < 3; i++)
        host_publish_now(host, 0, "t", "x");
    uint64_t epoch = host_topic(host, "t")->epoch;
    const struct feed_answer *answer = resume(host, "t", from_position(epoch, 1));
    assert_true(answer->lost);
    assert_int_equal(answer->gap_from, 2);
    assert_int_equal(answer->gap_to, 3);
    assert_true(resume(host, "t", from_position(epoch, 3))->recovered);
    assert_int_equal(resume(host, "t", from_last)->offset, 3);
    host_destroy(host);
}

static struct host_answer *read_history(struct host *host, const char *topic, uint64_t epoch, uint64_t offset,
                                        uint32_t most)
{
    struct ticket *ticket = ticket_create(host_span(topic), SPAN_NONE, SPAN_NONE, SPAN_NONE);
    ticket->hash = name_hash(host_span(topic));
    ticket->key_id = idempotency_id(ticket->hash, ticket_key(ticket));
    ticket->epoch = epoch;
    ticket->offset = offset;
    ticket->read_max = most;
    struct envelope ask = {.kind = ASK_READ, .ticket = ticket};
    assert_true(mesh_ask(&host->mesh, 0, host_owner(host, topic), &ask));
    host_settle(host);
    return host_answer(host, 0);
}

static void read_pages_from_its_position(void **state)
{
    (void)state;
    struct host *host = host_create(1, 64, (const char *const[]){"namespace.default.history_messages=10", NULL});
    for (int i = 0; i < 30; i++)
        host_publish_now(host, 0, "t", "x");
    uint64_t epoch = host_topic(host, "t")->epoch;
    struct host_answer *answer = read_history(host, "t", 0, 0, 3);
    assert_int_equal(answer->first, 28); /* the last three */
    assert_int_equal(answer->offset, 30);
    assert_int_equal(answer->epoch, epoch);
    assert_non_null(answer->chunk);
    assert_int_equal(read_history(host, "t", 0, 0, 100)->first, 21);
    assert_int_equal(read_history(host, "t", epoch, 24, 3)->first, 25);
    assert_int_equal(read_history(host, "t", epoch, 2, 3)->first, 21);
    assert_int_equal(read_history(host, "t", epoch + 1, 24, 3)->first, 21);
    answer = read_history(host, "t", epoch, 30, 3);
    assert_int_equal(answer->first, 31);
    assert_null(answer->chunk);
    answer = read_history(host, "nowhere", 0, 0, 3);
    assert_int_equal(answer->status, REPLY_OK);
    assert_int_equal(answer->epoch, 0);
    assert_null(host_topic(host, "nowhere")); /* reading makes none */
    host_destroy(host);
}

/* --- back-pressure --- */

static const char *const backlog_64k[] = {"namespace.default.backlog_bytes=64K", NULL};

/* Answers to publishers are held when the fan-out is half a backlog behind, and come when the walk has been made. */
static void answers_wait_for_slow_fan_out(void **state)
{
    (void)state;
    struct host *host = host_create(2, 64, backlog_64k);
    static char payload[1024];
    const char *topic = host_name_of(host, 0, "t");
    host_subscribe(host, 1, 7, LANE_RAW, topic, from_new);
    host_settle(host);
    struct host_peer *publisher = host->peers[0];
    uint32_t sent = 0;
    while (publisher->answer_count == sent && sent < 1000) {
        assert_true(host_try_publish(host, 0, topic, (struct span){payload, sizeof payload}, NULL));
        sent++;
        host_settle(host);
    }
    assert_in_range(sent, 32, 34); /* a quarter until the report is asked for, and a quarter more */
    for (int i = 0; i < 5; i++, sent++)
        assert_true(host_try_publish(host, 0, topic, (struct span){payload, sizeof payload}, NULL));
    host_settle(host);
    assert_int_equal(STATS_READ(&publisher->stats, publishes_held), sent - publisher->answer_count);
    host_deliver(host, 1, NULL, NULL);
    host_settle(host);
    assert_int_equal(publisher->answer_count, sent);
    assert_int_equal(publisher->answers[sent - 1].offset, sent);
    host_destroy(host);
}

/* A follower that leaves is not waited for; what it set free may be more than its own ring has room for. */
static void leaver_sets_held_answers_free(void **state)
{
    (void)state;
    struct host *host = host_create(2, 4, backlog_64k);
    static char payload[1024];
    const char *topic = host_name_of(host, 0, "t");
    uint32_t subscription = host_subscribe(host, 1, 7, LANE_RAW, topic, from_new);
    host_settle(host);
    for (uint32_t i = 0; i < 50; i++) {
        assert_true(host_try_publish(host, 1, topic, (struct span){payload, sizeof payload}, NULL));
        host_settle(host);
    }
    assert_true(host->peers[1]->answer_count < 40);
    feeds_unsubscribe(&host->peers[1]->feeds, subscription);
    host_deliver(host, 1, NULL, NULL);
    host_settle(host);
    assert_int_equal(host->peers[1]->answer_count, 50);
    assert_int_equal(host->peers[1]->feeds.feeds.used, 0);
    host_destroy(host);
}

/* Publishes 1 KB to another topic each time, until an answer is held. Gives how many. */
static uint32_t publish_until_held(struct host *host, const char *stem)
{
    static char payload[1024];
    const struct host_peer *publisher = host->peers[0];
    uint32_t answered = publisher->answer_count, sent = 0;
    while (publisher->answer_count - answered == sent && sent < 1000) {
        char topic[32];
        snprintf(topic, sizeof topic, "%s/%u", stem, sent++);
        assert_true(host_try_publish(host, 0, topic, (struct span){payload, sizeof payload}, NULL));
        host_settle(host);
    }
    return sent;
}

/* A filter's log is filled by all topics that match, none of which has much: it is the filter that is waited for. */
static void answers_wait_for_a_filter_that_is_behind(void **state)
{
    (void)state;
    struct host *host = host_create(2, 64, backlog_64k);
    host_subscribe(host, 1, 7, LANE_RAW, "a/#", from_new);
    host_subscribe(host, 1, 8, LANE_RAW, "b/#", from_new);
    host_settle(host);
    uint32_t sent = publish_until_held(host, "a");
    assert_in_range(sent, 32, 34); /* a quarter begins the step that is waited for, and a quarter more */
    assert_int_equal(STATS_READ(&host->peers[1]->stats, filter_brakes), 1);
    for (uint32_t i = 0; i < 2; i++)
        assert_int_equal(host->peers[i]->owner.brakes.used, 1);
    host_publish_now(host, 0, "b/1", "x"); /* not of that filter: is answered */
    host_publish_now(host, 0, "c", "x");
    uint32_t answered = host->peers[0]->answer_count;
    assert_int_equal(answered, sent + 1);
    host_deliver(host, 1, NULL, NULL);
    host_settle(host);
    assert_int_equal(host->peers[0]->answer_count, sent + 2);
    for (uint32_t i = 0; i < 2; i++)
        assert_int_equal(host->peers[i]->owner.brakes.used, 0);
    assert_in_range(publish_until_held(host, "a/again"), 16, 18); /* the next step has begun long since */
    host_deliver(host, 1, NULL, NULL);
    host_settle(host);
    host_destroy(host);
}

/* Nobody follows it any more: nobody is waited for. The rings are full again and again meanwhile. */
static void filter_that_ends_sets_held_answers_free(void **state)
{
    (void)state;
    struct host *host = host_create(2, 4, backlog_64k);
    uint32_t subscription = host_subscribe(host, 1, 7, LANE_RAW, "a/#", from_new);
    host_settle(host);
    for (uint32_t i = 0; i < 3; i++) {
        publish_until_held(host, "a");
        assert_int_equal(host->peers[0]->owner.brakes.used, 1);
        feeds_unsubscribe(&host->peers[1]->feeds, subscription);
        if (i == 1) /* another one comes before it is gone */
            subscription = host_subscribe(host, 1, 7, LANE_RAW, "a/#", from_new);
        host_deliver(host, 1, NULL, NULL);
        host_settle(host);
        assert_int_equal(STATS_READ(&host->peers[0]->stats, publishes) + STATS_READ(&host->peers[1]->stats, publishes),
                         host->peers[0]->answer_count);
        assert_int_equal(host->peers[0]->owner.brakes.used, 0);
        assert_int_equal(filters_count(host->peers[0]->owner.braked), 0);
        if (i == 0)
            subscription = host_subscribe(host, 1, 7, LANE_RAW, "a/#", from_new);
        host_settle(host);
    }
    host_destroy(host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(offsets_count_from_one_a_topic),
        cmocka_unit_test(repeated_key_gets_the_first_answer),
        cmocka_unit_test(topics_beyond_the_limit_are_refused),
        cmocka_unit_test(forgotten_topic_has_another_epoch),
        cmocka_unit_test(follower_comes_and_goes),
        cmocka_unit_test(many_messages_are_one_tell),
        cmocka_unit_test(full_ring_only_delays),
        cmocka_unit_test(watermarks_wait_for_what_is_on_its_way),
        cmocka_unit_test(filter_follows_topics_as_they_come),
        cmocka_unit_test(join_of_a_topic_that_was_not_announced_yet),
        cmocka_unit_test(history_is_reached_or_what_is_lost_is_told),
        cmocka_unit_test(history_of_a_topic_that_keeps_none),
        cmocka_unit_test(read_pages_from_its_position),
        cmocka_unit_test(answers_wait_for_slow_fan_out),
        cmocka_unit_test(leaver_sets_held_answers_free),
        cmocka_unit_test(answers_wait_for_a_filter_that_is_behind),
        cmocka_unit_test(filter_that_ends_sets_held_answers_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
