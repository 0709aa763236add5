/* subscriptions: see subscriptions.h. */
#include "conn/subscriptions.h"

#include <xxhash.h>

#include "base/check.h"
#include "conn/conn.h"
#include "conn/replay.h"

/* --- the index --- */

#define NO_FEED 0 /* the connection's own record */

struct many_record {
    struct index_link link;
    uint32_t conn;
    uint32_t feed;
    uint32_t subscription;
    union {
        uint32_t previous; /* whose `next` it is, 0: it is the first */
        uint32_t count;    /* the connection's own record: how many it has */
    };
};

bool many_init(struct many *many)
{
    many->few = SUBSCRIPTIONS_FEW;
    slab_init(&many->records, sizeof(struct many_record), UINT32_MAX - SLAB_SEGMENT_RECORDS);
    return index_init(&many->index, &many->records);
}

void many_destroy(struct many *many)
{
    index_destroy(&many->index);
    slab_destroy(&many->records);
}

static uint64_t many_hash(uint32_t slot, uint32_t feed)
{
    const uint32_t key[] = {slot, feed};
    return XXH3_64bits(key, sizeof key);
}

static struct many_record *many_at(const struct many *many, uint32_t number)
{
    return slab_at(&many->records, number);
}

static uint32_t many_number(const struct many *many, uint32_t slot, uint32_t feed)
{
    uint32_t number = many->records.used ? index_first(&many->index, many_hash(slot, feed)) : 0;
    while (number && (many_at(many, number)->conn != slot || many_at(many, number)->feed != feed)) {
        number = index_next(&many->index, number);
    }
    return number;
}

static struct many_record *many_find(const struct many *many, uint32_t slot, uint32_t feed)
{
    uint32_t number = many_number(many, slot, feed);
    return number ? many_at(many, number) : NULL;
}

/* NULL: no memory. */
static struct many_record *many_put(struct many *many, uint32_t slot, uint32_t feed)
{
    uint32_t number = slab_take(&many->records);
    if (!number) {
        return NULL;
    }
    struct many_record *record = many_at(many, number);
    *record = (struct many_record){.link.hash = many_hash(slot, feed), .conn = slot, .feed = feed};
    index_insert(&many->index, number);
    return record;
}

static void many_take(struct many *many, uint32_t slot, uint32_t feed)
{
    uint32_t number = many_number(many, slot, feed);
    if (number) {
        index_remove(&many->index, number);
        slab_give(&many->records, number);
    }
}

/* All records of a connection, of which some may be missing. */
static void many_take_all(struct conns *conns, uint32_t slot)
{
    for (uint32_t n = conn_at(conns, slot)->subscriptions; n; n = subscription_at(conns->feeds, n)->next) {
        many_take(&conns->many, slot, subscription_at(conns->feeds, n)->feed);
    }
    many_take(&conns->many, slot, NO_FEED);
}

/* False: no memory. */
static bool many_put_all(struct conns *conns, uint32_t slot)
{
    struct many_record *own = many_put(&conns->many, slot, NO_FEED);
    uint32_t previous = 0, count = 0;
    bool fits = own != NULL;
    for (uint32_t n = conn_at(conns, slot)->subscriptions; n && fits; n = subscription_at(conns->feeds, n)->next) {
        struct many_record *record = many_put(&conns->many, slot, subscription_at(conns->feeds, n)->feed);
        fits = record != NULL;
        if (fits) {
            record->subscription = n;
            record->previous = previous;
            previous = n;
            count++;
        }
    }
    if (fits) {
        own->count = count;
    } else {
        many_take_all(conns, slot);
    }
    return fits;
}

/* --- the list --- */

uint32_t conn_subscription_count(const struct conns *conns, uint32_t slot)
{
    const struct many_record *own = many_find(&conns->many, slot, NO_FEED);
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
    if (many_find(&conns->many, slot, NO_FEED)) {
        const struct many_record *record = many_find(&conns->many, slot, feed);
        return record ? record->subscription : 0;
    }
    uint32_t number = conn_at(conns, slot)->subscriptions;
    while (number && subscription_at(conns->feeds, number)->feed != feed) {
        number = subscription_at(conns->feeds, number)->next;
    }
    return number;
}

/* `previous` is the one before `subscription` in the list from now on. */
static void many_set_previous(struct conns *conns, uint32_t slot, uint32_t subscription, uint32_t previous)
{
    if (subscription) {
        uint32_t feed = subscription_at(conns->feeds, subscription)->feed;
        many_find(&conns->many, slot, feed)->previous = previous;
    }
}

/* A new one of a connection that has many. False: no memory. */
static bool many_add(struct conns *conns, uint32_t slot, uint32_t number)
{
    struct many_record *record = many_put(&conns->many, slot, subscription_at(conns->feeds, number)->feed);
    if (!record) {
        return false;
    }
    record->subscription = number;
    many_set_previous(conns, slot, conn_at(conns, slot)->subscriptions, number);
    many_find(&conns->many, slot, NO_FEED)->count++;
    return true;
}

bool conn_subscription_add(struct conns *conns, uint32_t number)
{
    struct subscription *subscription = subscription_at(conns->feeds, number);
    uint32_t slot = subscription->conn;
    bool many = many_find(&conns->many, slot, NO_FEED) != NULL;
    if (!many && conn_subscription_count(conns, slot) >= conns->many.few) {
        many = many_put_all(conns, slot);
        if (!many) {
            return false;
        }
    }
    if (many && !many_add(conns, slot, number)) {
        return false;
    }
    subscription->next = conn_at(conns, slot)->subscriptions;
    conn_at(conns, slot)->subscriptions = number;
    return true;
}

/* The field that says that this one is next. */
static uint32_t *link_to(struct conns *conns, uint32_t slot, uint32_t number)
{
    uint32_t *at = &conn_at(conns, slot)->subscriptions;
    if (many_find(&conns->many, slot, NO_FEED)) {
        uint32_t feed = subscription_at(conns->feeds, number)->feed;
        uint32_t previous = many_find(&conns->many, slot, feed)->previous;
        return previous ? &subscription_at(conns->feeds, previous)->next : at;
    }
    while (*at != number) {
        CHECK(*at);
        at = &subscription_at(conns->feeds, *at)->next;
    }
    return at;
}

static void list_remove(struct conns *conns, uint32_t slot, uint32_t number)
{
    const struct subscription *subscription = subscription_at(conns->feeds, number);
    *link_to(conns, slot, number) = subscription->next;
    struct many_record *own = many_find(&conns->many, slot, NO_FEED);
    if (own) {
        uint32_t previous = many_find(&conns->many, slot, subscription->feed)->previous;
        many_set_previous(conns, slot, subscription->next, previous);
        many_take(&conns->many, slot, subscription->feed);
        if (--own->count == 0) {
            many_take(&conns->many, slot, NO_FEED);
        }
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
