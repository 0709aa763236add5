/* publisher: see publisher.h. */
#include "publisher.h"

#include <errno.h>
#include <shoal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "frames.h"
#include "process.h"
#include "protocol.h"
#include "protocol/ws_frame.h"
#include "subscriber.h"
#include "websocket.h"
#include "worker.h"

#define COMPOSED_MORE 1024u                /* of a message, around its payload */
#define WAITING_MAX   (256u * 1024 * 1024) /* bytes of a connection: more, and the server does not read at all */
#define READ_BYTES    65536
#define FLUSH_MS      60000

/* A connection that publishes. */
struct outlet {
    struct subscriber stream; /* what comes back */
    char *waiting;
    size_t waiting_size, waiting_room, waiting_sent;
};

struct way {
    const char *name;
    bool for_each_topic;
    const struct protocol *protocol; /* of what comes back; NULL: libshoal's own connection */
    /* Writes the message; returns its size. */
    size_t (*compose)(char *out, const char *topic, const char *payload, size_t size);
};

static struct {
    struct publisher_options options;
    const struct workload *workload;
    const struct way *way;
    struct outlet *outlets;
    uint32_t outlet_count;
    uint32_t first[GROUPS_MAX]; /* of a group's outlets */
    char *payloads[GROUPS_MAX];
    char *composed;
    struct shoal_client *client;
} publisher;

/* --- what comes back --- */

/* Answers to POST: a head with Content-Length, and a body. */
static size_t http_receive(struct subscriber *stream, char *bytes, size_t size)
{
    static const char length[] = "Content-Length: ";
    size_t at = 0;
    (void)stream;
    for (;;) {
        const char *head = bytes + at, *end = memmem(head, size - at, "\r\n\r\n", 4);
        if (!end) {
            return at;
        }
        const char *field = memmem(head, (size_t)(end - head), length, sizeof length - 1);
        size_t whole = (size_t)(end - head) + 4 + (field ? strtoul(field + sizeof length - 1, NULL, 10) : 0);
        if (memcmp(head, "HTTP/1.1 200", 12) != 0) {
            die("a POST was refused: %.*s", (int)(end - head), head);
        }
        if (whole > size - at) {
            return at;
        }
        at += whole;
    }
}

/* nchan answers each publish by a frame of its own. */
static void ignored(struct subscriber *stream, char *payload, size_t size)
{
    (void)stream;
    (void)payload;
    (void)size;
}

static size_t websocket_receive(struct subscriber *stream, char *bytes, size_t size)
{
    return frames_receive(stream, bytes, size, ignored);
}

/* How many received it, as integers. */
static size_t integers_receive(struct subscriber *stream, char *bytes, size_t size)
{
    const char *last = memrchr(bytes, '\n', size);
    (void)stream;
    if (bytes[0] != ':') {
        die("a PUBLISH was refused: %.*s", (int)size, bytes);
    }
    return last ? (size_t)(last + 1 - bytes) : 0;
}

static const struct protocol websocket_answers = {.name = "raw", .websocket = true, .receive = websocket_receive};
static const struct protocol http_answers = {.name = "post", .receive = http_receive};
static const struct protocol redis_answers = {.name = "redis", .receive = integers_receive};

/* --- composing --- */

static size_t compose_websocket(char *out, const char *topic, const char *payload, size_t size)
{
    (void)topic;
    return frame_write(out, publisher.options.text ? WS_TEXT : WS_BINARY, payload, size);
}

static size_t compose_post(char *out, const char *topic, const char *payload, size_t size)
{
    char path[PATH_MAX_BYTES];
    path_expand(publisher.options.path, topic, path);
    int head = snprintf(out, COMPOSED_MORE,
                        "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n", path,
                        publisher.options.text ? "text/plain" : "application/octet-stream", size);
    memcpy(out + head, payload, size);
    return (size_t)head + size;
}

/* Behind what is composed already, without a NUL. Returns where it ends. */
static size_t compose_more(char *out, size_t at, const char *bytes, size_t size)
{
    memcpy(out + at, bytes, size);
    return at + size;
}

static size_t compose_nats(char *out, const char *topic, const char *payload, size_t size)
{
    char subject[TOPIC_NAME], command[TOPIC_NAME + 32];
    nats_subject(topic, subject, sizeof subject);
    int head = snprintf(command, sizeof command, "PUB %s %zu\r\n", subject, size);
    size_t at = ws_masked_header_write(out, WS_BINARY, true, false, (uint64_t)head + size + 2, 0);
    at = compose_more(out, at, command, (size_t)head);
    at = compose_more(out, at, payload, size);
    return compose_more(out, at, "\r\n", 2);
}

static size_t compose_redis(char *out, const char *topic, const char *payload, size_t size)
{
    int head =
        snprintf(out, COMPOSED_MORE, "*3\r\n$7\r\nPUBLISH\r\n$%zu\r\n%s\r\n$%zu\r\n", strlen(topic), topic, size);
    size_t at = compose_more(out, (size_t)head, payload, size);
    return compose_more(out, at, "\r\n", 2);
}

static const struct way ways[] = {
    {"websocket", true, &websocket_answers, compose_websocket},
    {"post", false, &http_answers, compose_post},
    {"libshoal", false, NULL, NULL},
    {"nats", false, &protocol_nats, compose_nats},
    {"redis", false, &redis_answers, compose_redis},
};

static const struct way *way_find(const char *name)
{
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        if (strcmp(ways[i].name, name) == 0) {
            return &ways[i];
        }
    }
    die("there is no way to publish called %s", name);
}

/* --- connecting --- */

static uint32_t outlets_of(const struct way *way, const struct workload *workload)
{
    uint32_t topics = 0;
    for (uint32_t i = 0; i < workload->group_count; i++) {
        topics += workload->groups[i].topics;
    }
    return way->for_each_topic ? topics : 1;
}

uint32_t publisher_descriptors(const char *way, const struct workload *workload)
{
    return outlets_of(way_find(way), workload) + 8; /* libshoal has some of its own */
}

static void libshoal_open(void)
{
    char url[64];
    struct shoal_options *options = shoal_options_create();
    snprintf(url, sizeof url, "ws://127.0.0.1:%u", publisher.options.port);
    enum shoal_error error = options ? shoal_options_set_url(options, url) : SHOAL_ERROR_MEMORY;
    error = error ? error : shoal_connect(options, &publisher.client);
    if (error) {
        die("libshoal: %s", shoal_error_message(error));
    }
    shoal_options_destroy(options);
}

static int connect_outlet(uint32_t index, const char *topic)
{
    char path[PATH_MAX_BYTES], command[COMMAND_MAX];
    const struct protocol *protocol = publisher.way->protocol;
    /* from addresses that no subscriber has */
    uint32_t source = (uint32_t)workload_subscribers(publisher.workload) + WEBSOCKET_PER_SOURCE_ADDRESS + index;
    if (protocol->websocket) {
        uint32_t answers;
        path_expand(protocol->path ? protocol->path : publisher.options.path, topic, path);
        int descriptor = websocket_open(publisher.options.port, source, path);
        if (protocol->greet) {
            websocket_send(descriptor, command, protocol->greet(command, &answers));
        }
        return descriptor;
    }
    int descriptor = websocket_connect(publisher.options.port, source);
    if (descriptor < 0) {
        die("a publisher can't connect: %s", strerror(errno));
    }
    return descriptor;
}

static void outlet_open(uint32_t index, const char *topic)
{
    struct outlet *outlet = &publisher.outlets[index];
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = outlet};
    outlet->stream = (struct subscriber){.protocol = publisher.way->protocol, .socket = connect_outlet(index, topic)};
    if (epoll_ctl(publisher.options.poll, EPOLL_CTL_ADD, outlet->stream.socket, &event) != 0) {
        die("epoll: %s", strerror(errno));
    }
}

static void outlets_open(void)
{
    char topic[TOPIC_NAME];
    uint32_t index = 0;
    publisher.outlet_count = outlets_of(publisher.way, publisher.workload);
    CHECK(publisher.outlet_count > 0); /* each group has topics: workload.c */
    publisher.outlets = calloc(publisher.outlet_count, sizeof *publisher.outlets);
    if (!publisher.outlets) {
        die("no memory");
    }
    if (!publisher.way->for_each_topic) {
        outlet_open(0, "");
        return;
    }
    for (uint32_t group = 0; group < publisher.workload->group_count; group++) {
        publisher.first[group] = index;
        for (uint32_t i = 0; i < publisher.workload->groups[group].topics; i++) {
            workload_topic(group, i, topic);
            outlet_open(index++, topic);
        }
    }
}

void publisher_open(const struct publisher_options *options, const struct workload *workload)
{
    size_t largest = 0;
    publisher.options = *options;
    publisher.workload = workload;
    publisher.way = way_find(options->way);
    for (uint32_t i = 0; i < workload->group_count; i++) {
        size_t size = workload->groups[i].size;
        CHECK(size > 0); /* it has room for a stamp: workload.c */
        largest = size > largest ? size : largest;
        publisher.payloads[i] = malloc(size);
        if (!publisher.payloads[i]) {
            die("no memory");
        }
        memset(publisher.payloads[i], 'x', size);
    }
    publisher.composed = malloc(largest + COMPOSED_MORE);
    if (!publisher.composed) {
        die("no memory");
    }
    if (publisher.way->protocol) {
        outlets_open();
    } else {
        libshoal_open();
    }
}

/* --- sending --- */

static void poll_for(struct outlet *outlet, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = outlet};
    epoll_ctl(publisher.options.poll, EPOLL_CTL_MOD, outlet->stream.socket, &event);
}

/* Returns how many bytes the socket took. */
static size_t send_some(struct outlet *outlet, const char *bytes, size_t size)
{
    ssize_t sent = send(outlet->stream.socket, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN) {
        die("a publisher was cut off: %s", strerror(errno));
    }
    return sent < 0 ? 0 : (size_t)sent;
}

static void wait_with(struct outlet *outlet, const char *bytes, size_t size)
{
    size_t needed = outlet->waiting_size + size;
    if (needed > WAITING_MAX) {
        die("the server reads too slowly from its publisher");
    }
    if (needed > outlet->waiting_room) {
        outlet->waiting_room = 2 * needed;
        outlet->waiting = realloc(outlet->waiting, outlet->waiting_room);
        if (!outlet->waiting) {
            die("no memory");
        }
    }
    if (outlet->waiting_size == 0) {
        poll_for(outlet, EPOLLOUT);
    }
    memcpy(outlet->waiting + outlet->waiting_size, bytes, size);
    outlet->waiting_size = needed;
}

static void send_waiting(struct outlet *outlet)
{
    outlet->waiting_sent +=
        send_some(outlet, outlet->waiting + outlet->waiting_sent, outlet->waiting_size - outlet->waiting_sent);
    if (outlet->waiting_sent == outlet->waiting_size) {
        outlet->waiting_sent = outlet->waiting_size = 0;
        poll_for(outlet, EPOLLIN);
    }
}

static void on_ack(struct shoal_client *client, enum shoal_error error, struct shoal_position position, void *context)
{
    (void)client;
    (void)position;
    (void)context;
    if (error && error != SHOAL_ERROR_CLOSED) {
        die("a publish was refused: %s", shoal_error_message(error));
    }
}

static void libshoal_publish(const char *topic, const char *payload, size_t size)
{
    enum shoal_kind kind = publisher.options.text ? SHOAL_TEXT : SHOAL_BINARY;
    enum shoal_error error = shoal_publish(publisher.client, topic, payload, size, kind, on_ack, NULL);
    if (error) {
        die("libshoal: %s", shoal_error_message(error));
    }
}

void publisher_publish(uint32_t group, uint64_t number)
{
    char topic[TOPIC_NAME];
    char *payload = publisher.payloads[group];
    size_t size = publisher.workload->groups[group].size;
    uint32_t topic_number = (uint32_t)(number % publisher.workload->groups[group].topics);
    stamp_write(payload, group, number);
    workload_topic(group, topic_number, topic);
    if (!publisher.way->protocol) {
        libshoal_publish(topic, payload, size);
        return;
    }
    struct outlet *outlet =
        &publisher.outlets[publisher.way->for_each_topic ? publisher.first[group] + topic_number : 0];
    size = publisher.way->compose(publisher.composed, topic, payload, size);
    size_t sent = outlet->waiting_size == 0 ? send_some(outlet, publisher.composed, size) : 0;
    if (sent < size) {
        wait_with(outlet, publisher.composed + sent, size - sent);
    }
}

void publisher_event(void *what, uint32_t events)
{
    static char bytes[READ_BYTES];
    struct outlet *outlet = what;
    if (events & EPOLLOUT) {
        send_waiting(outlet);
        return;
    }
    ssize_t size = recv(outlet->stream.socket, bytes, sizeof bytes, MSG_DONTWAIT);
    if (size == 0 || (size < 0 && errno != EAGAIN)) {
        die("a publisher was cut off");
    }
    if (size > 0) {
        subscriber_receive(&outlet->stream, bytes, (size_t)size);
    }
}

void publisher_close(void)
{
    if (publisher.client) {
        enum shoal_error error = shoal_flush(publisher.client, FLUSH_MS);
        if (error) {
            die("not all publishes were acknowledged: %s", shoal_error_message(error));
        }
        shoal_close(publisher.client);
    }
    for (uint32_t i = 0; i < publisher.outlet_count; i++) {
        close(publisher.outlets[i].stream.socket);
    }
}
