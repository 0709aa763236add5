/* mesh: see mesh.h for the drawing and the protocol of sleep and wake. */
#include "mesh/mesh.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "base/check.h"

/* What a peer knows of itself and others. One line for what others write (asleep), one for its own. */
struct mesh_peer {
    _Alignas(CACHE_LINE) _Atomic uint32_t asleep; /* written by all */
    _Alignas(CACHE_LINE) struct mesh_bell bell;   /* fixed after start */
    uint64_t sent_to[PEERS_MAX / 64];             /* this peer: bits of those to ring for */
};

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
        mesh->peers[i] = (struct mesh_peer){0};
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

static bool send_into(struct mesh *mesh, struct spsc *ring, uint32_t from, uint32_t to, struct envelope *envelope)
{
    envelope->from = (uint8_t)from;
    if (!spsc_push(ring, envelope)) {
        return false;
    }
    if (from != to) {
        mesh->peers[from].sent_to[to / 64] |= 1ull << (to % 64);
    }
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

void mesh_ring_bells(struct mesh *mesh, uint32_t from)
{
    struct mesh_peer *self = &mesh->peers[from];
    bool fenced = false;
    for (uint32_t word = 0; word < sizeof self->sent_to / sizeof *self->sent_to; word++) {
        for (uint64_t bits = self->sent_to[word]; bits; bits &= bits - 1) {
            if (!fenced) {
                atomic_thread_fence(memory_order_seq_cst); /* [M1] */
                fenced = true;
            }
            struct mesh_peer *peer = &mesh->peers[word * 64 + (uint32_t)__builtin_ctzll(bits)];
            if (atomic_load_explicit(&peer->asleep, memory_order_relaxed) &&
                atomic_exchange_explicit(&peer->asleep, 0, memory_order_relaxed) && peer->bell.ring) {
                peer->bell.ring(peer->bell.door);
            }
        }
        self->sent_to[word] = 0;
    }
}

bool mesh_sleep(struct mesh *mesh, uint32_t peer)
{
    atomic_store_explicit(&mesh->peers[peer].asleep, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst); /* [M1] */
    for (uint32_t from = 0; from < mesh->peer_count; from++) {
        if (spsc_peek(mesh_asks(mesh, from, peer)) || spsc_peek(mesh_tells(mesh, from, peer))) {
            mesh_awake(mesh, peer);
            return false;
        }
    }
    return true;
}

void mesh_awake(struct mesh *mesh, uint32_t peer)
{
    atomic_store_explicit(&mesh->peers[peer].asleep, 0, memory_order_relaxed);
}

uint64_t mesh_full(const struct mesh *mesh, uint32_t from)
{
    uint64_t full = 0;
    for (uint32_t to = 0; to < mesh->peer_count; to++) {
        full += mesh->asks[from * mesh->peer_count + to].full + mesh->tells[from * mesh->peer_count + to].full;
    }
    return full;
}
