/* io_null: see io_null.h. */
#include "io_null.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/vector.h"

#define PING_FIRST_BYTE ((char)0x89)

static const char pong_frame[6] = {(char)0x8A, (char)0x80};

/* Numbers that leave in the order in which they came. */
struct line {
    struct vector items;
    uint32_t head;
};

struct null_room {
    struct io io;
    struct null_options options;
    uint32_t arrived;   /* slots given out */
    uint32_t arriving;  /* still to come */
    bool request_due;   /* of the one that has just come */
    bool paused;        /* accepting */
    uint32_t leaving;   /* slots below this one are still to end */
    struct line pongs;  /* slots */
    struct line closed; /* slots */
    const char *fed;    /* NULL: nothing */
    size_t fed_size;
    uint32_t fed_slot;
    char buffer[NULL_BUFFER_BYTES];
};

static struct null_room *room_of(const struct io *io)
{
    return (struct null_room *)io;
}

/* --- what the shard asks for --- */

static void line_push(struct line *line, uint32_t item)
{
    CHECK_MSG(vector_push(&line->items, item), "no memory");
}

static bool line_take(struct line *line, uint32_t *item)
{
    if (line->head == line->items.size) {
        return false;
    }
    *item = line->items.items[line->head++];
    if (line->head == line->items.size) {
        vector_free(&line->items);
        line->head = 0;
    }
    return true;
}

static void destroy(struct io *io)
{
    vector_free(&room_of(io)->pongs.items);
    vector_free(&room_of(io)->closed.items);
    free(io);
}

static int listen_not(struct io *io, int socket)
{
    (void)io;
    (void)socket;
    return 0;
}

static void accept_pause(struct io *io, bool paused)
{
    room_of(io)->paused = paused;
}

static void receive(struct io *io, uint32_t slot, enum io_receiving how)
{
    (void)io;
    (void)slot;
    (void)how;
}

static void number_ignored(struct io *io, uint32_t number)
{
    (void)io;
    (void)number;
}

static void send_part(struct io *io, uint32_t slot, const void *bytes, size_t size, uint32_t tag)
{
    (void)tag;
    io->counters.sends++;
    io->counters.send_bytes += size;
    if (size == 2 && *(const char *)bytes == PING_FIRST_BYTE) {
        line_push(&room_of(io)->pongs, slot);
    }
}

static void send_parts(struct io *io, uint32_t slot, const struct iovec *parts, int count, uint32_t tag)
{
    (void)slot;
    (void)tag;
    io->counters.sends++;
    for (int i = 0; i < count; i++) {
        io->counters.send_bytes += parts[i].iov_len;
    }
}

static void close_slot(struct io *io, uint32_t slot)
{
    line_push(&room_of(io)->closed, slot);
}

static void nothing(struct io *io)
{
    (void)io;
}

static bool next_short(struct io *io, struct io_short *report)
{
    (void)io;
    (void)report;
    return false;
}

static void wait_not(struct io *io, int64_t timeout_us)
{
    (void)io;
    (void)timeout_us;
}

static bool peer_unknown(struct io *io, uint32_t slot, struct sockaddr_in6 *address)
{
    (void)io;
    (void)slot;
    (void)address;
    return false;
}

/* --- events --- */

static bool received(struct null_room *room, struct io_event *event, uint32_t slot, size_t size)
{
    *event = (struct io_event){.kind = IO_RECEIVED, .slot = slot, .data = room->buffer, .size = (uint32_t)size};
    return true;
}

static bool next_arrival(struct null_room *room, struct io_event *event)
{
    if (room->request_due) {
        uint32_t slot = room->arrived - 1;
        room->request_due = false;
        return received(room, event, slot,
                        room->options.request(room->options.context, room->options.number_first + slot, room->buffer));
    }
    if (room->arriving == 0 || room->paused) {
        return false;
    }
    room->arriving--;
    room->request_due = true;
    *event = (struct io_event){.kind = IO_ACCEPTED, .slot = room->arrived++};
    return true;
}

static bool next_fed(struct null_room *room, struct io_event *event)
{
    if (!room->fed) {
        return false;
    }
    memcpy(room->buffer, room->fed, room->fed_size);
    room->fed = NULL;
    return received(room, event, room->fed_slot, room->fed_size);
}

static bool next_leaving(struct null_room *room, struct io_event *event)
{
    if (room->leaving == 0) {
        return false;
    }
    *event = (struct io_event){.kind = IO_ENDED, .slot = --room->leaving};
    return true;
}

static bool next(struct io *io, struct io_event *event)
{
    struct null_room *room = room_of(io);
    uint32_t slot;
    if (line_take(&room->closed, &slot)) {
        *event = (struct io_event){.kind = IO_CLOSED, .slot = slot};
        return true;
    }
    if (line_take(&room->pongs, &slot)) {
        memcpy(room->buffer, pong_frame, sizeof pong_frame);
        return received(room, event, slot, sizeof pong_frame);
    }
    return next_fed(room, event) || next_arrival(room, event) || next_leaving(room, event);
}

static const struct io_room room_null = {
    .name = "null",
    .destroy = destroy,
    .listen = listen_not,
    .listen_stop = nothing,
    .accept_pause = accept_pause,
    .receive = receive,
    .buffer_return = number_ignored,
    .send = send_part,
    .sendv = send_parts,
    .want_writable = number_ignored,
    .shutdown_write = number_ignored,
    .close = close_slot,
    .flush = nothing,
    .next_short = next_short,
    .next = next,
    .wait = wait_not,
    .wake = nothing,
    .peer = peer_unknown,
};

/* --- what the benchmark does --- */

struct io *null_create(const struct null_options *options)
{
    struct null_room *room = calloc(1, sizeof *room);
    CHECK_MSG(room, "no memory");
    room->io = (struct io){.room = &room_null, .slots_max = options->slots_max, .batch = options->batch};
    room->options = *options;
    return &room->io;
}

void null_arrive(struct io *io, uint32_t count)
{
    CHECK(room_of(io)->arrived + count <= io->slots_max);
    room_of(io)->arriving = count;
}

void null_leave(struct io *io)
{
    room_of(io)->leaving = room_of(io)->arrived;
}

void null_feed(struct io *io, uint32_t slot, const char *bytes, size_t size)
{
    struct null_room *room = room_of(io);
    CHECK(!room->fed && size <= sizeof room->buffer);
    room->fed = bytes;
    room->fed_size = size;
    room->fed_slot = slot;
}

bool null_is_quiet(const struct io *io)
{
    const struct null_room *room = room_of(io);
    return !room->fed && room->arriving == 0 && !room->request_due && room->leaving == 0 &&
           room->pongs.items.size == 0 && room->closed.items.size == 0;
}

uint64_t null_sends(const struct io *io)
{
    return io->counters.sends;
}
