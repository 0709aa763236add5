/*
 * floor: what no server gets below: it sends the same bytes to the same number of sockets, and does nothing else.
 *
 *      a frame on /pub/NAME  ──▶  the same frame, unmasked, to every socket of /sub/NAME
 *
 * As a peer of the benchmarks it speaks as much WebSocket as the load generator needs to see no difference: any upgrade
 * is accepted by the same answer, a publisher's frames (masked with zeros) lose their mask, and their bytes go out by
 * send(), a call a subscriber, or by io_uring (--io-uring), a batch of requests a submission. Frames that came in one
 * read go out in one send, since that is what the same bytes cost at least. A subscriber that does not take all at once
 * is waited for: there is no queue.
 *
 * Topics are told apart by the last two numbers of their path; PORT is in the environment; what is wrong ends it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <liburing.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define SOCKETS_MAX (1u << 20)
#define TOPICS_MAX  (1u << 16) /* a fourth of them for each group */
#define GROUPS      4u
#define READ_BYTES  (4u * 1024 * 1024) /* and so the largest run of frames */
#define EVENTS      256
#define RING_BATCH  256u

enum role { ROLE_NEW, ROLE_SUBSCRIBER, ROLE_PUBLISHER };

/* By descriptor. */
static struct client {
    uint8_t role;
    uint32_t topic;
    char *kept; /* a publisher's frame that is cut in two */
    size_t kept_size;
} clients[SOCKETS_MAX];

static struct topic {
    int *sockets;
    uint32_t count, room;
} topics[TOPICS_MAX];

static int poll_descriptor;
static struct io_uring ring;
static bool by_ring;
static char input[2 * READ_BYTES], output[2 * READ_BYTES];

static void end(const char *what)
{
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* --- sending --- */

/* The rest of what a socket did not take at once. */
static void send_rest(int socket, const char *bytes, size_t size)
{
    while (size > 0) {
        struct pollfd wait = {.fd = socket, .events = POLLOUT};
        poll(&wait, 1, -1);
        ssize_t sent = send(socket, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN) {
            return; /* it has left */
        }
        bytes += sent < 0 ? 0 : sent;
        size -= sent < 0 ? 0 : (size_t)sent;
    }
}

static void sent_to(int socket, ssize_t sent, size_t size)
{
    if (sent == -EAGAIN || (sent >= 0 && (size_t)sent < size)) {
        size_t done = sent < 0 ? 0 : (size_t)sent;
        send_rest(socket, output + done, size - done);
    }
}

static void fan_out_by_send(const struct topic *topic, size_t size)
{
    for (uint32_t i = 0; i < topic->count; i++) {
        ssize_t sent = send(topic->sockets[i], output, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        sent_to(topic->sockets[i], sent < 0 ? -errno : sent, size);
    }
}

static void fan_out_by_ring(const struct topic *topic, size_t size)
{
    for (uint32_t first = 0; first < topic->count; first += RING_BATCH) {
        uint32_t count = topic->count - first < RING_BATCH ? topic->count - first : RING_BATCH;
        for (uint32_t i = 0; i < count; i++) {
            struct io_uring_sqe *request = io_uring_get_sqe(&ring);
            io_uring_prep_send(request, topic->sockets[first + i], output, size, MSG_NOSIGNAL | MSG_DONTWAIT);
            io_uring_sqe_set_data64(request, (uint64_t)topic->sockets[first + i]);
        }
        if (io_uring_submit_and_wait(&ring, count) < 0) {
            end("io_uring");
        }
        struct io_uring_cqe *completion;
        unsigned head, seen = 0;
        io_uring_for_each_cqe(&ring, head, completion)
        {
            sent_to((int)io_uring_cqe_get_data64(completion), completion->res, size);
            seen++;
        }
        io_uring_cq_advance(&ring, seen);
    }
}

/* --- frames --- */

/* Copies the frame at `in` without its mask. Returns its size, *written that of the copy; 0: not all there. */
static size_t frame_copy(const uint8_t *in, size_t size, char *out, size_t *written)
{
    if (size < 6) {
        return 0;
    }
    size_t header = (in[1] & 0x7F) < 126 ? 2 : (in[1] & 0x7F) == 126 ? 4 : 10;
    uint64_t length = header == 2 ? in[1] & 0x7F : 0;
    for (size_t i = 2; i < header; i++) {
        length = length << 8 | in[i];
    }
    if (size < header + 4 || size - header - 4 < length) {
        return 0;
    }
    memcpy(out, in, header);
    out[1] &= 0x7F;
    memcpy(out + header, in + header + 4, length);
    *written = header + length;
    return header + 4 + length;
}

static void work_frames(struct client *client, size_t size)
{
    size_t at = 0, out = 0, written, taken;
    while ((taken = frame_copy((const uint8_t *)input + at, size - at, output + out, &written)) > 0) {
        at += taken;
        out += written;
    }
    const struct topic *topic = &topics[client->topic];
    if (out > 0) {
        if (by_ring) {
            fan_out_by_ring(topic, out);
        } else {
            fan_out_by_send(topic, out);
        }
    }
    client->kept_size = size - at;
    if (client->kept_size > 0) {
        client->kept = client->kept ? client->kept : malloc(READ_BYTES);
        if (!client->kept || client->kept_size > READ_BYTES) {
            end("a frame that is too large");
        }
        memcpy(client->kept, input + at, client->kept_size);
    }
}

/* --- connections --- */

static void subscribe(struct topic *topic, int socket)
{
    if (topic->count == topic->room) {
        topic->room = topic->room ? 2 * topic->room : 16;
        topic->sockets = realloc(topic->sockets, topic->room * sizeof *topic->sockets);
        if (!topic->sockets) {
            end("no memory");
        }
    }
    topic->sockets[topic->count++] = socket;
}

static void forget(int socket)
{
    struct client *client = &clients[socket];
    struct topic *topic = &topics[client->topic];
    for (uint32_t i = 0; client->role == ROLE_SUBSCRIBER && i < topic->count; i++) {
        if (topic->sockets[i] == socket) {
            topic->sockets[i] = topic->sockets[--topic->count];
        }
    }
    free(client->kept);
    *client = (struct client){0};
    close(socket);
}

/* The topic of a path that ends with …/GROUP/TOPIC. */
static uint32_t topic_of(const char *request)
{
    const char *end = strstr(request + 4, " HTTP"), *at = end;
    uint32_t numbers[2] = {0}; /* the last one first */
    for (int i = 0; at && i < 2; i++) {
        while (at > request && at[-1] >= '0' && at[-1] <= '9') {
            at--;
        }
        numbers[i] = (uint32_t)strtoul(at, NULL, 10);
        at = at > request ? at - 1 : at;
    }
    return (numbers[1] * (TOPICS_MAX / GROUPS) + numbers[0]) % TOPICS_MAX;
}

static void upgrade(int socket, const char *request)
{
    static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                 "Sec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\n\r\n";
    struct client *client = &clients[socket];
    client->topic = topic_of(request);
    client->role = strncmp(request, "GET /pub/", 9) == 0 ? ROLE_PUBLISHER : ROLE_SUBSCRIBER;
    if (client->role == ROLE_SUBSCRIBER) {
        subscribe(&topics[client->topic], socket);
    }
    if (send(socket, answer, sizeof answer - 1, MSG_NOSIGNAL) != sizeof answer - 1) {
        end("an answer to an upgrade");
    }
}

static void work(int socket)
{
    struct client *client = &clients[socket];
    size_t kept = client->kept_size;
    if (kept > 0) {
        memcpy(input, client->kept, kept);
    }
    ssize_t size = recv(socket, input + kept, READ_BYTES, MSG_DONTWAIT);
    if (size == 0 || (size < 0 && errno != EAGAIN)) {
        forget(socket);
    } else if (size > 0 && client->role == ROLE_NEW) {
        input[size] = '\0';
        upgrade(socket, input);
    } else if (size > 0 && client->role == ROLE_PUBLISHER) {
        work_frames(client, kept + (size_t)size);
    }
}

static void accept_all(int listener)
{
    int socket, on = 1;
    while ((socket = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = socket};
        setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        epoll_ctl(poll_descriptor, EPOLL_CTL_ADD, socket, &event);
    }
    if (errno != EAGAIN) {
        end("accept");
    }
}

static int listen_at(uint16_t port)
{
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 65535) < 0 ||
        epoll_ctl(poll_descriptor, EPOLL_CTL_ADD, listener, &event) < 0) {
        end("listen");
    }
    return listener;
}

int main(int argc, char **argv)
{
    const char *port = getenv("PORT");
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    by_ring = argc > 1 && strcmp(argv[1], "--io-uring") == 0;
    if (by_ring && io_uring_queue_init(RING_BATCH, &ring, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN) < 0) {
        end("io_uring");
    }
    poll_descriptor = epoll_create1(EPOLL_CLOEXEC);
    int listener = listen_at(port ? (uint16_t)strtoul(port, NULL, 10) : 7070);
    for (;;) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(poll_descriptor, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == listener) {
                accept_all(listener);
            } else {
                work(events[i].data.fd);
            }
        }
    }
}
