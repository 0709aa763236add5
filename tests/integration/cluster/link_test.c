/*
 * link_test: federation links against real redis-server processes that are well: live relay, logged appends, fetches,
 * topics and filters wanted, passwords, several servers, and hosts that see each other. What goes wrong: faults_test.c.
 */
#include "fixture.h"

#include <stdio.h>

#include "base/logger.h"

/* --- tests --- */

static void live_messages_reach_other_hosts_and_do_not_come_back(void **state)
{
    (void)state;
    cluster_start();
    want_on(&one, "news/a", 7);
    want_on(&two, "news/a", 8);
    host_publish(&one, "news/a", "hello", NULL, false);
    turn_until_count(&two, ASK_ARRIVED, 1, "the message");
    assert_message(two.arrived, "news/a", "hello");
    assert_false(two.arrived->logged);
    for (int i = 0; i < 1000; i++) {
        char text[16];
        snprintf(text, sizeof text, "%d", i);
        host_publish(&one, "news/a", text, NULL, false);
    }
    turn_until_count(&two, ASK_ARRIVED, 1001, "all messages");
    const struct relay *relay = two.arrived->next;
    for (int i = 0; i < 1000; i++, relay = relay->next) {
        char text[16];
        snprintf(text, sizeof text, "%d", i);
        assert_message(relay, "news/a", text);
    }
    assert_int_equal(one.arrived_count, 0);
    assert_true(STATS_READ(link_stats(one.link), arrived_own) > 0);
}

static void who_wants_nothing_gets_nothing(void **state)
{
    (void)state;
    cluster_start();
    want_on(&two, "news/a", 1);
    host_unwant(&two, "news/a");
    settle();
    host_forget(&two);
    host_publish(&one, "news/a", "for nobody", NULL, false);
    settle();
    assert_int_equal(two.arrived_count, 1); /* the settling message */
    want_on(&two, "news/a", 2);
    host_publish(&one, "news/a", "again", NULL, false);
    turn_until_count(&two, ASK_ARRIVED, 1, "the message");
    assert_message(two.arrived, "news/a", "again");
}

static void logged_messages_have_one_order_on_all_hosts(void **state)
{
    (void)state;
    cluster_start();
    want_on(&one, "log", 1);
    want_on(&two, "log", 1);
    enum { EACH = 300 };
    for (int i = 0; i < EACH; i++) {
        host_publish(&one, "log", "from one", NULL, true);
        host_publish(&two, "log", "from two", NULL, true);
    }
    turn_until_count(&one, TELL_RELAYED, EACH, "acknowledgements");
    turn_until_count(&two, TELL_RELAYED, EACH, "acknowledgements");
    turn_until_count(&one, ASK_ARRIVED, 2 * EACH, "messages");
    turn_until_count(&two, ASK_ARRIVED, 2 * EACH, "messages");
    const struct relay *left = one.arrived;
    const struct relay *right = two.arrived;
    for (uint64_t offset = 1; offset <= 2 * EACH; offset++, left = left->next, right = right->next) {
        assert_int_equal(left->offset, offset);
        assert_int_equal(right->offset, offset);
        assert_int_equal(left->epoch, right->epoch);
        assert_true(left->logged && left->epoch);
        assert_memory_equal(relay_payload(left), relay_payload(right), left->payload_size);
    }
    bool seen[2 * EACH + 1] = {0};
    for (size_t i = 0; i < 2; i++) {
        for (const struct told *told = both[i]->told; told; told = told->before) {
            if (told->envelope.kind == TELL_RELAYED) {
                const struct relay *relay = told->envelope.relay;
                assert_int_equal(relay->status, RELAY_DONE);
                assert_false(seen[relay->offset]);
                seen[relay->offset] = true;
            }
        }
    }
}

static void a_key_is_appended_once(void **state)
{
    (void)state;
    cluster_start();
    uint64_t offset = append(&one, "log", "once", "key 1")->offset;
    assert_int_equal(append(&two, "log", "once", "key 1")->offset, offset);
    assert_int_equal(append(&one, "log", "other", "key 2")->offset, offset + 1);
    assert_int_equal(append(&one, "other/log", "other", "key 1")->offset, 1); /* keys are a topic's */
    const struct relay_page *page = fetch(&two, "log", 0, 0, 10);
    assert_int_equal(page->count, 2);
    assert_int_equal(page->tail, 2);
}

static void fetches_begin_where_they_are_told_to(void **state)
{
    (void)state;
    cluster_start();
    const struct relay_page *page = fetch(&one, "log", 0, 0, 10);
    assert_true(page->epoch != 0);
    assert_int_equal(page->count, 0);
    assert_int_equal(page->tail, 0);
    assert_int_equal(page->first, 1);
    uint64_t epoch = page->epoch;
    for (int i = 1; i <= 5; i++) {
        char text[16];
        snprintf(text, sizeof text, "message %d", i);
        const struct relay *relay = append(&one, "log", text, NULL);
        assert_int_equal(relay->offset, i);
        assert_int_equal(relay->epoch, epoch);
    }
    page = fetch(&two, "log", 0, 0, 2);
    assert_int_equal(page->count, 2);
    assert_int_equal(page->entries[0].offset, 4);
    assert_memory_equal(page->entries[0].payload, "message 4", 9);
    assert_int_equal(page->entries[0].payload_size, 9);
    assert_true(page->entries[0].time_ms > 1600000000000);
    page = fetch(&two, "log", epoch, 3, 0);
    assert_int_equal(page->count, 2);
    assert_int_equal(page->entries[0].offset, 4);
    assert_int_equal(page->first, 1);
    page = fetch(&two, "log", epoch, 5, 0);
    assert_int_equal(page->count, 0);
    page = fetch(&two, "log", epoch ^ 1, 3, 0); /* of another epoch: all of this one */
    assert_int_equal(page->count, 5);
    assert_int_equal(page->epoch, epoch);
    assert_int_equal(page->epoch_base, 0);
}

static void long_streams_come_in_pages(void **state)
{
    (void)state;
    cluster_start();
    enum { COUNT = 1200 };
    keep_messages = COUNT;
    for (int i = 1; i <= COUNT; i++) {
        char text[16];
        snprintf(text, sizeof text, "%d", i);
        host_publish(&one, "log", text, NULL, true);
    }
    turn_until_count(&one, TELL_RELAYED, COUNT, "acknowledgements");
    uint64_t epoch = host_told(&one, TELL_RELAYED)->relay->epoch;
    uint64_t offset = 0;
    uint32_t pages = 0;
    const struct relay_page *page;
    do {
        page = fetch(&two, "log", epoch, offset, 0);
        assert_true(page->count > 0 && page->tail == COUNT && page->first == 1);
        for (uint32_t i = 0; i < page->count; i++) {
            char text[16];
            int size = snprintf(text, sizeof text, "%llu", (unsigned long long)++offset);
            assert_int_equal(page->entries[i].offset, offset);
            assert_int_equal(page->entries[i].payload_size, size);
            assert_memory_equal(page->entries[i].payload, text, (size_t)size);
        }
        pages++;
    } while (offset < page->tail);
    assert_int_equal(pages, 3);
}

static void a_stream_that_was_cut_says_where_it_begins(void **state)
{
    (void)state;
    cluster_start();
    enum { COUNT = 1000 };
    for (int i = 0; i < COUNT; i++) {
        host_publish(&one, "log", "of many", NULL, true);
    }
    turn_until_count(&one, TELL_RELAYED, COUNT, "acknowledgements");
    uint64_t epoch = host_told(&one, TELL_RELAYED)->relay->epoch;
    const struct relay_page *page = fetch(&two, "log", epoch, 1, 0);
    assert_true(page->first > 1 && page->first <= COUNT - keep_messages + 1);
    assert_int_equal(page->entries[0].offset, page->first);
    assert_int_equal(page->tail, COUNT);
}

static void a_server_may_have_an_ipv6_address(void **state)
{
    (void)state;
    redis.options[0] = "--bind";
    redis.options[1] = "127.0.0.1";
    redis.options[2] = "::1";
    snprintf(servers, sizeof servers, "redis://[::1]:%u", redis.port);
    cluster_start();
    static struct link_report report;
    char address[32];
    snprintf(address, sizeof address, "[::1]:%u", redis.port);
    link_report(one.link, &report);
    assert_string_equal(report.servers[0].address, address);
    assert_string_equal(report.servers[0].role, "master");
}

static void filters_see_what_matches_and_nothing_twice(void **state)
{
    (void)state;
    cluster_start();
    host_filter(&two, 0, "a/#", 5, 1, 0);
    host_filter(&two, 1, "a/+", 6, 3, 0);
    turn_until_count(&two, TELL_FILTERED, 2, "confirmed filters");
    want_on(&two, "a/b", 1);
    host_forget(&two);
    host_publish(&one, "a/b", "wanted thrice", NULL, false);
    host_publish(&one, "a", "above", NULL, false);
    host_publish(&one, "ab", "beside", NULL, false);
    host_publish(&one, "a/b/c", "below", NULL, true);
    settle();
    assert_int_equal(STATS_READ(link_stats(two.link), arrived), 4);
    assert_int_equal(STATS_READ(link_stats(two.link), arrived_twice), 3);
    host_filter(&two, 0, "a/#", 5, 0, 1);
    host_filter(&two, 1, "a/+", 6, 0, 3);
    turn_until_count(&two, TELL_FILTERED, 2, "ended filters");
    settle();
    host_publish(&one, "a/c", "for nobody", NULL, false);
    settle();
    assert_int_equal(two.arrived_count, 1);
    say(&redis, "PUBSUB NUMPAT");
    assert_string_equal(answer, "0");
}

static void filters_that_are_too_wide_or_too_many_stay_here(void **state)
{
    (void)state;
    cluster_start();
    host_filter(&one, 0, "#", 1, 1, 0);
    host_filter(&one, 0, "+/b", 2, 1, 0);
    host_filter(&one, 0, "$shoal/#", 3, 1, 0);
    for (uint32_t i = 0; i < 11; i++) {
        char filter[16];
        snprintf(filter, sizeof filter, "f%u/#", i);
        host_filter(&one, 0, filter, 10 + i, 1, 0);
    }
    turn_until_count(&one, TELL_FILTERED, 14, "answers to all filters");
    assert_int_equal(STATS_READ(link_stats(one.link), filters_refused_levels), 2);
    assert_int_equal(STATS_READ(link_stats(one.link), filters_refused_limit), 1);
    say(&redis, "PUBSUB NUMPAT");
    assert_string_equal(answer, "20");
}

static void only_who_knows_the_password_gets_in(void **state)
{
    (void)state;
    static const char *const options[] = {"--requirepass", "s3c:ret", "--user", "shoal",       "on",   ">pass@word",
                                          "~test:*",       "&test:*", "+@all",  "-@dangerous", "+info"};
    memcpy(redis.options, options, sizeof options);
    redis_process_start(&redis);
    settings.servers = servers;
    snprintf(servers, sizeof servers, "redis://:wrong@127.0.0.1:%u", redis.port);
    host_create(&one, 1, &settings);
    char user[128];
    snprintf(user, sizeof user, "redis://shoal:pass%%40word@127.0.0.1:%u/3", redis.port);
    settings.servers = user;
    host_create(&two, 2, &settings);
    char why[512] = "";
    while (!host_is_ready(&two) || !strstr(why, "WRONGPASS")) {
        host_turn(&one);
        host_turn(&two);
        assert_false(link_is_ready(one.link, why, sizeof why));
    }
    assert_null(strstr(why, "wrong@"));
    want_on(&two, "log", 1);
    assert_int_equal(append(&two, "log", "let in", "with a key")->status, RELAY_DONE);
    turn_until_count(&two, ASK_ARRIVED, 1, "the message");
    host_destroy(&one);
    snprintf(servers, sizeof servers, "redis://:s3c%%3Aret@127.0.0.1:%u", redis.port);
    settings.servers = servers;
    host_create(&one, 1, &settings);
    turn_until(both_ready, NULL, "readiness with the password alone");
}

static void two_servers_share_the_topics(void **state)
{
    (void)state;
    redis_process_start(&second);
    snprintf(servers, sizeof servers, "redis://127.0.0.1:%u redis://127.0.0.1:%u", redis.port, second.port);
    cluster_start();
    enum { TOPICS = 200 };
    for (uint32_t i = 0; i < TOPICS; i++) {
        char topic[16];
        snprintf(topic, sizeof topic, "t/%u", i);
        host_want(&two, topic, i);
    }
    host_filter(&two, 0, "u/+", 1, 1, 0);
    turn_until_count(&two, TELL_WANTED, TOPICS, "subscriptions");
    turn_until_count(&two, TELL_FILTERED, 1, "the filter");
    static struct link_report report;
    turn_until(both_ready, NULL, "readiness");
    for (uint32_t i = 0; i < TOPICS; i++) {
        char topic[16];
        snprintf(topic, sizeof topic, "t/%u", i);
        host_publish(&one, topic, "live", NULL, false);
        snprintf(topic, sizeof topic, "u/%u", i);
        host_publish(&one, topic, "by the filter", NULL, true);
    }
    turn_until_count(&two, ASK_ARRIVED, 2 * TOPICS, "all messages");
    do {
        host_turn(&two);
        link_report(two.link, &report);
    } while (report.topics != TOPICS || report.servers[0].arrived + report.servers[1].arrived != 2 * TOPICS);
    assert_int_equal(report.server_count, 2);
    assert_true(report.servers[0].topics > TOPICS / 4 && report.servers[1].topics > TOPICS / 4);
    assert_true(report.servers[0].arrived > TOPICS / 4 && report.servers[1].arrived > TOPICS / 4);
    /* one server less: its topics are away, the others go on */
    host_forget(&two);
    redis_process_kill(&second);
    turn_until_count(&two, TELL_WANTED, (uint32_t)report.servers[1].topics, "to be told of the topics that are away");
    char why[512];
    assert_false(link_is_ready(two.link, why, sizeof why));
    assert_memory_equal(why, "redis 2", 7);
    host_forget(&two);
    for (uint32_t i = 0; i < TOPICS; i++) {
        char topic[16];
        snprintf(topic, sizeof topic, "t/%u", i);
        host_publish(&one, topic, "half", NULL, false);
    }
    turn_until_count(&two, ASK_ARRIVED, (uint32_t)report.servers[0].topics, "messages of the server that is left");
}

static bool see_each_other(void *context)
{
    static struct link_report report;
    (void)context;
    link_report(one.link, &report);
    return report.node_count == 2;
}

static bool is_alone(void *context)
{
    static struct link_report report;
    (void)context;
    link_report(two.link, &report);
    return report.node_count == 1;
}

static void hosts_see_each_other_come_and_go(void **state)
{
    (void)state;
    settings.node = "the \"host\"";
    cluster_start();
    atomic_store(&two.connections, 42);
    turn_until(see_each_other, NULL, "two nodes");
    static struct link_report report;
    link_report(one.link, &report);
    uint32_t other = report.nodes[0].self ? 1 : 0;
    assert_true(report.nodes[1 - other].self);
    assert_string_equal(report.nodes[other].name, "the \"host\"");
    assert_int_equal(report.nodes[other].instance, 2);
    assert_string_equal(report.nodes[other].version, "0.1.0");
    assert_int_equal(report.nodes[other].servers, 1);
    host_destroy(&one); /* without a word, for its link has no thread */
    host_create(&one, 1, &settings);
    host_destroy(&one);
    struct host *alone[] = {&two};
    hosts_turn_until(alone, 1, is_alone, NULL, "being alone");
    host_create(&one, 3, &settings);
}

/* With threads of their own, as in the broker: what other threads may call is called. */
static void links_turn_on_threads_of_their_own(void **state)
{
    (void)state;
    redis_process_start(&redis);
    hosts_begin();
    assert_true(link_start(one.link));
    assert_true(link_start(two.link));
    host_want(&two, "news", 1);
    static struct link_report report;
    while (!host_is_ready(&one) || !host_is_ready(&two)) {
        link_report(two.link, &report);
    }
    struct spsc *tells = mesh_tells(&two.mesh, HOST_LINK, (uint32_t)(topic_hash("news") % HOST_SHARDS));
    while (!spsc_peek(tells)) {
    }
    while (spsc_peek(tells)->status != RELAY_DONE) { /* AWAY: it was wanted before Redis was there */
        spsc_pop(tells);
        while (!spsc_peek(tells)) {
        }
    }
    spsc_pop(tells);
    struct spsc *asks = mesh_asks(&two.mesh, HOST_LINK, (uint32_t)(topic_hash("news") % HOST_SHARDS));
    for (int i = 0; i < 100; i++) {
        host_publish(&one, "news", "by threads", NULL, false);
        while (!spsc_peek(asks)) {
        }
        assert_message(spsc_peek(asks)->relay, "news", "by threads");
        relay_free(spsc_peek(asks)->relay);
        spsc_pop(asks);
    }
    while (STATS_READ(link_stats(one.link), live_relayed) < 100) { /* the answer to a publish may come after it */
    }
    do {
        say(&redis, "ZCARD test:nodes");
    } while (strcmp(answer, "2") != 0);
    link_stop(one.link); /* says that it goes */
    do {
        say(&redis, "ZRANGE test:nodes 0 -1");
    } while (strcmp(answer, "0000000000000002") != 0);
    say(&redis, "EXISTS test:node:0000000000000001");
    assert_string_equal(answer, "0");
}

int main(int argc, char **argv)
{
    logger_level_set(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        TEST(live_messages_reach_other_hosts_and_do_not_come_back),
        TEST(who_wants_nothing_gets_nothing),
        TEST(logged_messages_have_one_order_on_all_hosts),
        TEST(a_key_is_appended_once),
        TEST(fetches_begin_where_they_are_told_to),
        TEST(long_streams_come_in_pages),
        TEST(a_stream_that_was_cut_says_where_it_begins),
        TEST(a_server_may_have_an_ipv6_address),
        TEST(filters_see_what_matches_and_nothing_twice),
        TEST(filters_that_are_too_wide_or_too_many_stay_here),
        TEST(only_who_knows_the_password_gets_in),
        TEST(two_servers_share_the_topics),
        TEST(hosts_see_each_other_come_and_go),
        TEST(links_turn_on_threads_of_their_own),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
