/* mesh: see mesh.h for the drawing and the protocol of sleep and wake. */
#include "mesh/mesh.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "base/check.h"

/* What a peer knows of itself and others. One line for what others write, one for its own. */
struct mesh_peer {
    /* written by all */
    _Alignas(CACHE_LINE) _Atomic uint32_t asleep;
    _Atomic uint64_t news[PEERS_MAX / 64]; /* senders with something new */
    /* fixed after start */
    _Alignas(CACHE_LINE) struct mesh_bell bell;
    /* this peer's */
    struct mesh_peers sent_to; /* since it last rang */
    struct mesh_peers unread;  /* senders whose rings it has not emptied */
    /* written by this peer, each turn; read by others now and then */
    _Alignas(CACHE_LINE) _Atomic int64_t told_ms;
};
static_assert(offsetof(struct mesh_peer, bell) == CACHE_LINE, "all that others write is one line");

static struct spsc *rings_make(uint32_t count, uint32_t slots, struct envelope *memory)
{
    struct spsc *rings = aligned_alloc(CACHE_LINE, count * sizeof *rings);
    for (uint32_t i = 0; rings && i < count; i++) {
        rings[i] = (struct spsc){.slots = memory + (size_t)i * slots, .mask = slots - 1};
    }
    return rings;
}

bool mesh_init(struct mesh *mesh, uint32_t peer_count, uint32_t slots)
{
    CHECK(slots >= 4 && (slots & (slots - 1)) == 0 && peer_count <= PEERS_MAX);
    uint32_t pairs = peer_count * peer_count;
    *mesh = (struct mesh){.peer_count = peer_count, .slots = slots};
    mesh->memory_bytes = (size_t)pairs * 2 * slots * sizeof(struct envelope);
    mesh->memory =
        mmap(NULL, mesh->memory_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mesh->memory == MAP_FAILED) {
        mesh->memory = NULL;
        return false;
    }
    mesh->asks = rings_make(pairs, slots, mesh->memory);
    mesh->tells = rings_make(pairs, slots, mesh->memory + (size_t)pairs * slots);
    mesh->peers = aligned_alloc(CACHE_LINE, peer_count * sizeof *mesh->peers);
    if (!mesh->asks || !mesh->tells || !mesh->peers) {
        mesh_destroy(mesh);
        return false;
    }
    for (uint32_t i = 0; i < peer_count; i++) {
        mesh->peers[i] = (struct mesh_peer){.told_ms = INT64_MAX};
    }
    return true;
}

void mesh_destroy(struct mesh *mesh)
{
    free(mesh->asks);
    free(mesh->tells);
    free(mesh->peers);
    if (mesh->memory) {
        munmap(mesh->memory, mesh->memory_bytes);
    }
    *mesh = (struct mesh){0};
}

void mesh_set_bell(struct mesh *mesh, uint32_t peer, struct mesh_bell bell)
{
    mesh->peers[peer].bell = bell;
}

static void peers_add(struct mesh_peers *peers, uint32_t peer)
{
    peers->words[peer / 64] |= 1ull << (peer % 64);
}

static bool send_into(struct mesh *mesh, struct spsc *ring, uint32_t from, uint32_t to, struct envelope *envelope)
{
    envelope->from = (uint8_t)from;
    if (!spsc_push(ring, envelope)) {
        return false;
    }
    struct mesh_peer *self = &mesh->peers[from];
    peers_add(from == to ? &self->unread : &self->sent_to, to);
    return true;
}

bool mesh_ask(struct mesh *mesh, uint32_t from, uint32_t to, struct envelope *envelope)
{
    return send_into(mesh, mesh_asks(mesh, from, to), from, to, envelope);
}

bool mesh_tell(struct mesh *mesh, uint32_t from, uint32_t to, struct envelope *envelope)
{
    return send_into(mesh, mesh_tells(mesh, from, to), from, to, envelope);
}

uint32_t mesh_tell_room(struct mesh *mesh, uint32_t from, uint32_t to)
{
    return spsc_room(mesh_tells(mesh, from, to));
}

static void wake(struct mesh_peer *peer)
{
    if (atomic_load_explicit(&peer->asleep, memory_order_relaxed) &&
        atomic_exchange_explicit(&peer->asleep, 0, memory_order_relaxed) && peer->bell.ring) {
        peer->bell.ring(peer->bell.door);
    }
}

void mesh_ring_bells(struct mesh *mesh, uint32_t from)
{
    struct mesh_peers *sent_to = &mesh->peers[from].sent_to;
    uint32_t first = mesh_peers_next(sent_to, 0);
    if (first == PEERS_MAX) {
        return;
    }
    for (uint32_t to = first; to < PEERS_MAX; to = mesh_peers_next(sent_to, to + 1)) {
        atomic_fetch_or_explicit(&mesh->peers[to].news[from / 64], 1ull << (from % 64),
                                 memory_order_release); /* [M2] */
    }
    atomic_thread_fence(memory_order_seq_cst); /* [M1] */
    for (uint32_t to = first; to < PEERS_MAX; to = mesh_peers_next(sent_to, to + 1)) {
        wake(&mesh->peers[to]);
    }
    *sent_to = (struct mesh_peers){0};
}

struct mesh_peers mesh_look(struct mesh *mesh, uint32_t peer)
{
    struct mesh_peer *self = &mesh->peers[peer];
    for (uint32_t word = 0; word < PEERS_MAX / 64; word++) {
        if (atomic_load_explicit(&self->news[word], memory_order_relaxed)) {
            self->unread.words[word] |= atomic_exchange_explicit(&self->news[word], 0, memory_order_acquire); /* [M2] */
        }
    }
    return self->unread;
}

void mesh_settle(struct mesh *mesh, uint32_t peer, const struct mesh_peers *looked)
{
    struct mesh_peer *self = &mesh->peers[peer];
    for (uint32_t from = mesh_peers_next(looked, 0); from < PEERS_MAX; from = mesh_peers_next(looked, from + 1)) {
        if (!spsc_peek(mesh_asks(mesh, from, peer)) && !spsc_peek(mesh_tells(mesh, from, peer))) {
            self->unread.words[from / 64] &= ~(1ull << (from % 64));
        }
    }
}

static bool has_news(const struct mesh_peer *peer)
{
    uint64_t any = 0;
    for (uint32_t word = 0; word < PEERS_MAX / 64; word++) {
        any |= peer->unread.words[word] | atomic_load_explicit(&peer->news[word], memory_order_relaxed);
    }
    return any != 0;
}

bool mesh_sleep(struct mesh *mesh, uint32_t peer)
{
    atomic_store_explicit(&mesh->peers[peer].asleep, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst); /* [M1] */
    if (has_news(&mesh->peers[peer])) {
        mesh_awake(mesh, peer);
        return false;
    }
    return true;
}

void mesh_awake(struct mesh *mesh, uint32_t peer)
{
    atomic_store_explicit(&mesh->peers[peer].asleep, 0, memory_order_relaxed);
}

/* Sequentially consistent: what is read of a clock after it is not earlier than what others read before they saw it. */
void mesh_set_told(struct mesh *mesh, uint32_t peer, int64_t ms)
{
    atomic_store(&mesh->peers[peer].told_ms, ms);
}

int64_t mesh_told(struct mesh *mesh, uint32_t peer)
{
    int64_t least = INT64_MAX;
    for (uint32_t from = 0; from < mesh->peer_count; from++) {
        int64_t told_ms = atomic_load_explicit(&mesh->peers[from].told_ms, memory_order_acquire);
        least = from != peer && told_ms < least ? told_ms : least;
    }
    return least;
}

uint64_t mesh_full(const struct mesh *mesh, uint32_t from)
{
    uint64_t full = 0;
    for (uint32_t to = 0; to < mesh->peer_count; to++) {
        full += mesh->asks[from * mesh->peer_count + to].full + mesh->tells[from * mesh->peer_count + to].full;
    }
    return full;
}
