/*
 * remote: the part that other hosts have in a topic, at its owner.
 *
 * With a federation link on the mesh (mesh/relay.h), all topics but those that start with $ are shared with other
 * hosts. Most need nothing for it: a publish of a *live* topic is delivered here as ever, and a copy goes to the link.
 * A topic that somebody here follows, or reads, is *wanted* of the link, and has a struct remote as long as it is; a
 * *logged* topic also needs one to put what comes into Redis' order.
 *
 *   interest                                               log of a logged topic
 *
 *      ── needed: ASK_WANT ──▶ WANTING                        not known ── first page ──▶ known ── last page ──▶ opened
 *                    TELL_WANTED │ done        away                                        │
 *                                ▼         ──────▶                                         └─ a message by a filter's
 *                              WANTED              AWAY                                       pattern: opens there,
 *                                          ◀──────                                            unless some may have
 *                                                                                             been missed (missed.h)
 *      ◀── ASK_UNWANT, nobody needs it for cluster.linger_s
 *
 *   fetch      NONE ── a hole, or wanted (again) ──▶ OWED ── ASK_FETCH ──▶ OUT ── page ──▶ NONE, or OWED: there is more
 *                                                     ▲                     └─ failed ──▶ FAILED, until a sweep, a
 *                                                     └───────────────────────────────────  message or TELL_WANTED
 *
 * A logged topic's messages are appended in the order of their offsets, whatever way they come: each must follow the
 * last one. What is here already is dropped; what comes *early* (there is a hole before it, the log is not known yet,
 * or it is of another epoch) is kept in a list, and the stream is fetched before anything later is shown. What the
 * stream does not have any more, and a change of epoch, is put into the log as a gap.
 *
 * Asks that need the topic (a join, a read, a resume that is ahead of what is here) are *parked* until the link has
 * answered. If it can't reach Redis, they are worked with what is here, or refused (unavailable) if that is nothing.
 *
 * Bounds: early messages by number a topic and by bytes a shard (policy: dropped, counted, fetched again); parked asks
 * a shard (refused); publishes at the link a shard (refused); relays that found the link's ring full, by number and by
 * bytes a shard (live: dropped for other hosts and counted; logged: refused and counted).
 *
 * Thread: the shard's. Files: owner_remote.c (interest, parking, relays, live topics), owner_logged.c.
 */
#ifndef SHOAL_TOPIC_REMOTE_H
#define SHOAL_TOPIC_REMOTE_H

#include "mesh/envelope.h"
#include "mesh/relay.h"

#define REMOTE_EARLY_MAX       1024u       /* a topic */
#define REMOTE_EARLY_BYTES_MAX (16u << 20) /* a shard */
#define REMOTE_PARKED_MAX      (1u << 20)  /* a shard */
#define REMOTE_PLEDGES_MAX     (1u << 20)  /* a shard */
#define REMOTE_RELAYS_MAX      1024u       /* a shard: those that wait for room in the link's ring */
#define REMOTE_RELAY_BYTES_MAX (16u << 20) /* a shard: of these. One may wait alone, however large */

enum remote_interest {
    REMOTE_WANTING, /* TELL_WANTED is awaited */
    REMOTE_WANTED,  /* all that is published arrives */
    REMOTE_AWAY,    /* the link can't reach Redis: what is here is all there is */
};

enum remote_fetch {
    FETCH_NONE,
    FETCH_OWED,   /* ASK_FETCH is to be sent */
    FETCH_OUT,    /* TELL_FETCHED is awaited */
    FETCH_FAILED, /* to be tried again */
};

struct remote {
    uint32_t topic;
    uint32_t due_next;
    uint32_t parked_first; /* in the order of coming */
    uint32_t parked_last;
    struct relay *early; /* by offset, as far as they are of one epoch */
    uint32_t early_count;
    uint32_t needed_s; /* when somebody was last seen to need the topic: shard's seconds */
    uint32_t retry_s;  /* FETCH_FAILED: not before */
    uint8_t interest;  /* enum remote_interest */
    uint8_t fetch;     /* enum remote_fetch */
    bool logged;
    bool due; /* has something to send, or to release */
    bool owes_want;
    bool owes_unwant;
    bool again;  /* FETCH_OUT: what it brings may not be all */
    bool known;  /* logged: epoch and tail are known */
    bool opened; /* logged: and the history is here; messages from now on are new */
    /* logged */
    int64_t shift;        /* public offset of the tail - its position */
    uint64_t epoch_first; /* position of the present epoch's first entry */
    int64_t epoch_ms;     /* when the present epoch was seen to follow another; 0: it did not */
};

/* An ask that waits. */
struct parked {
    uint32_t next;
    struct envelope ask;
};

/* A publish at the link. */
struct pledge {
    uint32_t spare;
    struct ticket *ticket; /* NULL: the record is free */
};

/* Whether the link has still to answer before the topic can be relied on. */
static inline bool remote_waits(const struct remote *remote)
{
    bool fetching = remote->fetch == FETCH_OWED || remote->fetch == FETCH_OUT;
    return remote->interest == REMOTE_WANTING || (remote->interest == REMOTE_WANTED && fetching);
}

#endif
