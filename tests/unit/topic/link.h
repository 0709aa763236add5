/*
 * link: a federation link of a few lines, for the tests of owners: the last peer of a host, with a Redis in it that is
 * one topic's stream.
 *
 * It works what shards ask of it when the test calls link_turn(), and keeps each message that arrives until the test
 * lets it: in order, doubled, out of order, or never.
 */
#ifndef SHOAL_TESTS_TOPIC_LINK_H
#define SHOAL_TESTS_TOPIC_LINK_H

#include "host.h"

#define LINK_STREAM_MAX   2048
#define LINK_EPOCHS_MAX   128
#define LINK_EPOCH_FIRST  0xE1u
#define LINK_ARRIVALS_MAX 8192

static const struct from from_new = {.kind = FROM_NEW};

/* A namespace of logged topics, with history and without. */
static const char *const link_kept[] = {
    "cluster.redis=redis://127.0.0.1",     "namespace.log.prefix=log/", "namespace.log.logged=true",
    "namespace.log.history_messages=1000", "cluster.linger_s=5",        NULL};
static const char *const link_unkept[] = {"cluster.redis=redis://127.0.0.1", "namespace.log.prefix=log/",
                                          "namespace.log.logged=true", "cluster.linger_s=5", NULL};

struct link_text {
    char text[32];
    int64_t time_ms;
};

struct link {
    struct host *host;
    const char *topic; /* the logged one */
    bool away;         /* answers all with RELAY_AWAY */
    bool deaf;         /* answers nothing */
    bool mute;         /* what is published does not arrive */
    bool forgetful;    /* what it is asked to relay is done, but not answered in time */
    bool slow;         /* reads a page at once, and answers when the test lets it: link_let_go() */
    uint32_t page_max;
    /* Redis */
    uint64_t epoch;
    uint64_t base;  /* offset before the epoch's first */
    uint64_t first; /* in the stream */
    uint64_t tail;
    int64_t now_ms;                                               /* the time of what is appended */
    struct link_text entries[LINK_STREAM_MAX];                    /* by offset */
    struct link_text published[LINK_EPOCHS_MAX][LINK_STREAM_MAX]; /* ever, by epoch and offset */
    /* what it has seen */
    bool wanted;
    uint32_t topic_number;
    uint32_t wants;
    uint32_t unwants;
    uint32_t fetches;
    uint32_t filters;
    uint32_t live; /* relays of live topics */
    char live_text[32];
    uint64_t arrivals[LINK_ARRIVALS_MAX]; /* offsets, to arrive */
    uint64_t arrival_epochs[LINK_ARRIVALS_MAX];
    uint32_t arrival_count;
    struct relay *held; /* a fetch that is answered later */
    uint64_t repeat_of; /* publishes repeat the key of this message; 0: they are new */
};

static inline uint32_t link_peer(const struct link *link)
{
    return link->host->count;
}

static inline uint32_t link_owner(const struct link *link)
{
    return host_owner(link->host, link->topic);
}

static inline struct link *link_create(uint32_t shards, uint32_t slots, const char *topic, const char *const *sets)
{
    struct link *link = calloc(1, sizeof *link);
    link->host = host_create_with(shards, slots, sets, true);
    link->topic = topic;
    link->page_max = 100;
    link->epoch = LINK_EPOCH_FIRST;
    link->first = 1;
    return link;
}

/* What was published at a position. */
static inline char *link_text(struct link *link, uint64_t epoch, uint64_t offset)
{
    assert_in_range(epoch, LINK_EPOCH_FIRST, LINK_EPOCH_FIRST + LINK_EPOCHS_MAX - 1);
    return link->published[epoch - LINK_EPOCH_FIRST][offset].text;
}

static inline void link_tell(struct link *link, uint32_t shard, struct envelope *tell)
{
    assert_true(mesh_tell(&link->host->mesh, link_peer(link), shard, tell));
}

/* Gives the relay to a shard. It is set by itself: in an initializer the analyzer loses what goes into a union. */
static inline void link_tell_relay(struct link *link, uint32_t shard, enum envelope_kind kind, struct relay *relay)
{
    struct envelope tell = {.kind = kind, .topic = relay->topic};
    tell.relay = relay;
    link_tell(link, shard, &tell);
}

static inline void link_tell_wanted(struct link *link, enum relay_status status)
{
    struct envelope tell = {.kind = TELL_WANTED,
                            .topic = link->topic_number,
                            .hash = name_hash(host_span(link->topic)),
                            .status = (uint8_t)status};
    link_tell(link, link_owner(link), &tell);
}

/* Whether what matches filters may be missed. All shards are told. */
static inline void link_tell_patterns(struct link *link, enum relay_status status)
{
    for (uint32_t shard = 0; shard < link->host->count; shard++) {
        struct envelope tell = {.kind = TELL_PATTERNS, .status = (uint8_t)status};
        link_tell(link, shard, &tell);
    }
}

/* Another host publishes, or this one: Redis appends. */
static inline uint64_t link_append(struct link *link, struct span payload)
{
    uint64_t offset = ++link->tail;
    assert_true(offset < LINK_STREAM_MAX);
    snprintf(link->entries[offset].text, sizeof link->entries[offset].text, "%.*s", (int)payload.size, payload.data);
    link->entries[offset].time_ms = link->now_ms;
    memcpy(link_text(link, link->epoch, offset), link->entries[offset].text, sizeof link->entries[offset].text);
    if (link->wanted && !link->mute) {
        link->arrivals[link->arrival_count] = offset;
        link->arrival_epochs[link->arrival_count++] = link->epoch;
    }
    return offset;
}

static inline void link_append_some(struct link *link, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        char text[32];
        snprintf(text, sizeof text, "#%llu", (unsigned long long)link->tail + 1);
        link_append(link, host_span(text));
    }
}

/* The server came back with what it had, or with less: another epoch. */
static inline void link_new_epoch(struct link *link, uint64_t tail)
{
    link->epoch++;
    link->tail = tail;
    link->base = tail;
}

static inline struct relay *link_relay(const char *topic, const char *payload, bool logged)
{
    struct relay *relay = relay_create(topic, strlen(topic), NULL, 0, payload, strlen(payload));
    relay->hash = name_hash(host_span(topic));
    relay->logged = logged;
    relay->kind = PAYLOAD_TEXT;
    relay->time_ms = 5;
    return relay;
}

static inline void link_send_arrived(struct link *link, struct relay *relay)
{
    struct envelope ask = {.kind = ASK_ARRIVED};
    ask.relay = relay; /* as in link_tell_relay() */
    assert_true(mesh_ask(&link->host->mesh, link_peer(link), (uint32_t)(relay->hash % link->host->count), &ask));
}

/* A message of the stream arrives at its owner. */
static inline void link_arrive(struct link *link, uint64_t epoch, uint64_t offset)
{
    struct relay *relay = link_relay(link->topic, link_text(link, epoch, offset), true);
    relay->epoch = epoch;
    relay->offset = offset;
    link_send_arrived(link, relay);
}

/* All that waits arrives. */
static inline void link_arrive_all(struct link *link)
{
    for (uint32_t i = 0; i < link->arrival_count; i++)
        link_arrive(link, link->arrival_epochs[i], link->arrivals[i]);
    link->arrival_count = 0;
}

static inline struct relay_page *link_page(const struct link *link, const struct relay *ask)
{
    uint64_t after = link->base;
    if (ask->epoch == link->epoch)
        after = ask->offset;
    else if (ask->epoch == 0)
        after = link->tail > ask->messages_max ? link->tail - ask->messages_max : 0;
    uint64_t from = after + 1 > link->first ? after + 1 : link->first;
    uint64_t count = from <= link->tail ? link->tail - from + 1 : 0;
    count = count < link->page_max ? count : link->page_max;
    struct relay_page *page = calloc(1, sizeof *page + count * sizeof page->entries[0] + count * 32);
    char *bytes = (char *)&page->entries[count];
    *page = (struct relay_page){
        .epoch = link->epoch,
        .epoch_base = link->base,
        .first = link->first,
        .tail = link->tail,
        .count = (uint32_t)count,
    };
    for (uint32_t i = 0; i < count; i++, bytes += 32) {
        memcpy(bytes, link->entries[from + i].text, 32);
        page->entries[i] = (struct relay_entry){
            .offset = from + i,
            .payload = bytes,
            .payload_size = (uint32_t)strlen(bytes),
            .kind = PAYLOAD_TEXT,
            .time_ms = link->entries[from + i].time_ms,
        };
    }
    return page;
}

static inline void link_work_relay(struct link *link, uint32_t shard, struct relay *relay)
{
    if (!relay->logged) {
        link->live++;
        snprintf(link->live_text, sizeof link->live_text, "%.*s", (int)relay->payload_size, relay_payload(relay));
        relay_free(relay);
        return;
    }
    relay->status = link->away || link->forgetful ? RELAY_AWAY : RELAY_DONE;
    if (!link->away) {
        relay->epoch = link->epoch;
        relay->repeated = link->repeat_of != 0;
        relay->offset = relay->repeated ? link->repeat_of
                                        : link_append(link, (struct span){relay_payload(relay), relay->payload_size});
    }
    link_tell_relay(link, shard, TELL_RELAYED, relay);
}

static inline void link_work_fetch(struct link *link, uint32_t shard, struct relay *relay)
{
    link->fetches++;
    relay->status = link->away ? RELAY_AWAY : RELAY_DONE;
    relay->page = link->away ? NULL : link_page(link, relay);
    if (link->slow) {
        link->held = relay;
        return;
    }
    link_tell_relay(link, shard, TELL_FETCHED, relay);
}

/* The answer to a fetch comes at last. */
static inline void link_let_go(struct link *link)
{
    struct relay *relay = link->held;
    link->held = NULL;
    link->slow = false;
    link_tell_relay(link, link_owner(link), TELL_FETCHED, relay);
}

static inline void link_work(struct link *link, const struct envelope *ask)
{
    struct envelope tell = {.kind = TELL_FILTERED, .feed = ask->feed, .lanes = ask->lanes};
    switch ((enum envelope_kind)ask->kind) {
    case ASK_WANT:
        link->wants++;
        link->wanted = true;
        link->topic_number = ask->topic;
        name_drop(ask->name);
        tell = (struct envelope){.kind = TELL_WANTED,
                                 .topic = ask->topic,
                                 .hash = ask->hash,
                                 .status = link->away ? RELAY_AWAY : RELAY_DONE};
        link_tell(link, ask->from, &tell);
        break;
    case ASK_UNWANT:
        link->unwants++;
        link->wanted = false;
        name_drop(ask->name);
        break;
    case ASK_RELAY:
        link_work_relay(link, ask->from, ask->relay);
        break;
    case ASK_FETCH:
        link_work_fetch(link, ask->from, ask->relay);
        break;
    case ASK_FILTER:
        link->filters += ask->lanes != 0;
        name_drop(ask->name);
        link_tell(link, ask->from, &tell);
        break;
    default:
        fail_msg("the link was asked %u", ask->kind);
    }
}

/* Works what it was asked. False: nothing. */
static inline bool link_turn(struct link *link)
{
    bool worked = false;
    for (uint32_t from = 0; from < link->host->count && !link->deaf; from++) {
        const struct envelope *ask;
        struct spsc *ring = mesh_asks(&link->host->mesh, from, link_peer(link));
        while ((ask = spsc_peek(ring)) != NULL) {
            struct envelope copy = *ask;
            spsc_pop(ring);
            link_work(link, &copy);
            worked = true;
        }
    }
    return worked;
}

/* Until nothing moves, neither here nor there. */
static inline void link_settle(struct link *link)
{
    bool moved = true;
    for (int i = 0; moved && i < HOST_TURNS_MAX; i++) {
        moved = link_turn(link);
        for (uint32_t n = 0; n < link->host->count; n++)
            moved |= host_turn(link->host, n);
    }
    assert_false(moved);
}

/* The stream has five messages; then somebody on shard 0 follows the filter. */
static inline struct link *link_create_followed(uint32_t shards, const char *topic, const char *const *sets,
                                                const char *filter)
{
    struct link *link = link_create(shards, 64, topic, sets);
    link_append_some(link, 5);
    host_subscribe(link->host, 0, 7, LANE_JSON, filter, from_new);
    link_settle(link);
    return link;
}

static inline void link_destroy(struct link *link)
{
    host_destroy(link->host);
    free(link);
}

#endif
