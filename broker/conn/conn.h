/*
 * conn: the connections of a shard.
 *
 *      IO_ACCEPTED ─▶ accept ─▶ request (HTTP) ─▶ receive (WebSocket) ─▶ execute ⇢ owners of topics
 *                                                                            ⇣
 *                                  io ◀─ close ◀─ deliver ◀─ answer ◀────── tells
 *
 * The folder is read left to right, and a step never calls one to its left; what it has for it, it leaves on a list:
 * `ready` (connections with something to send), `blocked` (connections whose input waits).
 *
 * States. Fields of the session that are valid are named with each:
 *
 *      REQUEST ──▶ OPENING ──▶ OPEN ───┐          REQUEST   in, deadline: an HTTP head is awaited
 *       │  ▲  └───────────────▶ STREAM ─┤          BODY      request: a POST's body is awaited
 *       ▼  │                            ▼          ANSWERING request: the owner's answer is awaited
 *      BODY ──▶ ANSWERING ──────────▶ CLOSING      OPENING   handshake: a topic URL's subscription is awaited
 *                                       │          OPEN      a WebSocket
 *                                       ▼          STREAM    server-sent events
 *                                     GONE         CLOSING   deadline: the last bytes go out, the peer's end is awaited
 *                                                  GONE      io_close() has begun; IO_CLOSED frees the slot
 *
 * An idle subscriber is a struct conn and its subscriptions, nothing more. Everything that few connections need at a
 * time lives in the session, which comes and goes with the need.
 *
 * Thread: the shard's.
 */
#ifndef SHOAL_CONN_CONN_H
#define SHOAL_CONN_CONN_H

#include "auth/principal.h"
#include "auth/token.h"
#include "base/clock.h"
#include "base/slab.h"
#include "base/stats.h"
#include "config/config.h"
#include "conn/address.h"
#include "conn/buffer.h"
#include "conn/spread.h"
#include "conn/subscriptions.h"
#include "io/io.h"
#include "mesh/mesh.h"
#include "protocol/close_code.h"
#include "protocol/http.h"
#include "protocol/ws_frame.h"
#include "protocol/ws_handshake.h"
#include "topic/feed.h"
#include "topic/ticket.h"

enum conn_state {
    CONN_FREE,
    CONN_REQUEST,
    CONN_BODY,
    CONN_ANSWERING,
    CONN_OPENING,
    CONN_OPEN,
    CONN_STREAM,
    CONN_CLOSING,
    CONN_GONE,
    CONN_STATES,
};

const char *conn_state_name(enum conn_state state);

enum conn_flags {
    CONN_SENDING = 1 << 0,   /* has a send in the batch */
    CONN_BLOCKED = 1 << 1,   /* the socket is full: IO_WRITABLE is awaited */
    CONN_READY = 1 << 2,     /* stands in conns->ready */
    CONN_PAUSED = 1 << 3,    /* is not read: a publisher with too much unanswered, or a mesh ring is full */
    CONN_RETRY = 1 << 4,     /* stands in conns->retries */
    CONN_DEFLATED = 1 << 5,  /* messages to it are deflated (the lane says so) */
    CONN_ECHO = 1 << 6,      /* /v1/echo */
    CONN_PUBLISHES = 1 << 7, /* raw: what it sends is published */
    CONN_PINGED = 1 << 8,    /* a ping is unanswered */
    CONN_BUSY = 1 << 9,      /* receives by multishot */
    CONN_TALKED = 1 << 10,   /* has sent something in the second of `seen_s` */
    CONN_ENDED = 1 << 11,    /* the peer has sent all it will */
    CONN_INFLATES = 1 << 12, /* permessage-deflate was agreed on: messages from it may be deflated */
    CONN_SHUT = 1 << 13,     /* our direction is ended */
    CONN_MISSED = 1 << 14,   /* a cursor of its has a gap to tell */
};

/* 32 bytes: with a subscription (24) and its place in the feed's vector (4) an idle subscriber takes 60. */
struct conn {
    uint16_t generation;
    uint8_t state;          /* enum conn_state */
    uint8_t dialect;        /* enum dialect_id, from OPENING on */
    uint16_t flags;         /* enum conn_flags */
    uint16_t seen_s;        /* when bytes last came: conns->heard_s */
    uint32_t subscriptions; /* the first: subscriptions.h */
    uint32_t behind;        /* its cursors with something to read: the first is the one whose frame is part sent */
    uint32_t session;       /* 0: none */
    uint32_t principal;
    uint32_t address;    /* in the table of addresses, 0: not counted */
    uint32_t ready_next; /* slot + 1 */
};
static_assert(sizeof(struct conn) == 32, "the budget for an idle subscriber");
static_assert(sizeof(struct conn) + sizeof(struct subscription) <= 64, "the budget for an idle subscriber");

/* A subscribe command that awaits its answer. */
struct pending {
    struct pending *next;
    uint32_t subscription;
    uint8_t id_size;
    char id[];
};

/* What a connection needs while something is going on. */
struct session {
    uint32_t conn;
    bool reader_valid;    /* reader is inside of a frame or message */
    bool message_valid;   /* `message` is complete and waits to be executed again (a mesh ring was full) */
    uint8_t message_text; /* of the message being assembled */
    bool keep_alive;      /* HTTP: another request may follow */
    bool head_only;       /* HTTP: the method is HEAD */
    bool body_chunked;
    uint8_t body_kind; /* enum payload_kind as the Content-Type says */
    bool handshake_valid;
    uint16_t close_code; /* CLOSING: what was sent, for the log */
    uint8_t key_size;
    int64_t deadline_ms; /* of conns->heard_ms: for a request, a token, or the rest of a message; 0: none */
    int64_t body_left;   /* BODY: bytes to come, unless chunked */
    uint32_t inflight_bytes;
    uint32_t inflight_messages;
    struct buffer in;       /* bytes that wait to be read */
    struct buffer message;  /* of a WebSocket message or a body, so far (partial.h) */
    uint32_t partial_bytes; /* of `message`, while it is not whole */
    struct buffer out;      /* replies that wait to be sent; always whole frames, but for the first */
    uint32_t out_last;      /* size of the body that `out` ends with, if it is a reply's; 0: it is not */
    struct replay *replays; /* filters that are being resumed */
    struct pending *pending_first;
    struct pending *pending_last;
    struct name *topic; /* reference: what a POST or a raw connection publishes to, or a stream follows; NULL: none */
    struct http_chunked chunked;
    struct ws_reader reader;
    struct ws_handshake handshake;
    char key[KEY_BYTES_MAX];
};

/* One send of the batch. */
struct batch_entry {
    uint32_t conn;
    uint32_t subscription; /* of a walk; 0: the parts of `plan` */
    uint32_t plan_first;
    uint32_t plan_count;
    uint32_t size;  /* bytes asked for */
    int32_t result; /* bytes sent, or -errno */
};

/* One part of a gathered send. */
struct plan_part {
    uint32_t cursor; /* 0: from session->out */
    uint32_t size;
};

/* What every subscriber of a lane is sent in a walk. */
struct walk_range {
    struct iovec parts[IO_PARTS_MAX];
    int count; /* 0: not looked up yet */
    uint32_t size;
    bool closes; /* somewhere in it they are to be closed: one by one */
};

/* So many small feeds are walked before their sends go out, if no more than a batch. */
#define SMALL_FEEDS_BATCH 256u

/* Feeds of few subscribers are walked together (walk.h). */
struct small_feeds {
    struct rest rest;
    uint32_t sends;  /* of the last round, or the one under way */
    uint32_t walks;  /* feeds of it */
    uint32_t shared; /* of these, such that had more than one message to be sent */
    uint32_t taken;  /* feeds->small_came when it began */
    bool under_way;  /* the round has not come to its end in the last turn */
    uint32_t walked_count;
    uint32_t walked[SMALL_FEEDS_BATCH]; /* their sends are queued */
};

struct conns {
    struct io *io;
    struct mesh *mesh;
    const struct clock *clock; /* only to measure: a step works with the turn's time */
    struct feeds *feeds;
    struct stats *stats;
    const struct config *config;
    struct principals *principals;
    struct token_verifier *verifier;
    struct lane_writer *writer;
    struct inflater *inflater;
    uint32_t shard;
    uint32_t shard_count;
    _Atomic uint32_t *connections;      /* of all shards: touched when one comes or goes */
    uint32_t turn_deliveries;           /* of a turn at most */
    uint64_t instance;                  /* of this run of the broker, told to clients */
    const _Atomic uint64_t *federation; /* the same of what its hosts share; NULL: this broker stands alone */
    uint16_t generation;                /* of the last one accepted */
    bool draining;
    bool accept_paused;
    int64_t now_us;   /* monotonic, of this turn */
    int64_t now_ms;   /* the same in ms */
    int64_t heard_us; /* time for which this shard has listened: silence is measured by it (sweep.h) */
    int64_t heard_ms;
    uint16_t heard_s; /* modulo 2^16 */
    bool caught_up;   /* the last turn took all that the io had */
    int64_t wall_ms;
    struct slab table; /* struct conn, by slot */
    struct slab sessions;
    struct addresses addresses;
    struct subscription_index subscription_index;
    uint32_t handshakes;  /* connections in REQUEST */
    uint32_t tickets;     /* under way */
    size_t partial_bytes; /* of all sessions */
    uint32_t ready_first; /* slot + 1 */
    uint32_t ready_last;
    struct vector doomed;  /* slots of connections that the close step will let go of */
    struct vector retries; /* slots whose input waits for a mesh ring; may name some that are gone */
    int64_t accept_second; /* for limits.accept_rate */
    uint32_t accepted_in_second;
    uint32_t replay_serial; /* of the last replay that began */
    struct spread spread;   /* of those who are told to come back */
    uint32_t sweep_at;
    uint32_t sweep_pass;    /* over the table: four make a heartbeat's interval */
    int64_t sweep_us;       /* when the sweep last looked */
    uint64_t sweep_owed;    /* records × us that are due */
    uint64_t sessions_owed; /* the same of the sessions */
    uint32_t session_sweep_at;
    uint32_t drain_at;    /* slot */
    uint32_t drain_count; /* connections when draining began */
    uint32_t drained;     /* of these were told to go */
    int64_t drain_us;     /* when draining began, 0: it has not */
    char *scratch;        /* decoded strings of a command, inflated messages */
    char *inflated;
    struct batch_entry *batch;
    uint32_t batch_size;
    struct plan_part *plan;
    uint32_t plan_size;
    uint32_t plan_room;
    uint32_t send_ns; /* what one send of a walk takes, on the average of the last slices */
    uint32_t rest_us; /* until the first of the resting feeds is due; 0: none rests */
    struct walk_range ranges[LANE_COUNT];
    struct small_feeds small;
};

/* Everything but what the pointers point at, which the shard lends. False: no memory. */
bool conns_init(struct conns *conns);
void conns_destroy(struct conns *conns);
/* Once a turn, at its beginning. */
void conns_set_time(struct conns *conns, int64_t monotonic_us, int64_t wall_ms);

/* One more client is told to come back: after how many ms, 0: at once. See spread.h. */
uint32_t conns_spread(struct conns *conns, uint32_t least_ms);

static inline struct conn *conn_at(const struct conns *conns, uint32_t slot)
{
    return slab_at(&conns->table, slot);
}

static inline struct session *session_at(const struct conns *conns, const struct conn *conn)
{
    return slab_at(&conns->sessions, conn->session);
}

/* Whether replies, or an answer of HTTP, are still to be sent. */
static inline bool conn_has_out(const struct conns *conns, const struct conn *conn)
{
    return conn->session && buffer_waiting(&session_at(conns, conn)->out) > 0;
}

/* The peer has limits.handshake_ms from now on: for its request or its token, or to read on in an answer. */
static inline void session_set_deadline(const struct conns *conns, struct session *session)
{
    session->deadline_ms = conns->heard_ms + conns->config->limits.handshake_ms;
}

static inline uint32_t slot_of_subscription(const struct conns *conns, uint32_t subscription)
{
    return subscription_at(conns->feeds, subscription)->conn;
}

/* Moves to another state, which must be allowed from the present one. */
void conn_set_state(struct conns *conns, struct conn *conn, enum conn_state state);

/* The session, made if need be. NULL: no memory. */
struct session *conn_session(struct conns *conns, uint32_t slot);

/* Frees the session if nothing in it is needed any more. */
void conn_session_release(struct conns *conns, struct conn *conn);
void conn_session_free(struct conns *conns, struct conn *conn);

/* The lane that a connection's messages come from. */
enum lane conn_lane(const struct conn *conn);

/* Has something to send: deliver will look at it. */
void conn_mark_ready(struct conns *conns, uint32_t slot);

/* Its input waits: the shard tries again in the next turn. */
void conn_mark_retry(struct conns *conns, uint32_t slot);

/* Puts a cursor with something to read into the connection's list, behind the one that is part sent. */
void conn_behind_add(struct conns *conns, uint32_t slot, uint32_t cursor);
void conn_behind_remove(struct conns *conns, uint32_t slot, uint32_t cursor);

/* Lets go of all that a connection is and has, but its slot: called when io_close() begins. */
void conn_release(struct conns *conns, uint32_t slot);

#endif
