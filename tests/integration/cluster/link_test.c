/*
 * link_test: federation links against real redis-server processes: live relay, logged appends, fetches, interest, and
 * what they say and do while Redis is killed, paused, emptied, restarted from a snapshot, failed over, or forgetful.
 *
 * Two hosts turn on this thread (host.h). Nothing is measured; waits have a bound of a minute.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/logger.h"
#include "host.h"
#include "redis_process.h"

static struct redis_process redis;
static struct redis_process second; /* another server, where a test starts one */
static struct host one, two;
static struct host *const both[] = {&one, &two};
static struct link_settings settings;
static char servers[512];
static char answer[4096];

static void turn_until(bool (*done)(void *context), void *context, const char *what)
{
    hosts_turn_until((struct host **)both, 2, done, context, what);
}

static void hosts_begin(void)
{
    settings.servers = servers;
    host_create(&one, 1, &settings);
    host_create(&two, 2, &settings);
}

static int setup(void **state)
{
    (void)state;
    redis_process_init(&redis);
    redis_process_init(&second);
    settings = host_settings;
    keep_messages = 100;
    snprintf(servers, sizeof servers, "redis://127.0.0.1:%u", redis.port);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    host_destroy(&one);
    host_destroy(&two);
    redis_process_free(&redis);
    redis_process_free(&second);
    return name_count_in_use() == 0 ? 0 : -1;
}

/* --- what is waited for --- */

static bool both_ready(void *context)
{
    (void)context;
    return host_is_ready(&one) && host_is_ready(&two);
}

static bool neither_ready(void *context)
{
    (void)context;
    return !host_is_ready(&one) && !host_is_ready(&two);
}

static void start(void)
{
    redis_process_start(&redis);
    hosts_begin();
    turn_until(both_ready, NULL, "readiness");
}

struct count {
    const struct host *host;
    enum envelope_kind kind; /* ASK_ARRIVED: messages */
    uint32_t count;
};

static bool counted(void *context)
{
    const struct count *wanted = context;
    uint32_t count =
        wanted->kind == ASK_ARRIVED ? wanted->host->arrived_count : host_told_count(wanted->host, wanted->kind);
    return count >= wanted->count;
}

static void turn_until_count(const struct host *host, enum envelope_kind kind, uint32_t count, const char *what)
{
    struct count wanted = {host, kind, count};
    turn_until(counted, &wanted, what);
}

static bool has_settled(void *context)
{
    (void)context;
    const struct relay *last = two.arrived_last;
    return last && last->topic_size == 6 && memcmp(relay_topic(last), "settle", 6) == 0;
}

/* Turns until a message that was published now by host one has come to host two: all before it has, too. */
static void settle(void)
{
    host_forget(&two);
    host_want(&two, "settle", 99);
    turn_until_count(&two, TELL_WANTED, 1, "the settling subscription");
    host_publish(&one, "settle", "now", NULL, false);
    turn_until(has_settled, NULL, "the settling message");
    host_unwant(&two, "settle");
}

static void want_on(struct host *host, const char *topic, uint32_t number)
{
    host_forget(host);
    host_want(host, topic, number);
    turn_until_count(host, TELL_WANTED, 1, "a confirmed subscription");
    const struct envelope *told = host_told(host, TELL_WANTED);
    assert_int_equal(told->status, RELAY_DONE);
    assert_int_equal(told->topic, number);
    assert_int_equal(told->hash, topic_hash(topic));
}

/* Publishes to a logged topic and returns what was answered, which is valid until host_forget(). */
static const struct relay *append(struct host *host, const char *topic, const char *payload, const char *key)
{
    uint32_t before = host_told_count(host, TELL_RELAYED);
    host_publish(host, topic, payload, key, true);
    turn_until_count(host, TELL_RELAYED, before + 1, "an acknowledgement");
    return host_told(host, TELL_RELAYED)->relay;
}

static const struct relay_page *fetch(struct host *host, const char *topic, uint64_t epoch, uint64_t offset,
                                      uint32_t newest)
{
    uint32_t before = host_told_count(host, TELL_FETCHED);
    host_fetch(host, topic, epoch, offset, newest);
    turn_until_count(host, TELL_FETCHED, before + 1, "a page");
    assert_int_equal(host_told(host, TELL_FETCHED)->relay->status, RELAY_DONE);
    return host_told(host, TELL_FETCHED)->relay->page;
}

static void assert_message(const struct relay *relay, const char *topic, const char *payload)
{
    assert_int_equal(relay->topic_size, strlen(topic));
    assert_memory_equal(relay_topic(relay), topic, relay->topic_size);
    assert_int_equal(relay->payload_size, strlen(payload));
    assert_memory_equal(relay_payload(relay), payload, relay->payload_size);
}

static void say(const struct redis_process *process, const char *arguments)
{
    redis_process_say(process, arguments, answer, sizeof answer);
}

/* --- tests --- */

static void live_messages_reach_other_hosts_and_do_not_come_back(void **state)
{
    (void)state;
    start();
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
    start();
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
    start();
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
    start();
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
    start();
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
    start();
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
    start();
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

/* What an eviction or an operator takes away. */
static void keys_that_are_lost_are_noticed(void **state)
{
    (void)state;
    start();
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
    start();
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

static void a_server_may_have_an_ipv6_address(void **state)
{
    (void)state;
    redis.options[0] = "--bind";
    redis.options[1] = "127.0.0.1";
    redis.options[2] = "::1";
    snprintf(servers, sizeof servers, "redis://[::1]:%u", redis.port);
    start();
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
    start();
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
    start();
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

/* All that was told of a topic, since host_forget(): the latest status, or -1. */
static bool told_status(void *context)
{
    const struct envelope *told = host_told(&two, TELL_WANTED);
    return told && told->status == *(int *)context;
}

static void turn_until_status(int status, const char *what)
{
    turn_until(told_status, &status, what);
}

static void a_server_that_comes_back_empty_has_another_epoch(void **state)
{
    (void)state;
    start();
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
    start();
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
    start();
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
    start();
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
    start();
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
    start();
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

static void a_replica_is_not_served_until_it_is_a_master(void **state)
{
    (void)state;
    start();
    uint64_t epoch = append(&one, "log", "kept", NULL)->epoch;
    redis_process_start(&second);
    char arguments[64];
    snprintf(arguments, sizeof arguments, "REPLICAOF 127.0.0.1 %u", redis.port);
    say(&second, arguments);
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
    snprintf(arguments, sizeof arguments, "REPLICAOF 127.0.0.1 %u", redis.port);
    say(&second, arguments);
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
    start();
    uint64_t epoch = append(&one, "log", "before", NULL)->epoch;
    redis_process_start(&second);
    char arguments[64];
    snprintf(arguments, sizeof arguments, "REPLICAOF 127.0.0.1 %u", redis.port);
    say(&second, arguments);
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
    start();
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
    start();
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
    start();
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
    start();
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
    assert_int_equal(STATS_READ(link_stats(one.link), live_relayed), 100);
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

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

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
        TEST(keys_that_are_lost_are_noticed),
        TEST(a_server_without_memory_is_told_to_publishers),
        TEST(a_server_may_have_an_ipv6_address),
        TEST(filters_see_what_matches_and_nothing_twice),
        TEST(filters_that_are_too_wide_or_too_many_stay_here),
        TEST(a_server_that_comes_back_empty_has_another_epoch),
        TEST(a_server_that_comes_back_old_goes_on_with_another_epoch),
        TEST(a_durable_server_keeps_its_epochs),
        TEST(a_server_that_stands_still_is_away_until_it_goes_on),
        TEST(forgotten_scripts_are_loaded_again_in_order),
        TEST(only_who_knows_the_password_gets_in),
        TEST(two_servers_share_the_topics),
        TEST(a_replica_is_not_served_until_it_is_a_master),
        TEST(a_first_replica_changes_no_epoch),
        TEST(a_lost_subscription_connection_is_made_again_and_told),
        TEST(readiness_is_back_when_all_is_subscribed_again),
        TEST(shards_that_take_nothing_are_waited_for),
        TEST(a_full_queue_is_told),
        TEST(a_logged_publish_waits_for_a_server_that_comes_soon),
        TEST(hosts_see_each_other_come_and_go),
        TEST(links_turn_on_threads_of_their_own),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
