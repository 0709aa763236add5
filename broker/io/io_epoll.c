/*
 * io_epoll: the room for hosts where io_uring is forbidden (container runtimes block it by default).
 *
 * Plain non-blocking sockets. Each is registered once, edge-triggered for both directions, and never changed again:
 * what epoll told is kept as flags of the slot, so that pausing, resuming and asking for room cost no system call.
 *
 *   epoll_wait ──▶ flags (READABLE, WRITABLE) ──▶ the ready line ──▶ io_next(): one event of the slot at its head;
 *                                                     ▲                         whoever has more goes to the tail
 *                  io_receive(), io_close(), … ───────┘
 *
 * A slot stands in the line at most once, and only if it owes an event (slot_owes()). Bytes are received when their
 * event is asked for, into the one buffer that can be out. So that a turn ends while peers go on talking, io_next()
 * receives and accepts no more between two waits than a budget; a wait with somebody in line does not sleep.
 *
 * Idle and busy are the same here. Sends are done at io_send() already, in order; io_flush() only opens the
 * next batch. A closed socket is closed at once, its slot is free after its IO_CLOSED: no event of its
 * former life can follow, because events are turned to flags right after epoll_wait(), when nothing is half closed.
 *
 * If accepting fails for want of slots or descriptors, the listening socket is left alone until a slot is
 * freed (or, if it was not slots that lacked, until a wait has passed in quiet): its connections stay in the backlog.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "io/batch.h"
#include "io/io.h"
#include "io/listen.h"

enum { EVENTS_A_WAIT = 1024, ACCEPTS_A_WAIT = 256 };

/* What epoll's data holds for the two descriptors that are not slots. */
#define DATA_LISTENER UINT32_MAX
#define DATA_WAKE     (UINT32_MAX - 1)
#define NONE          UINT32_MAX

enum slot_flag {
    SLOT_OPEN = 1,      /* fd is valid */
    SLOT_CLOSING = 2,   /* fd is gone, IO_CLOSED is owed */
    SLOT_READABLE = 4,  /* epoll said so, and no receive has said otherwise since */
    SLOT_WRITABLE = 8,  /* the same for sends */
    SLOT_HANGUP = 16,   /* an end or an error stands behind what can still be received */
    SLOT_WANT = 32,     /* io_want_writable() */
    SLOT_ENDED = 64,    /* IO_ENDED was reported */
    SLOT_IN_LINE = 128, /* linked into the ready line */
};

struct slot {
    int fd;
    uint32_t next; /* in the ready line, or in the list of free slots */
    uint8_t flags;
    uint8_t receiving; /* enum io_receiving */
};
static_assert(sizeof(struct slot) == 12, "an idle slot costs what it must");

enum accepting {
    ACCEPT_OPEN,
    ACCEPT_NO_SLOT,     /* all taken: until one is freed */
    ACCEPT_NO_RESOURCE, /* descriptors or memory: until a slot is freed or a wait passes in quiet */
};

struct epoll_room {
    struct io io;
    struct slot *slots; /* mapped, touched as far as slots were ever used */
    uint32_t slots_fresh;
    uint32_t slots_free; /* first of the freed ones, or NONE */
    uint32_t line_first, line_last;
    uint32_t budget; /* receives that io_next() may still do before the next wait */
    uint32_t accept_budget;
    bool buffer_out;
    bool listener_ready;
    bool accept_paused;
    bool peer_addresses;
    enum accepting accepting;
    int epoll, wake, listener; /* -1: none */
    char *buffer;
    uint32_t buffer_size;
    uint32_t receives_a_wait;
    struct batch batch;
    struct epoll_event events[EVENTS_A_WAIT];
};

static const struct io_room EPOLL_ROOM;

static struct epoll_room *room_of(struct io *io)
{
    return (struct epoll_room *)io;
}

static struct slot *slot_open(struct epoll_room *room, uint32_t number)
{
    CHECK(number < room->slots_fresh);
    struct slot *slot = &room->slots[number];
    CHECK(slot->flags & SLOT_OPEN);
    return slot;
}

/* --- start and end ------------------------------------------------------------------------------------------ */

static uint32_t descriptors_allowed(uint32_t wanted)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > wanted)
        return wanted;
    return (uint32_t)limit.rlim_cur;
}

static bool watch(struct epoll_room *room, int fd, uint32_t events, uint32_t data)
{
    struct epoll_event event = {.events = events, .data.u32 = data};
    return epoll_ctl(room->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

static bool room_open(struct epoll_room *room, const struct io_options *options, const char **problem)
{
    *problem = "no memory for the connection slots";
    size_t slots_bytes = (size_t)room->io.slots_max * sizeof(struct slot);
    room->slots = mmap(NULL, slots_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    room->buffer = malloc(options->receive_buffer_size);
    if (room->slots == MAP_FAILED || room->buffer == NULL || !batch_init(&room->batch, options->batch))
        return false;
    *problem = "cannot make an epoll or event descriptor: raise the limit on open files";
    room->epoll = epoll_create1(EPOLL_CLOEXEC);
    room->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return room->epoll >= 0 && room->wake >= 0 && watch(room, room->wake, EPOLLIN, DATA_WAKE);
}

struct io *io_epoll_create(const struct io_options *options, const char **problem)
{
    struct epoll_room *room = calloc(1, sizeof *room);
    if (room == NULL) {
        *problem = "no memory for the epoll room";
        return NULL;
    }
    room->io.room = &EPOLL_ROOM;
    room->io.slots_max = descriptors_allowed(options->slots_max);
    room->io.batch = options->batch;
    room->slots_free = room->line_first = room->line_last = NONE;
    room->epoll = room->wake = room->listener = -1;
    room->buffer_size = options->receive_buffer_size;
    room->receives_a_wait = room->budget = options->receive_buffers;
    room->accept_budget = ACCEPTS_A_WAIT;
    room->peer_addresses = options->peer_addresses;
    if (!room_open(room, options, problem)) {
        io_destroy(&room->io);
        return NULL;
    }
    return &room->io;
}

static void close_if_open(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void epoll_destroy(struct io *io)
{
    struct epoll_room *room = room_of(io);
    for (uint32_t i = 0; i < room->slots_fresh; i++)
        if (room->slots[i].flags & SLOT_OPEN)
            close(room->slots[i].fd);
    close_if_open(&room->listener);
    close_if_open(&room->wake);
    close_if_open(&room->epoll);
    if (room->slots != NULL && room->slots != MAP_FAILED)
        munmap(room->slots, (size_t)io->slots_max * sizeof(struct slot));
    free(room->buffer);
    batch_destroy(&room->batch);
    free(room);
}

/* --- the ready line ----------------------------------------------------------------------------------------- */

static bool slot_owes_bytes(const struct slot *slot)
{
    return slot->flags & SLOT_READABLE && slot->receiving != IO_RECEIVE_PAUSED && !(slot->flags & SLOT_ENDED);
}

static bool slot_owes_room(const struct slot *slot)
{
    return (slot->flags & (SLOT_WANT | SLOT_WRITABLE)) == (SLOT_WANT | SLOT_WRITABLE);
}

static bool slot_owes(const struct slot *slot)
{
    return slot->flags & SLOT_CLOSING || slot_owes_room(slot) || slot_owes_bytes(slot);
}

static void line_join(struct epoll_room *room, uint32_t number)
{
    struct slot *slot = &room->slots[number];
    if (slot->flags & SLOT_IN_LINE || !slot_owes(slot))
        return;
    slot->flags |= SLOT_IN_LINE;
    slot->next = NONE;
    if (room->line_last == NONE)
        room->line_first = number;
    else
        room->slots[room->line_last].next = number;
    room->line_last = number;
}

static uint32_t line_leave(struct epoll_room *room)
{
    uint32_t number = room->line_first;
    struct slot *slot = &room->slots[number];
    room->line_first = slot->next;
    if (room->line_first == NONE)
        room->line_last = NONE;
    slot->flags &= (uint8_t)~SLOT_IN_LINE;
    return number;
}

/* --- accepting ---------------------------------------------------------------------------------------------- */

/* Level-triggered: whoever waits in the backlog is seen again once we are willing. */
static void listener_watch(struct epoll_room *room)
{
    if (room->listener < 0)
        return;
    bool willing = !room->accept_paused && room->accepting == ACCEPT_OPEN;
    struct epoll_event event = {.events = willing ? EPOLLIN : 0, .data.u32 = DATA_LISTENER};
    CHECK(epoll_ctl(room->epoll, EPOLL_CTL_MOD, room->listener, &event) == 0);
    if (!willing)
        room->listener_ready = false;
}

static void accept_state(struct epoll_room *room, enum accepting accepting)
{
    if (room->accepting == accepting)
        return;
    room->accepting = accepting;
    listener_watch(room);
}

static int epoll_listen(struct io *io, int socket)
{
    struct epoll_room *room = room_of(io);
    if (room->listener >= 0)
        return -EBUSY;
    if (!watch(room, socket, 0, DATA_LISTENER))
        return -errno;
    room->listener = socket;
    listener_watch(room);
    return 0;
}

static void epoll_listen_stop(struct io *io)
{
    struct epoll_room *room = room_of(io);
    close_if_open(&room->listener);
    room->listener_ready = false;
}

static void epoll_accept_pause(struct io *io, bool paused)
{
    struct epoll_room *room = room_of(io);
    if (room->accept_paused == paused)
        return;
    room->accept_paused = paused;
    listener_watch(room);
}

static bool slot_available(const struct epoll_room *room)
{
    return room->slots_free != NONE || room->slots_fresh < room->io.slots_max;
}

static uint32_t slot_take(struct epoll_room *room)
{
    uint32_t number = room->slots_free;
    if (number == NONE)
        return room->slots_fresh++;
    room->slots_free = room->slots[number].next;
    return number;
}

static void slot_give(struct epoll_room *room, uint32_t number)
{
    room->slots[number].flags = 0;
    room->slots[number].next = room->slots_free;
    room->slots_free = number;
    accept_state(room, ACCEPT_OPEN);
}

static bool accept_failed(struct epoll_room *room, struct io_event *event, enum accepting why, int error)
{
    accept_state(room, why);
    room->io.counters.accept_failures++;
    *event = (struct io_event){.kind = IO_ACCEPT_FAILED, .result = -error};
    return true;
}

static bool accepted(struct epoll_room *room, struct io_event *event, int fd)
{
    uint32_t number = slot_take(room);
    room->slots[number] = (struct slot){.fd = fd, .flags = SLOT_OPEN, .receiving = IO_RECEIVE_PAUSED};
    if (!watch(room, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, number)) {
        int error = errno;
        close(fd);
        slot_give(room, number);
        return accept_failed(room, event, ACCEPT_NO_RESOURCE, error);
    }
    room->io.counters.accepts++;
    *event = (struct io_event){.kind = IO_ACCEPTED, .slot = number};
    return true;
}

/* At most one event of the listening socket. Connections that their peer gave up in the backlog are not worth one. */
static bool accept_next(struct epoll_room *room, struct io_event *event)
{
    while (room->listener_ready && room->accept_budget > 0) {
        if (!slot_available(room))
            return accept_failed(room, event, ACCEPT_NO_SLOT, ENFILE);
        room->accept_budget--;
        int fd = accept4(room->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            return accepted(room, event, fd);
        if (errno == EAGAIN)
            room->listener_ready = false;
        else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            return accept_failed(room, event, ACCEPT_NO_RESOURCE, errno);
    }
    return false;
}

/* --- receiving ---------------------------------------------------------------------------------------------- */

static void epoll_receive(struct io *io, uint32_t number, enum io_receiving how)
{
    struct epoll_room *room = room_of(io);
    slot_open(room, number)->receiving = (uint8_t)how;
    line_join(room, number);
}

static void epoll_buffer_return(struct io *io, uint32_t buffer)
{
    struct epoll_room *room = room_of(io);
    CHECK(buffer == 0 && room->buffer_out);
    room->buffer_out = false;
}

static void ended(struct slot *slot, struct io_event *event, int result)
{
    slot->flags |= SLOT_ENDED;
    event->kind = IO_ENDED;
    event->result = result;
}

/* A read that does not fill the buffer has emptied the socket, unless the end stands behind it. */
static void received(struct epoll_room *room, struct slot *slot, struct io_event *event, size_t size)
{
    if (size < room->buffer_size && !(slot->flags & SLOT_HANGUP))
        slot->flags &= (uint8_t)~SLOT_READABLE;
    room->buffer_out = true;
    room->io.counters.receives++;
    room->io.counters.receive_bytes += size;
    event->kind = IO_RECEIVED;
    event->data = room->buffer;
    event->size = (uint32_t)size;
}

/* False: nothing was there after all. */
static bool receive_now(struct epoll_room *room, struct slot *slot, struct io_event *event)
{
    room->budget--;
    ssize_t size = recv(slot->fd, room->buffer, room->buffer_size, MSG_DONTWAIT);
    if (size > 0)
        received(room, slot, event, (size_t)size);
    else if (size == 0)
        ended(slot, event, 0);
    else if (errno == EINTR)
        return false; /* still readable: the slot joins the line again */
    else if (errno == EAGAIN)
        slot->flags &= (uint8_t)~SLOT_READABLE;
    else
        ended(slot, event, -errno);
    return !(size < 0 && !(slot->flags & SLOT_ENDED));
}

/* --- sending ------------------------------------------------------------------------------------------------ */

static void sent(struct epoll_room *room, uint32_t place, struct slot *slot, ssize_t result)
{
    int64_t outcome = result < 0 ? -errno : result;
    if (outcome == -EAGAIN || (outcome >= 0 && (uint64_t)outcome < room->batch.sends[place].size))
        slot->flags &= (uint8_t)~SLOT_WRITABLE;
    batch_report(&room->batch, &room->io.counters, place, outcome);
}

static void epoll_send(struct io *io, uint32_t number, const void *bytes, size_t size, uint32_t tag)
{
    struct epoll_room *room = room_of(io);
    struct slot *slot = slot_open(room, number);
    uint32_t place = batch_add(&room->batch, &io->counters, number, size, tag);
    sent(room, place, slot, send(slot->fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL));
}

static void epoll_sendv(struct io *io, uint32_t number, const struct iovec *parts, int count, uint32_t tag)
{
    struct epoll_room *room = room_of(io);
    struct slot *slot = slot_open(room, number);
    CHECK(count > 0 && count <= IO_PARTS_MAX);
    size_t size = 0;
    for (int i = 0; i < count; i++)
        size += parts[i].iov_len;
    uint32_t place = batch_add(&room->batch, &io->counters, number, size, tag);
    struct msghdr message = {.msg_iov = (struct iovec *)parts, .msg_iovlen = (size_t)count};
    sent(room, place, slot, sendmsg(slot->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL));
}

static void epoll_want_writable(struct io *io, uint32_t number)
{
    struct epoll_room *room = room_of(io);
    slot_open(room, number)->flags |= SLOT_WANT;
    line_join(room, number);
}

static void epoll_shutdown_write(struct io *io, uint32_t number)
{
    /* It may fail only because the connection broke, which the next receive tells. */
    (void)shutdown(slot_open(room_of(io), number)->fd, SHUT_WR);
}

static void epoll_flush(struct io *io)
{
    struct epoll_room *room = room_of(io);
    io->counters.flushes++;
    batch_done(&room->batch);
}

static bool epoll_next_short(struct io *io, struct io_short *report)
{
    return batch_next_short(&room_of(io)->batch, report);
}

/* --- closing ------------------------------------------------------------------------------------------------ */

static void epoll_close(struct io *io, uint32_t number)
{
    struct epoll_room *room = room_of(io);
    struct slot *slot = slot_open(room, number);
    close(slot->fd);
    slot->flags = (uint8_t)(SLOT_CLOSING | (slot->flags & SLOT_IN_LINE));
    line_join(room, number);
}

/* --- events ------------------------------------------------------------------------------------------------- */

/* The one event that the slot owes first. False: it owed none that still stands, or the budget is spent. */
static bool slot_next(struct epoll_room *room, uint32_t number, struct io_event *event)
{
    struct slot *slot = &room->slots[number];
    *event = (struct io_event){.slot = number};
    if (slot->flags & SLOT_CLOSING) {
        slot_give(room, number);
        event->kind = IO_CLOSED;
        return true;
    }
    if (slot_owes_room(slot)) {
        slot->flags &= (uint8_t)~SLOT_WANT;
        event->kind = IO_WRITABLE;
        return true;
    }
    return slot_owes_bytes(slot) && receive_now(room, slot, event);
}

static bool epoll_next(struct io *io, struct io_event *event)
{
    struct epoll_room *room = room_of(io);
    CHECK(!room->buffer_out);
    while (room->line_first != NONE && room->budget > 0) {
        uint32_t number = line_leave(room);
        bool found = slot_next(room, number, event);
        line_join(room, number);
        if (found)
            return true;
    }
    return accept_next(room, event);
}

static void note(struct epoll_room *room, const struct epoll_event *event)
{
    uint32_t number = event->data.u32;
    if (number == DATA_LISTENER) {
        room->listener_ready = true;
        return;
    }
    if (number == DATA_WAKE) {
        uint64_t count;
        (void)!read(room->wake, &count, sizeof count);
        room->io.counters.wakes++;
        return;
    }
    struct slot *slot = &room->slots[number];
    if (event->events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP))
        slot->flags |= SLOT_HANGUP | SLOT_READABLE;
    if (event->events & EPOLLIN)
        slot->flags |= SLOT_READABLE;
    if (event->events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        slot->flags |= SLOT_WRITABLE;
    line_join(room, number);
}

static int wait_for_events(struct epoll_room *room, int64_t timeout_us)
{
    struct timespec timeout = {.tv_sec = timeout_us / 1000000, .tv_nsec = timeout_us % 1000000 * 1000};
    int count = epoll_pwait2(room->epoll, room->events, EVENTS_A_WAIT, timeout_us < 0 ? NULL : &timeout, NULL);
    if (count >= 0 || errno != ENOSYS)
        return count;
    int64_t timeout_ms = timeout_us < 0 ? -1 : (timeout_us + 999) / 1000; /* kernels before 5.11 */
    return epoll_wait(room->epoll, room->events, EVENTS_A_WAIT, timeout_ms > INT32_MAX ? INT32_MAX : (int)timeout_ms);
}

static int epoll_door(struct io *io)
{
    return room_of(io)->epoll;
}

static bool epoll_is_waiting(const struct io *io)
{
    const struct epoll_room *room = (const struct epoll_room *)io;
    return room->line_first != NONE || room->listener_ready || room->batch.short_taken < room->batch.short_count;
}

static void epoll_wait_room(struct io *io, int64_t timeout_us)
{
    struct epoll_room *room = room_of(io);
    epoll_flush(io);
    io->counters.waits++;
    bool something = epoll_is_waiting(io);
    int count = wait_for_events(room, something ? 0 : timeout_us);
    CHECK(count >= 0 || errno == EINTR);
    if (count == 0 && !something && room->accepting == ACCEPT_NO_RESOURCE)
        accept_state(room, ACCEPT_OPEN);
    for (int i = 0; i < count; i++)
        note(room, &room->events[i]);
    room->budget = room->receives_a_wait;
    room->accept_budget = ACCEPTS_A_WAIT;
}

static void epoll_wake(struct io *io)
{
    uint64_t one = 1;
    int saved = errno; /* may be called by a signal handler */
    (void)!write(room_of(io)->wake, &one, sizeof one);
    errno = saved;
}

static bool epoll_peer(struct io *io, uint32_t number, struct sockaddr_in6 *address)
{
    struct epoll_room *room = room_of(io);
    struct sockaddr_storage peer;
    socklen_t size = sizeof peer;
    if (!room->peer_addresses || getpeername(slot_open(room, number)->fd, (struct sockaddr *)&peer, &size) != 0)
        return false;
    return io_address_unify((struct sockaddr *)&peer, address);
}

static const struct io_room EPOLL_ROOM = {
    .name = "epoll",
    .destroy = epoll_destroy,
    .listen = epoll_listen,
    .listen_stop = epoll_listen_stop,
    .accept_pause = epoll_accept_pause,
    .receive = epoll_receive,
    .buffer_return = epoll_buffer_return,
    .send = epoll_send,
    .sendv = epoll_sendv,
    .want_writable = epoll_want_writable,
    .shutdown_write = epoll_shutdown_write,
    .close = epoll_close,
    .flush = epoll_flush,
    .next_short = epoll_next_short,
    .next = epoll_next,
    .wait = epoll_wait_room,
    .wake = epoll_wake,
    .peer = epoll_peer,
    .door = epoll_door,
    .is_waiting = epoll_is_waiting,
};
