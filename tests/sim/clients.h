/*
 * clients: simulated clients, and what they take the broker at its word for.
 *
 * Each act of a client moves some bytes, reads what has come, and perhaps does something: publishes, subscribes (from
 * new, last or a position that it knows), unsubscribes, stalls, breaks off at whatever byte it is, comes back as
 * another kind of client. What it reads goes to the checkers: each message to the `follow` that it belongs to, each
 * answer to the record. A request that stays without an answer is found at the end (check_loss).
 *
 *      kind     speaks                                              does
 *      TALK     /v1/ws, JSON or binary, some with deflate           everything
 *      RAW      a topic URL's WebSocket, mode sub, pub or both      one subscription, publishes without answers
 *      STREAM   server-sent events                                  one subscription
 *      POST     publishes over HTTP, one after the other            gets answers
 *      READ     GET of the history                                  compares
 *
 * Mostly no client follows two names that cover one topic. Where it may, no name under a policy that leaves messages
 * out is among them: so each follow gets all in a row, and a message can be given to any that expects it.
 */
#ifndef SHOAL_TESTS_CLIENTS_H
#define SHOAL_TESTS_CLIENTS_H

#include "follow.h"
#include "profile.h"
#include "wire.h"

enum client_kind { CLIENT_TALK, CLIENT_RAW, CLIENT_STREAM, CLIENT_POST, CLIENT_READ, CLIENT_KINDS };

/* Ways to break a run, so that a checker must notice. */
enum sabotage {
    SABOTAGE_NONE,
    SABOTAGE_DROP, /* a message that came is not shown to its checker */
    SABOTAGE_SWAP, /* two are shown in the wrong order */
    SABOTAGE_DEAF, /* from some time on a client is shown none */
    SABOTAGE_LEAK_CHUNK,
    SABOTAGE_LEAK_NAME,
    SABOTAGE_LEAK_SLOT,
    SABOTAGES,
};

enum request_kind {
    REQUEST_NONE,
    REQUEST_PUBLISH,
    REQUEST_SUBSCRIBE,
    REQUEST_UNSUBSCRIBE,
    REQUEST_PING,
    REQUEST_WRONG
};

struct request {
    uint32_t id;
    uint32_t what; /* publish or follow */
    uint8_t kind;
};

struct position {
    uint64_t epoch; /* 0: none known */
    uint64_t offset;
};

/* A keyed publish that may have been lost with its connection. */
struct again {
    uint32_t publish;
    bool valid;
};

enum { FOLLOWS_MAX = 5, REQUESTS_MAX = 12 };

struct client {
    uint32_t number;
    uint32_t host;
    enum client_kind kind;
    struct wire wire;
    bool open;          /* the first answer has come: messages may flow */
    bool closing;       /* a close frame was seen or sent: nothing more is expected */
    bool publishes;     /* RAW: mode pub or both */
    bool binary;        /* TALK */
    struct buffer said; /* TALK: commands that wait for their message */
    uint8_t topic;      /* RAW pub, POST, READ */
    uint64_t hello_ms;  /* TALK: the broker's time when it came */
    uint32_t next_id;
    uint32_t resets;
    int64_t stalled_until_us;
    struct follow follows[FOLLOWS_MAX];
    struct request requests[REQUESTS_MAX];
    struct position positions[TOPIC_COUNT];
    struct keepsake keepsake;
    struct again again;
};

struct clients {
    const struct profile *profile;
    const struct config *config;
    struct sim_network *network;
    struct record *record;
    struct client *clients;
    uint32_t count;
    struct inflater inflater;
    uint32_t hosts;       /* that there are, or were */
    uint32_t host_killed; /* that is not there any more; UINT32_MAX: none */
    bool draining;        /* the broker is going away, and may refuse and close */
    enum sabotage sabotage;
    uint64_t sabotage_at; /* delivered messages */
    bool sabotaged;
    const struct follow *sabotage_follow; /* of a swap or deafness */
    uint32_t sabotage_publish;            /* of a swap: held back */
    uint64_t sabotage_offset;
    uint64_t moved; /* bytes read and written, to see when all is silent */
    uint32_t answers, refusals, resumes, returns, gaps, closes,
        repeats; /* seen, to see that a run is worth something */
};

void clients_init(struct clients *clients, const struct profile *profile, const struct config *config,
                  struct sim_network *network, struct record *record);
void clients_free(struct clients *clients);

/* One act of one client. */
void client_act(struct clients *clients, uint32_t number);

/* All move all bytes that they can, and read. */
void clients_pump(struct clients *clients);

/* All go away, one like this, one like that. */
void clients_leave(struct clients *clients);

/* --- between the clients' files --- */

static inline struct verdict *verdict_of(struct clients *clients)
{
    return clients->record->verdict;
}

/* Nothing may be closed or refused without a reason of ours. */
static inline bool is_calm(const struct clients *clients)
{
    return clients->profile->calm && !clients->draining;
}

static inline bool by_chance(struct clients *clients, uint16_t in_1000)
{
    return in_1000 > 0 && sim_random(clients->network, 1000) < in_1000;
}

/* A publish of any size and kind to any topic, or to this one (below TOPIC_COUNT). Gives its number. */
uint32_t client_publish(struct clients *clients, uint32_t topic, enum payload_kind kind);

/* Whether a publish goes with an idempotency key. */
static inline bool publish_has_key(uint32_t publish)
{
    return publish % 4 == 0;
}

/* A last message to each logged topic, by whoever can. What nobody has missed yet is missed then. */
void clients_publish_last(struct clients *clients);

/* A free place. NULL: none. */
struct request *client_request(struct client *client, enum request_kind kind, uint32_t what);
struct follow *client_follow_free(struct client *client);

/* Whether a name goes with all that the client follows already. */
bool client_may_follow(struct clients *clients, const struct client *client, uint32_t number);

/* A name that this client may follow besides what it follows. False: none was found. */
bool client_name(struct clients *clients, const struct client *client, uint32_t *number);

/* A position to begin a topic at: where it was, or some messages before, or one that was never. False: none. */
bool client_position(struct clients *clients, const struct client *client, uint32_t number, struct position *position);

bool client_may_return(const struct clients *clients, const struct client *client);

/* A message has come for a follow: to its checker, unless sabotaged. */
void client_deliver(struct clients *clients, struct follow *follow, uint32_t publish, uint64_t epoch, uint64_t offset);

/* The answers to a publish. */
void client_acknowledged(struct clients *clients, const struct client *client, struct request *request, uint64_t epoch,
                         uint64_t offset);
/* `perhaps`: it may have been done all the same. */
void client_refused(struct clients *clients, struct request *request, bool perhaps);

/* Leaves after an answer with which the connection is over. */
void client_finish(struct clients *clients, struct client *client);

#endif
