/*
 * mesh_stress: four peers, each on a thread, ask each other through rings of 4 slots, and sleep whenever they have
 * nothing to do.
 *
 *   each peer:  works tells ─▶ works asks while there is room to answer ─▶ asks, at most WINDOW unanswered a peer
 *               ─▶ bells ─▶ nothing to do? mesh_sleep(), then waits at its door with no timeout
 *
 * They read the rings of those alone that mesh_look() names. Nobody would ever wake a peer but a bell, so a wake-up
 * that is lost stops the test, and the watchdog ends it. Every ask is answered once, in order; no circle of full rings
 * may form. With a window as wide as the rings they are full most of the time; with a window of one the peers sleep
 * most of the time.
 */
#include <inttypes.h>
#include <sys/eventfd.h>

#include "mesh/mesh.h"
#include "stress.h"

#define PEERS 4u
#define SLOTS 4u
#define ROUND 12000u /* asks from each peer to each, itself included */

struct peer {
    uint32_t number;
    int door;
    uint32_t random;
    uint64_t asked[PEERS];    /* sent */
    uint64_t answered[PEERS]; /* tells that came back */
    uint64_t worked[PEERS];   /* asks that were answered */
    _Atomic uint64_t sleeps;
    _Atomic uint64_t turns;
    _Atomic int waiting;
};

static struct mesh mesh;
static struct peer peers[PEERS];
static uint64_t asks_each;
static uint64_t window;
static uint32_t tells_per_ask; /* an owner answers with up to three */

static void ring_door(void *door)
{
    uint64_t one = 1;
    CHECK(write(*(int *)door, &one, sizeof one) == sizeof one);
}

static bool work_tells(struct peer *self, const struct mesh_peers *senders)
{
    bool worked = false;
    for (uint32_t from = mesh_peers_next(senders, 0); from < PEERS; from = mesh_peers_next(senders, from + 1)) {
        struct spsc *ring = mesh_tells(&mesh, from, self->number);
        const struct envelope *tell;
        while ((tell = spsc_peek(ring)) != NULL) {
            CHECK(tell->from == from && tell->offset == self->answered[from] / tells_per_ask);
            self->answered[from]++;
            spsc_pop(ring);
            worked = true;
        }
    }
    return worked;
}

static bool work_asks(struct peer *self, const struct mesh_peers *senders)
{
    bool worked = false;
    for (uint32_t from = mesh_peers_next(senders, 0); from < PEERS; from = mesh_peers_next(senders, from + 1)) {
        struct spsc *ring = mesh_asks(&mesh, from, self->number);
        const struct envelope *ask;
        while ((ask = spsc_peek(ring)) != NULL && mesh_tell_room(&mesh, self->number, from) >= tells_per_ask) {
            CHECK(ask->from == from && ask->offset == self->worked[from]);
            for (uint32_t i = 0; i < tells_per_ask; i++) {
                struct envelope tell = {.kind = TELL_LEFT, .offset = ask->offset};
                CHECK(mesh_tell(&mesh, self->number, from, &tell));
            }
            self->worked[from]++;
            spsc_pop(ring);
            worked = true;
        }
    }
    return worked;
}

/* True: something was sent, or a full ring keeps us from it: then there is no sleep. */
static bool send_asks(struct peer *self)
{
    bool busy = false;
    for (uint32_t i = 0; i < PEERS; i++) {
        uint32_t to = (i + self->number) % PEERS;
        uint64_t burst = 1 + stress_random(&self->random, 6);
        while (burst-- > 0 && self->asked[to] < asks_each &&
               self->asked[to] - self->answered[to] / tells_per_ask < window) {
            struct envelope ask = {.kind = ASK_LEAVE, .offset = self->asked[to]};
            busy = true;
            if (!mesh_ask(&mesh, self->number, to, &ask)) {
                sched_yield();
                break;
            }
            self->asked[to]++;
        }
    }
    return busy;
}

static bool is_done(const struct peer *self)
{
    for (uint32_t i = 0; i < PEERS; i++) {
        if (self->answered[i] < asks_each * tells_per_ask || self->worked[i] < asks_each) {
            return false;
        }
    }
    return true;
}

static void sleep_at_door(struct peer *self)
{
    if (!mesh_sleep(&mesh, self->number)) {
        sched_yield(); /* what came can't be worked yet perhaps: its answer has no room */
        return;
    }
    uint64_t rung;
    atomic_store(&self->waiting, 1);
    CHECK(read(self->door, &rung, sizeof rung) == sizeof rung);
    atomic_store(&self->waiting, 0);
    atomic_fetch_add(&self->sleeps, 1);
    mesh_awake(&mesh, self->number);
}

static void *run_peer(void *argument)
{
    struct peer *self = argument;
    while (!is_done(self)) {
        struct mesh_peers senders = mesh_look(&mesh, self->number);
        bool busy = work_tells(self, &senders);
        busy |= work_asks(self, &senders);
        mesh_settle(&mesh, self->number, &senders);
        busy |= send_asks(self);
        mesh_ring_bells(&mesh, self->number);
        atomic_fetch_add(&self->turns, 1);
        if (!busy) {
            sleep_at_door(self);
        }
    }
    return NULL;
}

static void report(void)
{
    for (uint32_t i = 0; i < PEERS; i++) {
        const struct peer *peer = &peers[i];
        fprintf(stderr, "peer %u: waiting %d, %" PRIu64 " turns, %" PRIu64 " sleeps\n", i, atomic_load(&peer->waiting),
                atomic_load(&peer->turns), atomic_load(&peer->sleeps));
        for (uint32_t n = 0; n < PEERS; n++) {
            fprintf(stderr, "   %u: asked %" PRIu64 ", answered %" PRIu64 ", worked %" PRIu64 "\n", n, peer->asked[n],
                    peer->answered[n], peer->worked[n]);
        }
    }
}

static void run(uint64_t asks, uint64_t unanswered_max, uint32_t tells)
{
    pthread_t threads[PEERS];
    uint64_t sleeps = 0, full = 0;
    asks_each = asks;
    window = unanswered_max;
    tells_per_ask = tells;
    CHECK(mesh_init(&mesh, PEERS, SLOTS));
    for (uint32_t i = 0; i < PEERS; i++) {
        peers[i] = (struct peer){.number = i, .random = i + 1, .door = eventfd(0, EFD_CLOEXEC)};
        CHECK(peers[i].door >= 0);
        mesh_set_bell(&mesh, i, (struct mesh_bell){ring_door, &peers[i].door});
    }
    for (uint32_t i = 0; i < PEERS; i++) {
        threads[i] = stress_thread(run_peer, &peers[i]);
    }
    for (uint32_t i = 0; i < PEERS; i++) {
        stress_join(threads[i]);
        close(peers[i].door);
        sleeps += atomic_load(&peers[i].sleeps);
    }
    for (uint32_t i = 0; i < PEERS; i++) {
        full += mesh_full(&mesh, i);
    }
    printf("window %" PRIu64 ", %u tells an ask: %" PRIu64 " asks answered in order, %" PRIu64 " sleeps, %" PRIu64
           " times full\n",
           window, tells_per_ask, asks * PEERS * PEERS, sleeps, full);
    mesh_destroy(&mesh);
}

int main(int count, char **arguments)
{
    uint64_t asks = (uint64_t)ROUND * stress_scale(count, arguments);
    stress_watch(report);
    run(asks, 1, 1); /* they sleep at nearly every turn */
    run(asks, 3, 1);
    run(asks, UINT64_MAX, 3); /* rings are full nearly always */
    return 0;
}
