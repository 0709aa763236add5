/*
 * host: the shards' topics alone, for tests: owners and feeds over a real mesh, and nothing of connections or I/O.
 *
 *   host_publish() ── ASK_PUBLISH ──▶ owner ─┐            ┌─▶ feeds ─▶ what the test looks at
 *                                            └── mesh ────┘
 *
 * A test turns the peers by hand, in any order, on one thread; host_settle() turns them until nothing moves. Delivery
 * to connections is the test's own: nobody takes a dirty feed but the test. host_destroy() looks that all chunks,
 * names and tickets came back.
 */
#ifndef SHOAL_TESTS_TOPIC_HOST_H
#define SHOAL_TESTS_TOPIC_HOST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "protocol/topic.h"
#include "topic/feed.h"
#include "topic/owner.h"

#define HOST_PEERS_MAX   3
#define HOST_SETS_MAX    16
#define HOST_ANSWERS_MAX 4096
#define HOST_TURNS_MAX   10000

/* What came back for a publish or a read, in the order of arrival. */
struct host_answer {
    enum reply_error status;
    uint64_t epoch;
    uint64_t offset;
    uint64_t first;      /* of a read */
    struct chunk *chunk; /* of a read: the test's reference */
};

struct host_peer {
    struct stats stats;
    struct lane_writer writer;
    struct owner owner;
    struct feeds feeds;
    struct host_answer answers[HOST_ANSWERS_MAX];
    uint32_t answer_count;
    uint64_t answered; /* ever, also when the test has cleared answer_count */
};

struct host {
    struct mesh mesh;
    struct config *config;
    uint32_t count;
    int64_t now_ms;
    uint64_t chunks_before;
    uint64_t names_before;
    struct host_peer *peers[HOST_PEERS_MAX];
};

static inline struct span host_span(const char *text)
{
    return (struct span){text, strlen(text)};
}

static inline void host_time(struct host *host, int64_t ms)
{
    host->now_ms += ms;
    for (uint32_t i = 0; i < host->count; i++)
        owner_set_time(&host->peers[i]->owner, host->now_ms, host->now_ms * 1000);
}

/* `sets`: "key=value" of the configuration, NULL at the end. `linked`: the last peer is a federation link. */
static inline struct host *host_create_with(uint32_t count, uint32_t slots, const char *const *sets, bool linked)
{
    struct host *host = calloc(1, sizeof *host);
    const char *all[HOST_SETS_MAX] = {"auth.anonymous=true"};
    struct config_sources sources = {.sets = all, .set_count = 1};
    for (; sets && *sets; sets++)
        all[sources.set_count++] = *sets;
    static struct config_report report;
    host->config = config_load(&sources, &report);
    if (!host->config)
        fail_msg("%s", report.text);
    host->count = count;
    host->now_ms = 1000000;
    host->chunks_before = chunk_count_in_use();
    host->names_before = name_count_in_use();
    assert_true(mesh_init(&host->mesh, count + linked, slots));
    for (uint32_t i = 0; i < count; i++) {
        struct host_peer *peer = host->peers[i] = calloc(1, sizeof *peer);
        assert_true(owner_init(&peer->owner, i, count, &host->mesh, host->config, &peer->stats, &peer->writer, 7 + i));
        assert_true(feeds_init(&peer->feeds, i, count, &host->mesh, host->config, &peer->stats, &peer->writer, 7));
        peer->owner.link_peer = peer->feeds.link_peer = linked ? count : 0;
    }
    host_time(host, 0);
    return host;
}

static inline struct host *host_create(uint32_t count, uint32_t slots, const char *const *sets)
{
    return host_create_with(count, slots, sets, false);
}

static inline void host_work_tell(struct host *host, uint32_t number, const struct envelope *tell)
{
    struct host_peer *peer = host->peers[number];
    if (owner_is_told(tell)) {
        owner_tell(&peer->owner, tell);
        return;
    }
    if (tell->kind != TELL_PUBLISHED && tell->kind != TELL_READ) {
        feeds_tell(&peer->feeds, tell);
        return;
    }
    struct ticket *ticket = tell->ticket;
    peer->answered++;
    assert_true(peer->answer_count < HOST_ANSWERS_MAX);
    peer->answers[peer->answer_count++] = (struct host_answer){
        .status = ticket->status,
        .epoch = ticket->epoch,
        .offset = ticket->offset,
        .first = ticket->first,
        .chunk = ticket->chunk,
    };
    free(ticket);
}

/* Works up to `most` tells of each ring that leads to a peer. Returns how many. */
static inline uint32_t host_tells(struct host *host, uint32_t number, uint32_t most)
{
    uint32_t worked = 0;
    for (uint32_t from = 0; from < host->mesh.peer_count; from++) {
        const struct envelope *tell;
        struct spsc *ring = mesh_tells(&host->mesh, from, number);
        for (uint32_t i = 0; i < most && (tell = spsc_peek(ring)) != NULL; i++, worked++) {
            struct envelope copy = *tell;
            spsc_pop(ring);
            host_work_tell(host, number, &copy);
        }
    }
    return worked;
}

static inline uint32_t host_asks(struct host *host, uint32_t number, uint32_t most)
{
    uint32_t worked = 0;
    for (uint32_t from = 0; from < host->mesh.peer_count; from++) {
        const struct envelope *ask;
        struct spsc *ring = mesh_asks(&host->mesh, from, number);
        for (uint32_t i = 0; i < most && (ask = spsc_peek(ring)) != NULL; i++, worked++) {
            if (!owner_ask(&host->peers[number]->owner, ask))
                break;
            spsc_pop(ring);
        }
    }
    return worked;
}

/* A turn as shard_turn() does it, without connections. False: there was nothing to do. */
static inline bool host_turn(struct host *host, uint32_t number)
{
    struct host_peer *peer = host->peers[number];
    uint32_t worked = host_tells(host, number, UINT32_MAX);
    worked += host_asks(host, number, UINT32_MAX);
    bool more = owner_is_dirty(&peer->owner);
    owner_advance(&peer->owner);
    worked += host_tells(host, number, UINT32_MAX);
    more |= feeds_have_unsent(&peer->feeds);
    feeds_send(&peer->feeds);
    return worked > 0 || more;
}

/* Turns all until nothing moves. Not with a feed that is to be left and dirty: it waits for delivery. */
static inline void host_settle(struct host *host)
{
    bool moved = true;
    for (int i = 0; moved && i < HOST_TURNS_MAX; i++) {
        moved = false;
        for (uint32_t n = 0; n < host->count; n++)
            moved |= host_turn(host, n);
    }
    assert_false(moved);
}

/* `again`: another broker was sent it before. */
static inline bool host_try_publish_again(struct host *host, uint32_t from, const char *topic, struct span payload,
                                          const char *key, bool again)
{
    struct ticket *ticket = ticket_create(host_span(topic), host_span(key ? key : ""), SPAN_NONE, payload);
    ticket->hash = name_hash(host_span(topic));
    ticket->key_id = idempotency_id(ticket->hash, ticket_key(ticket));
    ticket->shard = (uint8_t)from;
    ticket->kind = PAYLOAD_TEXT;
    ticket->again = again;
    struct envelope ask = {.kind = ASK_PUBLISH, .ticket = ticket};
    if (mesh_ask(&host->mesh, from, name_owner(ticket->hash, host->count), &ask))
        return true;
    free(ticket);
    return false;
}

static inline bool host_try_publish(struct host *host, uint32_t from, const char *topic, struct span payload,
                                    const char *key)
{
    return host_try_publish_again(host, from, topic, payload, key, false);
}

static inline void host_publish(struct host *host, uint32_t from, const char *topic, const char *payload)
{
    assert_true(host_try_publish(host, from, topic, host_span(payload), NULL));
}

/* The answer that came last. */
static inline struct host_answer *host_answer(struct host *host, uint32_t number)
{
    assert_true(host->peers[number]->answer_count > 0);
    return &host->peers[number]->answers[host->peers[number]->answer_count - 1];
}

/* Publishes, waits for the answer, and gives the offset. */
static inline uint64_t host_publish_now(struct host *host, uint32_t from, const char *topic, const char *payload)
{
    uint32_t before = host->peers[from]->answer_count;
    host_publish(host, from, topic, payload);
    host_settle(host);
    assert_int_equal(host->peers[from]->answer_count, before + 1);
    assert_int_equal(host_answer(host, from)->status, REPLY_OK);
    return host_answer(host, from)->offset;
}

static inline uint32_t host_subscribe(struct host *host, uint32_t number, uint32_t conn, enum lane lane,
                                      const char *text, struct from from)
{
    bool wild = strpbrk(text, "+#") != NULL;
    return feeds_subscribe(&host->peers[number]->feeds, conn, lane, host_span(text), wild, &from);
}

/* What became of a subscription: its last answer, which is taken. NULL: none yet. Valid until the next one. */
static inline const struct feed_answer *host_subscribed(struct host *host, uint32_t number, uint32_t subscription)
{
    static struct feed_answer found;
    struct feeds *feeds = &host->peers[number]->feeds;
    for (uint32_t i = feeds->answer_count; i-- > 0;) {
        if (feeds->answers[i].subscription == subscription) {
            found = feeds->answers[i];
            for (feeds->answer_count--; i < feeds->answer_count; i++)
                feeds->answers[i] = feeds->answers[i + 1];
            return &found;
        }
    }
    return NULL;
}

/* The topic at its owner; NULL: not known there. */
static inline struct topic *host_topic(struct host *host, const char *name)
{
    uint64_t hash = name_hash(host_span(name));
    struct owner *owner = &host->peers[name_owner(hash, host->count)]->owner;
    uint32_t number = owner_topic_find(owner, hash, host_span(name));
    return number ? topic_at(owner, number) : NULL;
}

static inline uint32_t host_owner(const struct host *host, const char *name)
{
    return name_owner(name_hash(host_span(name)), host->count);
}

/* A name that this peer owns: `stem` and a number. */
static inline const char *host_name_of(const struct host *host, uint32_t number, const char *stem)
{
    static char names[4][64];
    static uint32_t at;
    char *name = names[at++ % 4];
    for (uint32_t i = 0;; i++) {
        snprintf(name, sizeof names[0], "%s%u", stem, i);
        if (host_owner(host, name) == number)
            return name;
    }
}

static inline void host_rings_empty(struct host *host)
{
    for (uint32_t from = 0; from < host->mesh.peer_count; from++) {
        for (uint32_t to = 0; to < host->mesh.peer_count; to++) {
            assert_null(spsc_peek(mesh_asks(&host->mesh, from, to)));
            assert_null(spsc_peek(mesh_tells(&host->mesh, from, to)));
        }
    }
}

/* Nothing may be under way. */
static inline void host_destroy(struct host *host)
{
    host_rings_empty(host);
    for (uint32_t i = 0; i < host->count; i++) {
        struct host_peer *peer = host->peers[i];
        for (uint32_t n = 0; n < peer->answer_count; n++)
            chunk_drop(peer->answers[n].chunk);
        feeds_destroy(&peer->feeds);
        owner_destroy(&peer->owner);
        lane_writer_destroy(&peer->writer);
        free(peer);
    }
    assert_int_equal(chunk_count_in_use(), host->chunks_before);
    assert_int_equal(name_count_in_use(), host->names_before);
    mesh_destroy(&host->mesh);
    config_free(host->config);
    free(host);
}

/* --- delivery, as simple as can be --- */

typedef void host_seen(void *context, uint32_t subscription, uint64_t from, uint64_t to);

struct host_delivery {
    struct feeds *feeds;
    host_seen *seen; /* NULL: nobody looks */
    void *context;
};

/* Whoever has a cursor at the former tail reads on to the present one. */
static inline void host_woken(void *context, uint32_t number)
{
    const struct host_delivery *delivery = context;
    const struct cursor *cursor = cursor_at(delivery->feeds, number);
    uint64_t tail = feed_at(delivery->feeds, subscription_at(delivery->feeds, cursor->subscription)->feed)->tail;
    bool dropped;
    if (delivery->seen)
        delivery->seen(delivery->context, cursor->subscription, cursor->offset + 1, tail);
    cursor_move(delivery->feeds, number, NULL, tail, 0, &dropped);
}

static inline void host_walk(const struct host_delivery *delivery, uint32_t number)
{
    struct feed *feed = feed_at(delivery->feeds, number);
    uint32_t subscription, published_us;
    while (feed->walk) {
        while ((subscription = feed_walk_next(delivery->feeds, feed)) != 0) {
            if (!subscription_at(delivery->feeds, subscription)->cursor && delivery->seen)
                delivery->seen(delivery->context, subscription, feed->walked + 1,
                               walk_at(delivery->feeds, feed)->target);
        }
        feed_walk_settle(delivery->feeds, number, &published_us);
    }
}

/* Walks all dirty feeds of a peer to their ends; all subscribers take everything, and `seen` is called for each. */
static inline void host_deliver(struct host *host, uint32_t number, host_seen *seen, void *context)
{
    struct host_delivery delivery = {.feeds = &host->peers[number]->feeds, .seen = seen, .context = context};
    uint32_t dirty;
    while ((dirty = feeds_dirty_take(delivery.feeds)) != 0) {
        feed_unpark(delivery.feeds, dirty, host_woken, &delivery);
        while (feed_walk_begin(delivery.feeds, dirty))
            host_walk(&delivery, dirty);
    }
}

#endif
