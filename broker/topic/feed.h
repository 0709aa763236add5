/*
 * feed: what this shard's subscribers follow: a topic's log, or the log of a filter.
 *
 *      subscription ─▶ feed ─▶ chunks (of the topic's owner, or for a filter this shard's own)
 *           └▶ cursor, only while it is behind
 *
 * Who is up to date needs no position: it is where the feed is (`walked`). When the owner tells of a new tail, the
 * subscribers are walked in slices (conn/deliver does the sending). A walk goes round the vector like a lift: whoever
 * it comes to is sent all from where they stand to `target`, in one send; what is published meanwhile raises the target
 * for those still to come, and the walk goes on until all are at the tail. So a subscriber is sent to once a round,
 * however many messages come, and a message is everywhere after one round. Where somebody stands follows from the
 * *part* of the vector that they are in:
 *
 *      subscribers   [ ·· up to 7 ·· | ·· up to 9 ·· | ·· still at 4 ······ | ·· up to 5 ·· ]
 *                    0                               ▲ the walk is here                   size
 *      parts           newest but one  newest: target  oldest: walked         next to be walked
 *
 * Who cannot be sent everything gets a cursor: its own place, from which it goes on by itself. A cursor that has
 * reached the tail is dropped as soon as a part stands there; until then it is parked.
 *
 * Cursors stand in *holds*: one for each chunk that a cursor of this shard is in. A hold has the reference on the
 * chunk; when the backlog has outgrown the chunk, the hold names exactly the subscribers that were passed.
 *
 * A feed's life (topic: one owner; filter: all shards are asked, each as an owner of topics that may match):
 *
 *      NEW ── ask ──▶ JOINING ── answered ──▶ JOINED ── unused, ask ──▶ LEAVING ── answered ──▶ gone, or NEW again
 *                                                ▲
 *                             TELL_FOLLOW ───────┘   a topic that is here only for a filter of this shard
 *
 * All of a subscription is in fixed-size records without pointers; feeds and holds point at names and chunks, which
 * are to be found again by name and offset.
 *
 * Thread: the shard's. Files: feed.c (table, life), feed_subscribe.c (subscriptions), feed_tell.c (what the owners
 * tell), feed_filter.c (what is told of filters' feeds), feed_walk.c (walks), feed_cursor.c (cursors and holds).
 */
#ifndef SHOAL_TOPIC_FEED_H
#define SHOAL_TOPIC_FEED_H

#include "base/index.h"
#include "base/queue.h"
#include "base/stats.h"
#include "base/vector.h"
#include "base/watermark.h"
#include "config/config.h"
#include "mesh/mesh.h"
#include "mesh/name.h"
#include "topic/filters.h"
#include "topic/log.h"
#include "topic/rest.h"

enum subscription_state {
    SUBSCRIPTION_JOINING, /* waits for the feed to be told in its lane; `cursor` is its wish */
    SUBSCRIPTION_ASKING,  /* ASK_HISTORY is to be sent; `cursor` is its wish */
    SUBSCRIPTION_ASKED,   /* TELL_HISTORY is awaited; `cursor` is its wish */
    SUBSCRIPTION_LIVE,    /* stands among the feed's subscribers */
    SUBSCRIPTION_DEAD,    /* ended while TELL_HISTORY was awaited: free when it comes */
};

/* 24 bytes, and 4 in the feed's vector: what following a topic costs. */
struct subscription {
    uint32_t conn;
    uint32_t next; /* of the same connection */
    uint32_t feed;
    uint32_t place;  /* LIVE: index among the feed's subscribers; before: the next one that waits */
    uint32_t cursor; /* LIVE: 0 if up to date; before: its wish */
    uint8_t lane;
    uint8_t state;  /* enum subscription_state */
    bool suspended; /* has a cursor that must not go on yet: a replay comes first (conn/replay) */
    uint8_t spare;
};
static_assert(sizeof(struct subscription) == 24, "a part of the budget for an idle subscriber");

/* What a subscription that is not live yet has asked for. */
struct wish {
    uint8_t from_kind; /* enum from_kind */
    uint64_t epoch;
    uint64_t offset;
};

/* A place of one's own in the log: the price of being slow. */
struct cursor {
    uint32_t subscription;
    uint32_t hold;     /* 0: parked at the tail */
    uint32_t previous; /* in the hold, or among the feed's parked ones */
    uint32_t next;
    uint32_t conn_next; /* of the same connection: its cursors in the order of sending */
    uint32_t partial;   /* bytes of message offset + 1 that were sent already */
    uint64_t offset;    /* position of the last message that was sent whole, or skipped */
    uint64_t missed;    /* public offset of the first message that was skipped and not told yet; 0: none */
};
static_assert(sizeof(struct cursor) == 40, "what a slow reader costs");

/* cursor.missed: the epoch changed among what was skipped. */
#define MISSED_EPOCH UINT64_MAX

/* A chunk with cursors in it. */
struct hold {
    struct chunk *chunk; /* reference */
    uint32_t next;       /* of the same feed, a later chunk */
    uint32_t cursors;    /* the first */
    uint32_t count;
};

/* Subscribers that stand together in the vector and have been sent as much. Who has a cursor may stand in any part. */
struct walk_part {
    uint32_t begin; /* index; the part ends where the next one begins, the last one with the vector */
    uint32_t
        fresh_us; /* when the first message was published that this part was sent beyond the one before: low 32 bits */
    uint64_t offset; /* the last message that they were sent */
};

/* A target is raised when an eighth of the subscribers were sent the one before; one part more where the round ends. */
#define WALK_RAISES_A_ROUND 8u
#define WALK_PARTS_MAX      (WALK_RAISES_A_ROUND + 2)

/* What a feed needs while it is walked. */
struct walk {
    uint64_t target;    /* what subscribers are being sent up to */
    uint32_t target_us; /* fresh_us of the part that is sent up to it */
    uint8_t part_count;
    uint8_t at;                             /* the oldest part: its first subscriber is the next */
    struct walk_part parts[WALK_PARTS_MAX]; /* in the vector's order; going round from `at`, offsets do not fall */
};

/* What only the feed of a filter has. */
struct filter {
    struct log log;           /* copies of what its topics' owners told this shard */
    uint32_t answers_awaited; /* TELL_FILTERED still to come */
    uint32_t asked;           /* how many owners (and the link) were sent the ask that is under way */
    bool behind;              /* publishers are to wait until `walked` has reached the barrier */
    bool behind_told;         /* what the owners were told last, or are being told */
    uint32_t brakes_asked;    /* how many owners were told that */
    uint64_t barrier_offset;  /* of the last message, when a step began */
    uint64_t barrier_bytes;   /* feed.tail_bytes at that time */
    bool undelivered;         /* stands in feeds.delivered, for messages that are to be walked */
    uint8_t generation;       /* as such */
    uint64_t older_until;     /* the last message of that generation; 0: all up to the tail are */
};

enum feed_state { FEED_NEW, FEED_JOINING, FEED_JOINED, FEED_LEAVING };

struct feed {
    struct index_link link;
    uint32_t topic; /* number at its owner */
    struct name *name;
    uint64_t epoch;      /* of the tail */
    int64_t tail_shift;  /* its public offset is tail + tail_shift */
    uint64_t tail;       /* position of the last message that this shard knows of */
    uint64_t tail_bytes; /* of the log up to there */
    uint64_t walked;     /* the last message that all subscribers without a cursor were sent */
    uint64_t report_at;  /* owes_walked: what `walked` must reach */
    struct chunk *base;  /* reference on the chunk with message walked + 1; NULL: walked == tail */
    struct vector subscribers;
    uint32_t walk;     /* under way; 0: all are at `walked` */
    uint32_t fresh_us; /* when the first message that no walk has taken yet was published: the low 32 bits */
    uint32_t came_us;  /* the same of the last one that this shard was told of */
    struct rest rest;  /* of a large feed */
    uint32_t waiting;  /* first subscription that is not live, linked by `place` */
    uint32_t holds;    /* by chunk, oldest first */
    uint32_t parked;   /* cursors at the tail */
    uint32_t dirty_next;
    uint32_t unsent_next;
    uint32_t histories_awaited; /* topic: TELL_HISTORY still to come */
    struct vector matches;      /* topic: filters of this shard that match */
    uint64_t matches_version;   /* as of which they are right */
    struct filter *filter;      /* NULL: a topic */
    uint16_t namespace;
    uint8_t owner;       /* topic: shard */
    uint8_t state;       /* enum feed_state */
    uint8_t lanes;       /* that the owners write for us */
    uint8_t lanes_asked; /* that they were asked for */
    uint8_t lanes_wanted;
    bool known : 1; /* topic: number, epoch and tail are known */
    bool dirty : 1;
    bool shared : 1; /* the last round had sends with more than one message */
    bool unsent : 1;
    bool owes_followed : 1; /* ASK_FOLLOWED is to be sent */
    bool owes_walked : 1;   /* ASK_WALKED is to be sent when walked reaches report_at */
    bool asking : 1;        /* an ask of which the answer will change `lanes` is under way */
};

/* What became of a subscription that was asked for: conn/execute tells the client. */
struct feed_answer {
    uint32_t subscription;
    enum reply_error error; /* not REPLY_OK: it is to be ended */
    bool has_recovered;
    bool recovered;
    bool lost; /* a gap is to be told */
    enum gap_reason reason;
    uint64_t epoch;
    uint64_t offset; /* public: messages after this one will be delivered */
    uint64_t gap_from;
    uint64_t gap_to;
};

struct feeds {
    uint32_t shard;
    uint32_t shard_count;
    uint32_t link_peer; /* the federation link, which is asked for filters, too; 0: none. Set before the first turn */
    struct mesh *mesh;
    const struct config *config;
    struct stats *stats;
    struct lane_writer *writer;
    struct slab feeds;
    struct index topics;  /* feeds of topics, by name */
    struct index filters; /* feeds of filters, by name */
    struct slab subscriptions;
    struct slab wishes;
    struct slab cursors;
    struct slab holds;
    struct slab walks;
    struct filters *matcher;     /* this shard's filters: value = feed */
    struct queue dirty;          /* feeds with something to deliver, in the order in which they got it */
    struct queue resting;        /* dirty feeds that rest, each by itself */
    struct queue small_resting;  /* dirty feeds that rest together */
    uint32_t small_came;         /* messages that those with few subscribers were told of */
    uint32_t small_came_us;      /* came_us of the last of these */
    struct queue unsent;         /* feeds with something to ask */
    struct watermark delivered;  /* to subscribers of filters that keep up: by when it was published */
    struct feed_answer *answers; /* for conn/execute, in order */
    uint32_t answer_count;
    uint32_t answer_room;
    uint32_t sweep_at;
};

bool feeds_init(struct feeds *feeds, uint32_t shard, uint32_t shard_count, struct mesh *mesh,
                const struct config *config, struct stats *stats, struct lane_writer *writer, uint64_t seed);
void feeds_destroy(struct feeds *feeds);

/* --- what connections ask (feed_subscribe.c) --- */

/*
 * A subscription of a connection to a topic or filter (`wild`). An answer will come in feeds->answers, at once or
 * later. Gives the subscription's number, or 0: no memory.
 */
uint32_t feeds_subscribe(struct feeds *feeds, uint32_t conn, enum lane lane, struct span text, bool wild,
                         const struct from *from);

/* Ends a subscription in any state; the caller has unlinked it, and its cursor, from the connection. */
void feeds_unsubscribe(struct feeds *feeds, uint32_t subscription);

/* The feed of a topic or filter that has a subscription, 0: none. */
uint32_t feeds_find(struct feeds *feeds, struct span text, bool wild);

/* --- what owners tell (feed_tell.c) --- */

/* Works one tell for a feed, taking what it points at. */
void feeds_tell(struct feeds *feeds, const struct envelope *tell);

/* Sends the asks that are due; what finds no room waits. */
void feeds_send(struct feeds *feeds);

/* Looks at some feeds: leaves those that nobody follows any more. */
void feeds_sweep(struct feeds *feeds, uint32_t count);

/* Whether feeds_send() has something left to send. */
static inline bool feeds_have_unsent(const struct feeds *feeds)
{
    return feeds->unsent.first != 0;
}

/* --- what is told of filters' feeds (feed_filter.c) --- */

/* One message more is to be delivered to a filter's subscribers. */
void feed_filter_grown(struct feeds *feeds, uint32_t number);
/* All subscribers of a filter without a cursor have been sent what there was up to `walked`. */
void feed_filter_walked(struct feeds *feeds, uint32_t number);
/* Tells the owners whether publishers have to wait. False: no room, to be called again. */
bool feed_filter_brake_send(struct feeds *feeds, uint32_t number);
/* All that was published before this time has been told to this shard. */
static inline void feeds_told(struct feeds *feeds, int64_t told_ms)
{
    watermark_advance(&feeds->delivered, told_ms);
}

/* --- walks (feed_walk.c), cursors and holds (feed_cursor.c) --- */

/* Chunks that one walk sends to each subscriber at most: some SEND_BYTES_MAX. */
#define WALK_CHUNKS_MAX 4

/* The next dirty feed, taken off the list; 0: none. */
uint32_t feeds_dirty_take(struct feeds *feeds);
void feeds_mark_dirty(struct feeds *feeds, uint32_t number);
/* A feed that was taken rests in that line; with feeds_rested() all in it are to be taken again. */
void feeds_rest(struct feeds *feeds, struct queue *line, uint32_t number);
void feeds_rested(struct feeds *feeds, struct queue *line);

/* Begins a walk, or takes into the one under way what has come since. False: all are at the tail. */
bool feed_walk_begin(struct feeds *feeds, uint32_t number);
/*
 * The next subscriber of the oldest part, who stands at `walked` and counts as sent up to the target from now on. 0:
 * the part is at its end: feed_walk_settle() is due.
 */
uint32_t feed_walk_next(struct feeds *feeds, struct feed *feed);
/* Who stands so many places behind the last one that was given, or the vector's last. */
uint32_t feed_walk_ahead(const struct feeds *feeds, const struct feed *feed, uint32_t places);
/*
 * The feed moves on when its oldest part is at its end, and the walk is over when all are at the target. True:
 * everybody was sent further; the first message of this was published at *published_us.
 */
bool feed_walk_settle(struct feeds *feeds, uint32_t number, uint32_t *published_us);

/* Whether the next subscriber of the walk that is under way is the vector's first. */
bool feed_walk_is_at_start(const struct feeds *feeds, const struct feed *feed);

/* Makes a cursor for a live subscription that was sent up to `offset`, at `walked` or later. 0: no memory. */
uint32_t cursor_create(struct feeds *feeds, uint32_t subscription, uint64_t offset);

/* The chunk in which a cursor's next message is. NULL: it is at the tail. Borrowed. */
struct chunk *cursor_chunk(struct feeds *feeds, const struct cursor *cursor);

/*
 * Puts a cursor after `offset`, with `partial` bytes of the next message sent. `chunk` is where the next message is, or
 * one before it in the chain. True: it has reached the tail, where it is parked, unless its place is the feed's again:
 * then `*dropped` is true, the subscription is up to date, and the cursor is gone.
 */
bool cursor_move(struct feeds *feeds, uint32_t cursor, struct chunk *chunk, uint64_t offset, uint32_t partial,
                 bool *dropped);

/* Parked cursors that have something to read now go to where it is. Calls back for each. */
void feed_unpark(struct feeds *feeds, uint32_t number, void (*woken)(void *context, uint32_t cursor), void *context);

/* The hold whose chunk the backlog has outgrown, 0: none. Its cursors must move on, or their subscriptions end. */
uint32_t feed_passed(struct feeds *feeds, uint32_t number);

/* The first message that a subscriber that was passed may go on with. */
uint64_t feed_backlog_first(struct feeds *feeds, uint32_t number, struct chunk **chunk);

/* The chunk at or after `chunk` in the chain that has this offset. */
struct chunk *chunk_with(struct chunk *chunk, uint64_t offset);

/* --- between the files --- */

static inline struct feed *feed_at(const struct feeds *feeds, uint32_t number)
{
    return slab_at(&feeds->feeds, number);
}

static inline struct subscription *subscription_at(const struct feeds *feeds, uint32_t number)
{
    return slab_at(&feeds->subscriptions, number);
}

static inline struct cursor *cursor_at(const struct feeds *feeds, uint32_t number)
{
    return slab_at(&feeds->cursors, number);
}

static inline struct hold *hold_at(const struct feeds *feeds, uint32_t number)
{
    return slab_at(&feeds->holds, number);
}

static inline struct wish *wish_at(const struct feeds *feeds, uint32_t number)
{
    return slab_at(&feeds->wishes, number);
}

static inline const struct namespace_config *feed_namespace(const struct feeds *feeds, const struct feed *feed)
{
    return &feeds->config->namespaces[feed->namespace];
}

/* The feed of this name, made if need be. 0: no memory. */
uint32_t feeds_feed(struct feeds *feeds, struct span text, bool wild, struct name *name);

/* Has something to ask. */
void feed_mark_unsent(struct feeds *feeds, uint32_t number);

/* Nobody may be following it any more: leaves it then. */
void feed_check_used(struct feeds *feeds, uint32_t number);

/* All is over: frees the record. */
void feed_free(struct feeds *feeds, uint32_t number);

/* The feed is told in more lanes, or at all: moves on those that wait. */
void feed_serve_waiting(struct feeds *feeds, uint32_t number);

/* What a feed that is walked has about it. */
static inline struct walk *walk_at(const struct feeds *feeds, const struct feed *feed)
{
    return slab_at(&feeds->walks, feed->walk);
}

/* Whether somebody at the tail stands where a part stands. */
static inline bool feed_tail_is_reached(const struct feeds *feeds, const struct feed *feed)
{
    return (feed->walk ? walk_at(feeds, feed)->target : feed->walked) == feed->tail;
}

/* The last message that a live subscriber without a cursor was sent. */
uint64_t feed_offset_of(const struct feeds *feeds, const struct feed *feed, uint32_t subscription);

/* A subscriber that is at the target of the walk goes to the part that stands there. */
void feed_place_newest(struct feeds *feeds, struct feed *feed, uint32_t subscription);

/* Takes a subscriber out of the vector; all others stay in their parts. */
void feed_place_remove(struct feeds *feeds, struct feed *feed, uint32_t subscription);

/* Parked cursors that are where a part stands need no place of their own. */
void cursors_parked_drop(struct feeds *feeds, struct feed *feed);

/* Puts a subscription among the live ones, up to date with the tail, or at a place in the history. */
bool feed_add_live(struct feeds *feeds, uint32_t subscription, struct chunk *chunk, uint64_t offset);
void feed_remove_live(struct feeds *feeds, uint32_t subscription);

/* Takes the cursor of a subscription away. */
void cursor_free(struct feeds *feeds, uint32_t cursor);

void feeds_answer(struct feeds *feeds, const struct feed_answer *answer);

/* Takes a subscription that was answered by TELL_HISTORY out of those that wait. */
void feed_waiting_remove(struct feeds *feeds, uint32_t number, uint32_t subscription);

/* Sends an ask with the feed's name and hash. False: no room. */
bool feed_ask_with_name(struct feeds *feeds, uint32_t to, struct envelope *envelope, const struct feed *feed);

/* The filters of this shard that match a topic that it follows. */
void feed_match(struct feeds *feeds, uint32_t number);

#endif
