/*
 * faults_test: what federation links say and do while a real redis-server is killed, paused, emptied, restarted from a
 * snapshot, failed over, forgetful or without memory; and while their own shards take nothing. No acknowledged message
 * may be silently lost, so each fault is told: by an epoch, an offset, a status, a reason.
 */
#include "fixture.h"

#include <signal.h>
#include <stdio.h>

#include "base/logger.h"

/* What an eviction or an operator takes away. */
static void keys_that_are_lost_are_noticed(void **state)
{
    (void)state;
    cluster_start();
    append(&one, "log", "first", NULL);
    uint64_t epoch = append(&one, "log", "second", NULL)->epoch;
    say(&redis, "DEL 'test:{log}s'");
    const struct relay_page *page = fetch(&two, "log", epoch, 0, 0);
    assert_int_equal(page->epoch, epoch);
    assert_int_equal(page->tail, 2);
    assert_int_equal(page->first, 3); /* expired, but no offset is given out twice */
    assert_int_equal(append(&one, "log", "third", NULL)->offset, 3);
    say(&redis, "DEL 'test:{log}m'");
    const struct relay *relay = append(&one, "log", "anew", NULL);
    assert_int_equal(relay->offset, 1);
    assert_int_not_equal(relay->epoch, epoch);
    epoch = relay->epoch;
    say(&redis, "HSET 'test:{log}m' o 0"); /* the stream is ahead */
    relay = append(&one, "log", "anew again", NULL);
    assert_int_equal(relay->offset, 1);
    assert_int_not_equal(relay->epoch, epoch);
    epoch = relay->epoch;
    say(&redis, "FLUSHALL");
    relay = append(&one, "log", "and again", NULL);
    assert_int_equal(relay->status, RELAY_DONE);
    assert_int_equal(relay->offset, 1);
    assert_int_not_equal(relay->epoch, epoch);
    assert_int_equal(append(&two, "log", "the same", NULL)->offset, 2);
    assert_int_equal(STATS_READ(link_stats(one.link), failures), 0);
}

static void a_server_without_memory_is_told_to_publishers(void **state)
{
    (void)state;
    cluster_start();
    uint64_t epoch = append(&one, "log", "before", NULL)->epoch;
    say(&redis, "CONFIG SET maxmemory 1");
    assert_int_equal(append(&one, "log", "no room", "the key")->status, RELAY_AWAY);
    static struct link_report report;
    do {
        host_turn(&one);
        link_report(one.link, &report);
    } while (!strstr(report.servers[0].error, "OOM"));
    assert_true(report.ready); /* what is live goes on */
    say(&redis, "CONFIG SET maxmemory 0");
    const struct relay *relay = append(&one, "log", "no room", "the key");
    assert_int_equal(relay->status, RELAY_DONE);
    assert_int_equal(relay->offset, 2);
    assert_int_equal(relay->epoch, epoch);
}

static void a_server_that_comes_back_empty_has_another_epoch(void **state)
{
    (void)state;
    cluster_start();
    want_on(&two, "log", 1);
    uint64_t epoch = append(&one, "log", "before", NULL)->epoch;
    turn_until_count(&two, ASK_ARRIVED, 1, "the message");
    redis_process_kill(&redis);
    turn_until_status(RELAY_AWAY, "to be told that Redis is away");
    turn_until(neither_ready, NULL, "no readiness");
    assert_int_equal(append(&one, "log", "meanwhile", NULL)->status, RELAY_AWAY);
    host_publish(&one, "news", "meanwhile", NULL, false);
    host_filter(&two, 0, "a/#", 5, 1, 0);
    turn_until_count(&two, TELL_FILTERED, 1, "an answer to a filter while Redis is away");
    host_forget(&one);
    redis_process_start(&redis);
    turn_until_status(RELAY_DONE, "to be told that all arrives again");
    turn_until(both_ready, NULL, "readiness");
    const struct relay *relay = append(&one, "log", "after", NULL);
    assert_int_equal(relay->status, RELAY_DONE);
    assert_int_not_equal(relay->epoch, epoch);
    assert_int_equal(relay->offset, 1);
    assert_int_equal(STATS_READ(link_stats(one.link), live_dropped_away), 1);
    assert_int_equal(STATS_READ(link_stats(one.link), lineage_changes), 1);
    host_publish(&one, "a/b", "by the filter", NULL, false);
    turn_until_count(&two, ASK_ARRIVED, 3, "messages after the restart");
}

static void a_server_that_comes_back_old_goes_on_with_another_epoch(void **state)
{
    (void)state;
    cluster_start();
    uint64_t epoch = 0;
    for (int i = 0; i < 3; i++) {
        epoch = append(&one, "log", "kept", NULL)->epoch;
    }
    say(&redis, "SAVE");
    append(&one, "log", "lost", NULL);
    redis_process_kill(&redis);
    turn_until(neither_ready, NULL, "no readiness");
    redis_process_start(&redis);
    turn_until(both_ready, NULL, "readiness");
    const struct relay_page *page = fetch(&two, "log", epoch, 4, 0);
    assert_int_not_equal(page->epoch, epoch);
    assert_int_equal(page->epoch_base, 3);
    assert_int_equal(page->tail, 3);
    assert_int_equal(page->count, 0);
    uint64_t now = page->epoch;
    const struct relay *relay = append(&one, "log", "after", NULL);
    assert_int_equal(relay->offset, 4);
    assert_int_equal(relay->epoch, now);
    page = fetch(&two, "log", 0, 0, 10); /* what is left of the former epoch can be read */
    assert_int_equal(page->count, 4);
    assert_int_equal(page->epoch_base, 3);
}

static void a_durable_server_keeps_its_epochs(void **state)
{
    (void)state;
    settings.durable = true;
    cluster_start();
    uint64_t epoch = append(&one, "log", "kept", NULL)->epoch;
    say(&redis, "SAVE");
    redis_process_kill(&redis);
    turn_until(neither_ready, NULL, "no readiness");
    redis_process_start(&redis);
    turn_until(both_ready, NULL, "readiness");
    const struct relay *relay = append(&two, "log", "after", NULL);
    assert_int_equal(relay->epoch, epoch);
    assert_int_equal(relay->offset, 2);
}

static void a_server_that_stands_still_is_away_until_it_goes_on(void **state)
{
    (void)state;
    settings.timeout_ms = 400;
    cluster_start();
    want_on(&two, "log", 1);
    redis_process_signal(&redis, SIGSTOP);
    host_publish(&one, "log", "perhaps", "the key", true);
    turn_until(neither_ready, NULL, "no readiness");
    turn_until_status(RELAY_AWAY, "to be told that Redis is away");
    turn_until_count(&one, TELL_RELAYED, 1, "an answer to the publish");
    assert_int_equal(host_told(&one, TELL_RELAYED)->relay->status, RELAY_AWAY);
    char why[512];
    assert_false(link_is_ready(one.link, why, sizeof why));
    assert_non_null(strstr(why, "127.0.0.1"));
    redis_process_signal(&redis, SIGCONT);
    turn_until(both_ready, NULL, "readiness");
    turn_until_status(RELAY_DONE, "to be told that all arrives again");
    assert_int_equal(append(&one, "log", "perhaps", "the key")->status, RELAY_DONE);
    const struct relay_page *page = fetch(&one, "log", 0, 0, 10);
    assert_int_equal(page->count, 1); /* whether the first try was done or not */
}

static void forgotten_scripts_are_loaded_again_in_order(void **state)
{
    (void)state;
    cluster_start();
    want_on(&two, "log", 1);
    append(&one, "log", "first", NULL);
    say(&redis, "SCRIPT FLUSH");
    enum { COUNT = 200 };
    host_forget(&one);
    for (int i = 0; i < COUNT; i++) {
        char text[16];
        snprintf(text, sizeof text, "%d", i);
        host_publish(&one, "log", text, NULL, true);
    }
    host_fetch(&one, "log", 0, 0, 1);
    turn_until_count(&one, TELL_RELAYED, COUNT, "acknowledgements");
    turn_until_count(&one, TELL_FETCHED, 1, "the page");
    turn_until_count(&two, ASK_ARRIVED, COUNT + 1, "messages");
    const struct relay *relay = two.arrived->next;
    for (int i = 0; i < COUNT; i++, relay = relay->next) {
        char text[16];
        snprintf(text, sizeof text, "%d", i);
        assert_message(relay, "log", text);
    }
    assert_true(STATS_READ(link_stats(one.link), script_reloads) > 0);
    assert_int_equal(STATS_READ(link_stats(one.link), failures), 0);
}

static void second_follows(void)
{
    char arguments[64];
    snprintf(arguments, sizeof arguments, "REPLICAOF 127.0.0.1 %u", redis.port);
    say(&second, arguments);
}

static void a_replica_is_not_served_until_it_is_a_master(void **state)
{
    (void)state;
    cluster_start();
    uint64_t epoch = append(&one, "log", "kept", NULL)->epoch;
    redis_process_start(&second);
    second_follows();
    do {
        say(&second, "INFO replication");
    } while (!strstr(answer, "master_link_status:up"));
    host_destroy(&one);
    host_destroy(&two);
    snprintf(servers, sizeof servers, "redis://127.0.0.1:%u", second.port);
    hosts_begin();
    char why[512] = "";
    while (!strstr(why, "replica")) {
        host_turn(&one);
        host_turn(&two);
        assert_false(link_is_ready(one.link, why, sizeof why));
    }
    say(&second, "REPLICAOF NO ONE");
    turn_until(both_ready, NULL, "readiness");
    const struct relay *relay = append(&one, "log", "after", NULL);
    assert_int_equal(relay->offset, 2);
    assert_int_not_equal(relay->epoch, epoch);
    uint64_t now = relay->epoch;
    assert_int_equal(append(&two, "log", "after", NULL)->epoch, now); /* once, not once a host */
    /* a master that becomes a replica, while it is connected */
    second_follows();
    turn_until(neither_ready, NULL, "no readiness");
    say(&second, "REPLICAOF NO ONE");
    turn_until(both_ready, NULL, "readiness");
    relay = append(&one, "log", "and after", NULL);
    assert_int_equal(relay->status, RELAY_DONE);
    assert_int_not_equal(relay->epoch, now);
}

/* Attaching a replica gives the master a new replication id, which is no loss. */
static void a_first_replica_changes_no_epoch(void **state)
{
    (void)state;
    cluster_start();
    uint64_t epoch = append(&one, "log", "before", NULL)->epoch;
    redis_process_start(&second);
    second_follows();
    do {
        say(&redis, "INFO replication");
    } while (!strstr(answer, "connected_slaves:1"));
    uint64_t probes = STATS_READ(link_stats(one.link), probes);
    while (STATS_READ(link_stats(one.link), probes) < probes + 3) {
        host_turn(&one);
    }
    assert_int_equal(append(&one, "log", "after", NULL)->epoch, epoch);
    assert_int_equal(STATS_READ(link_stats(one.link), failures), 0);
}

static void a_lost_subscription_connection_is_made_again_and_told(void **state)
{
    (void)state;
    cluster_start();
    want_on(&two, "news", 1);
    host_forget(&two);
    say(&redis, "CLIENT KILL TYPE pubsub");
    turn_until_status(RELAY_DONE, "to be told that all arrives again");
    turn_until(both_ready, NULL, "readiness");
    host_publish(&one, "news", "after", NULL, false);
    turn_until_count(&two, ASK_ARRIVED, 1, "the message");
}

/* How many channels Redis knows to be subscribed. */
static long channels(void)
{
    say(&redis, "INFO stats");
    const char *found = strstr(answer, "pubsub_channels:");
    assert_non_null(found);
    return strtol(found + strlen("pubsub_channels:"), NULL, 10);
}

static void readiness_is_back_when_all_is_subscribed_again(void **state)
{
    (void)state;
    settings.subscribe_rate = 20000;
    cluster_start();
    enum { TOPICS = 10000 };
    for (uint32_t i = 0; i < TOPICS; i++) {
        char topic[16];
        snprintf(topic, sizeof topic, "t/%u", i);
        host_want(&two, topic, i);
    }
    turn_until_count(&two, TELL_WANTED, TOPICS, "subscriptions");
    assert_int_equal(channels(), TOPICS + 2); /* and those of the probes */
    redis_process_kill(&redis);
    turn_until(neither_ready, NULL, "no readiness");
    host_forget(&two);
    redis_process_start(&redis);
    turn_until(both_ready, NULL, "readiness");
    assert_int_equal(channels(), TOPICS + 2);
    turn_until_count(&two, TELL_WANTED, TOPICS, "to be told of all");
    for (uint32_t i = 0; i < TOPICS; i++) {
        char topic[16];
        snprintf(topic, sizeof topic, "t/%u", i);
        host_unwant(&two, topic);
    }
    while (channels() > 2) {
        for (int i = 0; i < 20; i++) {
            host_turn(&two);
        }
    }
}

static bool is_blocked(void *context)
{
    (void)context;
    return STATS_READ(link_stats(two.link), arrived_blocked) > 0;
}

static void shards_that_take_nothing_are_waited_for(void **state)
{
    (void)state;
    settings.timeout_ms = 500;
    settings.queue_bytes_max = 16 << 20;
    cluster_start();
    want_on(&two, "news", 1);
    two.deaf = true;
    enum { COUNT = 5000 };
    for (int i = 0; i < COUNT; i++) {
        char text[16];
        snprintf(text, sizeof text, "%d", i);
        host_publish(&one, "news", text, NULL, false);
    }
    turn_until(is_blocked, NULL, "a full ring");
    int64_t begin_us = clock_of_host.monotonic_us(&clock_of_host);
    while (clock_of_host.monotonic_us(&clock_of_host) - begin_us < 3 * 500000) {
        host_turn(&one);
        host_turn(&two);
    }
    two.deaf = false;
    turn_until_count(&two, ASK_ARRIVED, COUNT, "all messages");
    const struct relay *relay = two.arrived;
    for (int i = 0; i < COUNT; i++, relay = relay->next) {
        char text[16];
        snprintf(text, sizeof text, "%d", i);
        assert_message(relay, "news", text);
    }
    assert_int_equal(STATS_READ(link_stats(two.link), failures), 0);
}

static void a_full_queue_is_told(void **state)
{
    (void)state;
    settings.queue_bytes_max = 4096;
    settings.wait_ms = 60000;
    redis_process_start(&redis);
    hosts_begin();
    turn_until(both_ready, NULL, "readiness");
    redis_process_signal(&redis, SIGSTOP);
    enum { COUNT = 100 };
    for (int i = 0; i < COUNT; i++) {
        host_publish(&one, "log", "a payload of some size, or so it is said", NULL, true);
        host_publish(&one, "news", "a payload of some size, or so it is said", NULL, false);
    }
    turn_until_count(&one, TELL_RELAYED, COUNT / 2, "refusals");
    assert_true(STATS_READ(link_stats(one.link), logged_full) >= COUNT / 2);
    assert_true(STATS_READ(link_stats(one.link), live_dropped_full) >= COUNT / 2);
    redis_process_signal(&redis, SIGCONT);
    turn_until_count(&one, TELL_RELAYED, COUNT, "answers to all");
    turn_until(both_ready, NULL, "readiness");
    uint8_t status;
    while ((status = append(&one, "log", "after", NULL)->status) == RELAY_FULL) {
    }
    assert_int_equal(status, RELAY_DONE);
}

static void a_logged_publish_waits_for_a_server_that_comes_soon(void **state)
{
    (void)state;
    settings.wait_ms = 60000;
    hosts_begin(); /* there is no Redis yet */
    for (int i = 0; i < 20; i++) {
        host_publish(&one, "log", "early", NULL, true);
    }
    for (int i = 0; i < 100; i++) {
        host_turn(&one);
    }
    assert_int_equal(host_told_count(&one, TELL_RELAYED), 0);
    redis_process_start(&redis);
    turn_until_count(&one, TELL_RELAYED, 20, "acknowledgements");
    for (const struct told *told = one.told; told; told = told->before) {
        assert_int_equal(told->envelope.relay->status, RELAY_DONE);
    }
}

int main(int argc, char **argv)
{
    logger_level_set(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        TEST(keys_that_are_lost_are_noticed),
        TEST(a_server_without_memory_is_told_to_publishers),
        TEST(a_server_that_comes_back_empty_has_another_epoch),
        TEST(a_server_that_comes_back_old_goes_on_with_another_epoch),
        TEST(a_durable_server_keeps_its_epochs),
        TEST(a_server_that_stands_still_is_away_until_it_goes_on),
        TEST(forgotten_scripts_are_loaded_again_in_order),
        TEST(a_replica_is_not_served_until_it_is_a_master),
        TEST(a_first_replica_changes_no_epoch),
        TEST(a_lost_subscription_connection_is_made_again_and_told),
        TEST(readiness_is_back_when_all_is_subscribed_again),
        TEST(shards_that_take_nothing_are_waited_for),
        TEST(a_full_queue_is_told),
        TEST(a_logged_publish_waits_for_a_server_that_comes_soon),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
