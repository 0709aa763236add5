/*
 * io_simulated: the room of the simulated network. See io_simulated.h.
 *
 * What is asked of it is written down as *acts* and done in order by the flush, as io_uring does; only then are bytes
 * copied, so that code which lets go of them too early is found out (a sum of them is taken at both times).
 *
 * The ready line is as in the epoll room, but a slot may join at either end: the order among slots is nobody's to
 * rely on. IO_CLOSED comes some time after the close, and the slot is the first to be used again: whoever takes an old
 * number for a new connection is found out, too.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "io/batch.h"
#include "sim_network.h"

/* What a turn takes of the clock if waiting moves it. Else a busy room would stop the time. */
enum { TURN_US = 10 };

enum act_kind { ACT_SEND, ACT_SHUTDOWN, ACT_CLOSE };

struct act {
    enum act_kind kind;
    uint32_t slot;
    uint32_t place; /* of the batch: ACT_SEND */
    uint32_t part_first, part_count;
    uint64_t sum; /* of the bytes when io_send() was called */
};

struct sim_room {
    struct io io;
    struct sim_network *network;
    uint32_t number;
    uint32_t *links; /* by slot; the next free slot if this one is free */
    uint32_t slots_fresh, slots_free, slots_used;
    uint32_t line_first, line_last;
    uint32_t backlog_first, backlog_last, backlog_count;
    uint32_t accepting; /* how many may still be accepted before the next wait */
    bool listening, accept_paused, accept_full, peer_addresses;
    bool buffer_out;
    uint32_t receives_left, receives_a_wait;
    char *buffer;
    uint32_t buffer_size;
    atomic_bool woken;
    struct batch batch;
    struct act *acts;
    uint32_t act_count, act_room;
    struct iovec *parts;
    uint32_t part_count, part_room;
};

static const struct io_room SIM_ROOM;

static struct sim_room *sim_room_of(const struct io *io)
{
    return (struct sim_room *)io;
}

static struct link *link_at(struct sim_room *room, uint32_t number)
{
    return &room->network->links[number];
}

/* The link of a slot that its user may still act on. */
static uint32_t link_of_slot(struct sim_room *room, uint32_t slot)
{
    CHECK_MSG(slot < room->slots_fresh, "slot %u was never given out", slot);
    uint32_t number = room->links[slot];
    CHECK_MSG(number < room->network->link_count && link_at(room, number)->flags & LINK_OPEN &&
                  link_at(room, number)->slot == slot && link_at(room, number)->room == room->number,
              "slot %u is not open", slot);
    CHECK_MSG(!(link_at(room, number)->flags & LINK_CLOSING), "slot %u is closing", slot);
    return number;
}

/* --- start and end ------------------------------------------------------------------------------------------ */

struct io *sim_room_create(struct sim_network *network, const struct io_options *options)
{
    CHECK(network->room_count < SIM_ROOMS_MAX);
    struct sim_room *room = calloc(1, sizeof *room);
    CHECK(room != NULL);
    room->io = (struct io){.room = &SIM_ROOM, .slots_max = options->slots_max, .batch = options->batch};
    room->network = network;
    room->number = network->room_count;
    room->slots_free = room->line_first = room->line_last = SIM_NONE;
    room->backlog_first = room->backlog_last = SIM_NONE;
    room->receives_left = room->receives_a_wait = options->receive_buffers;
    room->buffer_size = options->receive_buffer_size;
    room->buffer = malloc(room->buffer_size);
    room->links = calloc(options->slots_max, sizeof *room->links);
    room->peer_addresses = options->peer_addresses;
    CHECK(room->buffer != NULL && room->links != NULL && batch_init(&room->batch, options->batch));
    network->rooms[network->room_count++] = room;
    return &room->io;
}

/* The client sees the end of a connection that the room lets go of: a reset if bytes are left unread. */
static void end_for_client(struct sim_room *room, uint32_t number)
{
    struct link *link = link_at(room, number);
    bool unread = sim_unread(room->network, number, true) > 0;
    bool ended = link->flags & LINK_ROOM_ENDED;
    link->flags |= LINK_CLOSED;
    if (!(link->flags & LINK_CLIENT) || sim_reset_arrived(room->network, number, true))
        return;
    if (unread)
        sim_put(room->network, number, false, SEGMENT_RESET, NULL, 0);
    else if (!ended)
        sim_put(room->network, number, false, SEGMENT_END, NULL, 0);
}

static void backlog_drop(struct sim_room *room)
{
    while (room->backlog_first != SIM_NONE) {
        uint32_t number = room->backlog_first;
        room->backlog_first = link_at(room, number)->next;
        link_at(room, number)->flags &= (uint16_t)~LINK_BACKLOG;
        end_for_client(room, number);
        sim_link_release(room->network, number);
    }
    room->backlog_last = SIM_NONE;
    room->backlog_count = 0;
}

static void sim_room_destroy(struct io *io)
{
    struct sim_room *room = sim_room_of(io);
    room->network->rooms[room->number] = NULL;
    backlog_drop(room);
    for (uint32_t number = 0; number < room->network->link_count; number++) {
        struct link *link = link_at(room, number);
        if (!(link->flags & LINK_OPEN) || link->room != room->number)
            continue;
        if (!(link->flags & LINK_CLOSED))
            end_for_client(room, number);
        link->flags &= (uint16_t)~LINK_OPEN;
        sim_link_release(room->network, number);
    }
    batch_destroy(&room->batch);
    free(room->buffer);
    free(room->links);
    free(room->acts);
    free(room->parts);
    free(room);
}

uint32_t sim_slots_used(const struct io *io)
{
    return sim_room_of(io)->slots_used;
}

void sim_check_empty(const struct sim_network *network)
{
    for (uint32_t i = 0; i < network->room_count; i++)
        CHECK_MSG(network->rooms[i] == NULL || network->rooms[i]->slots_used == 0, "room %u leaks %u slots", i,
                  network->rooms[i]->slots_used);
}

/* --- the ready line ----------------------------------------------------------------------------------------- */

static bool owes_room(struct sim_room *room, uint32_t number)
{
    const struct sim_network *network = room->network;
    if (!(network->links[number].flags & LINK_WANT))
        return false;
    return sim_reset_arrived(network, number, true) ||
           sim_window(network, number, false) >= network->options.window_bytes / 3 + 1;
}

static bool owes_bytes(struct sim_room *room, uint32_t number)
{
    const struct link *link = link_at(room, number);
    return link->receiving != IO_RECEIVE_PAUSED && !(link->flags & LINK_END_REPORTED) &&
           sim_arrived(room->network, number, true);
}

static bool owes(struct sim_room *room, uint32_t number)
{
    const struct link *link = link_at(room, number);
    if (!(link->flags & LINK_OPEN))
        return false;
    if (link->flags & LINK_CLOSING)
        return link->flags & LINK_RIPE;
    return owes_room(room, number) || owes_bytes(room, number);
}

void sim_room_look(struct sim_room *room, uint32_t number)
{
    struct link *link = link_at(room, number);
    if (link->flags & LINK_IN_LINE || !owes(room, number))
        return;
    link->flags |= LINK_IN_LINE;
    bool in_front = sim_random(room->network, 4) == 0;
    link->next = in_front ? room->line_first : SIM_NONE;
    if (room->line_first == SIM_NONE)
        room->line_first = room->line_last = number;
    else if (in_front)
        room->line_first = number;
    else
        room->line_last = link_at(room, room->line_last)->next = number;
}

void sim_room_ripe(struct sim_room *room, uint32_t number)
{
    link_at(room, number)->flags |= LINK_RIPE;
    sim_room_look(room, number);
}

static uint32_t line_leave(struct sim_room *room)
{
    uint32_t number = room->line_first;
    struct link *link = link_at(room, number);
    room->line_first = link->next;
    if (room->line_first == SIM_NONE)
        room->line_last = SIM_NONE;
    link->flags &= (uint16_t)~LINK_IN_LINE;
    return number;
}

void sim_room_calm(struct sim_room *room)
{
    room->receives_a_wait = room->receives_a_wait < 64 ? 64 : room->receives_a_wait;
}

/* --- accepting ---------------------------------------------------------------------------------------------- */

bool sim_room_knock(struct sim_room *room, uint32_t number)
{
    if (!room->listening || room->backlog_count == room->network->options.backlog)
        return false;
    if (room->backlog_last == SIM_NONE)
        room->backlog_first = number;
    else
        link_at(room, room->backlog_last)->next = number;
    room->backlog_last = number;
    room->backlog_count++;
    return true;
}

static uint32_t backlog_take(struct sim_room *room)
{
    uint32_t number = room->backlog_first;
    room->backlog_first = link_at(room, number)->next;
    if (room->backlog_first == SIM_NONE)
        room->backlog_last = SIM_NONE;
    room->backlog_count--;
    link_at(room, number)->flags &= (uint16_t)~LINK_BACKLOG;
    return number;
}

static int sim_listen(struct io *io, int socket)
{
    (void)socket;
    sim_room_of(io)->listening = true;
    return 0;
}

static void sim_listen_stop(struct io *io)
{
    sim_room_of(io)->listening = false;
    backlog_drop(sim_room_of(io));
}

static void sim_accept_pause(struct io *io, bool paused)
{
    sim_room_of(io)->accept_paused = paused;
}

static uint32_t slot_take(struct sim_room *room)
{
    uint32_t slot = room->slots_free;
    if (slot == SIM_NONE)
        return room->slots_fresh++;
    room->slots_free = room->links[slot];
    return slot;
}

static bool accept_failed(struct sim_room *room, struct io_event *event, int error)
{
    room->io.counters.accept_failures++;
    *event = (struct io_event){.kind = IO_ACCEPT_FAILED, .result = -error};
    return true;
}

static void connection_lost(struct sim_room *room, uint32_t number)
{
    end_for_client(room, number);
    sim_link_release(room->network, number);
}

static bool accept_next(struct sim_room *room, struct io_event *event)
{
    if (room->backlog_first == SIM_NONE || room->accept_paused || room->accept_full || room->accepting == 0)
        return false;
    room->accepting--;
    if (room->slots_used == room->io.slots_max) {
        room->accept_full = true;
        if (sim_random(room->network, 2) == 0) /* io_uring loses it, epoll leaves it in the backlog */
            connection_lost(room, backlog_take(room));
        return accept_failed(room, event, ENFILE);
    }
    uint32_t number = backlog_take(room);
    if (sim_chance(room->network, room->network->options.failed_accepts)) {
        connection_lost(room, number);
        return accept_failed(room, event, ENOMEM);
    }
    uint32_t slot = slot_take(room);
    struct link *link = link_at(room, number);
    link->slot = slot;
    link->flags |= LINK_OPEN;
    link->receiving = IO_RECEIVE_PAUSED;
    room->links[slot] = number;
    room->slots_used++;
    room->io.counters.accepts++;
    *event = (struct io_event){.kind = IO_ACCEPTED, .slot = slot};
    return true;
}

static void slot_give(struct sim_room *room, uint32_t number)
{
    struct link *link = link_at(room, number);
    link->flags &= (uint16_t)~LINK_OPEN;
    room->links[link->slot] = room->slots_free;
    room->slots_free = link->slot;
    room->slots_used--;
    room->accept_full = false;
    sim_link_release(room->network, number);
}

/* --- receiving ---------------------------------------------------------------------------------------------- */

static void sim_receive(struct io *io, uint32_t slot, enum io_receiving how)
{
    struct sim_room *room = sim_room_of(io);
    uint32_t number = link_of_slot(room, slot);
    link_at(room, number)->receiving = (uint8_t)how;
    sim_room_look(room, number);
}

static void sim_buffer_return(struct io *io, uint32_t buffer)
{
    struct sim_room *room = sim_room_of(io);
    CHECK_MSG(room->buffer_out && buffer == 0, "buffer %u is not out", buffer);
    room->buffer_out = false;
    memset(room->buffer, 0xDD, room->buffer_size); /* whoever still reads it is found out */
}

static size_t receive_size(struct sim_room *room)
{
    if (!sim_chance(room->network, room->network->options.short_receives))
        return room->buffer_size;
    return 1 + sim_random(room->network, room->buffer_size < 16 ? room->buffer_size : 16);
}

static void receive_now(struct sim_room *room, uint32_t number, struct io_event *event)
{
    if (sim_chance(room->network, room->network->options.resets))
        sim_break(room->network, number);
    ssize_t result = sim_take(room->network, number, true, room->buffer, receive_size(room));
    CHECK(result != -EAGAIN);
    if (result <= 0) {
        link_at(room, number)->flags |= LINK_END_REPORTED;
        event->kind = IO_ENDED;
        event->result = (int32_t)result;
        return;
    }
    room->buffer_out = true;
    room->io.counters.receives++;
    room->io.counters.receive_bytes += (uint64_t)result;
    event->kind = IO_RECEIVED;
    event->data = room->buffer;
    event->size = (uint32_t)result;
}

/* --- what is asked, until the flush ------------------------------------------------------------------------- */

static struct act *act_add(struct sim_room *room, enum act_kind kind, uint32_t slot)
{
    if (room->act_count == room->act_room) {
        room->act_room = room->act_room * 2 + 64;
        room->acts = realloc(room->acts, room->act_room * sizeof *room->acts);
        CHECK(room->acts != NULL);
    }
    room->acts[room->act_count] = (struct act){.kind = kind, .slot = slot};
    return &room->acts[room->act_count++];
}

static uint32_t parts_keep(struct sim_room *room, const struct iovec *parts, uint32_t count)
{
    if (room->part_count + count > room->part_room) {
        room->part_room = room->part_room * 2 + count;
        room->parts = realloc(room->parts, room->part_room * sizeof *room->parts);
        CHECK(room->parts != NULL);
    }
    memcpy(&room->parts[room->part_count], parts, count * sizeof *parts);
    room->part_count += count;
    return room->part_count - count;
}

/* FNV-1a, eight bytes a step where there are eight: not for the wire, just to notice a change. */
static uint64_t parts_sum(const struct iovec *parts, uint32_t count)
{
    uint64_t sum = 0xCBF29CE484222325u;
    for (uint32_t i = 0; i < count; i++) {
        const unsigned char *bytes = parts[i].iov_base;
        size_t at = 0;
        for (uint64_t word; at + sizeof word <= parts[i].iov_len; at += sizeof word) {
            memcpy(&word, bytes + at, sizeof word);
            sum = (sum ^ word) * 0x100000001B3u;
        }
        for (; at < parts[i].iov_len; at++)
            sum = (sum ^ bytes[at]) * 0x100000001B3u;
    }
    return sum;
}

static void sim_sendv(struct io *io, uint32_t slot, const struct iovec *parts, int count, uint32_t tag)
{
    struct sim_room *room = sim_room_of(io);
    struct link *link = link_at(room, link_of_slot(room, slot));
    CHECK_MSG(!(link->flags & LINK_SENDING), "slot %u has a send in this batch already", slot);
    CHECK_MSG(!(link->flags & LINK_ROOM_ENDED), "slot %u was shut down for writing", slot);
    CHECK(count > 0 && count <= IO_PARTS_MAX);
    link->flags |= LINK_SENDING;
    size_t size = 0;
    for (int i = 0; i < count; i++)
        size += parts[i].iov_len;
    CHECK_MSG(size > 0, "slot %u: a send of nothing", slot);
    struct act *act = act_add(room, ACT_SEND, slot);
    act->place = batch_add(&room->batch, &io->counters, slot, size, tag);
    act->part_first = parts_keep(room, parts, (uint32_t)count);
    act->part_count = (uint32_t)count;
    act->sum = parts_sum(parts, (uint32_t)count);
}

static void sim_send(struct io *io, uint32_t slot, const void *bytes, size_t size, uint32_t tag)
{
    struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = size};
    sim_sendv(io, slot, &part, 1, tag);
}

static void sim_want_writable(struct io *io, uint32_t slot)
{
    struct sim_room *room = sim_room_of(io);
    uint32_t number = link_of_slot(room, slot);
    link_at(room, number)->flags |= LINK_WANT;
    sim_room_look(room, number);
}

static void sim_shutdown_write(struct io *io, uint32_t slot)
{
    struct sim_room *room = sim_room_of(io);
    struct link *link = link_at(room, link_of_slot(room, slot));
    if (link->flags & LINK_ROOM_ENDED)
        return;
    link->flags |= LINK_ROOM_ENDED;
    act_add(room, ACT_SHUTDOWN, slot);
}

static void sim_close(struct io *io, uint32_t slot)
{
    struct sim_room *room = sim_room_of(io);
    link_at(room, link_of_slot(room, slot))->flags |= LINK_CLOSING;
    act_add(room, ACT_CLOSE, slot);
}

/* --- the flush ---------------------------------------------------------------------------------------------- */

/* How much of a send goes into the window, and perhaps into no window at all. */
static uint32_t send_size(struct sim_room *room, uint32_t number, uint64_t size)
{
    struct sim_network *network = room->network;
    if (network->links[number].flags & LINK_CLIENT_GONE)
        return (uint32_t)size;
    uint32_t window = sim_window(network, number, false);
    uint32_t taken = size < window ? (uint32_t)size : window;
    if (taken > 0 && sim_chance(network, network->options.short_sends))
        taken = sim_random(network, taken);
    return taken;
}

static void put_parts(struct sim_room *room, uint32_t number, const struct iovec *parts, uint32_t size)
{
    for (uint32_t left = size; left > 0; parts++) {
        uint32_t part = parts->iov_len < left ? (uint32_t)parts->iov_len : left;
        if (part > 0)
            sim_put(room->network, number, false, SEGMENT_BYTES, parts->iov_base, part);
        left -= part;
    }
}

/* Bytes taken or -errno. What is sent to a client that has left is answered by a reset. */
static int64_t act_send(struct sim_room *room, uint32_t number, const struct act *act)
{
    struct sim_network *network = room->network;
    if (sim_chance(network, network->options.resets))
        sim_break(network, number);
    if (sim_reset_arrived(network, number, true))
        return sim_random(network, 2) ? -EPIPE : -ECONNRESET;
    uint32_t size = send_size(room, number, room->batch.sends[act->place].size);
    if (network->links[number].flags & LINK_CLIENT_GONE)
        sim_put(network, number, true, SEGMENT_RESET, NULL, 0);
    else
        put_parts(room, number, &room->parts[act->part_first], size);
    return size;
}

static void act_close(struct sim_room *room, uint32_t number)
{
    end_for_client(room, number);
    sim_notice(room->network, number, NOTICE_CLOSED, room->network->now_us + sim_delay(room->network));
}

static void act_do(struct sim_room *room, const struct act *act)
{
    uint32_t number = room->links[act->slot];
    struct link *link = link_at(room, number);
    switch (act->kind) {
    case ACT_SEND:
        CHECK_MSG(parts_sum(&room->parts[act->part_first], act->part_count) == act->sum,
                  "slot %u: the bytes of a send changed before the flush", act->slot);
        link->flags &= (uint16_t)~LINK_SENDING;
        batch_report(&room->batch, &room->io.counters, act->place, act_send(room, number, act));
        break;
    case ACT_SHUTDOWN:
        if (link->flags & LINK_CLIENT && !sim_reset_arrived(room->network, number, true))
            sim_put(room->network, number, false, SEGMENT_END, NULL, 0);
        break;
    case ACT_CLOSE:
        act_close(room, number);
        break;
    }
}

static void sim_flush(struct io *io)
{
    struct sim_room *room = sim_room_of(io);
    io->counters.flushes++;
    for (uint32_t i = 0; i < room->act_count; i++)
        act_do(room, &room->acts[i]);
    room->act_count = room->part_count = 0;
    batch_done(&room->batch);
}

static bool sim_next_short(struct io *io, struct io_short *report)
{
    return batch_next_short(&sim_room_of(io)->batch, report);
}

/* --- events ------------------------------------------------------------------------------------------------- */

static bool link_next(struct sim_room *room, uint32_t number, struct io_event *event)
{
    struct link *link = link_at(room, number);
    *event = (struct io_event){.slot = link->slot};
    if (!owes(room, number))
        return false;
    if (link->flags & LINK_CLOSING) {
        slot_give(room, number);
        event->kind = IO_CLOSED;
    } else if (owes_room(room, number)) {
        link->flags &= (uint16_t)~LINK_WANT;
        event->kind = IO_WRITABLE;
    } else {
        room->receives_left--;
        receive_now(room, number, event);
    }
    return true;
}

/* No buffer for it now: as if the rest of the turn's had none either. */
static bool receives_late(struct sim_room *room)
{
    if (!sim_chance(room->network, room->network->options.late_receives))
        return false;
    room->io.counters.receive_buffers_out++;
    room->receives_left = 0;
    return true;
}

static bool sim_next(struct io *io, struct io_event *event)
{
    struct sim_room *room = sim_room_of(io);
    CHECK_MSG(!room->buffer_out, "%s", "a receive buffer was not returned");
    while (room->line_first != SIM_NONE && room->receives_left > 0 && !receives_late(room)) {
        uint32_t number = line_leave(room);
        bool found = link_next(room, number, event);
        sim_room_look(room, number);
        if (found)
            return true;
    }
    return accept_next(room, event);
}

bool sim_room_ready(const struct io *io)
{
    struct sim_room *room = sim_room_of(io);
    bool knocking = room->backlog_first != SIM_NONE && room->listening && !room->accept_paused && !room->accept_full;
    return atomic_load(&room->woken) || room->line_first != SIM_NONE || knocking || room->act_count > 0 ||
           room->batch.short_taken != room->batch.short_count;
}

static void sim_wait(struct io *io, int64_t timeout_us)
{
    struct sim_room *room = sim_room_of(io);
    CHECK_MSG(!room->buffer_out, "%s", "a receive buffer was not returned");
    sim_flush(io);
    io->counters.waits++;
    if (room->network->options.wait_advances)
        sim_advance(room->network, TURN_US);
    if (room->network->options.wait_advances && !sim_room_ready(io))
        sim_advance_to_next(room->network, timeout_us);
    sim_deliver(room->network);
    if (atomic_exchange(&room->woken, false))
        io->counters.wakes++;
    room->receives_left = room->receives_a_wait;
    room->accepting = room->io.batch;
}

static void sim_wake(struct io *io)
{
    atomic_store(&sim_room_of(io)->woken, true);
}

/* A made-up address that names the client. */
static bool sim_peer(struct io *io, uint32_t slot, struct sockaddr_in6 *address)
{
    struct sim_room *room = sim_room_of(io);
    if (!room->peer_addresses)
        return false;
    uint32_t number = link_of_slot(room, slot);
    *address = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(1024)};
    address->sin6_addr.s6_addr[0] = 0xfd;
    memcpy(&address->sin6_addr.s6_addr[12], &number, sizeof number);
    return true;
}

static const struct io_room SIM_ROOM = {
    .name = "simulated",
    .destroy = sim_room_destroy,
    .listen = sim_listen,
    .listen_stop = sim_listen_stop,
    .accept_pause = sim_accept_pause,
    .receive = sim_receive,
    .buffer_return = sim_buffer_return,
    .send = sim_send,
    .sendv = sim_sendv,
    .want_writable = sim_want_writable,
    .shutdown_write = sim_shutdown_write,
    .close = sim_close,
    .flush = sim_flush,
    .next_short = sim_next_short,
    .next = sim_next,
    .wait = sim_wait,
    .wake = sim_wake,
    .peer = sim_peer,
};
