/*
 * wake: what it costs to wake another thread, in the ways that there are. The threads stand for shards: each has a room
 * of the broker's (io_uring, set up as the broker sets it up) and waits by it.
 *
 *      wake WAKES          prints a JSON object for each workload and way
 *
 *   way              the bell                                           the sleeper waits in
 *   eventfd          io_wake(), as shards do: write() to an eventfd     io_wait(), with a poll of it in its ring
 *   message          IORING_OP_MSG_RING, submitted at once              io_wait(), the message completes there
 *   message-queued   the same, left to the submission that comes next   io_wait(), the same
 *   worker           write() to an eventfd, as workers do               epoll_pwait2(), as in broker/worker.c
 *
 *   workload
 *   ping-pong        both sleep until they are rung, and ring back
 *   busy             one rings as fast as it can, the other does not sleep
 *
 * Ping-pong tells the time of a round trip, and the CPU of both for each wake. Of busy, the one computes for TURN_NS a
 * turn and then looks. The ringer's CPU is told, and by how much the other's looks became dearer than they were in
 * quiet, both for each bell. Queued bells go out SENDS_A_BATCH a submission.
 *
 * Each thread has a processor of its own where there are two. Every wake has to arrive. A message is heard by itself,
 * so they are counted; writes meet in an eventfd, so after a wake the receiver looks how much was rung, and in the end
 * must have seen all of it that way. Who waits in vain for DEADLINE_S ends the run.
 *
 * CPU is read from the threads' clocks, exact to the moment, where getrusage() tells what the last tick knew; from that
 * are the times that a thread gave its processor away (ping-pong: once a wake, or it was not asleep).
 *
 * Not measured: the mesh's flag that says who is asleep (broker/mesh/mesh.h). It spares a bell to who is awake, so that
 * "busy" is what it spares. Nor what a wake costs in an idle virtual machine apart from the rest: the processor has to
 * come out of its halt, and that is in the latency of all ways alike.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "delays.h"
#include "io/io_uring_room.h"
#include "process.h"

#define WAKES_MAX     100000000u
#define REST_US       100000 /* as an idle shard's (broker/shard.c) */
#define DEADLINE_S    60
#define TURN_NS       20000
#define QUIET_TURNS   2000u
#define SENDS_A_BATCH 64u /* as the room's sends */

/* Of Linux 6.3: the receiver's completion gets flags. The headers of liburing 2.3 don't know it. */
#ifndef IORING_MSG_RING_FLAGS_PASS
#define IORING_MSG_RING_FLAGS_PASS (1U << 1)
#endif

/* One thread, and what was measured of it. */
struct side {
    struct io *io;
    int bell, doors; /* of the way "worker" */
    uint64_t heard;  /* wakes; of eventfds, those that met are one */
    uint64_t cpu_ns, switches;
    double looks_ns; /* busy: of all looks, above what they take in quiet */
    struct delays delays;
};

struct way {
    const char *name;
    void (*ring)(struct side *from, struct side *to);
    void (*rest)(struct side *side, int64_t us); /* until something is heard, at most */
    void (*submit)(struct side *side);           /* NULL: nothing is queued */
    bool each;                                   /* each wake is heard by itself */
};

static struct {
    const struct way *way;
    uint64_t wakes;
    pthread_barrier_t both;
    _Atomic uint64_t rung; /* busy: bells that are rung, or about to be */
    struct side sides[2];
} pair;

/* --- the ways --- */

static void eventfd_ring(struct side *from, struct side *to)
{
    (void)from;
    io_wake(to->io);
}

static void room_rest(struct side *side, int64_t us)
{
    io_wait(side->io, us);
    side->heard = side->io->counters.wakes;
}

/*
 * To the receiver it looks as a completion of its poll does: the same token, and more to come, so that it arms nothing.
 * The sender has no completion of it.
 */
static void message_queue(struct side *from, struct side *to)
{
    struct io_uring_sqe *request = uring_request(uring_of(from->io));
    io_uring_prep_msg_ring(request, uring_of(to->io)->ring.ring_fd, 0, token_make(OP_WAKE, 0, 0),
                           IORING_MSG_RING_FLAGS_PASS);
    request->file_index = IORING_CQE_F_MORE;
    request->flags |= IOSQE_CQE_SKIP_SUCCESS;
    io_uring_sqe_set_data64(request, token_make(OP_IGNORED, 0, 0));
}

static void message_submit(struct side *side)
{
    uring_submit(uring_of(side->io));
}

static void message_ring(struct side *from, struct side *to)
{
    message_queue(from, to);
    message_submit(from);
}

static void message_ring_queued(struct side *from, struct side *to)
{
    message_queue(from, to);
    if (io_uring_sq_ready(&uring_of(from->io)->ring) >= SENDS_A_BATCH) {
        message_submit(from);
    }
}

static void worker_ring(struct side *from, struct side *to)
{
    (void)from;
    uint64_t one = 1;
    CHECK(write(to->bell, &one, sizeof one) == sizeof one);
}

static void worker_rest(struct side *side, int64_t us)
{
    struct epoll_event event;
    const struct timespec timeout = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
    side->heard += epoll_pwait2(side->doors, &event, 1, &timeout, NULL) == 1;
}

static const struct way ways[] = {
    {"eventfd", eventfd_ring, room_rest, NULL, false},
    {"message", message_ring, room_rest, NULL, true},
    {"message-queued", message_ring_queued, room_rest, message_submit, true},
    {"worker", worker_ring, worker_rest, NULL, false},
};

/* --- the workloads --- */

static uint64_t thread_cpu_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static uint64_t thread_switches(void)
{
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return (uint64_t)usage.ru_nvcsw;
}

static uint64_t deadline_ns(void)
{
    return now_ns() + (uint64_t)DEADLINE_S * 1000000000;
}

static void die_of_silence(const struct side *side)
{
    die("%s: a wake was lost: %lu were heard of %lu", pair.way->name, side->heard, pair.wakes);
}

/* Sleeps until so many wakes were heard in all. */
static void hear(struct side *side, uint64_t wakes)
{
    uint64_t end = 0;
    while (side->heard < wakes) {
        pair.way->rest(side, REST_US);
        if (side->heard < wakes && end == 0) {
            end = deadline_ns();
        } else if (side->heard < wakes && now_ns() > end) {
            die_of_silence(side);
        }
    }
}

static void submit_rest(struct side *side)
{
    if (pair.way->submit) {
        pair.way->submit(side);
    }
}

/* The first one begins. */
static void ping_pong(struct side *self, struct side *other, bool begins)
{
    for (uint64_t trip = 1; trip <= pair.wakes; trip++) {
        uint64_t ns = now_ns();
        if (begins) {
            pair.way->ring(self, other);
        }
        hear(self, trip);
        if (begins) {
            delays_add(&self->delays, now_ns() - ns);
        } else {
            pair.way->ring(self, other);
        }
    }
    submit_rest(self);
    if (self->heard != pair.wakes) {
        die("%s: %lu wakes were heard of %lu", pair.way->name, self->heard, pair.wakes);
    }
}

/* A turn of who has work. Returns the CPU ns of its look. */
static uint64_t busy_turn(struct side *self)
{
    uint64_t end = now_ns() + TURN_NS;
    while (now_ns() < end) {
    }
    uint64_t cpu_ns = thread_cpu_ns();
    pair.way->rest(self, 0);
    return thread_cpu_ns() - cpu_ns;
}

/* Whether all bells were heard, each by itself or by a wake that came when all were rung. */
static bool heard_all(const struct side *self, uint64_t heard_before)
{
    if (pair.way->each) {
        return self->heard == pair.wakes;
    }
    return self->heard > heard_before && atomic_load(&pair.rung) == pair.wakes;
}

static void be_busy(struct side *self)
{
    uint64_t quiet_ns = 0, ns = 0, turns = 0, heard_before;
    for (uint32_t i = 0; i < QUIET_TURNS; i++) {
        quiet_ns += busy_turn(self);
    }
    pthread_barrier_wait(&pair.both);
    uint64_t end = deadline_ns() + pair.wakes * 100000;
    do {
        heard_before = self->heard;
        ns += busy_turn(self);
        turns++;
        if (now_ns() > end) {
            die_of_silence(self);
        }
    } while (!heard_all(self, heard_before));
    self->looks_ns = (double)ns - (double)turns * (double)quiet_ns / QUIET_TURNS;
}

static void ring_busy(struct side *self, struct side *other)
{
    pthread_barrier_wait(&pair.both);
    uint64_t cpu_ns = thread_cpu_ns();
    for (uint64_t i = 1; i <= pair.wakes; i++) {
        atomic_store(&pair.rung, i);
        pair.way->ring(self, other);
    }
    submit_rest(self);
    self->cpu_ns = thread_cpu_ns() - cpu_ns;
}

/* --- a measurement --- */

/* To the processor of this number of those that are allowed, if there are so many. */
static void pin(uint32_t number)
{
    cpu_set_t allowed, one;
    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof allowed, &allowed) < 0) {
        die("no processors are told: %s", strerror(errno));
    }
    for (int processor = 0; processor < CPU_SETSIZE; processor++) {
        if (CPU_ISSET(processor, &allowed) && number-- == 0) {
            CPU_SET(processor, &one);
            (void)pthread_setaffinity_np(pthread_self(), sizeof one, &one);
        }
    }
}

static void side_open(struct side *side)
{
    const struct io_options options = {
        .slots_max = 64, .receive_buffers = 64, .receive_buffer_size = 4096, .batch = SENDS_A_BATCH};
    const char *problem;
    side->io = io_uring_room_create(&options, &problem);
    if (!side->io) {
        die("%s", problem);
    }
    side->bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    side->doors = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    if (side->bell < 0 || side->doors < 0 || epoll_ctl(side->doors, EPOLL_CTL_ADD, side->bell, &event) < 0) {
        die("no descriptors: %s", strerror(errno));
    }
    io_wait(side->io, 0); /* submits its poll */
}

static void side_close(struct side *side)
{
    io_destroy(side->io);
    close(side->bell);
    close(side->doors);
}

/* The room belongs to the thread that made it; both stay until neither is rung any more. */
static void side_run(uint32_t number, bool busy)
{
    struct side *self = &pair.sides[number], *other = &pair.sides[1 - number];
    pin(number);
    side_open(self);
    pthread_barrier_wait(&pair.both);
    if (busy && number == 0) {
        ring_busy(self, other);
    } else if (busy) {
        be_busy(self);
    } else {
        uint64_t cpu_ns = thread_cpu_ns(), switches = thread_switches();
        ping_pong(self, other, number == 0);
        self->cpu_ns = thread_cpu_ns() - cpu_ns;
        self->switches = thread_switches() - switches;
    }
    pthread_barrier_wait(&pair.both);
    side_close(self);
}

static void *run_ping_pong(void *number)
{
    side_run(*(const uint32_t *)number, false);
    return NULL;
}

static void *run_busy(void *number)
{
    side_run(*(const uint32_t *)number, true);
    return NULL;
}

static void run_both(const struct way *way, uint64_t wakes, void *(*run)(void *))
{
    static const uint32_t numbers[] = {0, 1};
    pthread_t threads[2];
    memset(pair.sides, 0, sizeof pair.sides);
    pair.way = way;
    pair.wakes = wakes;
    atomic_store(&pair.rung, 0);
    pthread_barrier_init(&pair.both, NULL, 2);
    for (uint32_t i = 0; i < 2; i++) {
        if (pthread_create(&threads[i], NULL, run, (void *)&numbers[i])) {
            die("no thread");
        }
    }
    for (uint32_t i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    pthread_barrier_destroy(&pair.both);
}

static void measure_ping_pong(const struct way *way, uint64_t wakes)
{
    run_both(way, wakes, run_ping_pong);
    const struct side *sides = pair.sides;
    double both = 2 * (double)wakes;
    printf("{\"workload\":\"ping-pong\",\"way\":\"%s\",\"wakes\":%lu,\"cpu_ns_each\":%.1f,\"switches_each\":%.3f,",
           way->name, 2 * wakes, (double)(sides[0].cpu_ns + sides[1].cpu_ns) / both,
           (double)(sides[0].switches + sides[1].switches) / both);
    delays_print(&sides[0].delays, "");
    printf("}\n");
}

static void measure_busy(const struct way *way, uint64_t wakes)
{
    run_both(way, wakes, run_busy);
    const struct side *sides = pair.sides;
    printf("{\"workload\":\"busy\",\"way\":\"%s\",\"wakes\":%lu,\"heard\":%lu,\"cpu_ns_each\":%.1f,"
           "\"neighbour_cpu_ns_each\":%.1f}\n",
           way->name, wakes, sides[1].heard, (double)sides[0].cpu_ns / (double)wakes,
           sides[1].looks_ns / (double)wakes);
}

/* Whether this kernel has messages with flags: then it looks for the ring that they are for, which is none. */
static bool has_messages(void)
{
    struct io_uring ring;
    struct io_uring_cqe *completion;
    if (io_uring_queue_init(2, &ring, 0) < 0) {
        die("no io_uring");
    }
    io_uring_prep_msg_ring(io_uring_get_sqe(&ring), -1, 0, 0, IORING_MSG_RING_FLAGS_PASS);
    if (io_uring_submit_and_wait(&ring, 1) < 0 || io_uring_peek_cqe(&ring, &completion) < 0) {
        die("io_uring does not answer");
    }
    bool has = completion->res == -EBADF;
    io_uring_queue_exit(&ring);
    return has;
}

int main(int argc, char **argv)
{
    uint64_t wakes = argc == 2 ? number_read("WAKES", argv[1], WAKES_MAX) : 0;
    if (wakes == 0) {
        die("usage: wake WAKES");
    }
    bool messages = has_messages();
    if (!messages) {
        fprintf(stderr, "wake: no messages between rings: this kernel is older than Linux 6.3\n");
    }
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        if (messages || !ways[i].each) {
            measure_ping_pong(&ways[i], wakes);
            measure_busy(&ways[i], wakes);
        }
    }
    return 0;
}
