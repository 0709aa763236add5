/*
 * floor: what no server gets below: it sends the same bytes to the same number of sockets, and does nothing else.
 *
 *      a frame on /pub/NAME  ──▶  the same frame, unmasked, to every socket of /sub/NAME
 *
 * As a peer of the benchmarks it speaks as much WebSocket as the load generator needs to see no difference: any upgrade
 * is accepted by the same answer, a publisher's frames (masked with zeros) lose their mask, and their bytes go out.
 * Frames that came in one read go out in one send, since that is what the same bytes cost at least. A subscriber that
 * does not take all at once is waited for: there is no queue. How they go out:
 *
 *      (nothing)     send(), a call a subscriber
 *      --io-uring    the same by io_uring, a batch of requests a submission
 *      --zero-copy   the same by IORING_OP_SEND_ZC, out of one registered buffer
 *
 * A zero-copy send completes twice: once as any other, and once more (the notice) when the kernel needs the bytes no
 * longer. What comes next overwrites them, so all notices are waited for first. Where the kernel tells (Linux 6.2, or a
 * late 6.1) it is counted which were copied after all, and said on standard error at the end: whatever is delivered on
 * this same host is.
 *
 * Topics are told apart by the last two numbers of their path; PORT is in the environment; what is wrong ends it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <liburing.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define SOCKETS_MAX (1u << 20)
#define TOPICS_MAX  (1u << 16) /* a fourth of them for each group */
#define GROUPS      4u
#define READ_BYTES  (4u * 1024 * 1024) /* and so the largest run of frames */
#define EVENTS      256
#define RING_BATCH  256u
#define COMPLETIONS 4096u /* of the ring: two for each send, those of which only the notice is missing included */

/* Of Linux 6.2, which the headers of liburing 2.3 don't know. */
#ifndef IORING_SEND_ZC_REPORT_USAGE
#define IORING_SEND_ZC_REPORT_USAGE  (1U << 3)
#define IORING_NOTIF_USAGE_ZC_COPIED (1U << 31)
#endif

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
static uint32_t unanswered; /* requests of the ring whose result is to come */

static struct zero_copy {
    bool on;
    unsigned flags;
    uint32_t pinned; /* sends whose notice is to come: the kernel still needs `output` */
    uint64_t notices, copied;
} zero_copy;

static char input[2 * READ_BYTES], output[2 * READ_BYTES];

__attribute__((noreturn)) static void end(const char *what)
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

static void request_send(int socket, size_t size)
{
    struct io_uring_sqe *request = io_uring_get_sqe(&ring);
    if (zero_copy.on) {
        io_uring_prep_send_zc_fixed(request, socket, output, size, MSG_NOSIGNAL | MSG_DONTWAIT, zero_copy.flags, 0);
    } else {
        io_uring_prep_send(request, socket, output, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    io_uring_sqe_set_data64(request, (uint64_t)socket);
    unanswered++;
}

static void completed(const struct io_uring_cqe *completion, size_t size)
{
    if (completion->flags & IORING_CQE_F_NOTIF) {
        zero_copy.pinned--;
        zero_copy.notices++;
        zero_copy.copied += ((uint32_t)completion->res & IORING_NOTIF_USAGE_ZC_COPIED) != 0;
        return;
    }
    unanswered--;
    zero_copy.pinned += (completion->flags & IORING_CQE_F_MORE) != 0; /* its notice follows */
    sent_to((int)io_uring_cqe_get_data64(completion), completion->res, size);
}

/* Submits what is prepared, waits for so many completions, and works all that there are. */
static void ring_turn(uint32_t count, size_t size)
{
    int result = io_uring_submit_and_wait(&ring, count);
    if (result < 0 && result != -EINTR) {
        errno = -result;
        end("io_uring");
    }
    struct io_uring_cqe *completion;
    unsigned head, seen = 0;
    io_uring_for_each_cqe(&ring, head, completion)
    {
        completed(completion, size);
        seen++;
    }
    io_uring_cq_advance(&ring, seen);
}

static void fan_out_by_ring(const struct topic *topic, size_t size)
{
    for (uint32_t first = 0; first < topic->count; first += RING_BATCH) {
        uint32_t count = topic->count - first < RING_BATCH ? topic->count - first : RING_BATCH;
        while (zero_copy.pinned + 2 * count > COMPLETIONS) {
            ring_turn(1, size);
        }
        for (uint32_t i = 0; i < count; i++) {
            request_send(topic->sockets[first + i], size);
        }
        while (unanswered > 0) {
            ring_turn(unanswered, size);
        }
    }
    while (zero_copy.pinned > 0) {
        ring_turn(zero_copy.pinned, size);
    }
}

/* --- the ring --- */

/* Whether this kernel knows zero-copy sends with these flags: then it looks for the socket, which is none. */
static bool zero_copy_works(unsigned flags)
{
    struct io_uring_sqe *request = io_uring_get_sqe(&ring);
    struct io_uring_cqe *completion;
    io_uring_prep_send_zc_fixed(request, -1, output, 1, MSG_DONTWAIT, flags, 0);
    if (io_uring_submit(&ring) < 0 || io_uring_wait_cqe(&ring, &completion) < 0) {
        end("io_uring");
    }
    bool works = completion->res == -EBADF;
    bool is_last = !(completion->flags & IORING_CQE_F_MORE);
    io_uring_cqe_seen(&ring, completion);
    if (!is_last && io_uring_wait_cqe(&ring, &completion) == 0) {
        io_uring_cqe_seen(&ring, completion);
    }
    return works;
}

static void zero_copy_open(void)
{
    struct iovec all = {output, sizeof output};
    if ((errno = -io_uring_register_buffers(&ring, &all, 1)) != 0) {
        end("--zero-copy: the buffer is not registered (RLIMIT_MEMLOCK?)");
    }
    zero_copy.on = true;
    zero_copy.flags = zero_copy_works(IORING_SEND_ZC_REPORT_USAGE) ? IORING_SEND_ZC_REPORT_USAGE : 0;
    if (!zero_copy.flags && !zero_copy_works(0)) {
        errno = ENOSYS;
        end("--zero-copy: this kernel has no IORING_OP_SEND_ZC (Linux 6.0)");
    }
}

static void ring_open(void)
{
    struct io_uring_params params = {.flags =
                                         IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_CQSIZE,
                                     .cq_entries = COMPLETIONS};
    if ((errno = -io_uring_queue_init_params(RING_BATCH, &ring, &params)) != 0) {
        end("io_uring");
    }
}

/* Where the harness ends us: a descriptor that tells, so that there can be a last word. */
static int open_end(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = signalfd(-1, &signals, SFD_CLOEXEC)};
    if (event.data.fd < 0 || epoll_ctl(poll_descriptor, EPOLL_CTL_ADD, event.data.fd, &event) < 0) {
        end("signals");
    }
    return event.data.fd;
}

static void zero_copy_say(void)
{
    if (zero_copy.flags & IORING_SEND_ZC_REPORT_USAGE) {
        fprintf(stderr, "floor: of %lu zero-copy sends the kernel copied %lu\n", zero_copy.notices, zero_copy.copied);
    } else {
        fprintf(stderr, "floor: of %lu zero-copy sends this kernel does not tell how many it copied (Linux 6.2 does)\n",
                zero_copy.notices);
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

static void set_limits(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv)
{
    const char *port = getenv("PORT"), *how = argc > 1 ? argv[1] : "";
    bool by_zero_copy = strcmp(how, "--zero-copy") == 0;
    by_ring = by_zero_copy || strcmp(how, "--io-uring") == 0;
    set_limits();
    if (by_ring) {
        ring_open();
    }
    if (by_zero_copy) {
        zero_copy_open();
    }
    poll_descriptor = epoll_create1(EPOLL_CLOEXEC);
    int end_descriptor = by_zero_copy ? open_end() : -1;
    int listener = listen_at(port ? (uint16_t)strtoul(port, NULL, 10) : 7070);
    for (;;) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(poll_descriptor, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == end_descriptor) {
                zero_copy_say();
                return 0;
            }
            if (events[i].data.fd == listener) {
                accept_all(listener);
            } else {
                work(events[i].data.fd);
            }
        }
    }
}
