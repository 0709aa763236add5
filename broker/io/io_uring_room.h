/*
 * io_uring_room: what the files of the io_uring room share. Private to io/.
 *
 *   io_uring.c         the room: receiving, sending, closing, and the one switch on what has completed
 *   io_uring_accept.c  accepting
 *   io_uring_held.c    bytes that arrived for a slot that is paused
 *   io_uring_starved.c slots that wait for a receive buffer
 *   io_uring_ring.c    the ring itself: setting up, submitting, collecting completions, receive buffers
 *
 * What a completion belongs to is packed in its user_data, made by token_make() and read by the token_…() functions:
 *
 *    63      56 55      48 47              32 31                             0
 *   │ operation │  unused  │   generation     │  slot, send or acceptor         │
 *
 * The generation is that of the slot's life (or of the listening socket), so that what comes late is known as such.
 *
 * A slot's state is four bytes, in memory that is mapped for all and touched only as far as slots are used.
 */
#ifndef SHOAL_IO_IO_URING_ROOM_H
#define SHOAL_IO_IO_URING_ROOM_H

#include <assert.h>
#include <liburing.h>

#include "base/check.h"
#include "io/batch.h"
#include "io/io.h"

enum operation {
    OP_IGNORED, /* cancellations: what they cancel tells its own end */
    OP_WAKE,
    OP_ACCEPT,
    OP_POLL, /* an idle slot waits for bytes */
    OP_RECEIVE,
    OP_WRITABLE,
    OP_SEND,
    OP_SHUTDOWN,
    OP_CLOSE,
};

static inline uint64_t token_make(enum operation operation, uint16_t generation, uint32_t number)
{
    return (uint64_t)operation << 56 | (uint64_t)generation << 32 | number;
}

static inline enum operation token_operation(uint64_t token)
{
    return (enum operation)(token >> 56);
}

static inline uint16_t token_generation(uint64_t token)
{
    return (uint16_t)(token >> 32);
}

static inline uint32_t token_number(uint64_t token)
{
    return (uint32_t)token;
}

enum slot_flag {
    SLOT_OPEN = 1 << 0,          /* accepted, and IO_CLOSED not reported yet */
    SLOT_RECEIVING_LOW = 1 << 1, /* two bits: enum io_receiving */
    SLOT_RECEIVING_HIGH = 1 << 2,
    SLOT_ENDED = 1 << 3,      /* the end was seen (reported, or held while paused): nothing is armed again */
    SLOT_HELD = 1 << 4,       /* has bytes or the end in the held lists */
    SLOT_CANCELLING = 1 << 5, /* the receive is asked to end */
    SLOT_CLOSING = 1 << 6,    /* io_close() was called: joining */
    SLOT_CLOSE_SENT = 1 << 7, /* joined: nothing but the close itself is in flight */

    /* What the kernel holds of this slot: each is cleared by its last completion. */
    SLOT_POLL = 1 << 8,
    SLOT_RECEIVE = 1 << 9,
    SLOT_WRITABLE = 1 << 10,
    SLOT_SHUTDOWN = 1 << 11,
    SLOT_ONCE = 1 << 12, /* with RECEIVE: of one shot */
    SLOT_IN_FLIGHT = SLOT_POLL | SLOT_RECEIVE | SLOT_WRITABLE | SLOT_SHUTDOWN,

    SLOT_STARVED = 1 << 13, /* stands in the line of those that wait for a buffer */
    SLOT_FRESH = 1 << 14,   /* accepted, and nothing was armed yet */
};

struct uring_slot {
    uint16_t flags;
    uint16_t generation;
};
static_assert(sizeof(struct uring_slot) == 4, "ten million of these are 40 MB");

struct completion {
    uint64_t token;
    int32_t result;
    uint32_t flags;
};

/* Completions taken out of the kernel's queue, in order, not yet looked at. Grows only when the kernel's queue ran
 * over. */
struct backlog {
    struct completion *entries;
    uint32_t head, tail; /* free-running */
    uint32_t room;       /* a power of two */
};

/* Slots with something to receive and no buffer for it, in the order in which they were found. */
struct starved {
    uint32_t *slots;
    uint32_t head, tail; /* free-running */
    uint32_t room;       /* a power of two, 0: none was ever */
};

/* Bytes (result > 0), end (0) or break (-errno) of a slot. */
struct held {
    struct held *next;
    uint32_t slot;
    int32_t result;
    char bytes[];
};

struct held_list {
    struct held *first;
    struct held *last;
};

enum { HELD_LISTS = 1024 }; /* a power of two: thousands of paused slots are found in a few steps each */

/* One accept request that can be armed: a multishot one, or several that each bring one connection and its address. */
struct acceptor {
    bool armed;
    socklen_t address_size;
    struct sockaddr_in6 address;
};

/* The address as stored by slot: all of it that tells anything. */
struct peer {
    struct in6_addr address;
    in_port_t port;
    uint16_t known;
};
static_assert(sizeof(struct peer) == 20, "as io.h promises");

enum { ACCEPTORS_MAX = 32 };

enum accepting {
    ACCEPT_OPEN,
    ACCEPT_NO_SLOT,     /* all taken: until one is freed */
    ACCEPT_NO_RESOURCE, /* descriptors or memory: until a slot is freed or a wait passes in quiet */
};

struct uring_room {
    struct io io;

    /* The turn's. */
    struct io_uring ring;
    struct uring_slot *slots;
    struct backlog backlog;
    struct held_list held[HELD_LISTS]; /* of paused slots, by slot */
    struct held_list released;         /* of slots that were resumed: reported before anything newer */
    struct held *lent;                 /* the one whose bytes are out with an event */
    struct io_event overtaken;         /* IO_ACCEPTED to report next, if its kind says so and has_overtaken */
    bool has_overtaken;
    bool woken; /* a wake was seen since the last wait */
    bool buffer_out;
    bool receive_queued; /* a receive is to be submitted: with a door, io_next() does it */
    struct batch batch;
    struct msghdr *messages; /* of this batch's gathering sends: until they are submitted */
    struct iovec *parts;
    uint32_t message_count, part_count, part_room;

    /* Receive buffers. */
    struct io_uring_buf_ring *buffers;
    char *buffer_bytes;
    uint32_t buffer_count, buffer_size;
    uint32_t receives_once; /* receives of one shot in flight: never more than buffers */
    struct starved starved;

    /* Accepting. */
    struct acceptor acceptors[ACCEPTORS_MAX];
    uint32_t acceptor_count;
    uint32_t slots_used;
    uint16_t listen_generation;
    bool accept_paused;
    enum accepting accepting;
    int listener;       /* -1: none */
    struct peer *peers; /* NULL: not kept */

    /* Fixed. */
    int wake;
    int door; /* eventfd that the kernel rings for this ring's completions, -1: the room waits by itself */
    bool ring_ready;
    size_t slots_bytes, peers_bytes, buffers_bytes, buffer_ring_bytes;
};

static inline struct uring_room *uring_of(struct io *io)
{
    return (struct uring_room *)io;
}

/* --- io_uring_ring.c --- */

/* Sets up all that the room stands on. False: *problem says why; uring_teardown() is still due. */
bool uring_setup(struct uring_room *room, const struct io_options *options, const char **problem);
void uring_teardown(struct uring_room *room);

/* The next free entry of the submission queue, made room for if need be. Never NULL. To be filled before the next call.
 */
struct io_uring_sqe *uring_request(struct uring_room *room);

/* Asks the kernel to end the request with that token. What it ends tells so itself. */
void uring_cancel(struct uring_room *room, uint64_t token);

/* Submits all that is queued and collects what has completed. On return all sends among it are done. */
void uring_submit(struct uring_room *room);

/* Submits, waits for a completion or the timeout (negative: none), collects. */
void uring_submit_and_wait(struct uring_room *room, int64_t timeout_us);

/* Takes over the completions that the kernel has posted: sends go to the batch, wakes to `woken`, the rest to the
 * backlog. */
void uring_collect(struct uring_room *room);

/* Whether the kernel has posted completions that were not collected. Reads shared memory only. */
bool uring_has_posted(const struct uring_room *room);

/* Whether it has, or probably would make some if asked (DEFER_TASKRUN). Reads shared memory only. */
bool uring_is_ringing(const struct uring_room *room);

/* See io_door(). */
int uring_door(struct io *io);

/* The oldest of the backlog. False: none. */
bool uring_next_completion(struct uring_room *room, struct completion *completion);

/* Arms the poll that io_wake() triggers. */
void uring_arm_wake(struct uring_room *room);

char *uring_buffer(struct uring_room *room, uint32_t buffer);
void uring_buffer_give(struct uring_room *room, uint32_t buffer);

/* --- io_uring_starved.c --- */

/* The slot has something to receive, but there is no buffer: it is armed again when there is one. */
void uring_starve(struct uring_room *room, uint32_t number);

/* The next in the line, taken out. False: nobody waits. It may be closing, paused or armed by now. */
bool uring_starved_take(struct uring_room *room, uint32_t *number);

static inline bool uring_has_starved(const struct uring_room *room)
{
    return room->starved.head != room->starved.tail;
}

/* Receives for as many of those that wait as there are buffers. All buffers must have been given back. io_uring.c. */
void uring_starved_serve(struct uring_room *room);

/* --- io_uring_accept.c --- */

int uring_listen(struct io *io, int socket);
void uring_listen_stop(struct io *io);
void uring_accept_pause(struct io *io, bool paused);

/* What an accept's completion tells. True: *event. */
bool uring_accept_done(struct uring_room *room, const struct completion *completion, struct io_event *event);

/* The slot is free: forgets its life, counts it out, accepts again if it was slots that lacked. */
void uring_slot_free(struct uring_room *room, uint32_t number);

/* A wait passed in quiet: whatever lacked for accepting may be there again. */
void uring_accept_retry(struct uring_room *room);

bool uring_peer(struct io *io, uint32_t number, struct sockaddr_in6 *address);

/* --- io_uring_held.c --- */

/* Copies what came for a paused slot, and keeps it until uring_release(). */
void uring_hold(struct uring_room *room, uint32_t number, int32_t result, const char *bytes);

/* The slot wants its bytes again. */
void uring_release(struct uring_room *room, uint32_t number);

/* Forgets what is held for the slot: it is closing. */
void uring_drop_held(struct uring_room *room, uint32_t number);

/* The next of the released. NULL: none. Lent until uring_held_return(). */
const struct held *uring_next_released(struct uring_room *room);
void uring_held_return(struct uring_room *room);
void uring_held_destroy(struct uring_room *room);

static inline enum io_receiving slot_receiving(const struct uring_slot *slot)
{
    return (enum io_receiving)(slot->flags >> 1 & 3);
}

static inline void slot_set_receiving(struct uring_slot *slot, enum io_receiving how)
{
    slot->flags = (uint16_t)((slot->flags & ~(SLOT_RECEIVING_LOW | SLOT_RECEIVING_HIGH)) | (unsigned)how << 1);
}

static inline void slot_clear(struct uring_slot *slot, unsigned flags)
{
    slot->flags = (uint16_t)(slot->flags & ~flags);
}

static inline void slot_set(struct uring_slot *slot, unsigned flags)
{
    slot->flags = (uint16_t)(slot->flags | flags);
}

#endif
