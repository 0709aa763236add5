/* subscriptions: see subscriptions.h. */
#include "conn/subscriptions.h"

#include <xxhash.h>

#include "base/check.h"
#include "conn/conn.h"
#include "conn/replay.h"

/* --- the index --- */

#define NO_FEED 0 /* the connection's own record */

struct indexed {
    struct index_link link;
    uint32_t conn;
    uint32_t feed;
    uint32_t subscription;
    union {
        uint32_t previous; /* whose `next` it is, 0: it is the first */
        uint32_t count;    /* the connection's own record: how many it has */
    };
};

bool subscription_index_init(struct subscription_index *index)
{
    index->few = SUBSCRIPTIONS_FEW;
    slab_init(&index->records, sizeof(struct indexed), UINT32_MAX - SLAB_SEGMENT_RECORDS);
    return index_init(&index->by_feed, &index->records);
}

void subscription_index_destroy(struct subscription_index *index)
{
    index_destroy(&index->by_feed);
    slab_destroy(&index->records);
}

static uint64_t indexed_hash(uint32_t slot, uint32_t feed)
{
    const uint32_t key[] = {slot, feed};
    return XXH3_64bits(key, sizeof key);
}

static struct indexed *indexed_at(const struct conns *conns, uint32_t number)
{
    return slab_at(&conns->subscription_index.records, number);
}

static uint32_t indexed_number(const struct conns *conns, uint32_t slot, uint32_t feed)
{
    const struct subscription_index *index = &conns->subscription_index;
    uint32_t number = index->records.used ? index_first(&index->by_feed, indexed_hash(slot, feed)) : 0;
    while (number && (indexed_at(conns, number)->conn != slot || indexed_at(conns, number)->feed != feed)) {
        number = index_next(&index->by_feed, number);
    }
    return number;
}

static struct indexed *indexed_find(const struct conns *conns, uint32_t slot, uint32_t feed)
{
    uint32_t number = indexed_number(conns, slot, feed);
    return number ? indexed_at(conns, number) : NULL;
}

/* The connection's own record. NULL: its subscriptions are not in the index. */
static struct indexed *indexed_own(const struct conns *conns, uint32_t slot)
{
    return indexed_find(conns, slot, NO_FEED);
}

/* NULL: no memory. */
static struct indexed *indexed_put(struct conns *conns, uint32_t slot, uint32_t feed)
{
    uint32_t number = slab_take(&conns->subscription_index.records);
    if (!number) {
        return NULL;
    }
    struct indexed *record = indexed_at(conns, number);
    *record = (struct indexed){.link.hash = indexed_hash(slot, feed), .conn = slot, .feed = feed};
    index_insert(&conns->subscription_index.by_feed, number);
    return record;
}

/* Nothing if it is not there. */
static void indexed_take(struct conns *conns, uint32_t slot, uint32_t feed)
{
    uint32_t number = indexed_number(conns, slot, feed);
    if (number) {
        index_remove(&conns->subscription_index.by_feed, number);
        slab_give(&conns->subscription_index.records, number);
    }
}

/* Enters one that stands, or will, behind `previous` in its connection's list. False: no memory. */
static bool index_one(struct conns *conns, struct indexed *own, uint32_t subscription, uint32_t previous)
{
    struct indexed *record = indexed_put(conns, own->conn, subscription_at(conns->feeds, subscription)->feed);
    if (!record) {
        return false;
    }
    record->subscription = subscription;
    record->previous = previous;
    own->count++;
    return true;
}

/* From now on the one before `subscription` is another. 0 as the subscription: there is none to be told. */
static void index_set_previous(struct conns *conns, uint32_t slot, uint32_t subscription, uint32_t previous)
{
    if (subscription) {
        indexed_find(conns, slot, subscription_at(conns->feeds, subscription)->feed)->previous = previous;
    }
}

/* Enters all of a connection. Gives its own record; NULL: no memory, and none is in. */
static struct indexed *index_all(struct conns *conns, uint32_t slot)
{
    struct indexed *own = indexed_put(conns, slot, NO_FEED);
    uint32_t first = conn_at(conns, slot)->subscriptions, previous = 0, n = own ? first : 0;
    for (; n && index_one(conns, own, n, previous); n = subscription_at(conns->feeds, n)->next) {
        previous = n;
    }
    if (own && !n) {
        return own;
    }
    for (n = first; n; n = subscription_at(conns->feeds, n)->next) {
        indexed_take(conns, slot, subscription_at(conns->feeds, n)->feed);
    }
    indexed_take(conns, slot, NO_FEED);
    return NULL;
}

/* --- the list --- */

uint32_t conn_subscription_count(const struct conns *conns, uint32_t slot)
{
    const struct indexed *own = indexed_own(conns, slot);
    if (own) {
        return own->count;
    }
    uint32_t count = 0;
    for (uint32_t n = conn_at(conns, slot)->subscriptions; n; n = subscription_at(conns->feeds, n)->next) {
        count++;
    }
    return count;
}

uint32_t conn_subscription_find(const struct conns *conns, uint32_t slot, uint32_t feed)
{
    if (indexed_own(conns, slot)) {
        const struct indexed *record = indexed_find(conns, slot, feed);
        return record ? record->subscription : 0;
    }
    uint32_t number = conn_at(conns, slot)->subscriptions;
    while (number && subscription_at(conns->feeds, number)->feed != feed) {
        number = subscription_at(conns->feeds, number)->next;
    }
    return number;
}

bool conn_subscription_add(struct conns *conns, uint32_t number)
{
    struct subscription *subscription = subscription_at(conns->feeds, number);
    uint32_t slot = subscription->conn;
    uint32_t *first = &conn_at(conns, slot)->subscriptions;
    struct indexed *own = indexed_own(conns, slot);
    bool is_to_be_indexed = !own && conn_subscription_count(conns, slot) >= conns->subscription_index.few;
    if (is_to_be_indexed) {
        own = index_all(conns, slot);
    }
    if ((is_to_be_indexed && !own) || (own && !index_one(conns, own, number, 0))) {
        return false;
    }
    if (own) {
        index_set_previous(conns, slot, *first, number);
    }
    subscription->next = *first;
    *first = number;
    return true;
}

/* The one before it, 0: it is the first. */
static uint32_t list_previous(const struct conns *conns, uint32_t slot, uint32_t number)
{
    uint32_t previous = 0;
    for (uint32_t n = conn_at(conns, slot)->subscriptions; n != number; n = subscription_at(conns->feeds, n)->next) {
        CHECK(n);
        previous = n;
    }
    return previous;
}

static void list_remove(struct conns *conns, uint32_t slot, uint32_t number)
{
    const struct subscription *subscription = subscription_at(conns->feeds, number);
    struct indexed *own = indexed_own(conns, slot);
    uint32_t previous =
        own ? indexed_find(conns, slot, subscription->feed)->previous : list_previous(conns, slot, number);
    *(previous ? &subscription_at(conns->feeds, previous)->next : &conn_at(conns, slot)->subscriptions) =
        subscription->next;
    if (!own) {
        return;
    }
    index_set_previous(conns, slot, subscription->next, previous);
    indexed_take(conns, slot, subscription->feed);
    if (--own->count == 0) {
        indexed_take(conns, slot, NO_FEED);
    }
}

void conn_subscription_end(struct conns *conns, uint32_t number)
{
    const struct subscription *subscription = subscription_at(conns->feeds, number);
    uint32_t slot = subscription->conn;
    list_remove(conns, slot, number);
    if (subscription->state == SUBSCRIPTION_LIVE && subscription->cursor) {
        conn_behind_remove(conns, slot, subscription->cursor);
    }
    if (conn_at(conns, slot)->session) {
        replay_end(session_at(conns, conn_at(conns, slot)), number);
    }
    feeds_unsubscribe(conns->feeds, number);
}

void conn_subscriptions_end(struct conns *conns, uint32_t slot)
{
    conn_at(conns, slot)->behind = 0; /* all of its cursors go: none needs to be looked for */
    while (conn_at(conns, slot)->subscriptions) {
        conn_subscription_end(conns, conn_at(conns, slot)->subscriptions);
    }
}
