/*
 * member: one client process of a crew (crew.h).
 *
 * It turns in a loop: opens what is missing, drops what is too much or due to churn, and works what has arrived. A
 * client is known by its descriptor alone, and its state is a byte: the frames are so small that they are read whole,
 * and the rare one that is cut in two is waited for.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "crew.h"
#include "process.h"
#include "websocket.h"

#define DESCRIPTORS_MAX   (1u << 20)
#define SOURCES           2u /* addresses of a member */
#define EVENTS            256
#define OPENED_A_TURN     32
#define DROPPED_A_TURN    256
#define WAIT_IDLE_MS      20
#define READ_BYTES        16384
#define CUT_FRAME_WAIT_MS 5000

/* 0: no client has this descriptor. */
enum client_state {
    CLIENT_PENDING = 1 << 0, /* the answer to its request is awaited */
    CLIENT_OPEN = 1 << 1,
    CLIENT_FEW = 1 << 2, /* with either: follows bench/few, and stays when others churn */
};

enum opcode { OPCODE_BINARY = 2, OPCODE_PING = 9, OPCODE_PONG = 10 };

/* One a process. */
static struct {
    const struct crew_options *options;
    struct member *member;
    uint32_t number;
    int poll;
    uint32_t pending;
    uint32_t open;
    uint64_t attempts;
    uint32_t few;      /* followers of bench/few among its own */
    uint32_t few_left; /* still to be opened */
    uint32_t churn_at; /* descriptor */
    uint64_t churned;  /* since churn_since_us */
    uint64_t churn_since_us;
    uint8_t states[DESCRIPTORS_MAX]; /* by descriptor: enum client_state */
} crew_member;

#define ADD(field, count) atomic_fetch_add_explicit(&crew_member.member->field, count, memory_order_relaxed)
#define READ(field)       atomic_load_explicit(&crew_member.member->field, memory_order_relaxed)

static void note_open(void)
{
    atomic_store_explicit(&crew_member.member->open, crew_member.open, memory_order_relaxed);
}

/* --- opening and dropping --- */

static void topic_path(uint64_t attempt, char path[64])
{
    uint32_t topics = crew_member.options->topics;
    if (crew_member.options->path) {
        snprintf(path, 64, "%s", crew_member.options->path);
    } else if (crew_member.few_left > 0) {
        snprintf(path, 64, "/v1/topics/bench/few");
    } else if (topics <= 1) {
        snprintf(path, 64, "/v1/topics/bench/all");
    } else {
        uint64_t number = (uint64_t)crew_member.number * crew_member.options->per_member + attempt;
        snprintf(path, 64, "/v1/topics/bench/t/%lu", number % topics);
    }
}

static void forget(int descriptor)
{
    if (crew_member.states[descriptor] & CLIENT_PENDING) {
        crew_member.pending--;
    } else {
        crew_member.open--;
    }
    crew_member.states[descriptor] = 0;
    close(descriptor);
}

/* False: not now. */
static bool open_one(void)
{
    char path[64], request[WEBSOCKET_REQUEST_MAX];
    uint64_t attempt = crew_member.attempts++;
    uint32_t source = crew_member.number * SOURCES + (uint32_t)(attempt / WEBSOCKET_PER_SOURCE_ADDRESS % SOURCES);
    int descriptor = websocket_connect(crew_member.options->port, source * WEBSOCKET_PER_SOURCE_ADDRESS);
    if (descriptor < 0 || descriptor >= (int)DESCRIPTORS_MAX) {
        ADD(failed, 1);
        return false;
    }
    topic_path(attempt, path);
    crew_member.states[descriptor] = CLIENT_PENDING;
    crew_member.pending++;
    size_t size = websocket_request(path, request);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = descriptor};
    if (send(descriptor, request, size, MSG_NOSIGNAL) != (ssize_t)size ||
        epoll_ctl(crew_member.poll, EPOLL_CTL_ADD, descriptor, &event) != 0) {
        ADD(failed, 1);
        forget(descriptor);
        return false;
    }
    if (crew_member.few_left > 0) {
        crew_member.few_left--;
        crew_member.states[descriptor] |= CLIENT_FEW;
    }
    return true;
}

/* Whether it did something. */
static bool open_missing(uint32_t target)
{
    uint32_t count = 0;
    while (count < OPENED_A_TURN && crew_member.pending < CREW_PENDING &&
           crew_member.open + crew_member.pending < target && open_one()) {
        count++;
    }
    return count > 0;
}

/* Drops the next one round the table. Every other goes by a reset, so that both ways of leaving are met. */
static void drop_next(void)
{
    do {
        crew_member.churn_at = (crew_member.churn_at + 1) % DESCRIPTORS_MAX;
    } while (crew_member.states[crew_member.churn_at] != CLIENT_OPEN);
    const struct linger reset = {.l_onoff = 1};
    if (crew_member.churn_at % 2) {
        setsockopt((int)crew_member.churn_at, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    }
    forget((int)crew_member.churn_at);
}

static bool drop_surplus(uint32_t target)
{
    uint32_t count = 0;
    for (uint32_t i = 0; target == 0 && crew_member.open && i < DESCRIPTORS_MAX; i++) {
        if (crew_member.states[i] & CLIENT_OPEN) {
            forget((int)i);
        }
    }
    while (count < DROPPED_A_TURN && crew_member.open > target + crew_member.few) {
        drop_next();
        count++;
    }
    return count > 0;
}

static void churn(void)
{
    uint32_t per_second = READ(churn_per_s);
    if (per_second == 0 || crew_member.churn_since_us == 0) {
        crew_member.churn_since_us = now_us();
        crew_member.churned = 0;
        return;
    }
    uint64_t due = (now_us() - crew_member.churn_since_us) * per_second / 1000000;
    for (uint32_t i = 0; i < DROPPED_A_TURN && crew_member.churned < due; i++, crew_member.churned++) {
        if (crew_member.open <= crew_member.few) {
            return;
        }
        drop_next();
    }
}

/* --- what arrives --- */

static void work_message(const char *payload, size_t size)
{
    uint64_t sent_us, us = now_us();
    ADD(received, 1);
    if (size >= sizeof sent_us) {
        memcpy(&sent_us, payload, sizeof sent_us);
        histogram_add(&crew_member.member->delay_us, us > sent_us ? (uint32_t)(us - sent_us) : 0);
    }
}

static void work_frame(int descriptor, const char *frame, size_t payload_size)
{
    enum opcode opcode = (enum opcode)(frame[0] & 0x0F);
    if (opcode == OPCODE_PING) {
        char pong[WEBSOCKET_PAYLOAD_MAX + 6];
        size_t size = websocket_frame(OPCODE_PONG, frame + 2, payload_size, pong);
        (void)!send(descriptor, pong, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    } else if (!crew_member.options->path && (opcode == 1 || opcode == OPCODE_BINARY)) {
        work_message(frame + 2, payload_size);
    }
}

/* Size of a frame's header, 0: more is needed. Other brokers greet in more than a short frame. */
static size_t frame_header(const uint8_t *bytes, size_t size, size_t *payload)
{
    if (size < 2) {
        return 0;
    }
    *payload = bytes[1];
    if (*payload <= WEBSOCKET_PAYLOAD_MAX) {
        return 2;
    }
    if (*payload != 126 || !crew_member.options->path) {
        die("a frame that nobody published");
    }
    *payload = size < 4 ? 0 : (size_t)bytes[2] << 8 | bytes[3];
    return size < 4 ? 0 : 4;
}

/* Returns the bytes of whole frames. */
static size_t work_frames(int descriptor, const char *bytes, size_t size)
{
    size_t at = 0, header, payload;
    while ((header = frame_header((const uint8_t *)bytes + at, size - at, &payload)) && size - at >= header + payload) {
        if (payload <= WEBSOCKET_PAYLOAD_MAX) {
            work_frame(descriptor, bytes + at, payload);
        }
        at += header + payload;
    }
    return at;
}

static void say_hello(int descriptor)
{
    char frame[WEBSOCKET_PAYLOAD_MAX + 6];
    const char *hello = crew_member.options->hello;
    if (hello) {
        size_t size = websocket_frame(OPCODE_BINARY, hello, strlen(hello), frame);
        websocket_send(descriptor, frame, size);
    }
}

/* The answer to the upgrade. Returns its size, 0: it is none. */
static size_t work_answer(int descriptor, const char *bytes, size_t size)
{
    const char *end = memmem(bytes, size, "\r\n\r\n", 4);
    if (!end || size < 12 || memcmp(bytes, "HTTP/1.1 101", 12) != 0) {
        return 0;
    }
    crew_member.pending--;
    crew_member.open++;
    ADD(opened, 1);
    say_hello(descriptor);
    crew_member.states[descriptor] = (uint8_t)((crew_member.states[descriptor] & CLIENT_FEW) | CLIENT_OPEN);
    return (size_t)(end - bytes) + 4;
}

/* The rest of a frame that was cut, into `bytes` behind the `size` that came. Returns how much is there now. */
static size_t read_rest(int descriptor, char *bytes, size_t size)
{
    struct pollfd wait = {.fd = descriptor, .events = POLLIN};
    ssize_t got = poll(&wait, 1, CUT_FRAME_WAIT_MS) == 1 ? recv(descriptor, bytes + size, READ_BYTES, 0) : -1;
    if (got <= 0) {
        die("the rest of a frame did not come");
    }
    return size + (size_t)got;
}

static void work_bytes(int descriptor, char *bytes, size_t size)
{
    size_t at = 0;
    if (crew_member.states[descriptor] & CLIENT_PENDING) {
        at = work_answer(descriptor, bytes, size);
        if (at == 0) {
            ADD(failed, 1);
            forget(descriptor);
            return;
        }
    }
    at += work_frames(descriptor, bytes + at, size - at);
    while (at < size) {
        size -= at;
        memmove(bytes, bytes + at, size);
        size = read_rest(descriptor, bytes, size);
        at = work_frames(descriptor, bytes, size);
    }
}

static void work_event(int descriptor)
{
    static char bytes[2 * READ_BYTES];
    if (crew_member.states[descriptor] == 0) {
        return; /* dropped in this turn */
    }
    ssize_t size = recv(descriptor, bytes, READ_BYTES, MSG_DONTWAIT);
    if (size > 0) {
        work_bytes(descriptor, bytes, (size_t)size);
    } else if (size == 0 || errno != EAGAIN) {
        if (crew_member.states[descriptor] & CLIENT_PENDING) {
            ADD(failed, 1);
        } else {
            ADD(lost, 1);
        }
        forget(descriptor);
    }
}

/* --- the loop --- */

static void turn(void)
{
    struct epoll_event events[EVENTS];
    uint32_t target = READ(target);
    bool busy = drop_surplus(target);
    churn();
    busy |= open_missing(target);
    int count = epoll_wait(crew_member.poll, events, EVENTS, busy ? 0 : WAIT_IDLE_MS);
    for (int i = 0; i < count; i++) {
        work_event(events[i].data.fd);
    }
    note_open();
}

void member_work(const struct crew_options *options, struct member *member, uint32_t number)
{
    crew_member.options = options;
    crew_member.member = member;
    crew_member.number = number;
    crew_member.few = crew_member.few_left = number == 0 ? options->few : 0;
    crew_member.poll = epoll_create1(EPOLL_CLOEXEC);
    while (!READ(quit)) {
        turn();
    }
}
