/*
 * owner_logged: logged topics, whose order Redis gives: publishes that wait for their offsets, and messages that are
 * put into the log in that order, from wherever they come. See remote.h.
 */
#include "base/check.h"
#include "topic/owner.h"

/* A fetch that failed is not tried again at once. */
#define FETCH_RETRY_S 1u

/* --- publishing --- */

static struct pledge *pledge_at(struct owner *owner, uint32_t number)
{
    return slab_at(&owner->pledges, number);
}

static struct relay *relay_of(struct owner *owner, const struct ticket *ticket)
{
    struct span topic = ticket_topic(ticket), key = ticket_key(ticket), payload = ticket_payload(ticket);
    struct relay *relay = relay_create(topic.data, topic.size, key.data, key.size, payload.data, payload.size);
    if (relay) {
        const struct namespace_config *namespace = config_namespace_of(owner->config, topic);
        uint32_t kept = owner->config->cluster.stream_messages;
        relay->hash = ticket->hash;
        relay->shard = (uint8_t)owner->shard;
        relay->logged = true;
        relay->kind = ticket->kind;
        relay->time_ms = owner->now_ms;
        relay->messages_max = namespace->history_messages > kept ? namespace->history_messages : kept;
        relay->stream_age_s = owner->config->cluster.stream_age_s;
    }
    return relay;
}

void owner_publish_logged(struct owner *owner, struct ticket *ticket)
{
    uint32_t number = slab_take(&owner->pledges);
    struct relay *relay = number ? relay_of(owner, ticket) : NULL;
    if (relay) {
        relay->context = (void *)(uintptr_t)number;
        pledge_at(owner, number)->ticket = ticket;
    }
    if (!relay || !owner_relay(owner, relay)) {
        if (number) {
            pledge_at(owner, number)->ticket = NULL;
            slab_give(&owner->pledges, number);
        }
        enum reply_error error = relay ? REPLY_UNAVAILABLE : REPLY_BUSY;
        STATS_ADD(owner->stats, relays_refused, relay != NULL);
        relay_free(relay);
        owner_refuse(owner, ticket, error);
        return;
    }
    STATS_SET(owner->stats, publishes_relayed, owner->pledges.used);
}

static struct ticket *pledge_take(struct owner *owner, uint32_t number)
{
    struct ticket *ticket = pledge_at(owner, number)->ticket;
    CHECK(ticket);
    pledge_at(owner, number)->ticket = NULL;
    slab_give(&owner->pledges, number);
    STATS_SET(owner->stats, publishes_relayed, owner->pledges.used);
    return ticket;
}

static void early_add(struct owner *owner, struct remote *remote, struct relay *relay);

/*
 * The answer may be here before what others published earlier, so a topic that just filters follow does not open with
 * this message, as it does with one that comes by the subscription: it is kept as an early one, and what is missing is
 * fetched. False: nobody follows it.
 */
static bool keep_for_filters(struct owner *owner, uint32_t number, struct relay *relay)
{
    struct span name = {relay_topic(relay), relay->topic_size};
    if (!owner_filters_want(owner, name)) {
        return false;
    }
    number = number ? number : owner_topic(owner, relay->hash, NULL, name);
    struct remote *remote =
        number && topic_is_logged(owner, topic_at(owner, number)) ? owner_remote_need(owner, number) : NULL;
    if (remote) {
        early_add(owner, remote, relay);
    }
    return remote != NULL;
}

/*
 * The message comes by the subscription, too. But for a topic that is not opened yet it might not: then it is as good
 * as arrived, for those here who follow it by a filter.
 */
void owner_relayed(struct owner *owner, struct relay *relay)
{
    struct ticket *ticket = pledge_take(owner, (uint32_t)(uintptr_t)relay->context);
    if (relay->status != RELAY_DONE) {
        relay_free(relay);
        owner_refuse(owner, ticket, REPLY_UNAVAILABLE);
        return;
    }
    ticket->epoch = relay->epoch;
    ticket->offset = relay->offset;
    uint32_t number = owner_topic_find(owner, ticket->hash, ticket_topic(ticket));
    const struct remote *remote = number ? remote_of(owner, topic_at(owner, number)) : NULL;
    if (relay->repeated) {
        STATS_ADD(owner->stats, publishes_repeated, 1);
        relay_free(relay); /* what it brings is not what has that offset */
    } else if (remote && !remote->opened) {
        owner_logged_arrived(owner, number, relay);
    } else if (remote || !keep_for_filters(owner, number, relay)) {
        relay_free(relay);
    }
    owner_published(owner, owner_topic_find(owner, ticket->hash, ticket_topic(ticket)), ticket);
}

/* --- early messages --- */

struct relay *owner_early_take(struct owner *owner, struct remote *remote)
{
    struct relay *relay = remote->early;
    remote->early = relay->next;
    remote->early_count--;
    owner->early_bytes -= relay_bytes(relay);
    return relay;
}

/* Mostly they come in order; of two epochs, the one that came first stays first. */
static void early_add(struct owner *owner, struct remote *remote, struct relay *relay)
{
    if (remote->early_count == REMOTE_EARLY_MAX || owner->early_bytes + relay_bytes(relay) > REMOTE_EARLY_BYTES_MAX) {
        STATS_ADD(owner->stats, arrivals_dropped, 1); /* whoever keeps early messages fetches, or will */
        remote->again = true;
        relay_free(relay);
        return;
    }
    struct relay **at = &remote->early;
    while (*at && ((*at)->epoch != relay->epoch || (*at)->offset <= relay->offset)) {
        at = &(*at)->next;
    }
    relay->status = false; /* not covered: early_cover() */
    relay->next = *at;
    *at = relay;
    remote->early_count++;
    owner->early_bytes += relay_bytes(relay);
}

/* All that came until now was published before the fetch that is sent now: it will have it, or know of a new epoch. */
static void early_cover(struct remote *remote)
{
    for (struct relay *relay = remote->early; relay; relay = relay->next) {
        relay->status = true;
    }
}

/* The first offset of this epoch that is known to be new; UINT64_MAX: none is. */
static uint64_t early_first(const struct remote *remote, uint64_t epoch)
{
    const struct relay *relay = remote->early;
    while (relay && relay->epoch != epoch) {
        relay = relay->next;
    }
    return relay ? relay->offset : UINT64_MAX;
}

/* --- the log --- */

static bool append(struct owner *owner, uint32_t number, struct span payload, enum payload_kind kind, int64_t time_ms)
{
    struct message message = {.payload = payload, .kind = kind, .time_ms = time_ms};
    owner_match_filters(owner, number); /* those that came since the last one */
    return owner_append(owner, number, &message) == REPLY_OK;
}

static bool append_relay(struct owner *owner, uint32_t number, const struct relay *relay)
{
    return append(owner, number, (struct span){relay_payload(relay), relay->payload_size}, relay->kind, relay->time_ms);
}

/* Puts a gap into the log: offsets go on behind its `to`. False: no memory. */
static bool append_gap(struct owner *owner, struct remote *remote, const struct gap *gap)
{
    struct topic *topic = topic_at(owner, remote->topic);
    owner_match_filters(owner, remote->topic);
    if (!owner_append_gap(owner, remote->topic, gap)) {
        return false;
    }
    topic->epoch = gap->epoch;
    remote->shift = (int64_t)(gap->to - topic->log.tail);
    if (gap->reason == GAP_EPOCH) {
        remote->epoch_first = topic->log.tail;
        remote->epoch_ms = owner->now_ms;
    }
    return true;
}

/* The log begins behind an offset: whoever follows it from now on gets what comes next. */
static void begin(struct owner *owner, struct remote *remote, uint64_t epoch, uint64_t offset, uint64_t epoch_base)
{
    struct topic *topic = topic_at(owner, remote->topic);
    CHECK(!topic->followers && !topic->log.oldest);
    topic->epoch = epoch;
    topic->log.tail = offset;
    remote->shift = 0;
    remote->epoch_first = epoch_base + 1;
    remote->epoch_ms = 0;
    remote->known = true;
}

/* What is appended from now on is new for those who follow by a filter, too. */
static void opens(struct owner *owner, struct remote *remote)
{
    if (!remote->opened) {
        remote->opened = true;
        owner_match_filters(owner, remote->topic);
    }
}

/* Appends early messages as long as there is no hole. What makes no sense any more is dropped. */
static void early_drain(struct owner *owner, struct remote *remote)
{
    struct topic *topic = topic_at(owner, remote->topic);
    while (remote->early) {
        const struct relay *relay = remote->early;
        uint64_t tail = topic_tail_offset(owner, topic);
        bool present = relay->epoch == topic->epoch;
        if (present && relay->offset == tail + 1) {
            if (!append_relay(owner, remote->topic, relay)) {
                owner_fetch_owe(owner, remote);
                return;
            }
        } else if (!(present && relay->offset <= tail) && !relay->status) {
            owner_fetch_owe(owner, remote); /* a hole, or another epoch */
            return;
        } else {
            STATS_ADD(owner->stats, arrivals_repeated, 1);
        }
        relay_free(owner_early_take(owner, remote));
    }
}

/* From when on messages to topics that are not known yet may have been missed, by those who follow them by filters. */
static int64_t filters_missed_from(const struct owner *owner)
{
    return missed_from(&owner->missed, owner->now_ms);
}

/*
 * A topic that is followed here just by filters opens with the first message that comes by their patterns; or, if some
 * may have been missed, when its stream was looked at.
 */
static struct remote *open_at(struct owner *owner, uint32_t number, const struct relay *relay)
{
    struct span name = {relay_topic(relay), relay->topic_size};
    if (!owner_filters_want(owner, name)) {
        return NULL;
    }
    number = number ? number : owner_topic(owner, relay->hash, NULL, name);
    struct remote *remote =
        number && topic_is_logged(owner, topic_at(owner, number)) ? owner_remote_need(owner, number) : NULL;
    if (remote && (relay->offset == 1 || filters_missed_from(owner) == INT64_MAX)) {
        begin(owner, remote, relay->epoch, relay->offset - 1, 0);
        opens(owner, remote);
    }
    return remote;
}

void owner_logged_arrived(struct owner *owner, uint32_t number, struct relay *relay)
{
    struct remote *remote = number ? remote_of(owner, topic_at(owner, number)) : NULL;
    if (!remote) {
        remote = open_at(owner, number, relay);
    }
    if (!remote || !remote->logged) {
        STATS_ADD(owner->stats, arrivals_dropped, 1);
        relay_free(relay);
        return;
    }
    const struct topic *topic = topic_at(owner, remote->topic);
    uint64_t tail = topic_tail_offset(owner, topic);
    bool present = remote->opened && relay->epoch == topic->epoch;
    if (present && relay->offset <= tail) {
        STATS_ADD(owner->stats, arrivals_repeated, 1);
        relay_free(relay);
    } else if (present && relay->offset == tail + 1 && append_relay(owner, remote->topic, relay)) {
        relay_free(relay);
        early_drain(owner, remote);
    } else {
        early_add(owner, remote, relay);
        if (remote->opened && (remote->fetch == FETCH_NONE || owner->now_s >= remote->retry_s)) {
            owner_fetch_owe(owner, remote);
        }
    }
}

/* --- fetching --- */

void owner_fetch_owe(struct owner *owner, struct remote *remote)
{
    remote->owes_unwant = false;
    if (remote->fetch == FETCH_OUT) {
        remote->again = true;
    } else if (remote->fetch != FETCH_OWED) {
        remote->fetch = FETCH_OWED;
        owner_remote_mark_due(owner, remote);
    }
}

/* Of a log that is not known yet. */
static uint32_t messages_wanted(struct owner *owner, const struct topic *topic)
{
    uint32_t history = topic_namespace(owner, topic)->history_messages;
    bool more = filters_missed_from(owner) != INT64_MAX && history < MISSED_MESSAGES_MAX;
    return more ? MISSED_MESSAGES_MAX : history;
}

struct relay *owner_fetch_relay(struct owner *owner, const struct remote *remote)
{
    const struct topic *topic = topic_at(owner, remote->topic);
    struct span name = name_span(topic->name);
    struct relay *relay = relay_create(name.data, name.size, NULL, 0, NULL, 0);
    if (relay) {
        relay->hash = topic->link.hash;
        relay->topic = remote->topic;
        relay->shard = (uint8_t)owner->shard;
        relay->logged = true;
        relay->epoch = remote->known ? topic->epoch : 0;
        relay->offset = remote->known ? topic_tail_offset(owner, topic) : 0;
        relay->messages_max = messages_wanted(owner, topic);
        relay->stream_age_s = owner->config->cluster.stream_age_s;
    }
    return relay;
}

void owner_fetch_sent(struct owner *owner, struct remote *remote)
{
    remote->fetch = FETCH_OUT;
    remote->again = false;
    early_cover(remote);
    STATS_ADD(owner->stats, fetches, 1);
}

/* What lies between the tail and `next`, if anything does, is not in the stream any more. False: no memory. */
static bool bridge(struct owner *owner, struct remote *remote, uint64_t next)
{
    const struct topic *topic = topic_at(owner, remote->topic);
    uint64_t tail = topic_tail_offset(owner, topic);
    const struct gap gap = {.epoch = topic->epoch, .from = tail + 1, .to = next - 1, .reason = GAP_EXPIRED};
    return next <= tail + 1 || append_gap(owner, remote, &gap);
}

/* The offset that the page goes on from. */
static uint64_t page_before(const struct relay_page *page)
{
    return page->count ? page->entries[0].offset - 1 : page->tail;
}

/*
 * The log begins behind `before`, with what the page has. Where messages were missed that are followed by a filter, and
 * the page does not reach back to before that time, it begins with a gap. False: no memory for the gap, which comes
 * with the next page.
 */
static bool begin_with(struct owner *owner, struct remote *remote, const struct relay_page *page, uint64_t before)
{
    int64_t from_ms = filters_missed_from(owner);
    bool reaches = before == page->epoch_base || (page->count && page->entries[0].time_ms < from_ms);
    if (reaches || from_ms == INT64_MAX ||
        !owner_filters_want(owner, name_span(topic_at(owner, remote->topic)->name))) {
        begin(owner, remote, page->epoch, before, page->epoch_base);
        return true;
    }
    const struct gap gap = {.epoch = page->epoch, .from = page->epoch_base + 1, .to = before, .reason = GAP_EXPIRED};
    begin(owner, remote, page->epoch, page->epoch_base, page->epoch_base);
    opens(owner, remote);
    return append_gap(owner, remote, &gap);
}

/*
 * What has arrived already is new for those who follow by a filter, be the page of the newest messages too short to
 * hold it. Then the log begins there, and what has not arrived yet is fetched as what comes after.
 */
static bool page_is_short(const struct remote *remote, const struct relay_page *page)
{
    return !remote->known && early_first(remote, page->epoch) <= page_before(page);
}

/* False: no memory. */
static bool page_pass(struct owner *owner, struct remote *remote, const struct relay_page *page)
{
    if (!begin_with(owner, remote, page, early_first(remote, page->epoch) - 1)) {
        return false;
    }
    opens(owner, remote);
    early_drain(owner, remote);
    return true;
}

/* The page is of another epoch than the log, or the log is not known yet. False: no memory. */
static bool page_begin(struct owner *owner, struct remote *remote, const struct relay_page *page)
{
    const struct topic *topic = topic_at(owner, remote->topic);
    uint64_t before = page_before(page);
    if (!remote->known) {
        return begin_with(owner, remote, page, before);
    }
    const struct gap gap = {.epoch = page->epoch, .from = 0, .to = before, .reason = GAP_EPOCH};
    return page->epoch == topic->epoch || append_gap(owner, remote, &gap);
}

/* False: no memory for all of it. */
static bool page_apply(struct owner *owner, struct remote *remote, const struct relay_page *page)
{
    if (page_is_short(remote, page)) {
        return page_pass(owner, remote, page);
    }
    if (!page_begin(owner, remote, page)) {
        return false;
    }
    uint64_t first_new = early_first(remote, page->epoch);
    int64_t missed_from_ms = filters_missed_from(owner);
    for (uint32_t i = 0; i < page->count; i++) {
        const struct relay_entry *entry = &page->entries[i];
        if (entry->offset <= topic_tail_offset(owner, topic_at(owner, remote->topic))) {
            continue; /* it has arrived meanwhile */
        }
        if (entry->offset >= first_new || entry->time_ms >= missed_from_ms) {
            opens(owner, remote);
        }
        if (!bridge(owner, remote, entry->offset) ||
            !append(owner, remote->topic, (struct span){entry->payload, entry->payload_size}, entry->kind,
                    entry->time_ms)) {
            return false;
        }
    }
    return page->count > 0 || bridge(owner, remote, page->tail + 1);
}

static void fetch_failed(struct owner *owner, struct remote *remote)
{
    remote->fetch = FETCH_FAILED;
    remote->retry_s = owner->now_s + FETCH_RETRY_S;
}

void owner_fetched(struct owner *owner, struct remote *remote, const struct relay *relay)
{
    const struct relay_page *page = relay->page;
    owner_remote_mark_due(owner, remote);
    remote->fetch = FETCH_NONE;
    if (relay->status != RELAY_DONE || !page || !page_apply(owner, remote, page)) {
        fetch_failed(owner, remote);
        return;
    }
    if (topic_tail_offset(owner, topic_at(owner, remote->topic)) < page->tail) {
        owner_fetch_owe(owner, remote); /* the next page */
        return;
    }
    opens(owner, remote);
    early_drain(owner, remote);
    if (remote->again) {
        owner_fetch_owe(owner, remote);
    }
}
