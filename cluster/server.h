/*
 * server: one Redis server as the link sees it: two connections, proved by probes.
 *
 *            ┌────────────── after a pause that grows, with jitter ──────────────┐
 *            ▼                                                                   │
 *        [ASKING] ─── in vain ──────────────────────────────────────────────┐    │
 *            │ a sentinel has named the master                              │    │
 *            ▼                                                              │    │
 *         TRYING ──── a probe went out by one connection and came back ▶ UP ┤ no answer in time, a probe lost,
 *            │         by the other; role, history and scripts are known    │ connection broken, not a master
 *            └──────────────────────────────────────────────────────────────┴──▶ AWAY
 *
 *   command connection       AUTH, SELECT, INFO, SCRIPT LOAD, claim │ PUBLISH (live), append, read │ probes, INFO
 *   subscription connection  AUTH, SUBSCRIBE to the probe's channel │ (P)SUBSCRIBE …               │ messages
 *
 * TCP alone proves nothing: after a failover a connection may be healthy and deliver nothing for ever. So each
 * cluster.probe_ms a message goes to the link's own channel, and must come back; and INFO is read for a change of role.
 * Whatever is wrong, both connections are dropped and all begins again: there is one way to recover, and it is tried
 * often. A server that is known by its sentinels (sentinel.h) is asked for each time, before it is connected: so a
 * failover is followed. It is one server for all that, with one place on the ring and one number, wherever it is now.
 *
 * A relay's life: logged publishes and fetches stand on `appends` and `reads` until the server is UP (at most
 * cluster.wait_ms, then RELAY_AWAY), are on the line of what was `asked` until Redis answers, and go to `answered`,
 * where the link takes them from. A command that has no answer when its connection breaks may have been done:
 * RELAY_AWAY, and the idempotency key makes the publisher's next try safe. Live messages are sent at once or dropped,
 * and freed when sent.
 *
 * If Redis says that the generation is another one, or that it has no such script, all appends that come back so stand
 * on `again`, in order, until the scripts are loaded and the generation is claimed anew; nothing newer overtakes it.
 *
 * A master of a Redis Cluster (`common->sharded`, sharding.h) is the same, but for this: topics' channels are sharded
 * ones (SSUBSCRIBE, the script live); the probe's channel is of a slot that it has, and another one is taken when that
 * slot moves; generations are their slots', and the scripts claim them; a fence is a PING by the subscription
 * connection, for its answer stands behind all that was pushed before. What it sends elsewhere (MOVED, ASK, TRYAGAIN,
 * CLUSTERDOWN) it has not done: such relays stand on `returned`, and `redirected` says that the map of slots is old.
 *
 * Bounds: cluster.queue_bytes of relays (live: dropped and counted; logged: RELAY_FULL); SERVER_FETCHES pages asked at
 * once, others wait; SERVER_ACKS confirmations of subscriptions awaited, further ones wait in interest; a subscription
 * that is not pulled from is not read (redis.h), as long as there is no room or no memory for its messages.
 *
 * Files: server.c (circuit and turn), server_commands.c, server_relays.c, server_subscription.c. Thread: the link's.
 */
#ifndef SHOAL_CLUSTER_SERVER_H
#define SHOAL_CLUSTER_SERVER_H

#include "cluster/link.h"
#include "cluster/link_stats.h"
#include "cluster/redis.h"
#include "cluster/relays.h"
#include "cluster/report.h"
#include "cluster/script.h"
#include "cluster/sentinel.h"
#include "cluster/slots.h"
#include "cluster/url.h"
#include "cluster/wire.h"

/* Pages of streams that are asked for at once: after Redis came back many topics catch up, and must not be a storm. */
#define SERVER_FETCHES 64u
/* What a page holds at most. */
#define SERVER_PAGE_MESSAGES 512
#define SERVER_PAGE_BYTES    (1024 * 1024)
/* A topic that was only read, never published to, may be forgotten by Redis after a day. */
#define SERVER_READ_AGE_S 86400

/* Confirmations of subscriptions that may be under way. A power of two. */
#define SERVER_ACKS 8192u
/* Channels of one command, and the bytes of their names. */
#define SERVER_BATCH       256u
#define SERVER_BATCH_BYTES (64u * 1024)

/* The pause before the next try. Each time twice as long, and shorter by up to half at random. */
#define SERVER_PAUSE_US_MIN 50000
#define SERVER_PAUSE_US_MAX 5000000

/* Prefix, a slot's tag, "probe:" and the instance. */
#define SERVER_PROBE_MAX (PREFIX_BYTES_MAX + SLOT_TAG_MAX + 2 + sizeof "probe:" + WIRE_HEX_SIZE)
#define PREFIX_BYTES_MAX 64

struct nodes;

/* What all servers of a link share. */
struct server_common {
    struct redis_room *redis;
    const struct link_settings *settings;
    struct link_stats *stats;
    struct nodes *nodes;
    struct span prefix;
    uint64_t instance;
    uint64_t random;    /* state of the generator; never 0 */
    int64_t now_us;     /* of this turn */
    bool lenient;       /* the link itself has stood still: nobody is judged by the clock this turn */
    bool sharded;       /* the servers are the masters of a Redis Cluster */
    uint32_t *inflight; /* sharded: appends without an answer, of each slot */
    uint64_t sequence;  /* what a server begins with: more than any that is gone has had */
    char hashes[SCRIPTS][SCRIPT_HASH_SIZE];
    char *scratch; /* for one word that is put together */
    size_t scratch_room;
};

enum command {
    COMMAND_OTHER, /* nothing but an error is looked at */
    COMMAND_SETUP, /* the same, and an error means that the server is of no use */
    COMMAND_INFO,
    COMMAND_CLAIM,
    COMMAND_LIVE,
    COMMAND_APPEND, /* relay */
    COMMAND_READ,   /* relay */
    COMMAND_NODES,  /* the list of nodes */
    COMMAND_NODE,   /* what one of them says of itself */
    COMMAND_MYID,   /* sharded: its name in the cluster */
    COMMAND_LOADED, /* sharded: the last of the scripts */
    COMMAND_HEALTH, /* sharded: what it says of the cluster */
    COMMAND_PROBE,  /* sharded: a probe is out */
};

/* A command without an answer yet. */
struct asked {
    union {
        struct relay *relay; /* COMMAND_APPEND, COMMAND_READ */
        uint64_t instance;   /* COMMAND_NODE */
    };
    int64_t sent_us;
    uint32_t bytes; /* of the server's backlog, given back with the answer */
    uint8_t command;
};

enum change {
    CHANGE_SUBSCRIBE,
    CHANGE_UNSUBSCRIBE,
    CHANGE_PSUBSCRIBE,
    CHANGE_PUNSUBSCRIBE,
    CHANGE_SSUBSCRIBE, /* one a command: all of one have to be of one slot */
    CHANGE_SUNSUBSCRIBE,
};

/* What is confirmed next: Redis confirms in order. */
struct server_ack {
    uint32_t number; /* of the record in interest or patterns; 0: nobody's */
    uint32_t serial;
    bool filter;
    bool probe;
    uint8_t change; /* set by subscription_change(), as are: */
    uint16_t slot;
    uint32_t channel; /* hash */
};

/* What the subscription connection brings. */
struct subscription_event {
    enum {
        SUBSCRIPTION_MESSAGE, /* wire */
        SUBSCRIPTION_ACKED,   /* ack */
        SUBSCRIPTION_REFUSED, /* ack; sharded: the slot is another's */
        SUBSCRIPTION_LOST,    /* topic; sharded: the slot has become another's */
    } kind;
    struct wire wire;
    struct server_ack ack;
    struct span topic;
};

/*
 * The latest live message of a host. What it sent by a connection that it has given up since may come after what it
 * sent by the next one: too late, for live messages come in order or not at all. Hosts that share a place (there are
 * some hundreds at most) forget each other's, and only lose this guard.
 */
struct server_heard {
    uint64_t instance;
    uint64_t sequence;
};
#define SERVER_HEARD 1024u /* a power of two */

/* Changes of subscriptions that go out as one command. */
struct server_batch {
    uint32_t change; /* enum change */
    uint32_t count;
    size_t size;
    struct span words[1 + SERVER_BATCH];
    char bytes[SERVER_BATCH_BYTES];
};

struct server {
    struct server_common *common;
    struct url url;
    char name[URL_NAME_MAX];       /* on the ring; never changes */
    struct url_place place;        /* where it is now; no host: no sentinel has named it yet */
    char address[URL_ADDRESS_MAX]; /* of the place, "": none */
    struct sentinel sentinel;
    char sentinel_address[URL_ADDRESS_MAX]; /* of who has named the place, "": the configuration */
    uint32_t number;
    /* the circuit */
    enum server_state state;
    int64_t state_us;             /* since when */
    int64_t retry_us;             /* AWAY: when to try */
    int64_t pause_us;             /* the next one */
    char reason[LINK_REASON_MAX]; /* of the last failure */
    char error[LINK_REASON_MAX];  /* the last one that Redis answered with */
    /* sharded */
    bool retired;               /* it is no master any more: never tried; its number may be another's later */
    bool redirected;            /* it has said that the map is old; the link takes note and resets it */
    bool cluster_down;          /* it says so of the cluster */
    uint16_t probe_slot;        /* one of its own, or SLOTS: to be chosen */
    int64_t unprobed_us;        /* since the probe's slot was lost and none came back; 0: all is well */
    char node_id[41];           /* its name in the cluster */
    struct redis *commands;     /* NULL: AWAY, ASKING */
    struct redis *subscription; /* NULL: AWAY, ASKING */
    /* what is known of it */
    char role[16];
    char version[16];
    char run_id[41];
    char origin[41]; /* its former master's replication id, "": none */
    char generation[WIRE_HEX_SIZE + 1];
    char probe_channel[SERVER_PROBE_MAX];
    /* the command connection: what has no answer yet, a ring that grows */
    struct asked *asked;
    uint32_t asked_room; /* a power of two, or 0 */
    uint32_t asked_first;
    uint32_t asked_count;
    uint32_t fetches;  /* of these */
    uint32_t scripted; /* of these: appends and reads */
    bool claimed;      /* generation and scripts are there: appends and reads may be sent */
    bool claiming;     /* claim is sent */
    /* relays */
    struct relays appends; /* waiting to be sent */
    struct relays reads;
    struct relays again;    /* appends that Redis has sent back; older than those that wait */
    struct relays answered; /* the link's to take */
    struct relays returned; /* sharded: not done, another server's now; the link's to take */
    struct relays fenced;   /* fetches whose page is here, behind fences: see server_fence() */
    uint64_t fence;         /* number of the last one; relays have theirs in deadline_us */
    bool fence_out;         /* it has not come back */
    uint64_t drain;         /* number of a fence that is to be sent for itself */
    uint64_t backlog_bytes;
    uint64_t sequence; /* of the last message sent */
    /* the subscription connection */
    struct server_batch batch;
    struct server_ack acks[SERVER_ACKS];
    uint32_t acks_sent; /* free-running: sent - taken are under way */
    uint32_t acks_taken;
    bool proving;           /* the probe's channel is subscribed */
    bool blocked;           /* set by the link: it does not pull messages */
    struct wire kept;       /* subscription_keep(); its bytes are the room's. No topic: none */
    int64_t scarce_us;      /* since when there is no memory for it; 0: there is */
    uint64_t last_instance; /* of the message that came last: what came twice comes in a row */
    uint64_t last_sequence;
    struct server_heard heard[SERVER_HEARD]; /* by instance */
    double tokens;                           /* subscriptions that may be made now */
    int64_t tokens_us;                       /* as of then */
    /* probes */
    uint64_t probe;    /* number of the last one */
    bool probe_out;    /* it has not come back */
    int64_t probe_us;  /* when it was sent */
    int64_t proved_us; /* when the last one that came back was sent; 0: none on this life */
    int64_t round_trip_us;
    bool complete; /* all that is wanted was subscribed since it came UP; set by the link */
    /* counted */
    uint64_t relayed;
    uint64_t arrived;
    uint64_t failures;
};

/* The server is AWAY and tried at the next turn. `server` is zeroed memory. */
void server_init(struct server *server, struct server_common *common, uint32_t number, const struct url *url);

/* Frees all that it holds. */
void server_destroy(struct server *server);

/* Its address, or while that is not known its name: for people. */
const char *server_shown(const struct server *server);

/* Works what Redis has answered, the circuit, probes and waiting relays. True: more is there to be worked at once. */
bool server_turn(struct server *server);

/* How long it may be left alone, in us. */
int64_t server_rest_us(const struct server *server);

/*
 * Holds back the first page of a topic until all that Redis had pushed before it read the page has been taken from the
 * subscription. The two come by two connections: else an owner could not tell a message that is on its way, and new for
 * who follows the topic by a filter, from history. A fence is a message on the probe's channel; one is out at a time,
 * and all pages that come meanwhile wait for the next. Takes the relay.
 */
void server_fence(struct server *server, struct relay *relay);

/* It has come back by the subscription. */
void server_fence_came_back(struct server *server, uint64_t number);

/* --- of a Redis Cluster --- */

/*
 * The slot whose channel the probe is to go by, one of the server's. UP: what was subscribed for the former one is
 * forgotten.
 */
void server_probe_by(struct server *server, uint32_t slot);

/* The probe's slot has moved: another one is to be chosen. */
void server_probe_lost(struct server *server);

/* Sends a fence for all that was pushed until now. Gives its number, for server_drained(). */
uint64_t server_drain(struct server *server);
/* Whether it has come back, or nothing comes any more. */
bool server_drained(const struct server *server, uint64_t number);

/* A relay that was asked before, and keeps its deadline. Takes it. */
void server_again(struct server *server, struct relay *relay);

/* It is no master any more. */
void server_retire(struct server *server, const char *why);

/* A live message for the other hosts. Takes the relay. */
void server_live(struct server *server, struct relay *relay);

/* A logged message, or (`fetch`) a page to be read. Takes the relay; comes back in `answered`. */
void server_logged(struct server *server, struct relay *relay, bool fetch);

/* Gives the server up until its pause is over. `format`: why, for people. */
void server_fail(struct server *server, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* --- its command connection (server_commands.c) --- */

/* Greets a server that has just been connected. */
void commands_greet(struct server *server);
/* One answer of Redis. */
void commands_answered(struct server *server, const struct redis_value *value);
/* Appends that came back stand in front of those that wait again. */
void commands_restore(struct server *server);
/* Sends what waits, as far as it may be. */
void commands_send(struct server *server);
/* Relays without an answer are answered RELAY_AWAY; nothing is asked any more. */
void commands_abandon(struct server *server);
/* Sends a command; `relay` is taken. */
void command_send(struct server *server, enum command command, struct relay *relay, uint32_t count,
                  const struct span *words);
/* Sends a question for what a node says of itself. */
void command_send_node(struct server *server, uint64_t instance, uint32_t count, const struct span *words);
/* Sends a live message, which counts for so many bytes of the backlog until it is answered. */
void command_send_live(struct server *server, uint64_t bytes, uint32_t count, const struct span *words);
/* The oldest command without an answer, or NULL. */
const struct asked *commands_oldest(const struct server *server);
/* A Redis Cluster's ways to say that it has not done what it was asked: the slot is another's, or nobody's. */
bool command_was_redirected(struct span error);
/* A probe to the own channel, and INFO. */
void commands_probe(struct server *server);
void commands_fence(struct server *server);
/* Puts a relay whose fate is known among the answered ones. */
void relay_settle(struct server *server, struct relay *relay, enum relay_status status);

/* --- messages and fetches (server_relays.c) --- */

/* The server's generation, or, sharded, that of the topic's slot. */
struct span server_generation_key(const struct server *server, char *at, struct span topic);
void relay_send_append(struct server *server, struct relay *relay);
void relay_send_read(struct server *server, struct relay *relay);

/* --- its subscription connection (server_subscription.c) --- */

void subscription_greet(struct server *server);

/*
 * The next message, of those that are to be handed to a shard (own live ones, doubles and probes are dropped), or what
 * became of a subscription. False: none now. Borrowed until the next call.
 */
bool subscription_next(struct server *server, struct subscription_event *event);

/* The probe's channel, as it is now. */
void subscription_probe(struct server *server);
/* A fence by the subscription connection itself. */
void subscription_fence(struct server *server);

/*
 * There is no memory for the message that subscription_next() gave last: its next call gives it once more. If that goes
 * on for cluster.timeout_ms, the server is given up instead: what is subscribed again is fetched.
 */
void subscription_keep(struct server *server, const struct wire *wire);

/* How many subscriptions may be made now. */
uint32_t subscription_room(struct server *server);
/* One change, of a channel or pattern; `ack`: what its confirmation is. Goes out with others of its sort. */
void subscription_change(struct server *server, enum change change, struct span channel, struct server_ack ack);
/* Sends what was put together. */
void subscription_flush(struct server *server);

/* --- names in Redis --- */

/* "PREFIX", or, sharded, "PREFIX{TAG}" of a slot, at `at`. Returns its size. */
size_t server_name_begin(const struct server_common *common, char *at, uint32_t slot);

/* "PREFIX{TOPIC}" and a suffix, at `at`; sharded: "PREFIX{TAG}{TOPIC}". */
struct span server_key(const struct server_common *common, char *at, struct span topic, const char *suffix,
                       struct span rest);
#define SERVER_KEY_MAX (PREFIX_BYTES_MAX + SLOT_TAG_MAX + 4 + TOPIC_BYTES_MAX + 2 + KEY_BYTES_MAX + sizeof ":255")

/* What channels for patterns begin with: the prefix, and, sharded, the server's name in the cluster. */
#define SERVER_PATTERN_PREFIX_MAX (PREFIX_BYTES_MAX + 40)
struct span server_pattern_prefix(const struct server *server, char at[SERVER_PATTERN_PREFIX_MAX]);

/* A number at random. */
uint64_t server_random(struct server_common *common);

#endif
