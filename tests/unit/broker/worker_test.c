/*
 * worker_test: a worker, whose shards are puppets: each step does what the test has written down, and is counted.
 *
 * shard_step() and shard_is_stopped() are this file's own; what is real is the worker, the mesh and its bells, and the
 * doors, which are event descriptors. So it can be told for certain who gets a turn, for what reason, and that nobody
 * gets one without a reason: turns are counted over real time, of which there may be as much as the machine likes to
 * take, since a worker that spins makes ten thousands of them in each moment.
 */
#include "broker/worker.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"
#include "broker/shard.h"

enum { SEATS = 5, ORDERED_BY = SEATS /* a peer of the mesh that has a thread of its own */ };
enum { IDLE_US = 100000, FOREVER_US = 60000000 };

struct puppet {
    struct shard shard; /* first: a shard is its puppet */
    struct io io;
    int door;
    _Atomic bool waiting;  /* there is something behind the door: a step takes it */
    _Atomic uint32_t more; /* so many steps say that there is more to do at once */
    _Atomic int64_t rest_us;
    _Atomic uint32_t steps;
    _Atomic uint32_t heard; /* envelopes */
    _Atomic bool stopped;
    struct puppet *rings; /* sends something to that one in its next step. NULL: nobody */
};

static struct {
    struct mesh mesh;
    struct worker worker;
    struct puppet *puppets;
    pthread_t thread;
} host;

static int64_t now_us(const struct clock *clock)
{
    (void)clock;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static const struct clock real_clock = {.monotonic_us = now_us};

static struct puppet *puppet_of(const struct io *io)
{
    return (struct puppet *)((char *)(uintptr_t)io - offsetof(struct puppet, io));
}

static int puppet_door(struct io *io)
{
    return puppet_of(io)->door;
}

static bool puppet_is_waiting(const struct io *io)
{
    return puppet_of(io)->waiting;
}

static const struct io_room puppet_room = {
    .name = "puppet", .door = puppet_door, .is_waiting = puppet_is_waiting, .door_rang = puppet_is_waiting};

static void send_to(uint32_t from, uint32_t to)
{
    struct envelope envelope = {.kind = TELL_PUBLISHED};
    assert_true(mesh_tell(&host.mesh, from, to, &envelope));
    mesh_ring_bells(&host.mesh, from);
}

/* What comes over the mesh is read, as by a turn. */
static void read_mesh(uint32_t number)
{
    struct mesh_peers senders = mesh_look(&host.mesh, number);
    for (uint32_t from = mesh_peers_next(&senders, 0); from < PEERS_MAX; from = mesh_peers_next(&senders, from + 1))
        for (struct spsc *ring = mesh_tells(&host.mesh, from, number); spsc_peek(ring); host.puppets[number].heard++)
            spsc_pop(ring);
    mesh_settle(&host.mesh, number, &senders);
}

int64_t shard_step(struct shard *shard)
{
    struct puppet *puppet = (struct puppet *)shard;
    mesh_awake(&host.mesh, shard->number);
    puppet->steps++;
    puppet->waiting = false;
    read_mesh(shard->number);
    if (puppet->rings) {
        send_to(shard->number, puppet->rings->shard.number);
        puppet->rings = NULL;
    }
    if (puppet->more > 0) {
        puppet->more--;
        return 0;
    }
    return mesh_sleep(&host.mesh, shard->number) ? puppet->rest_us : 0;
}

bool shard_is_stopped(const struct shard *shard)
{
    return ((const struct puppet *)shard)->stopped;
}

/* --- the host --- */

static void *run(void *unused)
{
    (void)unused;
    worker_run(&host.worker);
    return NULL;
}

static void host_make(int64_t rest_us)
{
    assert_true(mesh_init(&host.mesh, SEATS + 1, 64));
    assert_true(worker_init(&host.worker, SEATS));
    host.puppets = aligned_alloc(CACHE_LINE, SEATS * sizeof *host.puppets);
    assert_non_null(host.puppets);
    memset(host.puppets, 0, SEATS * sizeof *host.puppets);
    for (uint32_t i = 0; i < SEATS; i++) {
        struct puppet *puppet = &host.puppets[i];
        puppet->door = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        puppet->io.room = &puppet_room;
        puppet->rest_us = rest_us;
        puppet->shard.number = i;
        puppet->shard.io = &puppet->io;
        puppet->shard.mesh = &host.mesh;
        puppet->shard.clock = &real_clock;
        assert_true(worker_seat(&host.worker, i, &puppet->shard));
    }
}

static void host_run(void)
{
    assert_int_equal(pthread_create(&host.thread, NULL, run, NULL), 0);
}

static void door_ring(struct puppet *puppet)
{
    uint64_t one = 1;
    assert_int_equal(write(puppet->door, &one, sizeof one), sizeof one);
}

static void host_stop(void)
{
    for (uint32_t i = 0; i < SEATS; i++)
        host.puppets[i].stopped = true;
    door_ring(&host.puppets[0]); /* as io_wake() does */
    assert_int_equal(pthread_join(host.thread, NULL), 0);
    for (uint32_t i = 0; i < SEATS; i++)
        close(host.puppets[i].door);
    worker_free(&host.worker);
    mesh_destroy(&host.mesh);
    free(host.puppets);
}

static void pause_us(int64_t us)
{
    nanosleep(&(struct timespec){.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000}, NULL);
}

static void wait_for_steps(const struct puppet *puppet, uint32_t least)
{
    for (int64_t end = now_us(NULL) + FOREVER_US; puppet->steps < least;) {
        assert_true(now_us(NULL) < end);
        pause_us(1000);
    }
}

/* All have been stepped for the first time, and the worker has gone to sleep. */
static void wait_for_sleep(void)
{
    for (uint32_t i = 0; i < SEATS; i++)
        wait_for_steps(&host.puppets[i], 1);
    for (int64_t end = now_us(NULL) + FOREVER_US; !atomic_load(&host.worker.asleep);) {
        assert_true(now_us(NULL) < end);
        pause_us(1000);
    }
}

static void expect_steps(const uint32_t expected[SEATS])
{
    for (uint32_t i = 0; i < SEATS; i++)
        assert_int_equal(host.puppets[i].steps, expected[i]);
}

/* --- who gets a turn --- */

static void all_get_their_turn_beside_one_that_never_rests(void **state)
{
    (void)state;
    host_make(FOREVER_US);
    host.puppets[2].more = UINT32_MAX;
    host_run();
    for (uint32_t round = 1; round <= 3; round++) {
        for (uint32_t i = 0; i < SEATS; i++)
            wait_for_steps(&host.puppets[i], round);
        for (uint32_t i = 0; i < SEATS; i++) {
            host.puppets[i].waiting = true;
            door_ring(&host.puppets[i]);
        }
    }
    for (uint32_t i = 0; i < SEATS; i++)
        wait_for_steps(&host.puppets[i], 4);
    assert_true(host.puppets[2].steps > 4);
    host_stop();
}

static void each_that_has_more_is_stepped_once_a_round(void **state)
{
    (void)state;
    host_make(FOREVER_US);
    for (uint32_t i = 0; i < SEATS; i++)
        host.puppets[i].more = 1000;
    host_run();
    wait_for_sleep();
    expect_steps((const uint32_t[SEATS]){1001, 1001, 1001, 1001, 1001});
    host_stop();
}

static void door_wakes_the_one_it_is_of(void **state)
{
    (void)state;
    host_make(FOREVER_US);
    host_run();
    wait_for_sleep();
    host.puppets[3].waiting = true;
    door_ring(&host.puppets[3]);
    wait_for_steps(&host.puppets[3], 2);
    wait_for_sleep();
    expect_steps((const uint32_t[SEATS]){1, 1, 1, 2, 1});
    host_stop();
}

static void bell_of_another_thread_wakes_the_one_it_is_of(void **state)
{
    (void)state;
    host_make(FOREVER_US);
    host_run();
    for (uint32_t i = 1; i <= 200; i++) { /* now asleep, now about to be */
        send_to(ORDERED_BY, 1);
        for (int64_t end = now_us(NULL) + FOREVER_US; host.puppets[1].heard < i;)
            assert_true(now_us(NULL) < end);
    }
    wait_for_sleep();
    expect_steps((const uint32_t[SEATS]){1, host.puppets[1].steps, 1, 1, 1});
    assert_in_range(host.puppets[1].steps, 2, 1 + 2 * 200); /* a bell may ring for what was read with the one before */
    host_stop();
}

static void bell_between_two_seats_needs_no_system_call(void **state)
{
    (void)state;
    host_make(FOREVER_US);
    host.puppets[4].rings = &host.puppets[0]; /* who has had his turn of this round */
    host_run();
    wait_for_sleep();
    wait_for_steps(&host.puppets[0], 2);
    wait_for_sleep();
    expect_steps((const uint32_t[SEATS]){2, 1, 1, 1, 1});
    uint64_t rung;
    assert_int_equal(read(host.worker.bell, &rung, sizeof rung), -1);
    assert_int_equal(errno, EAGAIN);
    host_stop();
}

/* --- and that nobody gets one without a reason --- */

static void idle_ones_are_stepped_when_their_time_is_up_and_not_else(void **state)
{
    (void)state;
    host_make(IDLE_US);
    int64_t begin_us = now_us(NULL);
    host_run();
    wait_for_steps(&host.puppets[0], 5);
    uint32_t steps[SEATS];
    for (uint32_t i = 0; i < SEATS; i++)
        steps[i] = host.puppets[i].steps;
    int64_t most = 1 + (now_us(NULL) - begin_us) / IDLE_US;
    for (uint32_t i = 0; i < SEATS; i++)
        assert_true(steps[i] <= most + 1);
    host_stop();
}

/* A ring may ring its door for what was taken in the same turn already. */
static void door_with_nothing_behind_it_costs_no_turn(void **state)
{
    (void)state;
    host_make(FOREVER_US);
    host_run();
    wait_for_sleep();
    for (uint32_t i = 0; i < 100; i++) {
        door_ring(&host.puppets[i % SEATS]);
        pause_us(100);
    }
    wait_for_sleep();
    expect_steps((const uint32_t[SEATS]){1, 1, 1, 1, 1});
    host_stop();
}

/* As one that is blocked, or whose large feed rests, does: it bounds the wait, and is stepped alone. */
static void one_that_rests_shortly_is_stepped_alone(void **state)
{
    (void)state;
    enum { SHORT_US = 1000 };
    host_make(FOREVER_US);
    host.puppets[1].rest_us = SHORT_US;
    int64_t begin_us = now_us(NULL);
    host_run();
    wait_for_steps(&host.puppets[1], 50);
    uint32_t steps = host.puppets[1].steps;
    assert_true(steps <= 2 + (now_us(NULL) - begin_us) / SHORT_US);
    host.puppets[1].rest_us = FOREVER_US; /* it is blocked no more */
    wait_for_sleep();
    for (uint32_t i = 0; i < SEATS; i++)
        assert_true(i == 1 || host.puppets[i].steps == 1);
    host_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_get_their_turn_beside_one_that_never_rests),
        cmocka_unit_test(each_that_has_more_is_stepped_once_a_round),
        cmocka_unit_test(door_wakes_the_one_it_is_of),
        cmocka_unit_test(bell_of_another_thread_wakes_the_one_it_is_of),
        cmocka_unit_test(bell_between_two_seats_needs_no_system_call),
        cmocka_unit_test(idle_ones_are_stepped_when_their_time_is_up_and_not_else),
        cmocka_unit_test(door_with_nothing_behind_it_costs_no_turn),
        cmocka_unit_test(one_that_rests_shortly_is_stepped_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
