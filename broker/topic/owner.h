/*
 * owner: the topics that this shard owns.
 *
 *   ASK_PUBLISH ─▶ topic: give it its offset, append to the log ─▶ dirty ─▶ owner_advance(): TELL_TAIL to each follower
 *
 *   topic ─▶ followers: one record a shard that wants this topic, for its subscribers (ASK_JOIN) or for filters that
 *            match it (ASK_FILTER). Each knows how far it was told.
 *
 * A follower's life at the owner:
 *
 *      a filter matches ──▶ UNANNOUNCED ── TELL_FOLLOW ──▶ ANNOUNCED ── ASK_FOLLOWED ──▶ ACTIVE ── ASK_LEAVE ──▶ gone
 *      ASK_JOIN ───────────────────────────────────────────────────────────────────────▶ ACTIVE
 *
 * Tells wait for room without harm: a follower that could not be told holds a reference on the first chunk that it has
 * not seen, and the topic stays dirty. However many messages have come by then, it is one tell.
 *
 * Back-pressure. A publisher may be faster than the fan-out. Each time `backlog_bytes / 4` were appended, the owner
 * asks the followers to report when their subscribers that keep up have been sent all of it; when
 * as much again comes before they have, the answers to publishers (the tickets) are held until then, and a publisher
 * with too much unanswered is not read (conn/execute). Who follows by a filter reads the filter's log, to which any
 * number of topics contribute: the shard that has it counts in the same way (feed_filter.c) and tells the owners when
 * it falls behind (ASK_BRAKE), and when it no longer is (ASK_RELEASE). Meanwhile, all that the filter matches is held.
 *
 * Other hosts' part in all this is described in remote.h.
 *
 * Thread: the shard's. Files: owner.c (table, publish, advance), owner_follow.c (followers, filters), owner_brake.c
 * (filters that are behind), owner_history.c, owner_replay.c, owner_remote.c (other hosts), owner_logged.c (topics
 * whose order Redis gives).
 */
#ifndef SHOAL_TOPIC_OWNER_H
#define SHOAL_TOPIC_OWNER_H

#include "base/index.h"
#include "base/queue.h"
#include "base/stats.h"
#include "base/vector.h"
#include "base/watermark.h"
#include "config/config.h"
#include "mesh/mesh.h"
#include "mesh/name.h"
#include "topic/filters.h"
#include "topic/idempotency.h"
#include "topic/log.h"
#include "topic/missed.h"
#include "topic/remote.h"
#include "topic/ticket.h"

enum follower_state {
    FOLLOWER_UNANNOUNCED, /* a filter of that shard matches; TELL_FOLLOW is to be sent */
    FOLLOWER_ANNOUNCED,   /* TELL_FOLLOW is sent; feed is not known yet */
    FOLLOWER_ACTIVE,      /* feed is known: can be told */
};

struct follower {
    uint32_t next; /* of the same topic */
    uint32_t feed;
    uint8_t shard;
    uint8_t lanes;        /* for its subscribers of the topic */
    uint8_t filter_lanes; /* for its subscribers of filters that match */
    uint8_t state;        /* enum follower_state */
    bool reporting;       /* an ASK_WALKED is awaited */
    bool report_unasked;  /* and it was not told so yet */
    uint8_t generation;   /* of `untold` in owner.told */
    uint64_t told;        /* position */
    uint32_t untold_us;   /* when message told + 1 was published: the low 32 bits */
    struct chunk *untold; /* reference on the chunk with message told + 1; NULL: all is told */
};

struct topic {
    struct index_link link;
    uint32_t followers;
    uint32_t remote; /* 0: other hosts are not asked for it */
    struct name *name;
    uint64_t epoch;
    struct log log;
    uint64_t filters_version; /* as of which the followers by filter are right; 0: never */
    struct tickets held;      /* answers that wait for slow fan-out */
    uint64_t barrier_offset;  /* position: what the reports that are awaited must reach */
    uint64_t barrier_bytes;   /* log.bytes when they were asked for */
    uint32_t reports_awaited;
    uint32_t used_s; /* when it was last published to or followed, shard's seconds */
    uint32_t dirty_next;
    uint16_t namespace; /* index into config->namespaces */
    uint8_t lanes;      /* LANE_RAW and what the followers want */
    bool dirty;
};
static_assert(sizeof(struct topic) == 128, "what a topic costs its owner, with its name and a place in the index");

struct owner {
    uint32_t shard;
    uint32_t shard_count;
    uint32_t link_peer; /* the federation link; 0: there is none. Set before the first turn */
    struct mesh *mesh;
    const struct config *config; /* the running one; replaced when reloaded */
    struct stats *stats;
    struct lane_writer *writer;
    struct slab topics;
    struct index index;
    struct slab followers;
    struct filters *filters; /* of all shards: value = shard << 8 | lanes */
    struct vector matches;   /* scratch */
    struct slab brakes;
    struct index brakes_by_name; /* of their filters */
    struct filters *braked;      /* value = number of the brake */
    struct idempotency idempotency;
    struct queue dirty;     /* topics with followers to be told */
    struct watermark told;  /* to all followers: by when it was published */
    struct tickets answers; /* those that found no room in their ring */
    struct slab remotes;
    struct slab parked;
    struct slab pledges;
    struct queue due;           /* remotes with something to send to the link, or to release */
    struct relay *relays_first; /* those that found no room in the link's ring */
    struct relay *relays_last;
    uint32_t relays_waiting;
    uint64_t relays_bytes; /* of these */
    uint64_t early_bytes;
    struct missed missed; /* by filters */
    uint32_t sweep_at;
    int64_t now_ms;  /* wall clock of this turn */
    uint32_t now_s;  /* shard's seconds of this turn */
    uint32_t now_us; /* the same in us: the low 32 bits */
    uint64_t epoch_seed;
};

/* False: no memory; owner_destroy() is allowed all the same. */
bool owner_init(struct owner *owner, uint32_t shard, uint32_t shard_count, struct mesh *mesh,
                const struct config *config, struct stats *stats, struct lane_writer *writer, uint64_t seed);
void owner_destroy(struct owner *owner);

/* Time of this turn. */
void owner_set_time(struct owner *owner, int64_t wall_ms, int64_t monotonic_us);

/* Works one ask, taking what it points at. False: no room to answer yet, leave it in the ring. */
bool owner_ask(struct owner *owner, const struct envelope *ask);

/* An ask is to come soon: what it will look at first is fetched into the cache meanwhile. */
void owner_prefetch(const struct owner *owner, const struct envelope *ask);

/* Works one tell of the federation link, taking what it points at. */
void owner_tell(struct owner *owner, const struct envelope *tell);

/* Whether a tell is one of these. */
static inline bool owner_is_told(const struct envelope *tell)
{
    return tell->kind == TELL_RELAYED || tell->kind == TELL_WANTED || tell->kind == TELL_FETCHED ||
           tell->kind == TELL_PATTERNS;
}

/* Sends what is owed to the link, and tells the followers of dirty topics where the tails are now. What finds no room
 * stays dirty. */
void owner_advance(struct owner *owner);

/* Looks at some topics: lets go of old history, silent chunks and unused topics. */
void owner_sweep(struct owner *owner, uint32_t topics);

/* Whether owner_advance() has something left to tell. */
static inline bool owner_is_dirty(const struct owner *owner)
{
    return owner->dirty.first != 0 || owner->answers.first || owner->due.first != 0 || owner->relays_first;
}

/* --- between the owner's files --- */

static inline struct topic *topic_at(struct owner *owner, uint32_t number)
{
    return slab_at(&owner->topics, number);
}

static inline struct follower *follower_at(struct owner *owner, uint32_t number)
{
    return slab_at(&owner->followers, number);
}

static inline const struct namespace_config *topic_namespace(struct owner *owner, const struct topic *topic)
{
    return &owner->config->namespaces[topic->namespace];
}

static inline struct remote *remote_of(const struct owner *owner, const struct topic *topic)
{
    return topic->remote ? slab_at(&owner->remotes, topic->remote) : NULL;
}

/* Whether a topic is shared with other hosts. */
static inline bool owner_federates(const struct owner *owner, struct span name)
{
    return owner->link_peer && name.data[0] != '$';
}

/* Whether Redis gives a topic's order. */
static inline bool topic_is_logged(const struct owner *owner, const struct topic *topic)
{
    return owner->config->namespaces[topic->namespace].logged && owner_federates(owner, name_span(topic->name));
}

/* Whether its log can be followed and read: that of a logged topic may be in Redis only. */
static inline bool topic_is_open(const struct owner *owner, const struct topic *topic)
{
    const struct remote *remote = remote_of(owner, topic);
    return remote ? !remote->logged || remote->opened : !topic_is_logged(owner, topic);
}

/* An epoch's lower bits; those above are the time of its beginning, ms since 1970. */
#define EPOCH_CHANCE_BITS 20

/* When a topic's present epoch began; of a logged topic: when it was seen to follow another one here, 0: it was not. */
static inline int64_t topic_began_ms(const struct owner *owner, const struct topic *topic)
{
    const struct remote *remote = remote_of(owner, topic);
    return remote && remote->logged ? remote->epoch_ms : (int64_t)(topic->epoch >> EPOCH_CHANCE_BITS);
}

/* What is added to a position of the topic's log, or of one of its parts, to show it to a client. */
static inline int64_t topic_shift(const struct owner *owner, const struct topic *topic)
{
    const struct remote *remote = remote_of(owner, topic);
    return remote ? remote->shift : 0;
}

/* The public offset of the topic's last message. */
static inline uint64_t topic_tail_offset(const struct owner *owner, const struct topic *topic)
{
    return topic->log.tail + (uint64_t)topic_shift(owner, topic);
}

/* A place in a topic's log, and what a client is shown for it. */
struct place {
    uint64_t position;
    uint64_t epoch;
    uint64_t offset;
};

/* What is shown for a position at which the history begins, or ends, or that it has. */
struct place owner_place_at(const struct owner *owner, const struct topic *topic, uint64_t position);

/* The place before the first entry of the history that is a message: whoever begins there is told of the gap anyway. */
struct place owner_place_begin(const struct owner *owner, const struct topic *topic, uint64_t kept);

/* The first position of the history that is of the present epoch. `kept`: the first one of all. */
static inline uint64_t topic_epoch_first(const struct owner *owner, const struct topic *topic, uint64_t kept)
{
    const struct remote *remote = remote_of(owner, topic);
    uint64_t first = log_epoch_first(&topic->log, topic->epoch);
    first = remote && remote->epoch_first > first ? remote->epoch_first : first;
    return first > kept ? first : kept;
}

/*
 * Finds what a client names. `kept`: the first position of the history. Else than HISTORY_REACHES: the place is where
 * the history (HISTORY_EPOCH: that of the present epoch) begins; HISTORY_AHEAD: the tail.
 */
enum history_status owner_place_find(const struct owner *owner, const struct topic *topic, uint64_t kept,
                                     uint64_t epoch, uint64_t offset, struct place *place);

/* The limits that a namespace gives its logs. */
struct log_limits log_limits_of(const struct namespace_config *namespace);

/* The topic of this name, 0: there is none. */
uint32_t owner_topic_find(struct owner *owner, uint64_t hash, struct span text);

/* The topic of this name, made if need be. 0: limits.topics, or no memory. */
uint32_t owner_topic(struct owner *owner, uint64_t hash, struct name *name, struct span text);

void owner_mark_dirty(struct owner *owner, uint32_t number);

/* Tells the shard of a follower by filter that the topic is there. False: no room. */
bool owner_announce(struct owner *owner, uint32_t number, struct follower *follower);

/* Nothing is to be told to a follower any more; what it has of it was given away, or is dropped by the caller. */
void owner_follower_told(struct owner *owner, struct follower *follower);

/* Tells one follower what it has not been told. False: no room. */
bool owner_tell_tail(struct owner *owner, struct topic *topic, struct follower *follower);

/* Sends a ticket back, or queues it until there is room. Takes the ticket. */
void owner_answer(struct owner *owner, struct ticket *ticket, enum reply_error status);

/* Frees those of a line, unanswered. */
void tickets_free(struct tickets *tickets);

/* Answers those that were held; the line is empty then. */
void owner_answer_held(struct owner *owner, struct tickets *held);

/* Refuses a publish. Takes the ticket. */
void owner_refuse(struct owner *owner, struct ticket *ticket, enum reply_error error);

/* A publish was accepted, with its epoch and offset set: answers, or holds the answer. `number` 0: no topic. */
void owner_published(struct owner *owner, uint32_t number, struct ticket *ticket);

/* Appends a message: payload, kind and time are set. */
enum reply_error owner_append(struct owner *owner, uint32_t number, struct message *message);
/* The same with a gap. False: no memory. */
bool owner_append_gap(struct owner *owner, uint32_t number, const struct gap *gap);

/* Works an ask for which there is room. */
void owner_work(struct owner *owner, const struct envelope *ask);
/* Whether the answers to an ask of this peer would find room. */
bool owner_has_room(struct owner *owner, uint32_t peer);

/* No report is awaited from this follower any more; answers what was held when it was the last. */
void owner_report_arrived(struct owner *owner, struct topic *topic, struct follower *follower);

/* At most `filters_max` filters of all shards. False: no memory; owner_brakes_destroy() is allowed all the same. */
bool owner_brakes_init(struct owner *owner, uint32_t filters_max, uint64_t seed);
void owner_brakes_destroy(struct owner *owner);
/* The line of those who wait for a filter that matches this topic. NULL: nobody has to. */
struct tickets *owner_braked(struct owner *owner, struct span topic);

/* Brings the followers by filter up to date with the filters. */
void owner_match_filters(struct owner *owner, uint32_t number);

void owner_join(struct owner *owner, const struct envelope *ask);
void owner_leave(struct owner *owner, const struct envelope *ask);
void owner_followed(struct owner *owner, const struct envelope *ask);
void owner_filter(struct owner *owner, const struct envelope *ask);
void owner_walked(struct owner *owner, const struct envelope *ask);
void owner_brake(struct owner *owner, const struct envelope *ask);
void owner_release(struct owner *owner, const struct envelope *ask);
void owner_history(struct owner *owner, const struct envelope *ask);
void owner_replay(struct owner *owner, const struct envelope *ask);
void owner_read(struct owner *owner, const struct envelope *ask);

/* --- other hosts (remote.h) --- */

enum remote_gate {
    GATE_OPEN,    /* go on */
    GATE_PARKED,  /* the ask was taken, and is worked later */
    GATE_REFUSED, /* unavailable */
};

/* Whether an ask that needs this topic can be worked now. What it points at is taken if it is parked. */
enum remote_gate owner_gate(struct owner *owner, uint32_t number, const struct envelope *ask);
/* The same for an ask with a position that is ahead of the topic here, or of an epoch that is not known here. */
enum remote_gate owner_gate_ahead(struct owner *owner, uint32_t number, const struct envelope *ask);

/* The topic's remote, made if need be. NULL: no memory. */
struct remote *owner_remote_need(struct owner *owner, uint32_t number);
void owner_remote_mark_due(struct owner *owner, struct remote *remote);
void owner_remote_advance(struct owner *owner);
void owner_remote_sweep(struct owner *owner, uint32_t number);
void owner_remote_destroy(struct owner *owner);

/* Whether a filter of this host matches. */
bool owner_filters_want(struct owner *owner, struct span name);

/* Sends a relay, or keeps it until there is room. Takes it unless false: too many wait, or too much. */
bool owner_relay(struct owner *owner, struct relay *relay);
/* A message of a live topic for other hosts. */
void owner_relay_live(struct owner *owner, uint32_t number, const struct ticket *ticket);
/* A message from another host. Takes the relay. */
void owner_arrived(struct owner *owner, struct relay *relay);

/* Takes the ticket, which is answered when Redis has given an offset. */
void owner_publish_logged(struct owner *owner, struct ticket *ticket);
/* Both take the relay. `number` 0: no such topic. */
void owner_relayed(struct owner *owner, struct relay *relay);
void owner_logged_arrived(struct owner *owner, uint32_t number, struct relay *relay);

/* The stream has to be read (again). */
void owner_fetch_owe(struct owner *owner, struct remote *remote);
/* What to ask the link for. NULL: no memory. Gives the relay. */
struct relay *owner_fetch_relay(struct owner *owner, const struct remote *remote);
void owner_fetch_sent(struct owner *owner, struct remote *remote);
/* The answer. Borrows the relay. */
void owner_fetched(struct owner *owner, struct remote *remote, const struct relay *relay);

/* Takes the first early message, of which there must be one. Gives it. */
struct relay *owner_early_take(struct owner *owner, struct remote *remote);

#endif
