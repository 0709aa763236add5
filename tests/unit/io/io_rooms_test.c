/*
 * io_rooms_test: the contract of io.h (io_contract.h) over the two rooms that stand on the kernel, with plain sockets
 * over loopback as peers. Where io_uring is forbidden its part is skipped, and says so.
 */
#include "io_contract.h"

#include <netinet/tcp.h>
#include <sched.h>
#include <sys/epoll.h>

#include "io/listen.h"

struct kernel_world {
    struct world world;
    struct io *(*create)(const struct io_options *options, const char **problem);
    struct sockaddr_in6 address;
};

static void set_option(int fd, int level, int name, int value)
{
    assert_int_equal(setsockopt(fd, level, name, &value, sizeof value), 0);
}

static struct io *kernel_open(struct world *world, const struct io_options *options)
{
    struct kernel_world *kernel = (struct kernel_world *)world;
    const char *problem = "";
    struct io *io = kernel->create(options, &problem);
    if (io == NULL) {
        print_message("skipped: %s\n", problem);
        return NULL;
    }
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int listener = io_listen_socket((struct sockaddr *)&any, sizeof any, true, 1024, &problem);
    assert_true(listener >= 0);
    set_option(listener, SOL_SOCKET, SO_SNDBUF, 16384); /* inherited: short sends come soon */
    assert_int_equal(io_bound_address(listener, &kernel->address), 0);
    assert_int_equal(io_listen(io, listener), 0);
    return io;
}

static void kernel_close(struct world *world)
{
    io_destroy(world->io);
    world->io = NULL;
}

static int kernel_connect(struct world *world)
{
    struct kernel_world *kernel = (struct kernel_world *)world;
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    set_option(fd, SOL_SOCKET, SO_RCVBUF, 16384);
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    assert_int_equal(connect(fd, (struct sockaddr *)&kernel->address, sizeof kernel->address), 0);
    return fd;
}

static ssize_t kernel_write(struct world *world, int peer, const void *bytes, size_t size)
{
    (void)world;
    ssize_t result = send(peer, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    return result < 0 ? -errno : result;
}

static ssize_t kernel_read(struct world *world, int peer, void *bytes, size_t size)
{
    (void)world;
    ssize_t result = recv(peer, bytes, size, MSG_DONTWAIT);
    return result < 0 ? -errno : result;
}

static void kernel_finish(struct world *world, int peer)
{
    (void)world;
    shutdown(peer, SHUT_WR);
}

static void kernel_reset(struct world *world, int peer)
{
    (void)world;
    struct linger now = {.l_onoff = 1};
    assert_int_equal(setsockopt(peer, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
    close(peer);
}

static void kernel_leave(struct world *world, int peer)
{
    (void)world;
    close(peer);
}

#define KERNEL_WORLD                                                                                                   \
    {                                                                                                                  \
        .open = kernel_open, .close = kernel_close, .connect = kernel_connect, .write = kernel_write,                  \
        .read = kernel_read, .finish = kernel_finish, .reset = kernel_reset, .leave = kernel_leave                     \
    }

static struct kernel_world uring_world = {.world = KERNEL_WORLD, .create = io_uring_room_create};
static struct kernel_world epoll_world = {.world = KERNEL_WORLD, .create = io_epoll_create};
static struct world *present;

static int use_present(void **state)
{
    *state = present;
    return 0;
}

/* Only the rooms on the kernel know addresses. */
static void tells_addresses(void **state)
{
    struct world *world = *state;
    struct io_options options = USUAL;
    options.peer_addresses = true;
    begin(world, options);
    for (int i = 0; i < 100; i++) {
        uint32_t slot;
        int peer = connect_peer(world, &slot);
        struct sockaddr_in6 expected, found;
        assert_int_equal(io_bound_address(peer, &expected), 0);
        assert_true(io_peer(world->io, slot, &found));
        assert_int_equal(found.sin6_port, expected.sin6_port);
        assert_memory_equal(&found.sin6_addr, &expected.sin6_addr, sizeof found.sin6_addr);
        world->leave(world, peer);
        close_seat(world, slot);
    }
    SERVE_UNTIL(world, seats_open == 0);
    world->close(world);
}

/* When destroy returns the kernel holds nothing any more: the address is free. */
static void destroy_frees_the_address(void **state)
{
    struct world *world = *state;
    struct kernel_world *kernel = (struct kernel_world *)world;
    begin(world, USUAL);
    serve_some(world);
    world->close(world);
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_not_equal(connect(fd, (struct sockaddr *)&kernel->address, sizeof kernel->address), 0);
    close(fd);
}

/* --- with a door: see io_door() --- */

enum { TALKERS = 8, ROUNDS = 20000, LOOKS = 50 };

struct talk {
    struct world *world;
    int peers[TALKERS];
    _Atomic uint32_t heard; /* rounds of which all bytes have come */
};

/* A byte from each peer, when all of the round before have come. */
static void *talk_all(void *argument)
{
    struct talk *talk = argument;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        while (talk->heard < round)
            sched_yield();
        for (int i = 0; i < TALKERS; i++)
            assert_int_equal(talk->world->write(talk->world, talk->peers[i], "x", 1), 1);
    }
    return NULL;
}

static size_t heard_of_all(void)
{
    size_t size = 0;
    for (uint32_t slot = 0; slot < SEATS; slot++)
        size += seats[slot].size;
    return size;
}

/* One step of who turns several rooms: takes what there is, and looks at the door. */
static void step(struct world *world, int doors)
{
    struct epoll_event rang;
    take_events(world);
    io_wait(world->io, 0);
    epoll_wait(doors, &rang, 1, 0);
}

/* Who turns several rooms turns one for as long as it says that something is waiting: so it must not say so for
 * nothing. */
static void with_a_door_it_rests(void **state)
{
    struct world *world = *state;
    begin(world, USUAL);
    struct talk talk = {.world = world};
    for (int i = 0; i < TALKERS; i++) {
        uint32_t slot;
        talk.peers[i] = connect_peer(world, &slot);
        set_receiving(world, slot, IO_RECEIVE_IDLE);
    }
    int doors = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    assert_int_equal(epoll_ctl(doors, EPOLL_CTL_ADD, io_door(world->io), &event), 0);
    pthread_t talker;
    assert_int_equal(pthread_create(&talker, NULL, talk_all, &talk), 0);
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        while (heard_of_all() < (size_t)round * TALKERS)
            step(world, doors);
        uint32_t looks = 0;
        for (step(world, doors); io_is_waiting(world->io) && looks < LOOKS; looks++)
            step(world, doors);
        assert_true(looks < LOOKS);
        talk.heard = round;
    }
    pthread_join(talker, NULL);
    close(doors);
    world->close(world);
}

static int run(const char *name, struct kernel_world *kernel)
{
    const struct CMUnitTest tests[] = {CONTRACT_TESTS, cmocka_unit_test(tells_addresses),
                                       cmocka_unit_test(destroy_frees_the_address),
                                       cmocka_unit_test(with_a_door_it_rests)};
    present = &kernel->world;
    print_message("room: %s\n", name);
    return _cmocka_run_group_tests(name, tests, sizeof tests / sizeof *tests, use_present, NULL);
}

int main(void)
{
    int failures = run("epoll", &epoll_world);
    const char *problem;
    if (io_uring_room_usable(&problem))
        failures += run("io_uring", &uring_world);
    else
        print_message("io_uring is skipped: %s\n", problem);
    return failures;
}
