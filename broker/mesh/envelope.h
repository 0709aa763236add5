/*
 * envelope: what crosses the mesh, fixed in size and one cache line.
 *
 * There are two sorts, in two rings a pair of peers, and the difference is what keeps the mesh from standing still:
 *
 *   asks    to the owner of a topic. To work an ask may need room in the ring of tells that leads back, so a peer
 *           works asks only while there is room for the answer.
 *   tells   from the owner. To work a tell never needs room anywhere, so tells are always drained.
 *
 * So a full ring of tells is always emptied by its consumer's next turn, whereupon the asks behind it move on: no
 * circle of full rings can form.
 *
 * Ownership of what an envelope points at passes with it (*takes* at the receiver), each kind says what.
 */
#ifndef SHOAL_MESH_ENVELOPE_H
#define SHOAL_MESH_ENVELOPE_H

#include <stdint.h>

#include "base/limits.h"

struct chunk;
struct inspection;
struct name;
struct relay;
struct replay_ask;
struct ticket;

enum envelope_kind {
    /* asks */
    ASK_PUBLISH,  /* ticket: goes back in TELL_PUBLISHED */
    ASK_JOIN,     /* name (reference given), hash, feed, lanes: tell us of this topic in (at least) these lanes */
    ASK_LEAVE,    /* topic: tell us no more (answered by TELL_LEFT) */
    ASK_FOLLOWED, /* topic, feed: the answer to TELL_FOLLOW */
    ASK_HISTORY,  /* topic, ref (subscription), from_kind, epoch, offset: a place in the log to begin at */
    ASK_FILTER,   /* name (reference given), feed, lanes, lanes_before: what matches concerns us in these
                     lanes from now on (0: no more), and no longer in those (0: it did not) */
    ASK_WALKED,   /* topic, offset: all our subscribers that keep up have been sent the log so far */
    ASK_BRAKE,    /* name (reference given), hash, feed: publishers to what this filter of ours matches have to wait,
                     for its feed is behind; not answered */
    ASK_RELEASE,  /* name (reference given), hash, feed: no longer; not answered */
    ASK_READ,     /* ticket: history of a topic, for a plain GET; goes back in TELL_READ */
    ASK_INSPECT,  /* inspection (lent): a page of the shard's tables; goes back in TELL_INSPECTED */
    ASK_REPLAY,   /* replay: what a filter's subscriber missed here; goes back in TELL_REPLAY */
    /* asks to the federation link, and one from it (relay.h); it is asked ASK_FILTER and ASK_INSPECT, too */
    ASK_RELAY,   /* relay: a message for the other hosts; logged: goes back in TELL_RELAYED, live: is freed */
    ASK_WANT,    /* name (reference given), hash, topic: tell us what other hosts publish here (TELL_WANTED) */
    ASK_UNWANT,  /* name (reference given), hash: no longer; not answered */
    ASK_FETCH,   /* relay: what a logged topic's stream has after a position; goes back in TELL_FETCHED */
    ASK_ARRIVED, /* relay (given), from the link to the topic's owner: a message that another host published; logged:
                    any host, this one too */
    /* tells */
    TELL_PUBLISHED, /* ticket, with its status, epoch and offset set */
    TELL_JOINED,    /* feed, topic, epoch, offset (the tail), shift, lanes, status; else than REPLY_OK: not joined */
    TELL_LEFT,      /* feed */
    TELL_FILTERED,  /* feed, lanes: the ASK_FILTER is done at this owner */
    TELL_FOLLOW,    /* name (reference given), topic, epoch, offset, shift: a topic that matches one of your filters */
    TELL_TAIL,    /* feed, chunk (reference given: the one with the first new message; NULL: nothing new), epoch, offset
                     (the new tail), shift, bytes (of the log up to there), time_us, flags */
    TELL_HISTORY, /* ref, chunk (reference given, or NULL), epoch, offset (deliver after this one), shift, status */
    TELL_READ,    /* ticket */
    TELL_REPLAY,  /* replay */
    TELL_INSPECTED, /* inspection, filled */
    /* tells of the federation link */
    TELL_RELAYED, /* relay, with its status, epoch and offset set */
    TELL_WANTED,  /* topic, hash, status (enum relay_status): DONE: from now on all that is published arrives, what came
                     before may be missing; comes again after each time that Redis was cut off. AWAY: not now */
    TELL_FETCHED, /* relay, with its status and page set */
    TELL_PATTERNS, /* status: AWAY: what matches filters may be missed from now on. DONE: nothing is any more */
};

/* What TELL_HISTORY says of the position that was asked for. */
enum history_status {
    HISTORY_REACHES, /* nothing was lost */
    HISTORY_EXPIRED, /* the history begins later */
    HISTORY_EPOCH,   /* the position is of another epoch */
    HISTORY_AHEAD,   /* the position was never given out */
    HISTORY_AWAY,    /* not known: what could tell can't be reached now */
};

enum { ASK_CAUGHT_UP = 1 };    /* flags of an ask that the owner has parked: the stream was fetched for it */
enum { TELL_TAIL_REPORT = 1 }; /* flags: the owner waits for an ASK_WALKED */

struct envelope {
    uint8_t kind;
    uint8_t from;      /* the peer that sent it, set by mesh_ask() and mesh_tell() */
    uint8_t lanes;     /* bits of enum lane */
    uint8_t status;    /* TELL_JOINED: enum reply_error; TELL_HISTORY: enum history_status; TELL_WANTED: relay_status */
    uint8_t from_kind; /* ASK_HISTORY: enum from_kind */
    uint8_t flags;
    uint8_t lanes_before;
    uint8_t spare;
    uint32_t topic; /* number in the owner's table of topics */
    uint32_t feed;  /* number in the follower's table of feeds */
    uint32_t ref;
    uint32_t time_us; /* TELL_TAIL: when the first new message was published: monotonic, its low 32 bits */
    union {
        uint64_t hash; /* of the topic's name */
        int64_t shift; /* TELL_JOINED, TELL_FOLLOW, TELL_TAIL, TELL_HISTORY: public offset of `offset` - `offset` */
    };
    uint64_t epoch;
    uint64_t offset; /* ASK_HISTORY: public; else a position of the log (topic/chunk.h) */
    union {
        struct chunk *chunk;
        struct name *name;
        struct relay *relay;
        struct ticket *ticket;
        struct replay_ask *replay;
        struct inspection *inspection;
    };
    uint64_t bytes;
};

static_assert(sizeof(struct envelope) == ENVELOPE_SIZE, "one line an envelope");

#endif
