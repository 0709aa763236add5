/*
 * api_test: what shoal.h promises, against the real broker: both ways of use, every kind of payload, positions,
 * windows, errors that say what is wrong, and clients that are closed where it is most awkward.
 */
#include "harness.h"

#include <arpa/inet.h>
#include <jwt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "protocol/ws_handshake.h"

#define MESSAGES_MAX 64

static const char *const keeps_some[] = {"namespace.default.history_messages=1000", "namespace.small.prefix=small/",
                                         "namespace.small.payload_bytes_max=100", "limits.message_bytes=64K", NULL};

static struct broker broker;

static int start(void **state)
{
    (void)state;
    broker_start(&broker, keeps_some);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    broker_stop(&broker);
    return 0;
}

#define IS(error, name) assert_string_equal(shoal_error_name(error), name)

/* --- a subscriber that writes down --- */

struct book {
    _Atomic uint32_t count;
    _Atomic uint32_t gaps;
    _Atomic uint32_t statuses;
    enum shoal_error status;
    char topics[MESSAGES_MAX][256];
    char payloads[MESSAGES_MAX][64];
    size_t sizes[MESSAGES_MAX];
    enum shoal_kind kinds[MESSAGES_MAX];
    struct shoal_position positions[MESSAGES_MAX];
    uint64_t times[MESSAGES_MAX];
};

static void write_down(struct shoal_subscription *subscription, const struct shoal_message *message, void *context)
{
    (void)subscription;
    struct book *book = context;
    uint32_t n = atomic_load(&book->count) % MESSAGES_MAX;
    assert_int_equal(strlen(message->topic), message->topic_size);
    memcpy(book->topics[n], message->topic, message->topic_size + 1);
    book->sizes[n] = message->payload_size;
    memcpy(book->payloads[n], message->payload, message->payload_size < 64 ? message->payload_size : 64);
    book->kinds[n] = message->kind;
    book->positions[n] = message->position;
    book->times[n] = message->time_ms;
    atomic_fetch_add(&book->count, 1);
}

static void write_gap(struct shoal_subscription *subscription, const struct shoal_gap *gap, void *context)
{
    (void)subscription;
    (void)gap;
    atomic_fetch_add(&((struct book *)context)->gaps, 1);
}

static void write_status(struct shoal_subscription *subscription, enum shoal_error error,
                         struct shoal_position position, void *context)
{
    (void)subscription;
    (void)position;
    struct book *book = context;
    book->status = error;
    atomic_fetch_add(&book->statuses, 1);
}

static struct shoal_subscriber book_of(struct book *book)
{
    memset(book, 0, sizeof *book);
    return (struct shoal_subscriber){
        .on_message = write_down, .on_gap = write_gap, .on_status = write_status, .context = book};
}

/* --- publishing and subscribing --- */

static void own_thread(void **state)
{
    (void)state;
    static struct book book;
    struct shoal_subscriber subscriber = book_of(&book);
    struct shoal_client *client = client_of(options_for(broker.port));
    struct shoal_subscription *subscription;
    IS(shoal_subscribe(client, "own/+", NULL, &subscriber, &subscription), "ok");
    IS(shoal_flush(client, PATIENCE_MS), "ok");
    assert_int_equal(book.statuses, 1);
    assert_string_equal(shoal_subscription_filter(subscription), "own/+");
    struct shoal_position first, second;
    IS(shoal_publish_wait(client, "own/käse", "text", 4, SHOAL_TEXT, PATIENCE_MS, &first), "ok");
    IS(shoal_publish_wait(client, "own/käse", "{\"n\":1}", 7, SHOAL_JSON, PATIENCE_MS, &second), "ok");
    IS(shoal_publish_wait(client, "own/b", "\0\xFF", 2, SHOAL_BINARY, PATIENCE_MS, NULL), "ok");
    IS(shoal_publish_wait(client, "own/b", NULL, 0, SHOAL_BINARY, PATIENCE_MS, NULL), "ok");
    await_count(&book.count, 4, "messages");
    assert_true(first.epoch == second.epoch && second.offset == first.offset + 1);
    assert_int_equal(book.kinds[0], SHOAL_TEXT);
    assert_string_equal(book.topics[0], "own/käse");
    assert_memory_equal(book.payloads[0], "text", 4);
    assert_true(book.positions[0].epoch == first.epoch && book.positions[0].offset == first.offset);
    assert_true(book.times[0] > 1700000000000u);
    assert_int_equal(book.kinds[1], SHOAL_JSON);
    assert_int_equal(book.kinds[2], SHOAL_BINARY);
    assert_int_equal(book.sizes[2], 2);
    assert_int_equal(book.sizes[3], 0);
    IS(shoal_unsubscribe(subscription), "ok");
    IS(shoal_flush(client, PATIENCE_MS), "ok");
    IS(shoal_publish_wait(client, "own/b", "x", 1, SHOAL_TEXT, PATIENCE_MS, NULL), "ok");
    sleep_ms(50);
    assert_int_equal(book.count, 4);
    shoal_close(client);
}

/* Waiting for room counts, too: there is nobody who would make any. */
static void waits_no_longer_than_told(void **state)
{
    (void)state;
    struct shoal_options *options = options_for(1); /* where nobody listens */
    shoal_options_set_patient(options, true);
    shoal_options_set_window(options, 1, 1024);
    struct shoal_client *client = client_of(options);
    IS(shoal_publish(client, "a", "x", 1, SHOAL_TEXT, NULL, NULL), "ok");
    IS(shoal_publish_wait(client, "a", "y", 1, SHOAL_TEXT, 50, NULL), "timeout");
    assert_int_equal(shoal_unacknowledged(client), 1);
    shoal_close(client);
}

static void poll_driven(void **state)
{
    (void)state;
    static struct book book;
    struct shoal_subscriber subscriber = book_of(&book);
    struct shoal_options *options = options_for(broker.port);
    IS(shoal_options_set_poll(options, true), "ok");
    struct shoal_client *client;
    IS(shoal_connect(options, &client), "ok");
    shoal_options_destroy(options);
    assert_int_equal(shoal_client_state(client), SHOAL_CONNECTING);
    IS(shoal_subscribe(client, "poll/a", NULL, &subscriber, NULL), "ok"); /* before there is a connection */
    IS(shoal_flush(client, PATIENCE_MS), "ok");
    assert_int_equal(shoal_client_state(client), SHOAL_CONNECTED);
    assert_true(shoal_fd(client) >= 0 && shoal_events(client) != 0);
    for (int i = 0; i < 10; i++)
        IS(shoal_publish(client, "poll/a", "x", 1, SHOAL_TEXT, NULL, NULL), "ok");
    IS(shoal_flush(client, PATIENCE_MS), "ok");
    assert_int_equal(shoal_unacknowledged(client), 0);
    for (int i = 0; i < 100 && book.count < 10; i++)
        IS(shoal_run(client, 10), "ok");
    assert_int_equal(book.count, 10);
    IS(shoal_publish_wait(client, "poll/a", "y", 1, SHOAL_TEXT, PATIENCE_MS, NULL), "ok");
    shoal_close(client);
}

/* One that comes back reads on after the position that it kept; last is the last. */
static void positions_in_and_out(void **state)
{
    (void)state;
    static struct book book;
    struct shoal_client *client = client_of(options_for(broker.port));
    struct shoal_position kept = {0};
    for (int i = 1; i <= 10; i++) {
        struct shoal_position position;
        IS(shoal_publish_wait(client, "pos/a", "x", 1, SHOAL_TEXT, PATIENCE_MS, &position), "ok");
        if (i == 4)
            kept = position;
    }
    char text[SHOAL_POSITION_TEXT_SIZE];
    shoal_position_write(kept, text);
    struct shoal_from from = {.kind = SHOAL_FROM_POSITION};
    IS(shoal_position_read(text, &from.position), "ok");
    struct shoal_subscriber subscriber = book_of(&book);
    struct shoal_subscription *subscription;
    IS(shoal_subscribe(client, "pos/a", &from, &subscriber, &subscription), "ok");
    await_count(&book.count, 6, "messages after the position");
    assert_true(book.positions[0].offset == kept.offset + 1);
    assert_true(shoal_subscription_position(subscription).offset == kept.offset + 6);
    IS(shoal_unsubscribe(subscription), "ok");
    subscriber = book_of(&book);
    from.kind = SHOAL_FROM_LAST;
    IS(shoal_subscribe(client, "pos/a", &from, &subscriber, &subscription), "ok");
    await_count(&book.count, 1, "the last message");
    assert_true(book.positions[0].offset == kept.offset + 6);
    IS(shoal_unsubscribe(subscription), "ok");
    subscriber = book_of(&book);
    from = (struct shoal_from){SHOAL_FROM_POSITION, {kept.epoch, kept.offset + 100}};
    IS(shoal_subscribe(client, "pos/a", &from, &subscriber, NULL), "ok");
    await_count(&book.statuses, 1, "a refusal");
    IS(book.status, "position_invalid");
    shoal_close(client);
}

/* --- errors --- */

static void arguments(void **state)
{
    (void)state;
    static struct book book;
    struct shoal_subscriber subscriber = book_of(&book);
    struct shoal_client *client = client_of(options_for(broker.port));
    IS(shoal_publish(client, "a//b", "x", 1, SHOAL_TEXT, NULL, NULL), "topic_invalid");
    IS(shoal_publish(client, "", "x", 1, SHOAL_TEXT, NULL, NULL), "topic_invalid");
    IS(shoal_publish(client, "a/#", "x", 1, SHOAL_TEXT, NULL, NULL), "not_a_topic");
    IS(shoal_publish(client, "$a", "x", 1, SHOAL_TEXT, NULL, NULL), "topic_reserved");
    IS(shoal_publish(client, NULL, "x", 1, SHOAL_TEXT, NULL, NULL), "argument");
    IS(shoal_publish(client, "a", NULL, 1, SHOAL_TEXT, NULL, NULL), "argument");
    IS(shoal_publish(client, "a", "x", 1, (enum shoal_kind)3, NULL, NULL), "argument");
    IS(shoal_publish_wait(client, "a", "{", 1, SHOAL_JSON, PATIENCE_MS, NULL), "message_invalid");
    IS(shoal_publish_wait(client, "a", "\xFF", 1, SHOAL_TEXT, PATIENCE_MS, NULL), "message_invalid");
    char large[70000] = {0};
    IS(shoal_publish(client, "a", large, sizeof large, SHOAL_BINARY, NULL, NULL), "payload_too_large");
    IS(shoal_publish_wait(client, "a", large, 65536, SHOAL_BINARY, PATIENCE_MS, NULL), "ok");
    IS(shoal_publish_wait(client, "small/a", large, 101, SHOAL_BINARY, PATIENCE_MS, NULL), "payload_too_large");
    IS(shoal_publish_keyed(client, "a", large, 129, "x", 1, SHOAL_TEXT, NULL, NULL), "key_too_long");
    struct shoal_from last = {.kind = SHOAL_FROM_LAST};
    IS(shoal_subscribe(client, "a+", NULL, &subscriber, NULL), "filter_invalid");
    IS(shoal_subscribe(client, "a/", NULL, &subscriber, NULL), "topic_invalid");
    IS(shoal_subscribe(client, "a/#", &last, &subscriber, NULL), "argument");
    IS(shoal_subscribe(client, "a/#", NULL, &subscriber, NULL), "ok");
    IS(shoal_subscribe(client, "a/#", NULL, &subscriber, NULL), "already_subscribed");
    IS(shoal_subscribe(client, "a", NULL, &subscriber, NULL), "overlap");
    IS(shoal_subscribe(client, "+/b", NULL, &subscriber, NULL), "overlap");
    IS(shoal_subscribe(client, "b/+", NULL, &subscriber, NULL), "ok");
    IS(shoal_poll(client), "argument");
    shoal_close(client);
}

static void keys(void **state)
{
    (void)state;
    static struct book book;
    struct shoal_subscriber subscriber = book_of(&book);
    struct shoal_client *client = client_of(options_for(broker.port));
    IS(shoal_subscribe(client, "keys/a", NULL, &subscriber, NULL), "ok");
    IS(shoal_flush(client, PATIENCE_MS), "ok");
    for (int i = 0; i < 3; i++)
        IS(shoal_publish_keyed(client, "keys/a", "order-17", 8, "x", 1, SHOAL_TEXT, NULL, NULL), "ok");
    IS(shoal_publish_wait(client, "keys/a", "end", 3, SHOAL_TEXT, PATIENCE_MS, NULL), "ok");
    await_count(&book.count, 2, "messages");
    assert_int_equal(book.sizes[1], 3);
    shoal_close(client);
}

/* A port of this host where nobody listens, or somebody who does not speak. */
static int port_bound(int *fd, bool listens)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    *fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(*fd, (struct sockaddr *)&address, sizeof address), 0);
    if (listens)
        assert_int_equal(listen(*fd, 4), 0);
    getsockname(*fd, (struct sockaddr *)&address, &size);
    return ntohs(address.sin_port);
}

static enum shoal_error try_port(int port)
{
    struct shoal_options *options = options_for(port);
    IS(shoal_options_set_connect_timeout(options, 300), "ok");
    struct shoal_client *client;
    enum shoal_error error = shoal_connect(options, &client);
    shoal_options_destroy(options);
    if (!error)
        shoal_close(client);
    else
        assert_null(client);
    return error;
}

static void nobody_there(void **state)
{
    (void)state;
    int fd;
    IS(try_port(port_bound(&fd, false)), "connect");
    close(fd);
    IS(try_port(port_bound(&fd, true)), "timeout");
    close(fd);
    IS(try_port(broker.admin_port), "handshake");
    struct shoal_options *options = shoal_options_create();
    struct shoal_client *client;
    IS(shoal_options_set_url(options, "ws://no-such-host.invalid"), "ok");
    IS(shoal_connect(options, &client), "resolve");
    shoal_options_destroy(options);
    assert_int_equal(shoal_error_retry(SHOAL_ERROR_CONNECT), SHOAL_RETRY_LATER);
    assert_int_equal(shoal_error_retry(SHOAL_ERROR_HANDSHAKE), SHOAL_RETRY_NEVER);
}

/* Accepts, and shakes hands like a broker. Returns the connection. */
static int shake_hands(int listener)
{
    int fd = accept(listener, NULL, NULL);
    char request[4096];
    ssize_t got = recv(fd, request, sizeof request - 1, 0);
    request[got > 0 ? got : 0] = '\0';
    const char *key = strstr(request, "Sec-WebSocket-Key: ");
    assert_non_null(key);
    char accepted[WS_ACCEPT_SIZE], answer[256];
    ws_accept_write((struct span){key + 19, 24}, accepted);
    int size = snprintf(answer, sizeof answer,
                        "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: %.28s\r\n"
                        "Sec-WebSocket-Protocol: shoal.v1.bin\r\n\r\n",
                        accepted);
    assert_int_equal(send(fd, answer, (size_t)size, MSG_NOSIGNAL), size);
    return fd;
}

static void await_end(int fd)
{
    char bytes[4096];
    while (recv(fd, bytes, sizeof bytes, 0) > 0) {
    }
    close(fd);
}

/* And says no more. */
static void *shakes_hands(void *argument)
{
    await_end(shake_hands(*(int *)argument));
    return NULL;
}

static void no_hello(void **state)
{
    (void)state;
    int fd, port = port_bound(&fd, true);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, shakes_hands, &fd), 0);
    IS(try_port(port), "timeout");
    pthread_join(thread, NULL);
    close(fd);
}

/* Refuses the first, and closes the second: both are told when to come back. */
static void *tells_when(void *argument)
{
    static const char refusal[] = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";
    static const char farewell[] = "\x88\x10\x0F\xA0Go. after_ms=7";
    int listener = *(int *)argument, fd = accept(listener, NULL, NULL);
    assert_int_equal(send(fd, refusal, sizeof refusal - 1, MSG_NOSIGNAL), sizeof refusal - 1);
    shutdown(fd, SHUT_WR);
    await_end(fd);
    fd = shake_hands(listener);
    assert_int_equal(send(fd, farewell, sizeof farewell - 1, MSG_NOSIGNAL), sizeof farewell - 1);
    await_end(fd);
    return NULL;
}

static struct {
    int64_t pauses_ms[2];
    _Atomic uint32_t count;
} pauses;

static void write_pause(struct shoal_client *client, const struct shoal_state_change *change, void *context)
{
    (void)client;
    (void)context;
    if (change->state != SHOAL_DISCONNECTED || pauses.count == 2)
        return;
    pauses.pauses_ms[pauses.count] = change->retry_ms;
    pauses.count++; /* last: then it may be read */
}

static void comes_back_when_told(void **state)
{
    (void)state;
    int fd, port = port_bound(&fd, true);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, tells_when, &fd), 0);
    struct shoal_options *options = options_for(port);
    IS(shoal_options_set_backoff(options, 1, 2), "ok");
    IS(shoal_options_set_patient(options, true), "ok");
    IS(shoal_options_set_on_state(options, write_pause, NULL), "ok");
    struct shoal_client *client = client_of(options);
    await_count(&pauses.count, 2, "two pauses");
    assert_int_equal(pauses.pauses_ms[0], 1000);
    assert_int_equal(pauses.pauses_ms[1], 7);
    shoal_close(client);
    pthread_join(thread, NULL);
    close(fd);
}

/* A patient client waits for a broker that is not there yet, and keeps what is published meanwhile: as much as it may.
 */
static void patient(void **state)
{
    (void)state;
    int fd, port = port_bound(&fd, false);
    struct shoal_options *options = options_for(port);
    IS(shoal_options_set_patient(options, true), "ok");
    IS(shoal_options_set_window(options, 4, 1 << 20), "ok");
    IS(shoal_options_set_window_waits(options, false), "ok");
    struct shoal_client *client = client_of(options);
    for (int i = 0; i < 4; i++)
        IS(shoal_publish(client, "patient/a", "x", 1, SHOAL_TEXT, NULL, NULL), "ok");
    IS(shoal_publish(client, "patient/a", "x", 1, SHOAL_TEXT, NULL, NULL), "full");
    IS(shoal_flush(client, 50), "timeout");
    IS(shoal_publish_wait(client, "patient/a", "x", 1, SHOAL_TEXT, 50, NULL), "full");
    close(fd);
    struct broker late = {.port = port};
    snprintf(late.log, sizeof late.log, "libshoal-late-%d.log", (int)getpid());
    broker_again(&late);
    IS(shoal_flush(client, PATIENCE_MS), "ok");
    shoal_close(client);
    broker_stop(&late);
}

/* --- tokens --- */

static char *token_for(const char *key, long expires)
{
    jwt_t *jwt;
    assert_int_equal(jwt_new(&jwt), 0);
    jwt_set_alg(jwt, JWT_ALG_HS256, (const unsigned char *)key, (int)strlen(key));
    jwt_add_grant(jwt, "sub", "test");
    if (expires)
        jwt_add_grant_int(jwt, "exp", expires);
    jwt_add_grants_json(jwt, "{\"shoal\":{\"pub\":[\"mine/#\"],\"sub\":[\"mine/#\"]}}");
    char *text = jwt_encode_str(jwt);
    jwt_free(jwt);
    return text;
}

static _Atomic uint32_t retries_refused;

/* What one does at first thought with a publish that failed. */
static void retry_at_once(struct shoal_client *client, enum shoal_error error, struct shoal_position position,
                          void *context)
{
    (void)position;
    (void)context;
    if (error != SHOAL_OK) {
        IS(shoal_publish(client, "mine/a", "x", 1, SHOAL_TEXT, NULL, NULL), "token_invalid");
        atomic_fetch_add(&retries_refused, 1);
    }
}

/* On the client's thread, which can't learn between the two that the token was refused: the publish is behind it,
 * and so without an answer. */
static void publish_behind_forged_token(struct shoal_client *client, enum shoal_error error,
                                        struct shoal_position position, void *forged)
{
    (void)position;
    IS(error, "ok");
    IS(shoal_set_token(client, forged), "ok");
    IS(shoal_publish(client, "mine/a", "x", 1, SHOAL_TEXT, retry_at_once, NULL), "ok");
}

/* What is set as soon as it begins to connect; NULL: nothing. */
static char *_Atomic token_meanwhile;

static void set_token_meanwhile(struct shoal_client *client, const struct shoal_state_change *change, void *context)
{
    (void)context;
    char *token = change->state == SHOAL_CONNECTING ? atomic_exchange(&token_meanwhile, NULL) : NULL;
    if (token)
        IS(shoal_set_token(client, token), "ok");
}

static void await_failed(struct shoal_client *client)
{
    for (int i = 0; i < 1000 && shoal_client_state(client) != SHOAL_FAILED; i++)
        sleep_ms(10);
    assert_int_equal(shoal_client_state(client), SHOAL_FAILED);
}

static void tokens(void **state)
{
    (void)state;
    static const char key[] = "0123456789abcdef0123456789abcdef";
    char path[64], setting[128];
    snprintf(path, sizeof path, "libshoal-%d.key", (int)getpid());
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(key, file);
    fclose(file);
    snprintf(setting, sizeof setting, "auth.hs256_key_file=%s", path);
    const char *const settings[] = {setting, NULL};
    struct broker guarded;
    broker_start(&guarded, settings);
    char *good = token_for(key, 0), *forged = token_for("another-key-another-key-another-", 0);
    char *old = token_for(key, 1000000000);
    struct shoal_client *client;

    struct shoal_options *options = options_for(guarded.port);
    IS(shoal_options_set_token(options, forged), "ok");
    IS(shoal_connect(options, &client), "token_invalid");
    IS(shoal_options_set_token(options, old), "ok");
    IS(shoal_connect(options, &client), "token_expired");
    IS(shoal_options_set_token(options, NULL), "ok");
    IS(shoal_options_set_on_state(options, set_token_meanwhile, NULL), "ok");
    IS(shoal_connect(options, &client), "ok");
    IS(shoal_publish_wait(client, "mine/a", "x", 1, SHOAL_TEXT, PATIENCE_MS, NULL), "auth_required");
    IS(shoal_set_token(client, good), "ok");
    IS(shoal_publish_wait(client, "mine/a", "x", 1, SHOAL_TEXT, PATIENCE_MS, NULL), "ok");
    IS(shoal_publish_wait(client, "yours/a", "x", 1, SHOAL_TEXT, PATIENCE_MS, NULL), "forbidden");
    static struct book book;
    struct shoal_subscriber subscriber = book_of(&book);
    IS(shoal_subscribe(client, "yours/a", NULL, &subscriber, NULL), "ok");
    await_count(&book.statuses, 1, "a refusal");
    IS(book.status, "forbidden");
    IS(shoal_subscribe(client, "mine/#", NULL, &subscriber, NULL), "ok");
    IS(shoal_flush(client, PATIENCE_MS), "ok");

    /* refused: the client fails, and says so to all */
    IS(shoal_publish(client, "mine/a", "x", 1, SHOAL_TEXT, publish_behind_forged_token, forged), "ok");
    await_failed(client);
    IS(shoal_publish_wait(client, "mine/a", "x", 1, SHOAL_TEXT, PATIENCE_MS, NULL), "token_invalid");
    IS(shoal_flush(client, PATIENCE_MS), "token_invalid");
    await_count(&retries_refused, 1, "a publish that failed with the client");
    atomic_store(&token_meanwhile, forged);
    IS(shoal_set_token(client, good), "ok"); /* the handshake is made with this one, and then the other one is shown */
    for (int i = 0; i < 1000 && atomic_load(&token_meanwhile); i++)
        sleep_ms(10);
    await_failed(client);
    IS(shoal_set_token(client, good), "ok"); /* and lives again, its subscription too */
    IS(shoal_publish_wait(client, "mine/a", "x", 1, SHOAL_TEXT, PATIENCE_MS, NULL), "ok");
    IS(shoal_flush(client, PATIENCE_MS), "ok");
    IS(shoal_publish_wait(client, "mine/a", "x", 1, SHOAL_TEXT, PATIENCE_MS, NULL), "ok");
    await_count(&book.count, 1, "a message after the new token");
    shoal_close(client);
    shoal_options_destroy(options);
    free(good);
    free(forged);
    free(old);
    broker_stop(&guarded);
    unlink(path);
}

/* --- closing --- */

static _Atomic uint32_t closed_acks;

static void count_closed(struct shoal_client *client, enum shoal_error error, struct shoal_position position,
                         void *context)
{
    (void)client;
    (void)position;
    (void)context;
    assert_true(error == SHOAL_OK || error == SHOAL_ERROR_CLOSED);
    atomic_fetch_add(&closed_acks, 1);
}

/* One that may have been sent is acknowledged, or uncertain. */
static void count_sent(struct shoal_client *client, enum shoal_error error, struct shoal_position position,
                       void *context)
{
    if (error != SHOAL_ERROR_UNCERTAIN)
        count_closed(client, error, position, context);
}

static void close_in_message(struct shoal_subscription *subscription, const struct shoal_message *message,
                             void *context)
{
    (void)subscription;
    (void)message;
    struct shoal_client *client = *(struct shoal_client **)context;
    IS(shoal_publish_wait(client, "close/b", "x", 1, SHOAL_TEXT, PATIENCE_MS, NULL), "in_callback");
    IS(shoal_flush(client, PATIENCE_MS), "in_callback");
    for (int i = 0; i < 5; i++)
        IS(shoal_publish(client, "close/b", "x", 1, SHOAL_TEXT, count_closed, NULL), "ok");
    shoal_close(client);
}

static void close_in_callback(void **state)
{
    (void)state;
    for (int poll = 0; poll < 2; poll++) {
        static struct shoal_client *client;
        struct shoal_options *options = options_for(broker.port);
        shoal_options_set_poll(options, poll);
        client = client_of(options);
        struct shoal_subscriber subscriber = {.on_message = close_in_message, .context = &client};
        IS(shoal_subscribe(client, "close/a", NULL, &subscriber, NULL), "ok");
        IS(shoal_flush(client, PATIENCE_MS), "ok");
        atomic_store(&closed_acks, 0);
        IS(shoal_publish(client, "close/a", "x", 1, SHOAL_TEXT, NULL, NULL), "ok");
        if (poll)
            IS(shoal_run(client, PATIENCE_MS), "closed");
        await_count(&closed_acks, 5, "acknowledgements of a client that was closed");
        sleep_ms(20); /* its thread frees it */
    }
}

static void close_with_some_under_way(void **state)
{
    (void)state;
    struct shoal_options *options = options_for(broker.port);
    IS(shoal_options_set_window(options, 1, 1024), "ok"); /* so that they wait for room as well */
    struct shoal_client *client = client_of(options);
    for (int i = 0; i < 100; i++)
        IS(shoal_publish(client, "close/c", "x", 1, SHOAL_TEXT, count_sent, NULL), "ok");
    shoal_close(client); /* with one under way */
    shoal_close(NULL);
}

/* Subscriptions come and go while messages come. */
static void *churns(void *argument)
{
    static struct book book;
    struct shoal_client *client = argument;
    struct shoal_subscriber subscriber = {.on_message = write_down, .context = &book};
    for (int i = 0; i < 200; i++) {
        struct shoal_subscription *subscription;
        IS(shoal_subscribe(client, "churn/a", NULL, &subscriber, &subscription), "ok");
        if (i % 3 == 0)
            IS(shoal_flush(client, PATIENCE_MS), "ok");
        IS(shoal_unsubscribe(subscription), "ok");
    }
    return NULL;
}

static void *publishes(void *argument)
{
    for (int i = 0; i < 300; i++)
        IS(shoal_publish_wait(argument, "churn/a", "x", 1, SHOAL_TEXT, PATIENCE_MS, NULL), "ok");
    return NULL;
}

static void many_threads(void **state)
{
    (void)state;
    struct shoal_client *client = client_of(options_for(broker.port));
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, i == 0 ? churns : publishes, client), 0);
    for (int i = 0; i < 3000; i++)
        IS(shoal_publish(client, "churn/a", "x", 1, SHOAL_TEXT, count_closed, NULL), "ok");
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    IS(shoal_flush(client, PATIENCE_MS), "ok");
    shoal_close(client);
}

static void count_disconnects(struct shoal_client *client, const struct shoal_state_change *change, void *context)
{
    (void)client;
    uint32_t *count = context;
    *count += change->state == SHOAL_DISCONNECTED;
}

/* Asked for and left as fast as the program can: the broker closes who lets it wait with more replies than it keeps. */
static void very_many_topics(void **state)
{
    (void)state;
    enum { TOPICS = 50000 };
    static const char *const settings[] = {"limits.subscriptions_per_connection=50000", NULL};
    static struct shoal_subscription *subscriptions[TOPICS];
    static struct book book;
    struct shoal_subscriber subscriber = book_of(&book);
    struct broker roomy = {0};
    broker_start(&roomy, settings);
    uint32_t disconnects = 0;
    struct shoal_options *options = options_for(roomy.port);
    IS(shoal_options_set_on_state(options, count_disconnects, &disconnects), "ok");
    struct shoal_client *client = client_of(options);
    char topic[32];
    for (int i = 0; i < TOPICS; i++) {
        snprintf(topic, sizeof topic, "many/%d", i);
        IS(shoal_subscribe(client, topic, NULL, &subscriber, &subscriptions[i]), "ok");
    }
    IS(shoal_flush(client, SHOAL_WAIT_FOREVER), "ok");
    assert_int_equal(book.statuses, TOPICS);
    for (int i = 0; i < TOPICS; i += TOPICS / 10) {
        snprintf(topic, sizeof topic, "many/%d", i);
        IS(shoal_publish_wait(client, topic, "x", 1, SHOAL_TEXT, PATIENCE_MS, NULL), "ok");
    }
    await_count(&book.count, 10, "messages");
    for (int i = 0; i < TOPICS; i++)
        IS(shoal_unsubscribe(subscriptions[i]), "ok");
    IS(shoal_flush(client, SHOAL_WAIT_FOREVER), "ok");
    IS(shoal_publish_wait(client, "many/0", "x", 1, SHOAL_TEXT, PATIENCE_MS, NULL), "ok");
    IS(shoal_subscribe(client, "many/#", NULL, &subscriber, NULL), "ok"); /* nothing is left that it would meet */
    IS(shoal_flush(client, PATIENCE_MS), "ok");
    assert_int_equal(book.count, 10);
    shoal_close(client);
    assert_int_equal(disconnects, 0);
    broker_stop(&roomy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_thread),
        cmocka_unit_test(waits_no_longer_than_told),
        cmocka_unit_test(poll_driven),
        cmocka_unit_test(positions_in_and_out),
        cmocka_unit_test(arguments),
        cmocka_unit_test(keys),
        cmocka_unit_test(nobody_there),
        cmocka_unit_test(comes_back_when_told),
        cmocka_unit_test(patient),
        cmocka_unit_test(no_hello),
        cmocka_unit_test(tokens),
        cmocka_unit_test(close_in_callback),
        cmocka_unit_test(close_with_some_under_way),
        cmocka_unit_test(many_threads),
        cmocka_unit_test(very_many_topics),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
