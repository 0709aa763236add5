/*
 * io_simulated: a network that exists only in memory, behind the contract of io.h.
 *
 *    test code                                   network                                  code under test
 *   sim_connect() ──▶ client ──▶ ═══ up: segments, each with the time it arrives ═══▶ slot ──▶ events
 *   sim_client_read() ◀── client ◀══ down: the same, bounded by a window ◀═══ slot ◀── io_send()
 *
 * All chance comes from one seed and all time from one clock that only the test moves: so a run is repeated by its
 * seed. A network has several rooms, one a shard, each its own listener; all of it belongs to one thread (but for
 * io_wake()).
 *
 * It also watches that its user keeps io.h's rules, and aborts with the reason where one is broken: one send a slot
 * between two flushes, its bytes unchanged until the flush, nothing sent after io_close() or io_shutdown_write(), each
 * buffer returned before the next event, all short reports taken. sim_check_empty() finds slots that were never closed.
 *
 * io_wait() never blocks. With `wait_advances` it moves the clock, by at most its timeout, to the next thing that is
 * due: right for a test with one room. With several, the test moves it when all shards have nothing left:
 * sim_advance_to_next().
 *
 * A silent connection is 24 bytes here and 4 in its room: ten million fit a small host. Bytes under way are allocated.
 */
#ifndef SHOAL_TESTS_IO_SIMULATED_H
#define SHOAL_TESTS_IO_SIMULATED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/clock.h"
#include "io/io.h"

struct sim_network;

#define SIM_NONE UINT32_MAX

struct sim_options {
    uint64_t seed;
    uint32_t window_bytes; /* under way and unread in one direction at most; 0: 65536 */
    uint32_t backlog;      /* connections that wait to be accepted by a room at most; 0: 4096 */
    int64_t delay_us_max;  /* each segment arrives after 0 to this; in order */
    int64_t start_us;      /* the clock's first reading */
    bool wait_advances;
    bool tells_readable; /* keeps the list behind sim_next_readable() */
    int64_t gives_up_us; /* TCP finds out so long after it that a client has vanished; 0: never */

    /* How often, in 1/1000: */
    uint16_t short_sends;    /* a send takes only part (or nothing) though there is room */
    uint16_t short_receives; /* a receive brings only part of what is there */
    uint16_t late_receives;  /* a receive finds no buffer and comes after the next wait */
    uint16_t resets;         /* a connection breaks when something is sent or received */
    uint16_t failed_accepts; /* an accept fails for want of memory, and the connection is lost */
};

/* Gives the network to the caller. Aborts without memory: this is a test. */
struct sim_network *sim_create(const struct sim_options *options);

/* From now on nothing goes wrong any more: the rates above are 0, windows and buffers are large enough. */
void sim_calm(struct sim_network *network);

/* After its rooms were destroyed. Takes the network and whatever clients are left. */
void sim_destroy(struct sim_network *network);

/* Makes the next room of the network: number 0, 1, … It accepts once io_listen() was called, with any number. */
struct io *sim_room_create(struct sim_network *network, const struct io_options *options);

/* Aborts unless every slot of every room is free: for the end of a test in which all was closed. */
void sim_check_empty(const struct sim_network *network);

/* Slots in use in a room. */
uint32_t sim_slots_used(const struct io *io);

/* --- time --- */

int64_t sim_now_us(const struct sim_network *network);
void sim_advance(struct sim_network *network, int64_t us);

/* Moves to the next arrival if that is not later than `limit_us` from now; else moves by the limit. False: nothing was
 * due. */
bool sim_advance_to_next(struct sim_network *network, int64_t limit_us);

/* Whether something can be had from the room without moving the clock: io_wait() would not sleep. */
bool sim_room_ready(const struct io *io);

/* The network's clock, to be given to the code under test. Borrowed. */
const struct clock *sim_clock(const struct sim_network *network);

/* The network's source of chance: below `bound`, for the test's own choices. */
uint32_t sim_random(struct sim_network *network, uint32_t bound);

/* --- clients: test code --- */

/* A new connection to a room. SIM_NONE: refused (nobody listens, or the backlog is full). */
uint32_t sim_connect(struct sim_network *network, uint32_t room);

/* Bytes taken (fewer if the window is full), -EAGAIN: none; -ECONNRESET or -EPIPE. */
ssize_t sim_client_write(struct sim_network *network, uint32_t client, const void *bytes, size_t size);

/* Bytes that have arrived; 0: the broker ended; -EAGAIN: nothing yet; -ECONNRESET. */
ssize_t sim_client_read(struct sim_network *network, uint32_t client, void *bytes, size_t size);

/* Writes no more, still reads. */
void sim_client_finish(struct sim_network *network, uint32_t client);

/* False: the connection waits in the room's backlog, unheard. */
bool sim_client_accepted(const struct sim_network *network, uint32_t client);

/* How a client goes. Its number is void afterwards. */
enum sim_leaving {
    SIM_LEAVE,  /* closes: an end (or a reset if it leaves bytes unread, as TCP does) */
    SIM_RESET,  /* breaks the connection */
    SIM_VANISH, /* says nothing, ever: a cut cable */
};
void sim_client_leave(struct sim_network *network, uint32_t client, enum sim_leaving how);

/*
 * A client that something has arrived for since it was last named here. False: none. Lets a test look only at those, if
 * `tells_readable`: then it must be called, as the number of a client that has left stays taken until it has passed
 * here.
 */
bool sim_next_readable(struct sim_network *network, uint32_t *client);

#endif
