/*
 * io_contract: what io.h promises, as tests that know no room.
 *
 * A *world* is a room that listens, and the means to be its peers: for the rooms on the kernel plain sockets over
 * loopback, for the simulated one its clients. Every room runs the same list (io_contract_run).
 *
 *   peer (an int)  ── write, read, finish, reset ──▶  world  ──▶  room  ── events ──▶  seat (by slot)
 *
 * The *seat* is the book of one slot. serve() is a turn: it waits shortly, takes all events and enters them, and
 * checks at each one that it may come now: that its slot is open, not paused, not ended, not closing.
 */
#ifndef SHOAL_TESTS_IO_CONTRACT_H
#define SHOAL_TESTS_IO_CONTRACT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "io/io.h"

struct world {
    /* Set by the room's test: */
    struct io *(*open)(struct world *world, const struct io_options *options); /* listens already */
    void (*close)(struct world *world);
    int (*connect)(struct world *world);
    ssize_t (*write)(struct world *world, int peer, const void *bytes, size_t size); /* bytes, or -errno */
    ssize_t (*read)(struct world *world, int peer, void *bytes, size_t size);        /* bytes, 0: end, or -errno */
    void (*finish)(struct world *world, int peer); /* FIN: writes no more, still reads */
    void (*reset)(struct world *world, int peer);  /* RST; the peer is gone */
    void (*leave)(struct world *world, int peer);  /* closes; the peer is gone */
    void *own;
    /* Set by the contract: */
    struct io *io;
};

enum { SEATS = 512, SEAT_BYTES = 1 << 20 };

struct seat {
    bool open, closing, ended, paused;
    int32_t end_result;
    uint32_t writable;
    uint32_t lives; /* how often IO_ACCEPTED */
    size_t size;    /* bytes received */
    unsigned char *bytes;
};

static struct seat seats[SEATS];
static uint32_t seats_open;
static uint32_t accept_failures;
static int64_t last_accepted; /* -1: none since it was reset */
static uint32_t random_state;

static uint32_t random_next(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state;
}

static uint32_t random_below(uint32_t bound)
{
    return random_next() % bound;
}

/* --- the serving side --------------------------------------------------------------------------------------- */

static void enter_bytes(struct seat *seat, const struct io_event *event)
{
    assert_false(seat->paused);
    assert_false(seat->ended);
    assert_true(event->size > 0);
    if (seat->bytes == NULL)
        seat->bytes = malloc(SEAT_BYTES);
    assert_true(seat->size + event->size <= SEAT_BYTES);
    memcpy(seat->bytes + seat->size, event->data, event->size);
    memset(event->data, 0xEE, event->size); /* may be changed in place */
    seat->size += event->size;
}

static void enter_accepted(uint32_t slot)
{
    struct seat *seat = &seats[slot];
    assert_false(seat->open);
    unsigned char *bytes = seat->bytes;
    *seat = (struct seat){.open = true, .paused = true, .lives = seat->lives + 1, .bytes = bytes};
    seats_open++;
    last_accepted = slot;
}

static void enter_of_slot(struct world *world, const struct io_event *event)
{
    assert_true(event->slot < world->io->slots_max && event->slot < SEATS);
    struct seat *seat = &seats[event->slot];
    if (event->kind == IO_ACCEPTED) {
        enter_accepted(event->slot);
        return;
    }
    assert_true(seat->open);
    assert_true(!seat->closing || event->kind == IO_CLOSED);
    switch (event->kind) {
    case IO_RECEIVED:
        enter_bytes(seat, event);
        io_buffer_return(world->io, event->buffer);
        break;
    case IO_ENDED:
        assert_false(seat->ended || seat->paused);
        seat->ended = true;
        seat->end_result = event->result;
        break;
    case IO_WRITABLE:
        seat->writable++;
        break;
    case IO_CLOSED:
        assert_true(seat->closing);
        seat->open = false;
        seats_open--;
        break;
    default:
        fail();
    }
}

static void take_events(struct world *world)
{
    struct io_event event;
    while (io_next(world->io, &event)) {
        if (event.kind == IO_ACCEPT_FAILED) {
            assert_true(event.result < 0);
            accept_failures++;
        } else {
            enter_of_slot(world, &event);
        }
    }
}

static void serve(struct world *world)
{
    io_wait(world->io, 200);
    take_events(world);
}

/* Serves until the condition holds; fails if it does not for some seconds. */
#define SERVE_UNTIL(world, condition)                                                                                  \
    do {                                                                                                               \
        int serve_turns = 0;                                                                                           \
        while (!(condition)) {                                                                                         \
            serve(world);                                                                                              \
            if (++serve_turns > 20000)                                                                                 \
                fail_msg("never came: %s", #condition);                                                                \
        }                                                                                                              \
    } while (0)

/* Serves some turns, in which something must not happen. */
static void serve_some(struct world *world)
{
    for (int i = 0; i < 20; i++)
        serve(world);
}

static void set_receiving(struct world *world, uint32_t slot, enum io_receiving how)
{
    io_receive(world->io, slot, how);
    seats[slot].paused = how == IO_RECEIVE_PAUSED;
}

static void close_seat(struct world *world, uint32_t slot)
{
    seats[slot].closing = true;
    io_close(world->io, slot);
}

/* Sends, flushes; bytes taken or -errno. */
static int32_t send_now(struct world *world, uint32_t slot, const void *bytes, size_t size)
{
    struct io_short report;
    io_send(world->io, slot, bytes, size, slot ^ 0xABCD);
    io_flush(world->io);
    if (!io_next_short(world->io, &report))
        return (int32_t)size;
    assert_int_equal(report.slot, slot);
    assert_int_equal(report.tag, slot ^ 0xABCD);
    assert_true(report.result < (int32_t)size);
    struct io_short another;
    assert_false(io_next_short(world->io, &another));
    return report.result;
}

/* --- the peers' side ---------------------------------------------------------------------------------------- */

/* A new peer and its slot. */
static int connect_peer(struct world *world, uint32_t *slot)
{
    last_accepted = -1;
    int peer = world->connect(world);
    SERVE_UNTIL(world, last_accepted >= 0);
    *slot = (uint32_t)last_accepted;
    return peer;
}

static void write_all(struct world *world, int peer, const void *bytes, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t result = world->write(world, peer, (const char *)bytes + done, size - done);
        if (result == -EAGAIN)
            serve(world);
        else
            assert_true(result > 0);
        done += result > 0 ? (size_t)result : 0;
    }
}

/* Reads exactly so many bytes, serving meanwhile. */
static void read_all(struct world *world, int peer, void *bytes, size_t size)
{
    int turns = 0;
    for (size_t done = 0; done < size;) {
        ssize_t result = world->read(world, peer, (char *)bytes + done, size - done);
        if (result == -EAGAIN)
            serve(world);
        else
            assert_true(result > 0);
        done += result > 0 ? (size_t)result : 0;
        assert_true(turns++ < 200000);
    }
}

/* What the peer finds after all bytes: 0 (an end) or -errno. Bytes are thrown away. */
static ssize_t read_end(struct world *world, int peer)
{
    char bytes[4096];
    for (int turns = 0; turns < 20000; turns++) {
        ssize_t result = world->read(world, peer, bytes, sizeof bytes);
        if (result == 0 || (result < 0 && result != -EAGAIN))
            return result;
        serve(world);
    }
    fail_msg("the peer sees no end");
    return 0;
}

static void pattern(unsigned char *bytes, size_t from, size_t size)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)((from + i) * 131 + ((from + i) >> 8));
}

static bool is_pattern(const unsigned char *bytes, size_t from, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != (unsigned char)((from + i) * 131 + ((from + i) >> 8)))
            return false;
    return true;
}

static void begin(struct world *world, struct io_options options)
{
    for (uint32_t i = 0; i < SEATS; i++)
        free(seats[i].bytes);
    memset(seats, 0, sizeof seats);
    seats_open = accept_failures = 0;
    random_state = 0x5EED1234;
    world->io = world->open(world, &options);
    if (world->io == NULL)
        skip();
}

static const struct io_options USUAL = {
    .slots_max = SEATS, .receive_buffers = 64, .receive_buffer_size = 4096, .batch = 1024};

/* --- accepting and receiving -------------------------------------------------------------------------------- */

static void starts_paused(void **state)
{
    struct world *world = *state;
    uint32_t slot;
    begin(world, USUAL);
    int peer = connect_peer(world, &slot);
    write_all(world, peer, "hello", 5);
    serve_some(world); /* enter_bytes() would fail */
    set_receiving(world, slot, IO_RECEIVE_IDLE);
    SERVE_UNTIL(world, seats[slot].size == 5);
    assert_memory_equal(seats[slot].bytes, "hello", 5);
    world->leave(world, peer);
    SERVE_UNTIL(world, seats[slot].ended);
    assert_int_equal(seats[slot].end_result, 0);
    world->close(world);
}

static void echo_as(struct world *world, enum io_receiving how)
{
    uint32_t slot;
    int peer = connect_peer(world, &slot);
    set_receiving(world, slot, how);
    unsigned char out[3000], back[3000];
    for (size_t round = 0; round < 50; round++) {
        size_t size = 1 + random_below(sizeof out);
        size_t before = seats[slot].size;
        pattern(out, round * 7, size);
        write_all(world, peer, out, size);
        SERVE_UNTIL(world, seats[slot].size == before + size);
        assert_int_equal(send_now(world, slot, seats[slot].bytes + before, size), size);
        read_all(world, peer, back, size);
        assert_memory_equal(out, back, size);
    }
    close_seat(world, slot);
    SERVE_UNTIL(world, !seats[slot].open);
    assert_int_equal(read_end(world, peer), 0);
    world->leave(world, peer);
}

static void echoes(void **state)
{
    struct world *world = *state;
    begin(world, USUAL);
    echo_as(world, IO_RECEIVE_IDLE);
    echo_as(world, IO_RECEIVE_BUSY);
    assert_int_equal(seats_open, 0);
    world->close(world);
}

/* The bytes keep their order whatever the way of receiving, and none come while paused. */
static void switches_receiving(void **state)
{
    struct world *world = *state;
    uint32_t slot;
    begin(world, USUAL);
    int peer = connect_peer(world, &slot);
    unsigned char bytes[2048];
    size_t written = 0;
    while (written < SEAT_BYTES / 2) {
        set_receiving(world, slot, (enum io_receiving)random_below(3));
        size_t size = 1 + random_below(sizeof bytes);
        pattern(bytes, written, size);
        ssize_t result = world->write(world, peer, bytes, size);
        if (result > 0)
            written += (size_t)result;
        else
            set_receiving(world, slot, (enum io_receiving)(IO_RECEIVE_IDLE + random_below(2)));
        if (random_below(3) != 0)
            serve(world);
    }
    set_receiving(world, slot, IO_RECEIVE_PAUSED);
    world->finish(world, peer);
    serve_some(world);
    set_receiving(world, slot, IO_RECEIVE_BUSY);
    SERVE_UNTIL(world, seats[slot].ended);
    assert_int_equal(seats[slot].size, written);
    assert_true(is_pattern(seats[slot].bytes, 0, written));
    world->leave(world, peer);
    world->close(world);
}

static void runs_out_of_buffers(void **state)
{
    struct world *world = *state;
    begin(world, (struct io_options){.slots_max = 64, .receive_buffers = 2, .receive_buffer_size = 512, .batch = 64});
    enum { PEERS = 16, EACH = 20000 };
    int peers[PEERS];
    uint32_t slots[PEERS];
    unsigned char bytes[EACH];
    pattern(bytes, 0, EACH);
    for (int i = 0; i < PEERS; i++) {
        peers[i] = connect_peer(world, &slots[i]);
        set_receiving(world, slots[i], i % 2 ? IO_RECEIVE_BUSY : IO_RECEIVE_IDLE);
    }
    for (int i = 0; i < PEERS; i++)
        write_all(world, peers[i], bytes, EACH);
    for (int i = 0; i < PEERS; i++) {
        SERVE_UNTIL(world, seats[slots[i]].size == EACH);
        assert_memory_equal(seats[slots[i]].bytes, bytes, EACH);
        world->leave(world, peers[i]);
    }
    world->close(world);
}

static void pauses_accepting(void **state)
{
    struct world *world = *state;
    begin(world, USUAL);
    io_accept_pause(world->io, true);
    serve_some(world);
    int peer = world->connect(world);
    serve_some(world);
    uint32_t early = seats_open;
    assert_int_equal(early, 0);
    io_accept_pause(world->io, false);
    SERVE_UNTIL(world, seats_open == 1);
    io_listen_stop(world->io);
    serve_some(world);
    set_receiving(world, 0, IO_RECEIVE_IDLE);
    write_all(world, peer, "x", 1);
    SERVE_UNTIL(world, seats[0].size == 1);
    world->leave(world, peer);
    world->close(world);
}

static void runs_out_of_slots(void **state)
{
    struct world *world = *state;
    begin(world, (struct io_options){.slots_max = 4, .receive_buffers = 8, .receive_buffer_size = 512, .batch = 64});
    assert_int_equal(world->io->slots_max, 4);
    int peers[6];
    for (int i = 0; i < 6; i++)
        peers[i] = world->connect(world);
    SERVE_UNTIL(world, seats_open == 4);
    serve_some(world);
    assert_int_equal(seats_open, 4);
    for (uint32_t slot = 0; slot < 4; slot++) {
        close_seat(world, slot);
        SERVE_UNTIL(world, seats[slot].lives > 1 || !seats[slot].open);
    }
    int late = world->connect(world); /* one that waited in vain may have been dropped; whoever comes now is not */
    SERVE_UNTIL(world, seats_open >= 1);
    for (int i = 0; i < 6; i++)
        world->leave(world, peers[i]);
    world->leave(world, late);
    world->close(world);
}

/* --- sending ------------------------------------------------------------------------------------------------ */

/* Sends to a peer that does not read, until a send is short. Bytes taken in all. */
static size_t fill_peer(struct world *world, uint32_t slot, size_t from)
{
    static unsigned char bytes[65536];
    for (size_t sent = 0; sent < ((size_t)64 << 20);) {
        pattern(bytes, from + sent, sizeof bytes);
        int32_t result = send_now(world, slot, bytes, sizeof bytes);
        assert_true(result >= 0);
        sent += (size_t)result;
        if (result < (int32_t)sizeof bytes)
            return sent;
    }
    fail_msg("the peer took everything");
    return 0;
}

static void drain_peer(struct world *world, int peer, size_t *drained, size_t until)
{
    static unsigned char bytes[65536];
    while (*drained < until) {
        size_t size = until - *drained < sizeof bytes ? until - *drained : sizeof bytes;
        read_all(world, peer, bytes, size);
        assert_true(is_pattern(bytes, *drained, size));
        *drained += size;
    }
}

static void sends_short(void **state)
{
    struct world *world = *state;
    uint32_t slot;
    begin(world, USUAL);
    int peer = connect_peer(world, &slot);
    size_t sent = 0, drained = 0;
    for (uint32_t round = 0; round < 4; round++) {
        sent += fill_peer(world, slot, sent);
        io_want_writable(world->io, slot);
        serve_some(world);
        assert_int_equal(seats[slot].writable, round);
        drain_peer(world, peer, &drained, sent);
        SERVE_UNTIL(world, seats[slot].writable == round + 1);
    }
    assert_true(world->io->counters.sends_short >= 4);
    assert_int_equal(world->io->counters.send_bytes, sent);
    close_seat(world, slot);
    SERVE_UNTIL(world, !seats[slot].open);
    assert_int_equal(read_end(world, peer), 0);
    world->leave(world, peer);
    world->close(world);
}

/* Short ones are told in the order of the sends; those between them that succeed are not told. */
static void orders_short_reports(void **state)
{
    struct world *world = *state;
    enum { PEERS = 8 };
    int peers[PEERS];
    uint32_t slots[PEERS];
    begin(world, USUAL);
    for (int i = 0; i < PEERS; i++)
        peers[i] = connect_peer(world, &slots[i]);
    size_t taken; /* until nothing more is: where the kernel paces what it sends, room comes with time */
    do {
        taken = 0;
        for (int i = 0; i < PEERS; i += 2)
            taken += fill_peer(world, slots[i], 0);
        serve_some(world);
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    } while (taken > 0);
    static char bytes[4096];
    for (int i = PEERS - 1; i >= 0; i--)
        io_send(world->io, slots[i], bytes, sizeof bytes, (uint32_t)i);
    io_flush(world->io);
    struct io_short report;
    int expected = PEERS - 2;
    while (io_next_short(world->io, &report)) {
        assert_int_equal(report.tag, expected);
        assert_int_equal(report.slot, slots[expected]);
        assert_true(report.result >= 0);
        expected -= 2;
    }
    assert_int_equal(expected, -2);
    for (int i = 0; i < PEERS; i++)
        world->leave(world, peers[i]);
    world->close(world);
}

static void gathers(void **state)
{
    struct world *world = *state;
    enum { PEERS = 40, SIZE = 640 };
    int peers[PEERS];
    uint32_t slots[PEERS];
    begin(world, (struct io_options){.slots_max = 64, .receive_buffers = 8, .receive_buffer_size = 512, .batch = 64});
    for (int i = 0; i < PEERS; i++)
        peers[i] = connect_peer(world, &slots[i]);
    unsigned char bytes[SIZE], back[SIZE];
    pattern(bytes, 0, SIZE);
    for (int i = 0; i < PEERS; i++) { /* more parts than any arena of the batch may hold at once */
        struct iovec parts[IO_PARTS_MAX];
        for (int part = 0; part < IO_PARTS_MAX; part++)
            parts[part] = (struct iovec){.iov_base = bytes + part * 10, .iov_len = 10};
        io_sendv(world->io, slots[i], parts, IO_PARTS_MAX, 0);
        memset(parts, 0, sizeof parts); /* the array was copied */
    }
    io_flush(world->io);
    struct io_short report;
    assert_false(io_next_short(world->io, &report));
    memset(bytes, 0, SIZE); /* and the bytes may go */
    for (int i = 0; i < PEERS; i++) {
        read_all(world, peers[i], back, SIZE);
        assert_true(is_pattern(back, 0, SIZE));
        world->leave(world, peers[i]);
    }
    world->close(world);
}

static void sends_to_the_gone(void **state)
{
    struct world *world = *state;
    uint32_t slot;
    begin(world, USUAL);
    int peer = connect_peer(world, &slot);
    set_receiving(world, slot, IO_RECEIVE_IDLE);
    world->reset(world, peer);
    SERVE_UNTIL(world, seats[slot].ended);
    assert_int_equal(seats[slot].end_result, -ECONNRESET);
    assert_true(send_now(world, slot, "x", 1) < 0);
    close_seat(world, slot);
    SERVE_UNTIL(world, !seats[slot].open);
    world->close(world);
}

static void ends_one_direction(void **state)
{
    struct world *world = *state;
    uint32_t slot;
    begin(world, USUAL);
    int peer = connect_peer(world, &slot);
    set_receiving(world, slot, IO_RECEIVE_IDLE);
    io_send(world->io, slot, "last", 4, 0);
    io_shutdown_write(world->io, slot);
    io_flush(world->io);
    char bytes[4];
    read_all(world, peer, bytes, 4);
    assert_memory_equal(bytes, "last", 4);
    assert_int_equal(read_end(world, peer), 0);
    write_all(world, peer, "still", 5);
    SERVE_UNTIL(world, seats[slot].size == 5);
    world->leave(world, peer);
    SERVE_UNTIL(world, seats[slot].ended);
    close_seat(world, slot);
    SERVE_UNTIL(world, !seats[slot].open);
    world->close(world);
}

/* --- closing ------------------------------------------------------------------------------------------------ */

/* Whatever is armed, a close gives IO_CLOSED once and the bytes sent before arrive. */
static void closes_in_any_state(void **state)
{
    struct world *world = *state;
    begin(world, USUAL);
    for (uint32_t round = 0; round < 96; round++) {
        uint32_t slot;
        int peer = connect_peer(world, &slot);
        set_receiving(world, slot, (enum io_receiving)(round % 3));
        if (round & 1) {
            fill_peer(world, slot, 0);
            io_want_writable(world->io, slot);
        }
        if (round & 2)
            serve(world);
        if (round & 4 && !(round & 1))
            io_send(world->io, slot, "bye", 3, 0);
        if (round & 8)
            set_receiving(world, slot, (enum io_receiving)((round + 1) % 3));
        if (round & 16)
            io_shutdown_write(world->io, slot);
        if (round & 32)
            write_all(world, peer, "unread", 6);
        close_seat(world, slot);
        io_flush(world->io);
        struct io_short report;
        assert_false(io_next_short(world->io, &report));
        SERVE_UNTIL(world, !seats[slot].open);
        if (!(round & 32)) /* what was not read makes the end a reset: io_close() */
            assert_int_equal(read_end(world, peer), 0);
        world->leave(world, peer);
    }
    serve_some(world);
    assert_int_equal(seats_open, 0);
    world->close(world);
}

static void end_comes_as(struct world *world, enum io_receiving how, bool reset)
{
    uint32_t slot;
    int peer = connect_peer(world, &slot);
    set_receiving(world, slot, how);
    serve_some(world);
    if (reset)
        world->reset(world, peer);
    else
        world->leave(world, peer);
    if (how == IO_RECEIVE_PAUSED) {
        serve_some(world);
        assert_false(seats[slot].ended);
        set_receiving(world, slot, IO_RECEIVE_IDLE);
    }
    SERVE_UNTIL(world, seats[slot].ended);
    assert_int_equal(seats[slot].end_result, reset ? -ECONNRESET : 0);
    set_receiving(world, slot, IO_RECEIVE_PAUSED);
    set_receiving(world, slot, IO_RECEIVE_BUSY);
    serve_some(world); /* no second IO_ENDED */
    close_seat(world, slot);
    SERVE_UNTIL(world, !seats[slot].open);
}

static void peers_end(void **state)
{
    struct world *world = *state;
    begin(world, USUAL);
    for (int how = IO_RECEIVE_PAUSED; how <= IO_RECEIVE_BUSY; how++) {
        end_comes_as(world, (enum io_receiving)how, false);
        end_comes_as(world, (enum io_receiving)how, true);
    }
    world->close(world);
}

/* --- churn -------------------------------------------------------------------------------------------------- */

struct visitor {
    int peer; /* -1: not here */
    uint32_t slot;
    size_t written, sent, read;
};

static void visitor_arrives(struct world *world, struct visitor *visitor)
{
    visitor->peer = connect_peer(world, &visitor->slot);
    visitor->written = visitor->sent = visitor->read = 0;
    set_receiving(world, visitor->slot, (enum io_receiving)random_below(3));
}

static void visitor_checks(const struct visitor *visitor)
{
    const struct seat *seat = &seats[visitor->slot];
    assert_true(seat->size <= visitor->written);
    assert_true(is_pattern(seat->bytes, 0, seat->size));
}

static void visitor_goes(struct world *world, struct visitor *visitor)
{
    visitor_checks(visitor);
    bool we_first = random_below(2);
    if (we_first)
        close_seat(world, visitor->slot);
    if (random_below(2))
        serve(world);
    if (random_below(2))
        world->reset(world, visitor->peer);
    else
        world->leave(world, visitor->peer);
    if (!we_first) {
        if (random_below(2))
            serve(world);
        close_seat(world, visitor->slot);
    }
    visitor->peer = -1;
}

static void visitor_writes(struct world *world, struct visitor *visitor)
{
    unsigned char bytes[1500];
    if (visitor->written > SEAT_BYTES / 2)
        return;
    pattern(bytes, visitor->written, sizeof bytes);
    ssize_t result = world->write(world, visitor->peer, bytes, 1 + random_below(sizeof bytes));
    visitor->written += result > 0 ? (size_t)result : 0;
}

static void visitor_reads(struct world *world, struct visitor *visitor)
{
    unsigned char bytes[4000];
    ssize_t result = world->read(world, visitor->peer, bytes, sizeof bytes);
    if (result <= 0)
        return;
    assert_true(is_pattern(bytes, visitor->read, (size_t)result));
    visitor->read += (size_t)result;
    assert_true(visitor->read <= visitor->sent);
}

static void visitor_acts(struct world *world, struct visitor *visitor)
{
    unsigned char bytes[3000];
    switch (random_below(7)) {
    case 0:
    case 1:
        visitor_writes(world, visitor);
        break;
    case 2:
        visitor_reads(world, visitor);
        break;
    case 3:
        set_receiving(world, visitor->slot, (enum io_receiving)random_below(3));
        break;
    case 4:
        io_want_writable(world->io, visitor->slot);
        break;
    case 5:
        pattern(bytes, visitor->sent, sizeof bytes);
        int32_t result = send_now(world, visitor->slot, bytes, 1 + random_below(sizeof bytes));
        assert_true(result >= 0);
        visitor->sent += (size_t)result;
        break;
    default:
        serve(world);
    }
}

/* Slots are used again and again; whatever comes must belong to the present life. */
static void churns(void **state)
{
    struct world *world = *state;
    static struct visitor visitors[200];
    begin(world,
          (struct io_options){.slots_max = SEATS, .receive_buffers = 16, .receive_buffer_size = 1024, .batch = 64});
    for (uint32_t i = 0; i < 200; i++)
        visitors[i].peer = -1;
    for (uint32_t step = 0; step < 20000; step++) {
        struct visitor *visitor = &visitors[random_below(200)];
        if (visitor->peer < 0)
            visitor_arrives(world, visitor);
        else if (random_below(25) == 0)
            visitor_goes(world, visitor);
        else
            visitor_acts(world, visitor);
    }
    for (uint32_t i = 0; i < 200; i++)
        if (visitors[i].peer >= 0)
            visitor_goes(world, &visitors[i]);
    SERVE_UNTIL(world, seats_open == 0);
    assert_int_equal(accept_failures, 0);
    world->close(world);
}

/* --- waking ------------------------------------------------------------------------------------------------- */

static void *wake_later(void *io)
{
    usleep(20000);
    io_wake(io);
    return NULL;
}

static void wakes(void **state)
{
    struct world *world = *state;
    begin(world, USUAL);
    io_wait(world->io, 0);
    io_wake(world->io); /* ends the next wait */
    io_wait(world->io, -1);
    struct io_event event;
    assert_false(io_next(world->io, &event));
    io_wake(world->io);
    io_flush(world->io);
    take_events(world); /* must not swallow it */
    io_wait(world->io, -1);
    for (int i = 0; i < 3; i++) {
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, wake_later, world->io), 0);
        io_wait(world->io, -1);
        take_events(world);
        pthread_join(thread, NULL);
    }
    world->close(world);
}

static void closes_with_all_open(void **state)
{
    struct world *world = *state;
    int peers[20];
    uint32_t slot;
    begin(world, USUAL);
    for (int i = 0; i < 20; i++) {
        peers[i] = connect_peer(world, &slot);
        set_receiving(world, slot, (enum io_receiving)(i % 3));
        if (i % 4 == 0)
            io_want_writable(world->io, slot);
        if (i % 5 == 0)
            close_seat(world, slot);
    }
    world->close(world);
    for (int i = 0; i < 20; i++)
        world->leave(world, peers[i]);
}

#define CONTRACT_TESTS                                                                                                 \
    cmocka_unit_test(starts_paused), cmocka_unit_test(echoes), cmocka_unit_test(switches_receiving),                   \
        cmocka_unit_test(runs_out_of_buffers), cmocka_unit_test(pauses_accepting),                                     \
        cmocka_unit_test(runs_out_of_slots), cmocka_unit_test(sends_short), cmocka_unit_test(orders_short_reports),    \
        cmocka_unit_test(gathers), cmocka_unit_test(sends_to_the_gone), cmocka_unit_test(ends_one_direction),          \
        cmocka_unit_test(closes_in_any_state), cmocka_unit_test(peers_end), cmocka_unit_test(churns),                  \
        cmocka_unit_test(wakes), cmocka_unit_test(closes_with_all_open)

#endif
