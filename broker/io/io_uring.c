/*
 * io_uring: the room that is measured. See io_uring_room.h for its parts.
 *
 * Receiving, by slot. What is armed follows from what is wanted (arm()), whenever nothing is:
 *
 *            ┌───────── new and idle: one RECEIVE (waits) ───────────────────▶ bytes ──┐
 *            ├───────── idle: POLL ──▶ fired ──▶ one RECEIVE (does not wait) ──▶ bytes ──┤
 *   arm() ───┤                                                                           ├──▶ arm() …
 *            ├───────── busy: RECEIVE, multishot ──▶ bytes … bytes ──▶ its last ─────────┘
 *            └───────── paused, ended, closing: nothing
 *
 * A poll takes nothing from the socket, so it is left armed whatever is wanted next; a multishot receive does, so it is
 * cancelled when the slot is to be paused or idle (what still comes while paused is held: io_uring_held.c). A
 * receive that finds no buffer free ends with ENOBUFS, and its slot waits in line for one: io_uring_starved.c.
 *
 * Sending: see io_uring_ring.c. Gathering sends need their iovecs until they are submitted: these stand in an arena of
 * the batch, and when it is full, what is queued is submitted early.
 *
 * Closing: begin (cancel what is armed), join (each cancelled request completes), finish (the direct descriptor
 * is closed, its completion is IO_CLOSED). The kernel gives the number to the next connection from then on.
 *
 * Thread: the creator's (SINGLE_ISSUER), but for uring_wake().
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "io/io_uring_room.h"

#define BUFFER_HELD UINT32_MAX /* the buffer's number if the bytes come from the held list */
#define SEND_FLAGS  (MSG_DONTWAIT | MSG_NOSIGNAL | MSG_WAITALL)

enum { SENDS_A_SUBMISSION = 64 };

static const struct io_room URING_ROOM;

static struct uring_slot *slot_usable(struct uring_room *room, uint32_t number)
{
    CHECK(number < room->io.slots_max);
    struct uring_slot *slot = &room->slots[number];
    CHECK((slot->flags & (SLOT_OPEN | SLOT_CLOSING)) == SLOT_OPEN);
    return slot;
}

static uint64_t slot_token(const struct uring_room *room, enum operation operation, uint32_t number)
{
    return token_make(operation, room->slots[number].generation, number);
}

/* Aims a prepared request at the slot's direct descriptor. */
static void slot_request(struct uring_room *room, struct io_uring_sqe *request, enum operation operation,
                         uint32_t number)
{
    request->flags |= IOSQE_FIXED_FILE;
    io_uring_sqe_set_data64(request, slot_token(room, operation, number));
}

/* --- start and end ------------------------------------------------------------------------------------------ */

struct io *io_uring_room_create(const struct io_options *options, const char **problem)
{
    struct uring_room *room = calloc(1, sizeof *room);
    if (room == NULL) {
        *problem = "no memory for the io_uring room";
        return NULL;
    }
    room->io.room = &URING_ROOM;
    room->io.batch = options->batch;
    room->wake = room->door = room->listener = -1;
    room->acceptor_count = options->peer_addresses ? ACCEPTORS_MAX : 1;
    if (!uring_setup(room, options, problem)) {
        io_destroy(&room->io);
        return NULL;
    }
    return &room->io;
}

bool io_uring_room_usable(const char **problem)
{
    struct io_options least = {.slots_max = 1, .receive_buffers = 1, .receive_buffer_size = 64, .batch = 1};
    struct io *io = io_uring_room_create(&least, problem);
    if (io == NULL)
        return false;
    io_destroy(io);
    return true;
}

static void uring_destroy(struct io *io)
{
    struct uring_room *room = uring_of(io);
    uring_teardown(room);
    uring_held_destroy(room);
    free(room);
}

/* --- receiving ---------------------------------------------------------------------------------------------- */

static void arm_poll(struct uring_room *room, uint32_t number)
{
    struct io_uring_sqe *request = uring_request(room);
    io_uring_prep_poll_add(request, (int)number, POLLIN | POLLRDHUP);
    slot_request(room, request, OP_POLL, number);
    slot_set(&room->slots[number], SLOT_POLL);
}

enum receive_shape {
    RECEIVE_FIRST, /* waits for the bytes, once */
    RECEIVE_ONCE,  /* takes what is there */
    RECEIVE_MULTISHOT,
};

static void arm_receive(struct uring_room *room, uint32_t number, enum receive_shape shape)
{
    struct io_uring_sqe *request = uring_request(room);
    if (shape == RECEIVE_MULTISHOT)
        io_uring_prep_recv_multishot(request, (int)number, NULL, 0, 0);
    else
        io_uring_prep_recv(request, (int)number, NULL, 0, shape == RECEIVE_ONCE ? MSG_DONTWAIT : 0);
    slot_request(room, request, OP_RECEIVE, number);
    request->flags |= IOSQE_BUFFER_SELECT;
    request->buf_group = 0;
    slot_set(&room->slots[number], SLOT_RECEIVE);
    if (shape == RECEIVE_ONCE) {
        slot_set(&room->slots[number], SLOT_ONCE);
        room->receives_once++;
    }
    room->receive_queued = true;
}

/* Most have sent their request by the time that they are accepted: the first receive saves them a poll and a turn. */
static void arm_idle(struct uring_room *room, uint32_t number)
{
    if (room->slots[number].flags & SLOT_FRESH)
        arm_receive(room, number, RECEIVE_FIRST);
    else
        arm_poll(room, number);
}

static void arm(struct uring_room *room, uint32_t number)
{
    struct uring_slot *slot = &room->slots[number];
    if (slot->flags & (SLOT_POLL | SLOT_RECEIVE | SLOT_ENDED | SLOT_CLOSING))
        return;
    switch (slot_receiving(slot)) {
    case IO_RECEIVE_PAUSED:
        return;
    case IO_RECEIVE_IDLE:
        arm_idle(room, number);
        break;
    case IO_RECEIVE_BUSY:
        arm_receive(room, number, RECEIVE_MULTISHOT);
        break;
    }
    slot_clear(slot, SLOT_FRESH);
}

static void receive_cancel(struct uring_room *room, uint32_t number)
{
    struct uring_slot *slot = &room->slots[number];
    if ((slot->flags & (SLOT_RECEIVE | SLOT_CANCELLING)) != SLOT_RECEIVE)
        return;
    slot_set(slot, SLOT_CANCELLING);
    uring_cancel(room, slot_token(room, OP_RECEIVE, number));
}

static void uring_receive(struct io *io, uint32_t number, enum io_receiving how)
{
    struct uring_room *room = uring_of(io);
    struct uring_slot *slot = slot_usable(room, number);
    if (slot_receiving(slot) == how)
        return;
    slot_set_receiving(slot, how);
    if (how != IO_RECEIVE_BUSY)
        receive_cancel(room, number);
    if (how != IO_RECEIVE_PAUSED) {
        uring_release(room, number);
        arm(room, number);
    }
}

static void uring_buffer_return(struct io *io, uint32_t buffer)
{
    struct uring_room *room = uring_of(io);
    CHECK(room->buffer_out);
    room->buffer_out = false;
    if (buffer == BUFFER_HELD)
        uring_held_return(room);
    else
        uring_buffer_give(room, buffer);
}

static bool report_received(struct uring_room *room, struct io_event *event, uint32_t buffer, char *data, int32_t size)
{
    room->buffer_out = true;
    room->io.counters.receives++;
    room->io.counters.receive_bytes += (uint64_t)size;
    event->kind = IO_RECEIVED;
    event->buffer = buffer;
    event->data = data;
    event->size = (uint32_t)size;
    return true;
}

static bool report_ended(struct io_event *event, int32_t result)
{
    event->kind = IO_ENDED;
    event->result = result;
    return true;
}

/* Bytes of a slot: out with an event, or held because the slot is paused, or thrown away because it closes. */
static bool received_bytes(struct uring_room *room, const struct completion *completion, struct io_event *event)
{
    const struct uring_slot *slot = &room->slots[event->slot];
    uint32_t buffer = completion->flags >> IORING_CQE_BUFFER_SHIFT;
    char *data = uring_buffer(room, buffer);
    if (!(slot->flags & SLOT_CLOSING) && slot_receiving(slot) != IO_RECEIVE_PAUSED)
        return report_received(room, event, buffer, data, completion->result);
    if (!(slot->flags & SLOT_CLOSING))
        uring_hold(room, event->slot, completion->result, data);
    uring_buffer_give(room, buffer);
    return false;
}

static bool received_end(struct uring_room *room, int32_t result, struct io_event *event)
{
    struct uring_slot *slot = &room->slots[event->slot];
    if (slot->flags & (SLOT_CLOSING | SLOT_ENDED))
        return false;
    slot_set(slot, SLOT_ENDED);
    if (slot_receiving(slot) != IO_RECEIVE_PAUSED)
        return report_ended(event, result);
    uring_hold(room, event->slot, result, NULL);
    return false;
}

/* Results that say nothing about the connection: it is armed again if that is still wanted. */
static bool receive_retries(int32_t result)
{
    return result == -ECANCELED || result == -ENOBUFS || result == -EAGAIN || result == -EINTR;
}

static bool receive_done(struct uring_room *room, const struct completion *completion, struct io_event *event)
{
    struct uring_slot *slot = &room->slots[event->slot];
    bool last = !(completion->flags & IORING_CQE_F_MORE);
    bool multishot_ended = last && slot_receiving(slot) == IO_RECEIVE_BUSY && !(slot->flags & SLOT_CANCELLING);
    if (last) {
        room->receives_once -= (slot->flags & SLOT_ONCE) != 0;
        slot_clear(slot, SLOT_RECEIVE | SLOT_ONCE | SLOT_CANCELLING);
    }
    bool found = false;
    if (completion->result > 0)
        found = received_bytes(room, completion, event);
    else if (!receive_retries(completion->result))
        found = received_end(room, completion->result, event);
    if (multishot_ended && !(slot->flags & SLOT_ENDED))
        room->io.counters.rearms++;
    if (last && completion->result == -ENOBUFS && !(slot->flags & (SLOT_CLOSING | SLOT_ENDED)))
        uring_starve(room, event->slot);
    else if (last)
        arm(room, event->slot);
    return found;
}

/* Something is there for an idle slot: bytes, the end or an error. The receive finds out which. */
static void poll_done(struct uring_room *room, uint32_t number, int32_t result)
{
    struct uring_slot *slot = &room->slots[number];
    slot_clear(slot, SLOT_POLL);
    bool receives =
        result > 0 && slot_receiving(slot) == IO_RECEIVE_IDLE && !(slot->flags & (SLOT_CLOSING | SLOT_ENDED));
    if (receives && room->receives_once < room->buffer_count)
        arm_receive(room, number, RECEIVE_ONCE);
    else if (receives)
        uring_starve(room, number);
    else
        arm(room, number);
}

void uring_starved_serve(struct uring_room *room)
{
    uint32_t number;
    for (uint32_t i = 0; i < room->buffer_count && uring_starved_take(room, &number); i++) {
        const struct uring_slot *slot = &room->slots[number];
        bool free = !(slot->flags & (SLOT_POLL | SLOT_RECEIVE | SLOT_ENDED | SLOT_CLOSING));
        if (free && slot_receiving(slot) == IO_RECEIVE_IDLE)
            arm_receive(room, number, RECEIVE_ONCE);
        else
            arm(room, number);
    }
}

static bool next_released(struct uring_room *room, struct io_event *event)
{
    const struct held *held = uring_next_released(room);
    if (held == NULL)
        return false;
    *event = (struct io_event){.slot = held->slot};
    if (held->result > 0)
        return report_received(room, event, BUFFER_HELD, room->lent->bytes, held->result);
    report_ended(event, held->result);
    uring_held_return(room);
    return true;
}

/* --- sending ------------------------------------------------------------------------------------------------ */

/*
 * Submits already when some dozens are queued: the kernel gives a submission's requests back at its end, and so
 * works on with the same few while they are in the cache. (128 bytes to 1,000 sockets: 2 % less CPU than all at once.)
 */
static void send_request(struct uring_room *room, struct io_uring_sqe *request, uint32_t place)
{
    request->flags |= IOSQE_FIXED_FILE | IOSQE_CQE_SKIP_SUCCESS;
    io_uring_sqe_set_data64(request, token_make(OP_SEND, 0, place));
    if (io_uring_sq_ready(&room->ring) >= SENDS_A_SUBMISSION)
        uring_submit(room);
}

static void uring_send(struct io *io, uint32_t number, const void *bytes, size_t size, uint32_t tag)
{
    struct uring_room *room = uring_of(io);
    slot_usable(room, number);
    CHECK(size > 0 && size <= INT32_MAX);
    uint32_t place = batch_add(&room->batch, &io->counters, number, size, tag);
    struct io_uring_sqe *request = uring_request(room);
    io_uring_prep_send(request, (int)number, bytes, size, SEND_FLAGS);
    send_request(room, request, place);
}

/* A message of that many parts in the arena, which has room for it. */
static struct msghdr *message_take(struct uring_room *room, const struct iovec *parts, int count)
{
    struct iovec *copies = &room->parts[room->part_count];
    memcpy(copies, parts, (size_t)count * sizeof *parts);
    room->part_count += (uint32_t)count;
    struct msghdr *message = &room->messages[room->message_count++];
    *message = (struct msghdr){.msg_iov = copies, .msg_iovlen = (size_t)count};
    return message;
}

static size_t parts_size(const struct iovec *parts, int count)
{
    size_t size = 0;
    for (int i = 0; i < count; i++)
        size += parts[i].iov_len;
    return size;
}

/*
 * The order matters: submitting empties the arena, and must not happen between taking a request and filling it in. So
 * the arena is made roomy first, then the request is taken (which may submit, and leaves the arena roomier), then the
 * message.
 */
static void uring_sendv(struct io *io, uint32_t number, const struct iovec *parts, int count, uint32_t tag)
{
    struct uring_room *room = uring_of(io);
    slot_usable(room, number);
    CHECK(count > 0 && count <= IO_PARTS_MAX);
    size_t size = parts_size(parts, count);
    CHECK(size > 0 && size <= INT32_MAX);
    uint32_t place = batch_add(&room->batch, &io->counters, number, size, tag);
    if (room->part_count + (uint32_t)count > room->part_room)
        uring_submit(room);
    struct io_uring_sqe *request = uring_request(room);
    io_uring_prep_sendmsg(request, (int)number, message_take(room, parts, count), SEND_FLAGS);
    send_request(room, request, place);
}

static void uring_want_writable(struct io *io, uint32_t number)
{
    struct uring_room *room = uring_of(io);
    struct uring_slot *slot = slot_usable(room, number);
    if (slot->flags & SLOT_WRITABLE)
        return;
    struct io_uring_sqe *request = uring_request(room);
    io_uring_prep_poll_add(request, (int)number, POLLOUT);
    slot_request(room, request, OP_WRITABLE, number);
    slot_set(slot, SLOT_WRITABLE);
}

static void uring_shutdown_write(struct io *io, uint32_t number)
{
    struct uring_room *room = uring_of(io);
    struct uring_slot *slot = slot_usable(room, number);
    if (slot->flags & SLOT_SHUTDOWN)
        return;
    struct io_uring_sqe *request = uring_request(room);
    io_uring_prep_shutdown(request, (int)number, SHUT_WR);
    slot_request(room, request, OP_SHUTDOWN, number);
    slot_set(slot, SLOT_SHUTDOWN);
}

static void uring_flush(struct io *io)
{
    struct uring_room *room = uring_of(io);
    io->counters.flushes++;
    if (io_uring_sq_ready(&room->ring) > 0)
        uring_submit(room);
    batch_done(&room->batch);
}

static bool uring_next_short(struct io *io, struct io_short *report)
{
    return batch_next_short(&uring_of(io)->batch, report);
}

/* --- closing ------------------------------------------------------------------------------------------------ */

/* The second step: once nothing but us holds the socket, its descriptor goes. */
static void join(struct uring_room *room, uint32_t number)
{
    struct uring_slot *slot = &room->slots[number];
    if ((slot->flags & (SLOT_CLOSING | SLOT_CLOSE_SENT | SLOT_IN_FLIGHT)) != SLOT_CLOSING)
        return;
    slot_set(slot, SLOT_CLOSE_SENT);
    struct io_uring_sqe *request = uring_request(room);
    io_uring_prep_close_direct(request, number);
    io_uring_sqe_set_data64(request, slot_token(room, OP_CLOSE, number));
}

static void uring_close(struct io *io, uint32_t number)
{
    struct uring_room *room = uring_of(io);
    struct uring_slot *slot = slot_usable(room, number);
    slot_set(slot, SLOT_CLOSING);
    uring_drop_held(room, number);
    receive_cancel(room, number);
    if (slot->flags & SLOT_POLL)
        uring_cancel(room, slot_token(room, OP_POLL, number));
    if (slot->flags & SLOT_WRITABLE)
        uring_cancel(room, slot_token(room, OP_WRITABLE, number));
    join(room, number);
}

/* --- events ------------------------------------------------------------------------------------------------- */

static bool writable_done(struct uring_room *room, struct io_event *event)
{
    struct uring_slot *slot = &room->slots[event->slot];
    slot_clear(slot, SLOT_WRITABLE);
    event->kind = IO_WRITABLE;
    return !(slot->flags & SLOT_CLOSING);
}

static bool close_done(struct uring_room *room, const struct completion *completion, struct io_event *event)
{
    CHECK_MSG(completion->result == 0, "closing slot %u: %s", event->slot, strerror(-completion->result));
    uring_slot_free(room, event->slot);
    event->kind = IO_CLOSED;
    return true;
}

/* What a completion of a slot tells. */
static bool slot_done(struct uring_room *room, const struct completion *completion, struct io_event *event)
{
    uint32_t number = token_number(completion->token);
    struct uring_slot *slot = &room->slots[number];
    *event = (struct io_event){.slot = number};
    if (token_generation(completion->token) != slot->generation) {
        CHECK(token_operation(completion->token) == OP_CLOSE); /* overtaken by an accept: see io_uring_accept.c */
        return false;
    }
    bool found = false;
    switch (token_operation(completion->token)) {
    case OP_POLL:
        poll_done(room, number, completion->result);
        break;
    case OP_RECEIVE:
        found = receive_done(room, completion, event);
        break;
    case OP_WRITABLE:
        found = writable_done(room, event);
        break;
    case OP_SHUTDOWN:
        slot_clear(slot, SLOT_SHUTDOWN);
        break;
    case OP_CLOSE:
        return close_done(room, completion, event);
    default:
        UNREACHABLE();
    }
    join(room, number);
    return found;
}

static bool completion_done(struct uring_room *room, const struct completion *completion, struct io_event *event)
{
    if (token_operation(completion->token) == OP_ACCEPT)
        return uring_accept_done(room, completion, event);
    return slot_done(room, completion, event);
}

static bool uring_next(struct io *io, struct io_event *event)
{
    struct uring_room *room = uring_of(io);
    CHECK(!room->buffer_out);
    if (room->has_overtaken) {
        room->has_overtaken = false;
        *event = room->overtaken;
        return true;
    }
    if (next_released(room, event))
        return true;
    struct completion completion;
    while (uring_next_completion(room, &completion))
        if (completion_done(room, &completion, event))
            return true;
    return false;
}

static bool something_waits(const struct uring_room *room)
{
    return room->woken || room->has_overtaken || room->released.first != NULL || uring_has_starved(room) ||
           room->backlog.head != room->backlog.tail || room->batch.short_taken != room->batch.short_count;
}

static void uring_wait(struct io *io, int64_t timeout_us)
{
    struct uring_room *room = uring_of(io);
    if (room->batch.send_count > 0)
        uring_flush(io);
    io->counters.waits++;
    if (room->door >= 0 && io_uring_sq_ready(&room->ring) == 0 && !uring_is_ringing(room))
        uring_collect(room);
    else if (timeout_us == 0 || something_waits(room))
        uring_submit(room);
    else
        uring_submit_and_wait(room, timeout_us);
    if (!something_waits(room))
        uring_accept_retry(room);
    room->woken = false;
}

/*
 * What has been posted; not what the kernel says that it could make (uring_is_ringing()): that flag may be left over.
 * Another processor first adds its completion, then raises the flag, then rings the door. Who enters the ring between
 * the first and the second takes the completion, and lowers the flag before it is raised: it stays until the next one.
 */
static bool uring_is_waiting(const struct io *io)
{
    const struct uring_room *room = (const struct uring_room *)io;
    return something_waits(room) || uring_has_posted(room);
}

static bool uring_door_rang(const struct io *io)
{
    const struct uring_room *room = (const struct uring_room *)io;
    return something_waits(room) || uring_is_ringing(room);
}

static void uring_wake(struct io *io)
{
    uint64_t one = 1;
    int saved = errno; /* may be called by a signal handler */
    (void)!write(uring_of(io)->wake, &one, sizeof one);
    errno = saved;
}

static const struct io_room URING_ROOM = {
    .name = "io_uring",
    .destroy = uring_destroy,
    .listen = uring_listen,
    .listen_stop = uring_listen_stop,
    .accept_pause = uring_accept_pause,
    .receive = uring_receive,
    .buffer_return = uring_buffer_return,
    .send = uring_send,
    .sendv = uring_sendv,
    .want_writable = uring_want_writable,
    .shutdown_write = uring_shutdown_write,
    .close = uring_close,
    .flush = uring_flush,
    .next_short = uring_next_short,
    .next = uring_next,
    .wait = uring_wait,
    .wake = uring_wake,
    .peer = uring_peer,
    .door = uring_door,
    .is_waiting = uring_is_waiting,
    .door_rang = uring_door_rang,
};
