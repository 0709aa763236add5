/*
 * federation: what it costs to reach the other host. One process, clients of libshoal on their own threads.
 *
 *   delay     one message at a time, published to --pub, followed at --sub: from the call to the callback. With both
 *             the same port it is the host's own delay, and the difference is what federation adds
 *   rate      as many in flight as libshoal's window has, over --topics topics, published to --pub, followed at --sub,
 *             until all have come or nothing comes any more: messages a second, and how many were lost
 *   interest  follows --topics topics at --sub, prints how long that took, and holds them until its input ends
 *   churn     follows and leaves one topic after another at --sub, --messages times
 *
 * Prints one JSON object a line. CPU is what bench/run reads of the brokers' processes. Not measured: networks, hosts
 * on processors of their own; the clients' CPU competes with all others here.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "process.h"
#include "shoal.h"

#define PATIENCE_MS   120000
#define QUIET_S       2.0 /* rate: nothing has come for so long: the rest is lost */
#define TOPIC_SIZE    64
#define PAYLOAD_MAX   65536u
#define MESSAGES_MAX  100000000u
#define TOPICS_MAX    1000000u
#define POLL_NS       200000
#define DELAY_GAP_NS  2000000 /* between two messages of `delay`, so that each is alone */
#define CHURN_IN_HAND 100u    /* topics followed at a time */

struct options {
    uint16_t pub;
    uint16_t sub;
    const char *prefix;
    uint32_t topics;
    uint32_t messages;
    uint32_t size;
};

static struct options options = {
    .pub = 7070, .sub = 7070, .prefix = "bench", .topics = 1, .messages = 1000, .size = 64};
static _Atomic uint64_t arrived;
static _Atomic uint64_t established;
static _Atomic uint64_t failed;
static uint64_t *delays_us; /* by message, of `delay` */

static struct shoal_client *client_at(uint16_t port)
{
    char url[64];
    snprintf(url, sizeof url, "ws://127.0.0.1:%u", port);
    struct shoal_options *wanted = shoal_options_create();
    struct shoal_client *client = NULL;
    enum shoal_error error = shoal_options_set_url(wanted, url);
    if (!error) {
        error = shoal_connect(wanted, &client);
    }
    if (error) {
        die("%s: %s", url, shoal_error_message(error));
    }
    shoal_options_destroy(wanted);
    return client;
}

static const char *topic_of(uint32_t number, char topic[TOPIC_SIZE])
{
    snprintf(topic, TOPIC_SIZE, "%s/%u", options.prefix, number);
    return topic;
}

/* --- callbacks --- */

static void on_message(struct shoal_subscription *subscription, const struct shoal_message *message, void *context)
{
    (void)subscription;
    (void)context;
    uint64_t sent_us;
    memcpy(&sent_us, message->payload, sizeof sent_us);
    uint64_t count = atomic_load_explicit(&arrived, memory_order_relaxed);
    if (delays_us && count < options.messages) {
        delays_us[count] = now_us() - sent_us;
    }
    atomic_store_explicit(&arrived, count + 1, memory_order_release);
}

static void on_status(struct shoal_subscription *subscription, enum shoal_error error, struct shoal_position position,
                      void *context)
{
    (void)subscription;
    (void)position;
    (void)context;
    if (error) {
        die("a subscription was refused: %s", shoal_error_message(error));
    }
    atomic_fetch_add_explicit(&established, 1, memory_order_relaxed);
}

static void on_ack(struct shoal_client *client, enum shoal_error error, struct shoal_position position, void *context)
{
    (void)client;
    (void)position;
    (void)context;
    atomic_fetch_add_explicit(&failed, error != SHOAL_OK, memory_order_relaxed);
}

static void follow(struct shoal_client *client, uint32_t number, struct shoal_subscription **subscription)
{
    static const struct shoal_subscriber subscriber = {.on_message = on_message, .on_status = on_status};
    char topic[TOPIC_SIZE];
    enum shoal_error error = shoal_subscribe(client, topic_of(number, topic), NULL, &subscriber, subscription);
    if (error) {
        die("%s: %s", topic, shoal_error_message(error));
    }
}

static void flush(struct shoal_client *client)
{
    enum shoal_error error = shoal_flush(client, PATIENCE_MS);
    if (error) {
        die("%s", shoal_error_message(error));
    }
}

/* --- delay --- */

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void until_arrived(uint64_t count)
{
    double end = now_s() + PATIENCE_MS / 1000.0;
    while (atomic_load_explicit(&arrived, memory_order_acquire) < count) {
        if (now_s() > end) {
            die("message %lu has not come", count);
        }
        nap(POLL_NS);
    }
}

static void delay(void)
{
    char topic[TOPIC_SIZE], payload[PAYLOAD_MAX] = {0};
    delays_us = calloc(options.messages, sizeof *delays_us);
    struct shoal_client *subscriber = client_at(options.sub), *publisher = client_at(options.pub);
    follow(subscriber, 0, NULL);
    flush(subscriber);
    for (uint32_t i = 0; i < options.messages; i++) {
        uint64_t sent_us = now_us();
        memcpy(payload, &sent_us, sizeof sent_us);
        if (shoal_publish(publisher, topic_of(0, topic), payload, options.size, SHOAL_BINARY, on_ack, NULL)) {
            die("could not publish");
        }
        until_arrived(i + 1);
        nap(DELAY_GAP_NS);
    }
    flush(publisher);
    qsort(delays_us, options.messages, sizeof *delays_us, by_size);
    printf("{\"messages\": %u, \"p50_us\": %lu, \"p99_us\": %lu, \"max_us\": %lu}\n", options.messages,
           delays_us[options.messages / 2], delays_us[(uint64_t)options.messages * 99 / 100],
           delays_us[options.messages - 1]);
    shoal_close(publisher);
    shoal_close(subscriber);
}

/* --- rate --- */

/* Until all have come, or nothing has for a while. When the last one came. */
static double until_quiet(double last_s)
{
    uint64_t seen = 0;
    while (seen < options.messages && now_s() - last_s < QUIET_S) {
        uint64_t now = atomic_load_explicit(&arrived, memory_order_acquire);
        last_s = now > seen ? now_s() : last_s;
        seen = now;
        nap(POLL_NS);
    }
    return last_s;
}

static void rate(void)
{
    char topic[TOPIC_SIZE], payload[PAYLOAD_MAX] = {0};
    struct shoal_client *subscriber = client_at(options.sub), *publisher = client_at(options.pub);
    for (uint32_t i = 0; i < options.topics; i++) {
        follow(subscriber, i, NULL);
    }
    flush(subscriber);
    double begin = now_s();
    for (uint32_t i = 0; i < options.messages; i++) {
        topic_of(i % options.topics, topic);
        if (shoal_publish(publisher, topic, payload, options.size, SHOAL_BINARY, on_ack, NULL)) {
            die("could not publish");
        }
    }
    flush(publisher);
    double acknowledged = now_s() - begin;
    double all = until_quiet(now_s()) - begin;
    uint64_t came = atomic_load(&arrived);
    printf("{\"messages\": %u, \"refused\": %lu, \"arrived\": %lu, \"acknowledged_per_s\": %.0f, "
           "\"arrived_per_s\": %.0f}\n",
           options.messages, atomic_load(&failed), came, options.messages / acknowledged, (double)came / all);
    shoal_close(publisher);
    shoal_close(subscriber);
}

/* --- interest, churn --- */

static void interest(void)
{
    struct shoal_client *subscriber = client_at(options.sub);
    double begin = now_s();
    for (uint32_t i = 0; i < options.topics; i++) {
        follow(subscriber, i, NULL);
    }
    flush(subscriber);
    printf("{\"topics\": %u, \"seconds\": %.3f}\n", options.topics, now_s() - begin);
    fflush(stdout);
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0) {
    }
    shoal_close(subscriber);
}

static void churn(void)
{
    struct shoal_client *subscriber = client_at(options.sub);
    struct shoal_subscription *followed[CHURN_IN_HAND] = {0};
    double begin = now_s();
    for (uint32_t i = 0; i < options.messages; i++) {
        struct shoal_subscription **place = &followed[i % CHURN_IN_HAND];
        if (*place) {
            shoal_unsubscribe(*place);
        }
        follow(subscriber, i, place);
        if (i % CHURN_IN_HAND == 0) {
            flush(subscriber);
        }
    }
    flush(subscriber);
    printf("{\"changes\": %u, \"seconds\": %.3f}\n", 2 * options.messages, now_s() - begin);
    shoal_close(subscriber);
}

/* --- command line --- */

static void parse_option(const char *name, const char *value)
{
    if (strcmp(name, "--pub") == 0) {
        options.pub = (uint16_t)number_read(name, value, UINT16_MAX);
    } else if (strcmp(name, "--sub") == 0) {
        options.sub = (uint16_t)number_read(name, value, UINT16_MAX);
    } else if (strcmp(name, "--prefix") == 0) {
        options.prefix = value;
    } else if (strcmp(name, "--topics") == 0) {
        options.topics = (uint32_t)number_read(name, value, TOPICS_MAX);
    } else if (strcmp(name, "--messages") == 0) {
        options.messages = (uint32_t)number_read(name, value, MESSAGES_MAX);
    } else if (strcmp(name, "--size") == 0) {
        options.size = (uint32_t)number_read(name, value, PAYLOAD_MAX);
    } else {
        die("unknown option %s", name);
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } modes[] = {{"delay", delay}, {"rate", rate}, {"interest", interest}, {"churn", churn}};
    for (int i = 2; i + 1 < argc; i += 2) {
        parse_option(argv[i], argv[i + 1]);
    }
    if (options.size < sizeof(uint64_t) || options.topics == 0 || options.messages == 0) {
        die("--size is at least 8, --topics and --messages at least 1");
    }
    for (size_t i = 0; argc > 1 && argc % 2 == 0 && i < sizeof modes / sizeof *modes; i++) {
        if (strcmp(argv[1], modes[i].name) == 0) {
            modes[i].run();
            return 0;
        }
    }
    die("usage: federation delay|rate|interest|churn [--pub PORT] [--sub PORT] [--prefix TOPIC] [--topics N] "
        "[--messages N] [--size BYTES]");
}
