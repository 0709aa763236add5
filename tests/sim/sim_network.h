/*
 * sim_network: what the simulated network (sim_network.c) and its rooms (io_simulated.c) share. Private to the two.
 *
 * A *link* is one connection, both its ends. It is freed when the room has reported IO_CLOSED and the client has left.
 * Its *flow*, the bytes under way, exists only while there are any.
 */
#ifndef SHOAL_TESTS_SIM_NETWORK_H
#define SHOAL_TESTS_SIM_NETWORK_H

#include <assert.h>

#include "base/check.h"
#include "chance.h"
#include "io_simulated.h"

enum segment_kind {
    SEGMENT_BYTES,
    SEGMENT_END,   /* the last of its pipe; stays there */
    SEGMENT_RESET, /* the same */
};

struct segment {
    struct segment *next;
    int64_t due_us; /* when it arrives */
    uint32_t size;
    uint32_t taken;
    enum segment_kind kind;
    char bytes[];
};

/* One direction. Times in it never fall. */
struct pipe {
    struct segment *first;
    struct segment *last;
    uint32_t bytes; /* not taken yet */
};

struct flow {
    struct pipe up;   /* to the room */
    struct pipe down; /* to the client */
    uint32_t next_readable;
    bool in_readable;
};

enum link_flag {
    LINK_USED = 1 << 0,          /* not in the list of free ones */
    LINK_CLIENT = 1 << 1,        /* the client is here */
    LINK_CLIENT_GONE = 1 << 2,   /* it left and its end answers with resets (not: vanished) */
    LINK_CLIENT_ENDED = 1 << 3,  /* it writes no more */
    LINK_BACKLOG = 1 << 4,       /* not accepted yet */
    LINK_OPEN = 1 << 5,          /* has a slot */
    LINK_CLOSING = 1 << 6,       /* io_close() was called */
    LINK_CLOSED = 1 << 7,        /* and done */
    LINK_RIPE = 1 << 8,          /* IO_CLOSED is due */
    LINK_ROOM_ENDED = 1 << 9,    /* io_shutdown_write() was called */
    LINK_END_REPORTED = 1 << 10, /* IO_ENDED was */
    LINK_WANT = 1 << 11,         /* io_want_writable() */
    LINK_SENDING = 1 << 12,      /* has a send in this batch */
    LINK_IN_LINE = 1 << 13,
};

struct link {
    struct flow *flow; /* NULL: nothing is under way */
    uint32_t slot;
    uint32_t next; /* in the line or the backlog of its room, or among the free links */
    uint16_t flags;
    uint8_t receiving;
    uint8_t room;
};
static_assert(sizeof(struct link) == 24, "ten million of these are 240 MB");

enum notice_kind { NOTICE_UP, NOTICE_DOWN, NOTICE_CLOSED };

/* Something will arrive. It only says where to look, so one that is out of date does no harm. */
struct notice {
    int64_t due_us;
    uint64_t order; /* among those of one time */
    uint32_t link;
    enum notice_kind kind;
};

struct sim_room;

enum { SIM_ROOMS_MAX = 255 };

struct sim_network {
    struct clock clock; /* first: sim_clock() */
    struct sim_options options;
    int64_t now_us;
    struct chance chance;
    struct link *links;
    uint32_t link_count, link_room, link_free;
    struct notice *notices; /* a heap, the earliest first */
    uint32_t notice_count, notice_room;
    uint64_t notice_order;
    uint32_t readable_first, readable_last;
    struct sim_room *rooms[SIM_ROOMS_MAX];
    uint32_t room_count;
};

/* --- sim_network.c --- */

/* True so many times in 1000. */
bool sim_chance(struct sim_network *network, uint16_t in_1000);
int64_t sim_delay(struct sim_network *network);

/* Puts a segment under way. Bytes are copied. */
void sim_put(struct sim_network *network, uint32_t link, bool up, enum segment_kind kind, const void *bytes,
             uint32_t size);

/* Takes what has arrived: bytes, 0 at the end, -ECONNRESET or -EAGAIN. */
ssize_t sim_take(struct sim_network *network, uint32_t link, bool up, void *bytes, size_t size);

/* Whether sim_take() would not say -EAGAIN. */
bool sim_arrived(const struct sim_network *network, uint32_t link, bool up);

/* Whether a reset has arrived at that end, be it behind bytes. */
bool sim_reset_arrived(const struct sim_network *network, uint32_t link, bool up);

/* Bytes that still fit into that direction. */
uint32_t sim_window(const struct sim_network *network, uint32_t link, bool up);

uint32_t sim_unread(const struct sim_network *network, uint32_t link, bool up);

/* Both ends find the connection broken, at once; bytes under way are lost. */
void sim_break(struct sim_network *network, uint32_t link);

/* Makes the link's state known to the heap after a delay. */
void sim_notice(struct sim_network *network, uint32_t link, enum notice_kind kind, int64_t due_us);

/* Works off all notices that are due. */
void sim_deliver(struct sim_network *network);

/* The link is freed if both ends are through with it. */
void sim_link_release(struct sim_network *network, uint32_t link);

/* --- io_simulated.c --- */

/* A connection for the backlog. False: refused. */
bool sim_room_knock(struct sim_room *room, uint32_t link);

/* Something may have changed for the room's end of the link. */
void sim_room_look(struct sim_room *room, uint32_t link);
void sim_room_ripe(struct sim_room *room, uint32_t link);

/* Receive buffers do not run out any more. */
void sim_room_calm(struct sim_room *room);

#endif
