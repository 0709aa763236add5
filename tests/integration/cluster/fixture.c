/* fixture: see fixture.h. */
#include "fixture.h"

#include <stdio.h>

struct redis_process redis, second;
struct host one, two;
struct link_settings settings;
char servers[512];
char answer[4096];

struct host *const both[2] = {&one, &two};

void turn_until(bool (*done)(void *context), void *context, const char *what)
{
    hosts_turn_until((struct host **)both, 2, done, context, what);
}

void hosts_begin(void)
{
    settings.servers = servers;
    host_create(&one, 1, &settings);
    host_create(&two, 2, &settings);
}

int cluster_setup(void **state)
{
    (void)state;
    redis_process_init(&redis);
    redis_process_init(&second);
    settings = host_settings;
    keep_messages = 100;
    snprintf(servers, sizeof servers, "redis://127.0.0.1:%u", redis.port);
    return 0;
}

int cluster_teardown(void **state)
{
    (void)state;
    host_destroy(&one);
    host_destroy(&two);
    redis_process_free(&redis);
    redis_process_free(&second);
    return name_count_in_use() == 0 ? 0 : -1;
}

/* --- what is waited for --- */

bool both_ready(void *context)
{
    (void)context;
    return host_is_ready(&one) && host_is_ready(&two);
}

bool neither_ready(void *context)
{
    (void)context;
    return !host_is_ready(&one) && !host_is_ready(&two);
}

void cluster_start(void)
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

void turn_until_count(const struct host *host, enum envelope_kind kind, uint32_t count, const char *what)
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
void settle(void)
{
    host_forget(&two);
    host_want(&two, "settle", 99);
    turn_until_count(&two, TELL_WANTED, 1, "the settling subscription");
    host_publish(&one, "settle", "now", NULL, false);
    turn_until(has_settled, NULL, "the settling message");
    host_unwant(&two, "settle");
}

void want_on(struct host *host, const char *topic, uint32_t number)
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
const struct relay *append(struct host *host, const char *topic, const char *payload, const char *key)
{
    uint32_t before = host_told_count(host, TELL_RELAYED);
    host_publish(host, topic, payload, key, true);
    turn_until_count(host, TELL_RELAYED, before + 1, "an acknowledgement");
    return host_told(host, TELL_RELAYED)->relay;
}

const struct relay_page *fetch(struct host *host, const char *topic, uint64_t epoch, uint64_t offset, uint32_t newest)
{
    uint32_t before = host_told_count(host, TELL_FETCHED);
    host_fetch(host, topic, epoch, offset, newest);
    turn_until_count(host, TELL_FETCHED, before + 1, "a page");
    assert_int_equal(host_told(host, TELL_FETCHED)->relay->status, RELAY_DONE);
    return host_told(host, TELL_FETCHED)->relay->page;
}

void assert_message(const struct relay *relay, const char *topic, const char *payload)
{
    assert_int_equal(relay->topic_size, strlen(topic));
    assert_memory_equal(relay_topic(relay), topic, relay->topic_size);
    assert_int_equal(relay->payload_size, strlen(payload));
    assert_memory_equal(relay_payload(relay), payload, relay->payload_size);
}

void say(const struct redis_process *process, const char *arguments)
{
    redis_process_say(process, arguments, answer, sizeof answer);
}

/* All that was told of a topic, since host_forget(): the latest status, or -1. */
static bool told_status(void *context)
{
    const struct envelope *told = host_told(&two, TELL_WANTED);
    return told && told->status == *(int *)context;
}

void turn_until_status(int status, const char *what)
{
    turn_until(told_status, &status, what);
}
