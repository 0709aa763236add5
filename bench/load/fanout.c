/*
 * fanout: what a delivered message costs a WebSocket broker, and what an idle subscriber costs it in memory.
 *
 * Workload: one process, one thread. N subscribers connect to SUB_PATH; one publisher connects to PUB_PATH. A message
 * is SIZE bytes, of which the first eight are its number. The publisher keeps K messages in flight: it sends number i
 * as soon as every subscriber has had number i - K. Every subscriber checks that the numbers come in order, none twice
 * and none missing.
 *
 * Measured: CPU time of the broker's process (user and system) from the first publish to the last delivery,
 * divided by the deliveries; its resident memory before the subscribers came and with them idle. Peers are asked the
 * same, over the same protocol, one after another, in rounds (bench/run).
 *
 * Not measured: delay (issue of an open-loop generator), several cores, networks that lose packets. The clients' own
 * CPU time is on the same machine and not counted.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "process.h"

#define READ_SIZE (1 << 20)

struct options {
    int port;
    int pid;
    const char *sub_path;
    const char *pub_path;
    uint32_t subscribers;
    uint32_t messages;
    uint32_t inflight;
    uint32_t size;
    bool idle; /* only memory */
};

struct subscriber {
    int socket;
    uint32_t frame_left;  /* bytes of the present frame still to come */
    uint32_t number_read; /* bytes of the message's number that have come */
    uint64_t number;
    uint64_t next; /* number expected */
    char header[10];
    uint32_t header_read;
};

static struct options options = {.port = 7070, .subscribers = 1000, .messages = 1000, .inflight = 1, .size = 128};
static struct subscriber *subscribers;
static uint32_t *behind; /* how many subscribers have not had message i yet, by i modulo its size */
static uint64_t delivered;
static uint64_t all_have; /* messages that every subscriber has had */

/* --- connecting --- */

static void write_all(int socket, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(socket, bytes, size, MSG_NOSIGNAL);
        if (sent < 0) {
            die("send: %s", strerror(errno));
        }
        bytes += sent;
        size -= (size_t)sent;
    }
}

/* A WebSocket on 127.0.0.x: each source address has 28,000 ports or so. */
static int connect_to(const char *path, uint32_t index)
{
    int descriptor = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in source = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7F000001 + index / 20000)};
    struct sockaddr_in target = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)options.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    setsockopt(descriptor, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (descriptor < 0 || bind(descriptor, (struct sockaddr *)&source, sizeof source) < 0 ||
        connect(descriptor, (struct sockaddr *)&target, sizeof target) < 0) {
        die("connection %u: %s", index, strerror(errno));
    }
    char request[512], answer[4096];
    int size = snprintf(request, sizeof request,
                        "GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
                        path);
    write_all(descriptor, request, (size_t)size);
    size_t got = 0;
    while (got < sizeof answer - 1) { /* byte by byte at the end: what follows the head belongs to the stream */
        ssize_t count = recv(descriptor, answer + got, 1, 0);
        if (count <= 0) {
            die("connection %u ended during its handshake", index);
        }
        got += (size_t)count;
        if (got >= 4 && memcmp(answer + got - 4, "\r\n\r\n", 4) == 0) {
            break;
        }
    }
    answer[got] = '\0';
    if (!strstr(answer, " 101 ")) {
        die("refused: %s", answer);
    }
    return descriptor;
}

/* --- receiving --- */

static void message_had(struct subscriber *subscriber)
{
    if (subscriber->number != subscriber->next) {
        die("out of order: %lu came, %lu was next", subscriber->number, subscriber->next);
    }
    subscriber->next++;
    delivered++;
    uint32_t slot = (uint32_t)(subscriber->number % options.messages);
    if (--behind[slot] == 0) {
        while (all_have < options.messages && behind[all_have] == 0) {
            all_have++;
        }
    }
}

static uint32_t header_size(const struct subscriber *subscriber)
{
    uint8_t length = (uint8_t)subscriber->header[1] & 0x7F;
    return length < 126 ? 2 : length == 126 ? 4 : 10;
}

static void frame_begin(struct subscriber *subscriber)
{
    const uint8_t *header = (const uint8_t *)subscriber->header;
    uint64_t size = header[1] & 0x7F;
    if (size >= 126) {
        uint32_t bytes = size == 126 ? 2 : 8;
        size = 0;
        for (uint32_t i = 0; i < bytes; i++) {
            size = size << 8 | header[2 + i];
        }
    }
    if ((header[0] & 0x0F) != 2 && (header[0] & 0x0F) != 1) {
        die("a frame that is no message: %02x", header[0]);
    }
    subscriber->frame_left = (uint32_t)size;
    subscriber->number_read = 0;
    subscriber->number = 0;
}

static void receive(struct subscriber *subscriber, const char *bytes, size_t size)
{
    while (size > 0) {
        if (subscriber->frame_left == 0) {
            subscriber->header[subscriber->header_read++] = *bytes++;
            size--;
            if (subscriber->header_read >= 2 && subscriber->header_read == header_size(subscriber)) {
                frame_begin(subscriber);
                subscriber->header_read = 0;
            }
            continue;
        }
        while (subscriber->number_read < 8 && size > 0) {
            subscriber->number |= (uint64_t)(uint8_t)*bytes++ << (8 * subscriber->number_read++);
            subscriber->frame_left--;
            size--;
        }
        uint32_t skip = subscriber->frame_left < size ? subscriber->frame_left : (uint32_t)size;
        subscriber->frame_left -= skip;
        bytes += skip;
        size -= skip;
        if (subscriber->frame_left == 0 && subscriber->number_read == 8) {
            message_had(subscriber);
        }
    }
}

/* --- publishing --- */

static size_t frame_write(char *out, uint64_t number)
{
    size_t at = 2;
    out[0] = (char)0x82;
    if (options.size < 126) {
        out[1] = (char)(0x80 | options.size);
    } else if (options.size <= 0xFFFF) {
        out[1] = (char)(0x80 | 126);
        out[at++] = (char)(options.size >> 8);
        out[at++] = (char)options.size;
    } else {
        out[1] = (char)(0x80 | 127);
        for (int shift = 56; shift >= 0; shift -= 8) {
            out[at++] = (char)((uint64_t)options.size >> shift);
        }
    }
    memset(out + at, 0, 4); /* a mask of zeros */
    at += 4;
    memset(out + at, 'x', options.size);
    for (int i = 0; i < 8; i++) {
        out[at + (size_t)i] = (char)(number >> (8 * i));
    }
    return at + options.size;
}

static void fan_out(int poll, int publisher)
{
    char *buffer = malloc(READ_SIZE);
    char *frame = malloc(options.size + 32);
    uint64_t published = 0;
    struct epoll_event events[1024];
    while (all_have < options.messages) {
        while (published < options.messages && published < all_have + options.inflight) {
            write_all(publisher, frame, frame_write(frame, published++));
        }
        int count = epoll_wait(poll, events, 1024, 10000);
        if (count == 0) {
            die("nothing came for 10 s: %lu of %lu deliveries", delivered,
                (uint64_t)options.messages * options.subscribers);
        }
        for (int i = 0; i < count; i++) {
            struct subscriber *subscriber = events[i].data.ptr;
            if (!subscriber) {
                recv(publisher, buffer, READ_SIZE, MSG_DONTWAIT); /* answers to publishes, pings */
                continue;
            }
            ssize_t size = recv(subscriber->socket, buffer, READ_SIZE, MSG_DONTWAIT);
            if (size == 0 || (size < 0 && errno != EAGAIN)) {
                die("a subscriber was cut off");
            }
            if (size > 0) {
                receive(subscriber, buffer, (size_t)size);
            }
        }
    }
    free(buffer);
    free(frame);
}

/* --- command line --- */

static void parse(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        if (strcmp(name, "--idle") == 0) {
            options.idle = true;
            continue;
        }
        const char *value = ++i < argc ? argv[i] : NULL;
        if (!value) {
            die("usage: fanout --port N --pid N --sub PATH --pub PATH [--subscribers N] [--messages N] [--inflight N] "
                "[--size BYTES] [--idle]");
        }
        if (strcmp(name, "--port") == 0) {
            options.port = (int)number_read(name, value, UINT16_MAX);
        } else if (strcmp(name, "--pid") == 0) {
            options.pid = (int)number_read(name, value, INT32_MAX);
        } else if (strcmp(name, "--sub") == 0) {
            options.sub_path = value;
        } else if (strcmp(name, "--pub") == 0) {
            options.pub_path = value;
        } else if (strcmp(name, "--subscribers") == 0) {
            options.subscribers = (uint32_t)number_read(name, value, UINT32_MAX);
        } else if (strcmp(name, "--messages") == 0) {
            options.messages = (uint32_t)number_read(name, value, UINT32_MAX);
        } else if (strcmp(name, "--inflight") == 0) {
            options.inflight = (uint32_t)number_read(name, value, UINT32_MAX);
        } else if (strcmp(name, "--size") == 0) {
            options.size = (uint32_t)number_read(name, value, UINT32_MAX);
        } else {
            die("unknown option %s", name);
        }
    }
    if (!options.pid || !options.sub_path || !options.pub_path || options.size < 8) {
        die("--pid, --sub and --pub are needed, and --size of at least 8");
    }
}

static void settle(void)
{
    nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
}

int main(int argc, char **argv)
{
    parse(argc, argv);
    subscribers = calloc(options.subscribers, sizeof *subscribers);
    behind = malloc(options.messages * sizeof *behind);
    for (uint32_t i = 0; i < options.messages; i++) {
        behind[i] = options.subscribers;
    }
    int poll = epoll_create1(0);
    int publisher = connect_to(options.pub_path, 0);
    settle();
    uint64_t resident = process_resident_bytes(options.pid), connect_cpu = process_cpu_ns(options.pid);
    for (uint32_t i = 0; i < options.subscribers; i++) {
        subscribers[i].socket = connect_to(options.sub_path, i);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &subscribers[i]};
        epoll_ctl(poll, EPOLL_CTL_ADD, subscribers[i].socket, &event);
    }
    connect_cpu = process_cpu_ns(options.pid) - connect_cpu;
    settle();
    double idle_bytes = (double)(process_resident_bytes(options.pid) - resident) / options.subscribers;
    if (options.idle) {
        printf("subscribers=%u resident_bytes_each=%.0f connect_cpu_us_each=%.1f\n", options.subscribers, idle_bytes,
               (double)connect_cpu / 1000 / options.subscribers);
        return 0;
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(poll, EPOLL_CTL_ADD, publisher, &event);
    double begin = now_s();
    uint64_t cpu = process_cpu_ns(options.pid);
    fan_out(poll, publisher);
    cpu = process_cpu_ns(options.pid) - cpu;
    printf("subscribers=%u inflight=%u size=%u deliveries=%lu cpu_ns_each=%.0f seconds=%.2f\n", options.subscribers,
           options.inflight, options.size, delivered, (double)cpu / (double)delivered, now_s() - begin);
    return 0;
}
