/*
 * worker_rooms_test: a worker with real shards in real rooms, io_uring and epoll: clients that connect to any of its
 * shards are served, and when they are idle the shards rest: turns are counted, over a real second or more. A shard
 * that found its ring readable again and again would make thousands of them.
 */
#include "broker/worker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"
#include "broker/room.h"
#include "broker/shard.h"
#include "io/listen.h"

#define GET_RAW                                                                                                        \
    "GET /v1/topics/t HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"                            \
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
#define POST_HI "POST /v1/topics/t HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"

enum { SHARDS = 4, CLIENTS = 40, IDLE_TURNS_A_SECOND = 10 /* WAIT_IDLE_US of shard.c */ };

static struct {
    enum config_backend backend;
    struct config *config;
    struct mesh mesh;
    struct worker worker;
    struct shard *shards[SHARDS];
    in_port_t ports[SHARDS];
    _Atomic uint32_t connections;
    pthread_t thread;
    pthread_barrier_t ready;
} host;

/* A port of its own for each, so that the test knows whose client is whose. */
static void shard_make(uint32_t number)
{
    const char *problem = "";
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 bound;
    struct io *io = room_make(host.config, host.backend, SHARDS, &problem);
    CHECK_MSG(io, "%s", problem);
    int listener = io_listen_socket((struct sockaddr *)&address, sizeof address, false, 16, &problem);
    CHECK_MSG(listener >= 0, "%s", problem);
    CHECK(io_bound_address(listener, &bound) == 0);
    host.ports[number] = bound.sin6_port;
    const struct shard_setup setup = {
        .shard = number,
        .shard_count = SHARDS,
        .io = io,
        .mesh = &host.mesh,
        .clock = &clock_of_host,
        .config = host.config,
        .connections = &host.connections,
        .seed = number,
        .shares = SHARDS,
    };
    host.shards[number] = shard_create(&setup);
    CHECK(host.shards[number] && worker_seat(&host.worker, number, host.shards[number]));
    CHECK(io_listen(io, listener) == 0);
}

static void *run(void *unused)
{
    (void)unused;
    CHECK(worker_init(&host.worker, SHARDS));
    for (uint32_t i = 0; i < SHARDS; i++)
        shard_make(i);
    pthread_barrier_wait(&host.ready);
    worker_run(&host.worker);
    return NULL;
}

/* False: this host has no such room. */
static bool host_start(enum config_backend backend)
{
    static struct config_report report;
    const char *problem;
    const struct config_sources sources = {.file = "test.ini", .file_text = ""};
    if (backend == CONFIG_BACKEND_IO_URING && !io_uring_room_usable(&problem))
        return false;
    host.backend = backend;
    host.config = config_load(&sources, &report);
    assert_non_null(host.config);
    assert_true(mesh_init(&host.mesh, SHARDS, 64));
    pthread_barrier_init(&host.ready, NULL, 2);
    assert_int_equal(pthread_create(&host.thread, NULL, run, NULL), 0);
    pthread_barrier_wait(&host.ready);
    return true;
}

static void host_stop(void)
{
    for (uint32_t i = 0; i < SHARDS; i++)
        shard_order(host.shards[i], SHARD_ORDER_STOP);
    assert_int_equal(pthread_join(host.thread, NULL), 0);
    for (uint32_t i = 0; i < SHARDS; i++)
        shard_destroy(host.shards[i]);
    worker_free(&host.worker);
    pthread_barrier_destroy(&host.ready);
    mesh_destroy(&host.mesh);
    config_free(host.config);
    assert_int_equal(chunk_count_in_use(), 0);
}

static int connect_and_say(uint32_t shard, const char *bytes, const char *answer)
{
    char input[4096] = "";
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = host.ports[shard], .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(client, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(send(client, bytes, strlen(bytes), MSG_NOSIGNAL), strlen(bytes));
    for (size_t size = 0; !strstr(input, answer);) {
        ssize_t got = recv(client, input + size, sizeof input - 1 - size, 0);
        assert_true(got > 0);
        size += (size_t)got;
    }
    return client;
}

static uint64_t turns(void)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < SHARDS; i++)
        sum += STATS_READ(&host.shards[i]->stats, turns);
    return sum;
}

static void expect_rest(void)
{
    int64_t begin_us = clock_of_host.monotonic_us(&clock_of_host);
    uint64_t before = turns();
    nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
    uint64_t counted = turns() - before;
    int64_t passed_us = clock_of_host.monotonic_us(&clock_of_host) - begin_us;
    assert_true(counted >= 1);
    assert_true((int64_t)counted <= 2 * SHARDS * (2 + passed_us * IDLE_TURNS_A_SECOND / 1000000));
}

static void serves_and_rests(enum config_backend backend)
{
    int clients[CLIENTS];
    char input[4 * SHARDS]; /* a frame of each publish */
    if (!host_start(backend))
        skip();
    expect_rest(); /* only started */
    for (uint32_t i = 0; i < CLIENTS; i++)
        clients[i] = connect_and_say(i % SHARDS, GET_RAW, "\r\n\r\n");
    expect_rest(); /* all follow, and are silent */
    for (uint32_t i = 0; i < SHARDS; i++)
        close(connect_and_say(i, POST_HI, "offset"));
    for (uint32_t i = 0; i < CLIENTS; i++)
        assert_int_equal(recv(clients[i], input, sizeof input, MSG_WAITALL), sizeof input);
    expect_rest(); /* all have been told something over the mesh */
    for (uint32_t i = 0; i < CLIENTS; i++)
        close(clients[i]);
    while (host.connections > 0)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    expect_rest(); /* all have left */
    host_stop();
}

static void shards_on_io_uring(void **state)
{
    (void)state;
    serves_and_rests(CONFIG_BACKEND_IO_URING);
}

static void shards_on_epoll(void **state)
{
    (void)state;
    serves_and_rests(CONFIG_BACKEND_EPOLL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shards_on_io_uring),
        cmocka_unit_test(shards_on_epoll),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
