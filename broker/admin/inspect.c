/* inspect: see inspect.h. */
#include "admin/inspect.h"

#include "base/check.h"
#include "conn/close.h"

static_assert(INSPECT_IDENTITY_MAX == PRINCIPAL_IDENTITY_MAX, "a record has room for every identity");

/* What a page may still look at. */
struct budget {
    uint32_t left;
};

static bool budget_spend(struct budget *budget)
{
    if (budget->left == 0) {
        return false;
    }
    budget->left--;
    return true;
}

static uint8_t text_copy(char *out, struct span text)
{
    if (text.size) {
        memcpy(out, text.data, text.size);
    }
    return (uint8_t)text.size;
}

/* Segments without memory are passed over whole. */
static uint32_t segment_after(uint32_t number)
{
    return (number / SLAB_SEGMENT_RECORDS + 1) * SLAB_SEGMENT_RECORDS;
}

/* Takes a record down if there is one at this number. */
typedef void (*page_look)(struct inspection *page, struct conns *conns, struct owner *owner, uint32_t number,
                          struct budget *budget);

/* One page over a slab, from page->after on. */
static void page_fill(struct inspection *page, const struct slab *slab, struct conns *conns, struct owner *owner,
                      page_look look)
{
    struct budget budget = {INSPECT_LOOK_MAX};
    uint32_t end = slab_end(slab);
    uint32_t number = page->after;
    uint32_t limit = page->limit < INSPECT_RECORDS_MAX ? page->limit : INSPECT_RECORDS_MAX;
    while (number < end && page->count < limit && budget_spend(&budget)) {
        if (!slab_mapped(slab, number)) {
            number = segment_after(number);
            continue;
        }
        look(page, conns, owner, number++, &budget);
    }
    page->next = number;
    page->last = number >= end;
}

/* --- connections --- */

static uint32_t count_subscriptions(const struct conns *conns, const struct conn *conn, struct budget *budget)
{
    uint32_t count = 0;
    for (uint32_t n = conn->subscriptions; n && budget_spend(budget); n = subscription_at(conns->feeds, n)->next) {
        count++;
    }
    return count;
}

static uint32_t count_behind(const struct conns *conns, const struct conn *conn, struct budget *budget)
{
    uint32_t count = 0;
    for (uint32_t n = conn->behind; n && budget_spend(budget); n = cursor_at(conns->feeds, n)->conn_next) {
        count++;
    }
    return count;
}

static void connection_session(struct connection_record *record, const struct conns *conns, const struct conn *conn)
{
    record->has_session = conn->session != 0;
    if (conn->session) {
        const struct session *session = session_at(conns, conn);
        record->waiting_bytes = buffer_waiting(&session->out);
        record->inflight_messages = session->inflight_messages;
        record->inflight_bytes = session->inflight_bytes;
    }
}

static void look_connection(struct inspection *page, struct conns *conns, struct owner *owner, uint32_t slot,
                            struct budget *budget)
{
    (void)owner;
    const struct conn *conn = conn_at(conns, slot);
    if (conn->state == CONN_FREE || conn->state == CONN_GONE) {
        return;
    }
    struct connection_record *record = &page->connections[page->count++];
    *record = (struct connection_record){
        .slot = slot,
        .generation = conn->generation,
        .silent_s = (uint16_t)(conns->heard_s - conn->seen_s),
        .state = conn->state,
        .dialect = conn->dialect,
        .has_dialect = conn->state == CONN_OPENING || conn->state == CONN_OPEN || conn->state == CONN_STREAM,
        .deflated = conn->flags & CONN_DEFLATED,
        .blocked = conn->flags & CONN_BLOCKED,
        .paused = conn->flags & CONN_PAUSED,
        .subscriptions = count_subscriptions(conns, conn, budget),
        .behind = count_behind(conns, conn, budget),
    };
    connection_session(record, conns, conn);
    record->identity_size = text_copy(record->identity, principal_identity(conns->principals, conn->principal));
    record->has_address = io_peer(conns->io, slot, &record->address);
}

static void kick(struct inspection *page, struct conns *conns)
{
    uint32_t slot = page->number;
    if (slot >= slab_end(&conns->table) || !slab_mapped(&conns->table, slot)) {
        return;
    }
    const struct conn *conn = conn_at(conns, slot);
    bool there = conn->state != CONN_FREE && conn->state != CONN_GONE && conn->generation == page->generation;
    if (there) {
        conn_close(conns, slot, CLOSE_KICKED);
        page->found = true;
    }
}

/* --- topics --- */

static void topic_history(struct topic_record *record, struct owner *owner, const struct topic *topic)
{
    struct log_limits limits = log_limits_of(topic_namespace(owner, topic));
    uint64_t first = log_first(&topic->log, &limits, owner->now_ms);
    record->history_messages = topic->log.tail + 1 - first;
    if (record->history_messages) { /* by whole chunks */
        record->history_bytes = topic->log.bytes - topic->log.oldest->start_bytes;
    }
}

static void topic_record(struct inspection *page, struct owner *owner, uint32_t number, struct budget *budget)
{
    const struct topic *topic = topic_at(owner, number);
    struct topic_record *record = &page->topics[page->count++];
    *record = (struct topic_record){
        .number = number,
        .epoch = topic->epoch,
        .offset = topic_tail_offset(owner, topic),
        .namespace = topic->namespace,
        .lanes = topic->lanes,
    };
    for (uint32_t n = topic->followers; n && budget_spend(budget); n = follower_at(owner, n)->next) {
        record->followers++;
    }
    topic_history(record, owner, topic);
    record->name_size = text_copy(record->name, name_span(topic->name));
}

static void look_topic(struct inspection *page, struct conns *conns, struct owner *owner, uint32_t number,
                       struct budget *budget)
{
    (void)conns;
    if (topic_at(owner, number)->name) {
        topic_record(page, owner, number, budget);
    }
}

static void topic_details(struct inspection *page, struct owner *owner, const struct topic *topic,
                          struct budget *budget)
{
    for (const struct ticket *held = topic->held.first; held && budget_spend(budget); held = held->next) {
        page->topics[0].held++;
    }
    for (uint32_t n = topic->followers; n && page->follower_count < SHARDS_MAX; n = follower_at(owner, n)->next) {
        const struct follower *follower = follower_at(owner, n);
        page->followers[page->follower_count++] = (struct follower_record){
            .told = follower->told,
            .shard = follower->shard,
            .lanes = follower->lanes,
            .filter_lanes = follower->filter_lanes,
            .reporting = follower->reporting,
        };
    }
}

static struct span text_of(const struct inspection *page)
{
    return (struct span){page->text, page->text_size};
}

static void find_topic(struct inspection *page, struct owner *owner)
{
    struct span text = text_of(page);
    for (uint32_t n = index_first(&owner->index, name_hash(text)); n; n = index_next(&owner->index, n)) {
        if (span_equal(name_span(topic_at(owner, n)->name), text)) {
            struct budget budget = {INSPECT_LOOK_MAX};
            page->found = true;
            topic_record(page, owner, n, &budget);
            topic_details(page, owner, topic_at(owner, n), &budget);
            return;
        }
    }
}

/* --- feeds --- */

/* Those in holds; the parked ones have nothing left to read. */
static uint32_t count_cursors(const struct feeds *feeds, const struct feed *feed, struct budget *budget)
{
    uint32_t count = 0;
    for (uint32_t n = feed->holds; n && budget_spend(budget); n = hold_at(feeds, n)->next) {
        count += hold_at(feeds, n)->count;
    }
    return count;
}

static uint32_t count_waiting(const struct feeds *feeds, const struct feed *feed, struct budget *budget)
{
    uint32_t count = 0;
    for (uint32_t n = feed->waiting; n && budget_spend(budget); n = subscription_at(feeds, n)->place) {
        count++;
    }
    return count;
}

static void feed_record(struct inspection *page, const struct feeds *feeds, uint32_t number, struct budget *budget)
{
    const struct feed *feed = feed_at(feeds, number);
    struct feed_record *record = &page->feeds[page->count++];
    *record = (struct feed_record){
        .number = number,
        .subscribers = feed->subscribers.size,
        .waiting = count_waiting(feeds, feed, budget),
        .cursors = count_cursors(feeds, feed, budget),
        .epoch = feed->epoch,
        .tail = feed->tail + (uint64_t)feed->tail_shift,
        .walked = feed->walked,
        .lanes = feed->lanes,
        .filter = feed->filter != NULL,
    };
    record->name_size = text_copy(record->name, name_span(feed->name));
}

static void look_filter(struct inspection *page, struct conns *conns, struct owner *owner, uint32_t number,
                        struct budget *budget)
{
    (void)owner;
    const struct feed *feed = feed_at(conns->feeds, number);
    if (feed->name && feed->filter) {
        feed_record(page, conns->feeds, number, budget);
    }
}

static void find_feed(struct inspection *page, struct feeds *feeds)
{
    uint32_t number = feeds_find(feeds, text_of(page), false);
    if (!number) {
        number = feeds_find(feeds, text_of(page), true);
    }
    if (number) {
        struct budget budget = {INSPECT_LOOK_MAX};
        page->found = true;
        feed_record(page, feeds, number, &budget);
    }
}

/* --- all of them --- */

void inspect_work(struct inspection *page, struct conns *conns, struct owner *owner)
{
    page->found = false;
    page->last = true;
    page->next = 0;
    page->count = 0;
    page->follower_count = 0;
    switch (page->kind) {
    case INSPECT_CONNECTIONS:
        page_fill(page, &conns->table, conns, owner, look_connection);
        break;
    case INSPECT_TOPICS:
        page_fill(page, &owner->topics, conns, owner, look_topic);
        break;
    case INSPECT_FILTERS:
        page_fill(page, &conns->feeds->feeds, conns, owner, look_filter);
        break;
    case INSPECT_TOPIC:
        find_topic(page, owner);
        break;
    case INSPECT_FEED:
        find_feed(page, conns->feeds);
        break;
    case INSPECT_KICK:
        kick(page, conns);
        break;
    default:
        UNREACHABLE();
    }
}
