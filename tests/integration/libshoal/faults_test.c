/*
 * faults_test: connections are cut again and again under a publisher and its subscribers, and brokers are killed and
 * started again. Within the history nothing that was acknowledged is missed or doubled, and nothing comes out of order;
 * what a broker takes with it is told as a gap. The programs go on by themselves.
 *
 * A message's payload is its number, so that what a subscriber got can be held against what was acknowledged.
 */
#include "harness.h"
#include "proxy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGES_MAX 200000

/* Each cut costs what was under way, so that a build that is ten times slower needs more than ten times as long. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define CUT_MESSAGES 4000
#define CUT_BYTES    40000
#endif
#endif
#ifndef CUT_MESSAGES
#define CUT_MESSAGES 30000
#define CUT_BYTES    100000
#endif

static const char *const keeps_much[] = {"namespace.default.history_messages=1000000",
                                         "namespace.default.history_bytes=64M", NULL};

/* What happened to the messages of a test. */
struct record {
    _Atomic uint32_t answered;
    uint32_t failed;
    uint8_t acked[MESSAGES_MAX]; /* how often */
    uint64_t ack_epoch[MESSAGES_MAX];
};

struct reader {
    _Atomic uint32_t got;
    _Atomic uint32_t gaps;
    _Atomic uint32_t established;
    uint32_t doubled;
    uint32_t disordered;
    _Atomic uint32_t last;
    uint64_t epoch; /* of the last message */
    uint8_t seen[MESSAGES_MAX];
};

static struct record record;
static struct reader readers[2];

/* --- callbacks --- */

static void on_ack(struct shoal_client *client, enum shoal_error error, struct shoal_position position, void *context)
{
    (void)client;
    uintptr_t number = (uintptr_t)context;
    if (error) {
        assert_int_equal(error, SHOAL_ERROR_UNCERTAIN);
        record.failed++;
    } else {
        record.acked[number]++;
        record.ack_epoch[number] = position.epoch;
    }
    atomic_fetch_add(&record.answered, 1);
}

static void on_message(struct shoal_subscription *subscription, const struct shoal_message *message, void *context)
{
    (void)subscription;
    struct reader *reader = context;
    uint32_t number = message_number(message);
    reader->doubled += reader->seen[number] != 0;
    reader->disordered += number != 0 && number <= reader->last;
    reader->seen[number]++;
    reader->last = number;
    reader->epoch = message->position.epoch;
    atomic_fetch_add(&reader->got, 1);
}

static void on_gap(struct shoal_subscription *subscription, const struct shoal_gap *gap, void *context)
{
    (void)subscription;
    (void)gap;
    atomic_fetch_add(&((struct reader *)context)->gaps, 1);
}

static void on_status(struct shoal_subscription *subscription, enum shoal_error error, struct shoal_position position,
                      void *context)
{
    (void)subscription;
    (void)position;
    assert_int_equal(error, SHOAL_OK);
    atomic_fetch_add(&((struct reader *)context)->established, 1);
}

static void follow(struct shoal_client *client, const char *filter, struct reader *reader)
{
    struct shoal_subscriber subscriber = {
        .on_message = on_message, .on_gap = on_gap, .on_status = on_status, .context = reader};
    assert_int_equal(shoal_subscribe(client, filter, NULL, &subscriber, NULL), SHOAL_OK);
    assert_int_equal(shoal_flush(client, PATIENCE_MS), SHOAL_OK);
}

static void publish_number(struct shoal_client *client, uint32_t number)
{
    char text[16];
    int size = snprintf(text, sizeof text, "%u", number);
    assert_int_equal(
        shoal_publish(client, "faults/a", text, (size_t)size, SHOAL_JSON, on_ack, (void *)(uintptr_t)number), SHOAL_OK);
}

static int setup(void **state)
{
    (void)state;
    memset(&record, 0, sizeof record);
    memset(readers, 0, sizeof readers);
    return 0;
}

/* --- cuts --- */

static void cut_again_and_again(void **state)
{
    (void)state;
    enum { MESSAGES = CUT_MESSAGES };
    struct broker broker;
    static struct proxy proxy; /* outlives a test that fails */
    broker_start(&broker, keeps_much);
    proxy_start(&proxy, broker.port, 4711);
    struct shoal_client *publisher = client_of(options_for(proxy.port));
    struct shoal_client *one = client_of(options_for(proxy.port)), *wild = client_of(options_for(proxy.port));
    follow(one, "faults/a", &readers[0]);
    follow(wild, "faults/#", &readers[1]);
    atomic_store(&proxy.bytes_most, CUT_BYTES);
    for (uint32_t number = 0; number < MESSAGES; number++) {
        publish_number(publisher, number);
        if (number % 1000 == 0)
            sleep_ms(5);
    }
    assert_int_equal(shoal_flush(publisher, 4 * PATIENCE_MS), SHOAL_OK);
    await_count(&readers[0].got, MESSAGES, "messages of the topic");
    await_count(&readers[1].got, MESSAGES, "messages of the filter");
    printf("%u cuts\n", atomic_load(&proxy.cuts));
    assert_true(atomic_load(&proxy.cuts) > 5);
    shoal_close(publisher);
    shoal_close(one);
    shoal_close(wild);
    assert_int_equal(record.failed, 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(readers[i].got, MESSAGES);
        assert_int_equal(readers[i].doubled, 0);
        assert_int_equal(readers[i].disordered, 0);
        assert_int_equal(readers[i].gaps, 0);
    }
    for (uint32_t number = 0; number < MESSAGES; number++)
        assert_true(record.acked[number] == 1 && readers[0].seen[number] == 1 && readers[1].seen[number] == 1);
    proxy_stop(&proxy);
    broker_stop(&broker);
}

/* --- the broker itself --- */

static void gone_and_come_again(void (*ends)(struct broker *broker))
{
    enum { ROUNDS = 4, A_ROUND = 5000 };
    struct broker broker;
    broker_start(&broker, keeps_much);
    struct shoal_client *publisher = client_of(options_for(broker.port));
    struct shoal_client *one = client_of(options_for(broker.port)), *wild = client_of(options_for(broker.port));
    follow(one, "faults/a", &readers[0]);
    follow(wild, "faults/#", &readers[1]);
    uint32_t number = 0;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        for (uint32_t i = 0; i < A_ROUND; i++) {
            publish_number(publisher, number++);
            if (i % 100 == 0)
                sleep_ms(1);
            if (i == A_ROUND / 2)
                ends(&broker); /* with messages under way, and more to come */
        }
        broker_again(&broker);
        await_count(&readers[0].established, round + 2, "the topic's subscription again");
        await_count(&readers[1].established, round + 2, "the filter's subscription again");
        for (int waited = 0; shoal_client_state(publisher) != SHOAL_CONNECTED && waited < PATIENCE_MS; waited++)
            sleep_ms(1);
    }
    for (uint32_t i = 0; i < A_ROUND; i++)
        publish_number(publisher, number++);
    assert_int_equal(shoal_flush(publisher, 4 * PATIENCE_MS), SHOAL_OK);
    uint32_t end = number - 1;
    for (int waited = 0; readers[0].last != end && waited < PATIENCE_MS / 10; waited++)
        sleep_ms(10);
    for (int waited = 0; readers[1].last != end && waited < PATIENCE_MS / 10; waited++)
        sleep_ms(10);
    shoal_close(publisher);
    shoal_close(one);
    shoal_close(wild);
    printf("%u of %u were uncertain; %u and %u were seen, %u and %u gaps told\n", record.failed, number, readers[0].got,
           readers[1].got, readers[0].gaps, readers[1].gaps);
    assert_int_equal(record.answered, number);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(readers[i].doubled, 0);
        assert_int_equal(readers[i].disordered, 0);
        assert_int_equal(readers[i].last, end);
        assert_true(readers[i].gaps >= ROUNDS);
    }
    for (uint32_t n = 0; n < number; n++) {
        assert_true(record.acked[n] <= 1);
        if (record.acked[n] && record.ack_epoch[n] == readers[0].epoch)
            assert_true(readers[0].seen[n] == 1 && readers[1].seen[n] == 1);
    }
    broker_stop(&broker);
}

static void killed_and_started_again(void **state)
{
    (void)state;
    gone_and_come_again(broker_kill);
}

static void drained_and_started_again(void **state)
{
    (void)state;
    gone_and_come_again(broker_stop);
}

/* The proxy takes all and gives nothing: only the heartbeat notices. */
static void silent_broker_is_left(void **state)
{
    (void)state;
    struct broker broker;
    static struct proxy proxy; /* outlives a test that fails */
    broker_start(&broker, keeps_much);
    proxy_start(&proxy, broker.port, 1);
    struct shoal_options *options = options_for(proxy.port);
    assert_int_equal(shoal_options_set_heartbeat(options, 200), SHOAL_OK);
    struct shoal_client *client = client_of(options);
    follow(client, "faults/a", &readers[0]);
    atomic_store(&proxy.silent, true);
    for (uint32_t number = 0; number < 100; number++)
        publish_number(client, number);
    sleep_ms(700);
    assert_int_not_equal(shoal_client_state(client), SHOAL_CONNECTED);
    assert_int_equal(shoal_unacknowledged(client), 100);
    atomic_store(&proxy.silent, false);
    await_count(&readers[0].got, 100, "messages");
    assert_int_equal(shoal_flush(client, PATIENCE_MS), SHOAL_OK);
    shoal_close(client);
    assert_int_equal(readers[0].doubled + readers[0].disordered + record.failed, 0);
    proxy_stop(&proxy);
    broker_stop(&broker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(cut_again_and_again, setup),
        cmocka_unit_test_setup(killed_and_started_again, setup),
        cmocka_unit_test_setup(drained_and_started_again, setup),
        cmocka_unit_test_setup(silent_broker_is_left, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
