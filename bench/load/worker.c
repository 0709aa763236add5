/* worker: see worker.h. */
#include "worker.h"

#include <errno.h>
#include <linux/tcp.h> /* glibc's tcp_info is an old one */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "process.h"
#include "protocol.h"
#include "websocket.h"

#define READ_BYTES     (256u * 1024)
#define EVENTS         256
#define CONNECT_BATCH  64u
#define PHASE_LOOK_NS  1000000
#define WORKER_WAIT_NS 20000000

/* --- setting up --- */

void path_expand(const char *pattern, const char *topic, char out[PATH_MAX_BYTES])
{
    const char *place = strstr(pattern, "{topic}");
    int size = place ? snprintf(out, PATH_MAX_BYTES, "%.*s%s%s", (int)(place - pattern), pattern, topic,
                                place + strlen("{topic}"))
                     : snprintf(out, PATH_MAX_BYTES, "%s", pattern);
    if (size < 0 || (size_t)size >= PATH_MAX_BYTES) {
        die("a path is too long: %s", pattern);
    }
}

/* Makes a record of subscriber `index` of all. */
static void enlist(struct worker *worker, struct subscriber *subscriber, uint64_t index)
{
    uint32_t at, number = workload_group_of(worker->options->workload, index, &at);
    const struct group *group = &worker->options->workload->groups[number];
    *subscriber = (struct subscriber){
        .protocol = worker->options->protocol,
        .worker = worker,
        .socket = -1,
        .group = (uint8_t)number,
        .slow = at >= group->subscribers - group->slow,
        .topic = at % group->topics,
    };
    subscriber->next = subscriber->topic;
    if (group->follow != FOLLOW_ONE) {
        subscriber->nexts = malloc(group->topics * sizeof *subscriber->nexts);
        for (uint32_t topic = 0; subscriber->nexts && topic < group->topics; topic++) {
            subscriber->nexts[topic] = topic;
        }
        if (!subscriber->nexts) {
            die("no memory");
        }
    }
    if (!subscriber->slow) {
        ledger_follow(&worker->ledgers[number], subscriber->topic, group->follow != FOLLOW_ONE);
    }
}

void worker_init(struct worker *worker, const struct worker_options *options, struct board *board, uint32_t number)
{
    uint64_t all = workload_subscribers(options->workload);
    *worker = (struct worker){.options = options,
                              .board = board,
                              .line = &board->workers[number],
                              .number = number,
                              .count = (uint32_t)((all + options->workers - 1 - number) / options->workers),
                              .poll = epoll_create1(EPOLL_CLOEXEC),
                              .buffer = malloc(READ_BYTES)};
    worker->subscribers = calloc(worker->count + 1, sizeof *worker->subscribers); /* one more: it may have none */
    if (!worker->subscribers || !worker->buffer || worker->poll < 0) {
        die("no memory");
    }
    for (uint32_t i = 0; i < options->workload->group_count; i++) {
        ledger_init(&worker->ledgers[i], &options->workload->groups[i]);
    }
    for (uint32_t i = 0; i < worker->count; i++) {
        enlist(worker, &worker->subscribers[i], (uint64_t)i * options->workers + number);
    }
}

/* --- connecting --- */

/* The name by which a subscriber's path asks for what it follows: a topic, bench/0/+, or bench/0/all:1000. */
static void followed_name(const struct subscriber *subscriber, char out[TOPIC_NAME])
{
    const struct group *group = worker_group(subscriber);
    if (group->follow == FOLLOW_ONE) {
        workload_topic(subscriber->group, subscriber->topic, out);
    } else if (group->follow == FOLLOW_FILTER) {
        snprintf(out, TOPIC_NAME, "bench/%u/+", subscriber->group);
    } else {
        snprintf(out, TOPIC_NAME, "bench/%u/all:%u", subscriber->group, group->topics);
    }
}

static void subscriber_path(const struct subscriber *subscriber, char out[PATH_MAX_BYTES])
{
    char name[TOPIC_NAME];
    followed_name(subscriber, name);
    path_expand(subscriber->protocol->path ? subscriber->protocol->path : subscriber->worker->options->path, name, out);
}

/* Connects, and sends the upgrade. */
static void connect_begin(struct subscriber *subscriber)
{
    const struct worker *worker = subscriber->worker;
    char path[PATH_MAX_BYTES], request[WEBSOCKET_REQUEST_MAX];
    uint64_t index = (uint64_t)(subscriber - worker->subscribers) * worker->options->workers + worker->number;
    subscriber->socket = websocket_connect(worker->options->port, (uint32_t)index);
    if (subscriber->socket < 0) {
        die("subscriber %lu can't connect: %s", index, strerror(errno));
    }
    if (subscriber->slow) { /* the kernel is not to read for it: it may have no more than this there */
        int bytes = SLOW_READ_BYTES;
        setsockopt(subscriber->socket, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    }
    if (subscriber->protocol->websocket) {
        subscriber_path(subscriber, path);
        size_t size = websocket_request_with(path, subscriber->protocol->lines, request);
        websocket_send(subscriber->socket, request, size);
    }
}

static void send_subscriptions(struct subscriber *subscriber)
{
    const struct protocol *protocol = subscriber->protocol;
    const struct group *group = worker_group(subscriber);
    char command[COMMAND_MAX], topic[TOPIC_NAME];
    if (protocol->greet) {
        websocket_send(subscriber->socket, command, protocol->greet(command, &subscriber->awaited));
    }
    uint32_t count = group->follow == FOLLOW_ALL ? group->topics : 1;
    for (uint32_t i = 0; i < count; i++) {
        workload_topic(subscriber->group, group->follow == FOLLOW_ALL ? i : subscriber->topic, topic);
        size_t size = protocol->subscribe(command, i + 1, topic, group->follow == FOLLOW_FILTER);
        websocket_send(subscriber->socket, command, size);
        subscriber->awaited++;
    }
}

/* Waits for the answer to the upgrade, and asks for the subscriptions. */
static void connect_end(struct subscriber *subscriber)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = subscriber};
    if (subscriber->protocol->websocket) {
        websocket_await_answer(subscriber->socket, "a subscriber");
    }
    if (subscriber->protocol->subscribe) {
        send_subscriptions(subscriber);
    } else {
        worker_ready(subscriber);
    }
    if (epoll_ctl(subscriber->worker->poll, EPOLL_CTL_ADD, subscriber->socket, &event) != 0) {
        die("epoll: %s", strerror(errno));
    }
}

void worker_connect(struct worker *worker)
{
    for (uint32_t first = 0; first < worker->count; first += CONNECT_BATCH) {
        uint32_t end = first + CONNECT_BATCH < worker->count ? first + CONNECT_BATCH : worker->count;
        for (uint32_t i = first; i < end; i++) {
            connect_begin(&worker->subscribers[i]);
        }
        for (uint32_t i = first; i < end; i++) {
            connect_end(&worker->subscribers[i]);
        }
        while (worker_turn(worker, 0)) { /* those who are there already are pinged meanwhile */
        }
    }
}

/* How many segments with data a socket has received; 0: it was cut off. */
static uint32_t segments_received(int socket)
{
    struct tcp_info info;
    socklen_t size = sizeof info;
    return getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 ? info.tcpi_data_segs_in : 0;
}

void worker_ready(struct subscriber *subscriber)
{
    subscriber->segments = segments_received(subscriber->socket);
    struct worker_line *line = subscriber->worker->line;
    atomic_fetch_add_explicit(&line->connected, 1, memory_order_relaxed);
}

/* --- what a subscriber tells --- */

void worker_had(struct subscriber *subscriber, uint64_t number)
{
    struct worker *worker = subscriber->worker;
    uint32_t group = subscriber->group;
    board_add(&worker->line->deliveries, 1);
    if (subscriber->slow) {
        return;
    }
    if (group != 0 || number >= worker->options->warm_up) {
        uint64_t due_ns = board_read(&worker->board->due_ns[group][number % INFLIGHT_MAX]);
        delays_add(&worker->line->delays[group], worker->now_ns > due_ns ? worker->now_ns - due_ns : 0);
    }
    ledger_had(&worker->ledgers[group], number);
}

void worker_skipped(struct subscriber *subscriber, uint64_t count)
{
    board_add(&subscriber->worker->line->skipped, count);
}

/* --- the loop --- */

static void cut(struct subscriber *subscriber)
{
    if (!subscriber->slow) {
        die("a subscriber of %s was cut off", worker_group(subscriber)->name);
    }
    close(subscriber->socket);
    subscriber->socket = -1;
    atomic_fetch_add_explicit(&subscriber->worker->line->cut, 1, memory_order_relaxed);
}

static void read_once(struct subscriber *subscriber, size_t most)
{
    struct worker *worker = subscriber->worker;
    ssize_t size = recv(subscriber->socket, worker->buffer, most, MSG_DONTWAIT);
    worker->now_ns = now_ns();
    if (size > 0) {
        board_add(&worker->line->bytes, (uint64_t)size);
        subscriber_receive(subscriber, worker->buffer, (size_t)size);
    } else if (size == 0 || errno != EAGAIN) {
        cut(subscriber);
    }
}

static enum phase phase_of(const struct worker *worker)
{
    return (enum phase)atomic_load_explicit(&worker->board->phase, memory_order_acquire);
}

static bool is_running(const struct worker *worker)
{
    return phase_of(worker) == PHASE_RUN;
}

/* A slow reader that is subscribed leaves the poll with the first that comes for it. */
static void work_event(struct worker *worker, struct subscriber *subscriber)
{
    if (subscriber->slow && subscriber->awaited == 0 && is_running(worker)) {
        epoll_ctl(worker->poll, EPOLL_CTL_DEL, subscriber->socket, NULL);
    } else {
        read_once(subscriber, READ_BYTES);
    }
}

static void slow_readers(struct worker *worker)
{
    uint64_t now = now_ns();
    if (!is_running(worker) || now < worker->slow_at_ns) {
        return;
    }
    worker->slow_at_ns = now + SLOW_READ_NS;
    for (uint32_t i = 0; i < worker->count; i++) {
        if (worker->subscribers[i].slow && worker->subscribers[i].socket >= 0) {
            read_once(&worker->subscribers[i], SLOW_READ_BYTES);
        }
    }
}

static bool is_own(const struct worker *worker, const void *what)
{
    const struct subscriber *subscriber = what;
    return subscriber >= worker->subscribers && subscriber < worker->subscribers + worker->count;
}

static void ledgers_advance(struct worker *worker)
{
    for (uint32_t i = 0; i < worker->options->workload->group_count; i++) {
        struct ledger *ledger = &worker->ledgers[i];
        ledger_advance(ledger, atomic_load_explicit(&worker->board->published[i], memory_order_acquire));
        atomic_store_explicit(&worker->line->complete[i], ledger->complete, memory_order_release);
    }
}

bool worker_turn(struct worker *worker, uint64_t wait_ns)
{
    struct epoll_event events[EVENTS];
    const struct timespec wait = {.tv_sec = (time_t)(wait_ns / 1000000000), .tv_nsec = (long)(wait_ns % 1000000000)};
    int count = epoll_pwait2(worker->poll, events, EVENTS, &wait, NULL);
    uint64_t since_ns = now_ns();
    for (int i = 0; i < count; i++) {
        if (is_own(worker, events[i].data.ptr)) {
            work_event(worker, events[i].data.ptr);
        } else {
            worker->foreign(events[i].data.ptr, events[i].events);
        }
        if (worker->between) {
            worker->between();
        }
    }
    slow_readers(worker);
    ledgers_advance(worker);
    uint64_t pause_ns = now_ns() - since_ns;
    if (is_running(worker) && pause_ns > board_read(&worker->line->pause_ns)) {
        atomic_store_explicit(&worker->line->pause_ns, pause_ns, memory_order_relaxed);
    }
    return count == EVENTS;
}

void worker_count(struct worker *worker)
{
    for (uint32_t i = 0; i < worker->count; i++) {
        const struct subscriber *subscriber = &worker->subscribers[i];
        if (subscriber->socket >= 0) {
            board_add(&worker->line->segments, segments_received(subscriber->socket) - subscriber->segments);
        }
    }
    atomic_store_explicit(&worker->line->counted, true, memory_order_release);
}

void worker_work(struct worker *worker)
{
    while (phase_of(worker) == PHASE_WAIT) {
        nap(PHASE_LOOK_NS);
    }
    worker_connect(worker);
    while (phase_of(worker) != PHASE_DONE) {
        if (!worker->line->counted && phase_of(worker) == PHASE_COUNT) {
            worker_count(worker);
        }
        worker_turn(worker, WORKER_WAIT_NS);
    }
}
