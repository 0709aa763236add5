/* worker: see worker.h for the drawing and the protocol of sleep and wake. */
#include "broker/worker.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "broker/shard.h"

#define DOOR_OF_BELL UINT32_MAX
#define DOORS_A_LOOK 64

/* The worker that this thread runs: bells between its own seats need not wake it. */
static _Thread_local const struct worker *of_this_thread;

static bool watch(const struct worker *worker, int descriptor, uint32_t seat)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u32 = seat};
    return epoll_ctl(worker->doors, EPOLL_CTL_ADD, descriptor, &event) == 0;
}

bool worker_init(struct worker *worker, uint32_t seat_count)
{
    CHECK(seat_count > 0 && seat_count <= SHARDS_MAX);
    *worker = (struct worker){.seat_count = seat_count};
    worker->seats = calloc(seat_count, sizeof *worker->seats);
    worker->doors = epoll_create1(EPOLL_CLOEXEC);
    worker->bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return worker->seats && worker->doors >= 0 && worker->bell >= 0 && watch(worker, worker->bell, DOOR_OF_BELL);
}

void worker_free(struct worker *worker)
{
    free(worker->seats);
    worker->seats = NULL;
    if (worker->doors >= 0) {
        close(worker->doors);
    }
    if (worker->bell >= 0) {
        close(worker->bell);
    }
    worker->doors = worker->bell = -1;
}

/* The bell of a seat's shard. Any thread. */
static void seat_ring(void *door)
{
    struct worker_seat *seat = door;
    struct worker *worker = seat->worker;
    atomic_fetch_or(&worker->rung[seat->index / 64], 1ull << (seat->index % 64));
    if (worker == of_this_thread) {
        return; /* it looks before it sleeps */
    }
    if (atomic_load(&worker->asleep) && atomic_exchange(&worker->asleep, false)) { /* [W1] */
        uint64_t one = 1;
        ssize_t written = write(worker->bell, &one, sizeof one);
        CHECK(written == sizeof one);
    }
}

bool worker_seat(struct worker *worker, uint32_t number, struct shard *shard)
{
    struct worker_seat *seat = &worker->seats[number];
    int door = io_door(shard->io);
    *seat = (struct worker_seat){.worker = worker, .shard = shard, .index = number, .ready = true};
    mesh_set_bell(shard->mesh, shard->number, (struct mesh_bell){seat_ring, seat});
    return door >= 0 && watch(worker, door, number);
}

/* --- running --- */

static bool something_rang(const struct worker *worker)
{
    uint64_t any = 0;
    for (uint32_t word = 0; word * 64 < worker->seat_count; word++) {
        any |= atomic_load(&worker->rung[word]);
    }
    return any != 0;
}

static void take_bells(struct worker *worker)
{
    for (uint32_t word = 0; word * 64 < worker->seat_count; word++) {
        if (!atomic_load_explicit(&worker->rung[word], memory_order_relaxed)) {
            continue;
        }
        for (uint64_t bits = atomic_exchange(&worker->rung[word], 0); bits; bits &= bits - 1) {
            worker->seats[word * 64 + (uint32_t)__builtin_ctzll(bits)].ready = true;
        }
    }
}

/* A door rings also for what was worked in the same turn already: then there is nothing to step for. */
static void take_doors(struct worker *worker, const struct epoll_event *events, int count)
{
    for (int i = 0; i < count; i++) {
        uint32_t number = events[i].data.u32;
        if (number != DOOR_OF_BELL && io_door_rang(worker->seats[number].shard->io)) {
            worker->seats[number].ready = true;
        }
    }
}

/* Waits for at most so many us for a door or a bell; with 0 it only looks. */
static void rest(struct worker *worker, int64_t us)
{
    struct epoll_event events[DOORS_A_LOOK];
    if (us > 0) {
        atomic_store(&worker->asleep, true); /* [W1] */
        us = something_rang(worker) ? 0 : us;
    }
    const struct timespec timeout = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
    take_doors(worker, events, epoll_pwait2(worker->doors, events, DOORS_A_LOOK, &timeout, NULL));
    atomic_store_explicit(&worker->asleep, false, memory_order_relaxed);
    take_bells(worker);
}

static void step(struct worker_seat *seat, int64_t now_us)
{
    seat->ready = false;
    seat->due_us = now_us + shard_step(seat->shard);
}

/* Steps each seat that has something to do. Returns for how many us all of them may rest. */
static int64_t round_of_steps(struct worker *worker)
{
    const struct clock *clock = worker->seats[0].shard->clock;
    int64_t now_us = clock->monotonic_us(clock), next_us = INT64_MAX;
    for (uint32_t i = 0; i < worker->seat_count; i++) {
        struct worker_seat *seat = &worker->seats[i];
        if (seat->ready || seat->due_us <= now_us) {
            step(seat, now_us);
        }
        next_us = seat->due_us < next_us ? seat->due_us : next_us;
    }
    return next_us > now_us ? next_us - now_us : 0;
}

static bool is_stopped(const struct worker *worker)
{
    for (uint32_t i = 0; i < worker->seat_count; i++) {
        if (!shard_is_stopped(worker->seats[i].shard)) {
            return false;
        }
    }
    return true;
}

void worker_run(struct worker *worker)
{
    of_this_thread = worker;
    while (!is_stopped(worker)) {
        rest(worker, round_of_steps(worker));
    }
    of_this_thread = NULL;
}
