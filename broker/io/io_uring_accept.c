/*
 * io_uring_accept: connections come in.
 *
 * They are accepted straight into the ring's table of direct descriptors, where the kernel chooses the slot; they never
 * enter the process's own table. Without peer addresses one multishot request does it all. A multishot request has
 * no place for more than one address, so with them a handful of one-shot requests is armed instead, each with an
 * address of its own.
 *
 *                 not listening ── listen ──▶ wanted ──arm──▶ armed ── last completion (no F_MORE) ──▶ wanted …
 *   wanted means: there is a listener, nobody paused, and slots and memory did not lack the last time
 *
 * The kernel takes a connection before it looks for a slot, and drops it if there is none (ENFILE). So accepting is
 * cancelled as soon as the last slot is taken; only a connection that arrives in between is lost that way.
 *
 * A close and an accept may complete in one batch, and the accept, reusing the slot, may be posted first. Then
 * both events are made from the accept's completion, in the order of the contract; the late close is known by its
 * generation.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "io/io_uring_room.h"
#include "io/listen.h"

static bool accept_wanted(const struct uring_room *room)
{
    return room->listener >= 0 && !room->accept_paused && room->accepting == ACCEPT_OPEN;
}

static uint64_t acceptor_token(const struct uring_room *room, uint32_t index)
{
    return token_make(OP_ACCEPT, room->listen_generation, index);
}

static void acceptor_arm(struct uring_room *room, uint32_t index)
{
    struct acceptor *acceptor = &room->acceptors[index];
    struct io_uring_sqe *request = uring_request(room);
    if (room->peers != NULL) {
        acceptor->address_size = sizeof acceptor->address;
        io_uring_prep_accept_direct(request, room->listener, (struct sockaddr *)&acceptor->address,
                                    &acceptor->address_size, 0, IORING_FILE_INDEX_ALLOC - 1);
    } else {
        io_uring_prep_multishot_accept_direct(request, room->listener, NULL, NULL, 0);
    }
    io_uring_sqe_set_data64(request, acceptor_token(room, index));
    acceptor->armed = true;
}

static void accept_arm(struct uring_room *room)
{
    if (!accept_wanted(room))
        return;
    for (uint32_t i = 0; i < room->acceptor_count; i++)
        if (!room->acceptors[i].armed)
            acceptor_arm(room, i);
}

static void accept_cancel(struct uring_room *room)
{
    for (uint32_t i = 0; i < room->acceptor_count; i++)
        if (room->acceptors[i].armed)
            uring_cancel(room, acceptor_token(room, i));
}

static void accept_state(struct uring_room *room, enum accepting accepting)
{
    if (room->accepting == accepting)
        return;
    room->accepting = accepting;
    if (accept_wanted(room))
        accept_arm(room);
    else
        accept_cancel(room);
}

int uring_listen(struct io *io, int socket)
{
    struct uring_room *room = uring_of(io);
    if (room->listener >= 0)
        return -EBUSY;
    room->listener = socket;
    room->listen_generation++;
    for (uint32_t i = 0; i < room->acceptor_count; i++)
        room->acceptors[i].armed = false;
    accept_arm(room);
    return 0;
}

/* The armed requests keep the socket open, so they must be gone (in the kernel) when this returns. */
void uring_listen_stop(struct io *io)
{
    struct uring_room *room = uring_of(io);
    if (room->listener < 0)
        return;
    accept_cancel(room);
    uring_submit(room);
    close(room->listener);
    room->listener = -1;
}

void uring_accept_pause(struct io *io, bool paused)
{
    struct uring_room *room = uring_of(io);
    if (room->accept_paused == paused)
        return;
    room->accept_paused = paused;
    if (paused)
        accept_cancel(room);
    else
        accept_arm(room);
}

void uring_accept_retry(struct uring_room *room)
{
    if (room->accepting == ACCEPT_NO_RESOURCE)
        accept_state(room, ACCEPT_OPEN);
}

static void peer_keep(struct uring_room *room, uint32_t slot, const struct acceptor *acceptor)
{
    struct sockaddr_in6 unified;
    struct peer *peer = &room->peers[slot];
    peer->known = io_address_unify((const struct sockaddr *)&acceptor->address, &unified);
    if (peer->known) {
        peer->address = unified.sin6_addr;
        peer->port = unified.sin6_port;
    }
}

bool uring_peer(struct io *io, uint32_t number, struct sockaddr_in6 *address)
{
    struct uring_room *room = uring_of(io);
    CHECK(number < io->slots_max && room->slots[number].flags & SLOT_OPEN);
    if (room->peers == NULL || !room->peers[number].known)
        return false;
    *address = (struct sockaddr_in6){
        .sin6_family = AF_INET6, .sin6_port = room->peers[number].port, .sin6_addr = room->peers[number].address};
    return true;
}

void uring_slot_free(struct uring_room *room, uint32_t number)
{
    struct uring_slot *slot = &room->slots[number];
    slot->flags = 0;
    slot->generation++;
    room->slots_used--;
    accept_state(room, ACCEPT_OPEN);
}

static void slot_begin(struct uring_room *room, uint32_t number)
{
    CHECK(room->slots[number].flags == 0);
    room->slots[number].flags = SLOT_OPEN | SLOT_FRESH;
    room->io.counters.accepts++;
    if (++room->slots_used == room->io.slots_max)
        accept_state(room, ACCEPT_NO_SLOT);
}

/* IO_ACCEPTED; preceded by the IO_CLOSED of the slot's former life if the accept overtook it. */
static bool accepted(struct uring_room *room, uint32_t number, struct io_event *event)
{
    CHECK(number < room->io.slots_max);
    bool overtook = room->slots[number].flags & SLOT_CLOSE_SENT;
    if (overtook)
        uring_slot_free(room, number);
    slot_begin(room, number);
    *event = (struct io_event){.kind = IO_ACCEPTED, .slot = number};
    if (overtook) {
        CHECK(!room->has_overtaken);
        room->has_overtaken = true;
        room->overtaken = *event;
        event->kind = IO_CLOSED;
    }
    return true;
}

static bool accept_failed(struct uring_room *room, int error, struct io_event *event)
{
    if (error == ENFILE)
        accept_state(room, ACCEPT_NO_SLOT);
    else if (error == EMFILE || error == ENOBUFS || error == ENOMEM)
        accept_state(room, ACCEPT_NO_RESOURCE);
    else
        return false; /* cancelled by us, or given up by the peer in the backlog */
    room->io.counters.accept_failures++;
    *event = (struct io_event){.kind = IO_ACCEPT_FAILED, .result = -error};
    return true;
}

bool uring_accept_done(struct uring_room *room, const struct completion *completion, struct io_event *event)
{
    struct acceptor *acceptor = &room->acceptors[token_number(completion->token)];
    bool current = token_generation(completion->token) == room->listen_generation;
    bool ended = current && !(completion->flags & IORING_CQE_F_MORE);
    if (ended)
        acceptor->armed = false;
    if (completion->result >= 0 && room->peers != NULL && current)
        peer_keep(room, (uint32_t)completion->result, acceptor);
    bool found = completion->result >= 0 ? accepted(room, (uint32_t)completion->result, event)
                                         : accept_failed(room, -completion->result, event);
    if (ended) {
        if (room->peers == NULL && accept_wanted(room))
            room->io.counters.rearms++;
        accept_arm(room);
    }
    return found;
}
