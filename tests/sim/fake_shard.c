/* fake_shard: see fake_shard.h. */
#include "fake_shard.h"

#include <stdlib.h>

#include "base/check.h"

#define POSITION(value) ((unsigned long long)(value))

enum { RETRY_US = 200000, ANY_LANES = 1 };

void fake_shard_free(struct fake_shard *shard)
{
    for (uint32_t i = 0; i < CLUSTER_TOPICS; i++) {
        free(shard->topics[i].entries);
    }
    free(shard->pending);
}

bool fake_shard_owns(const struct fake_shard *shard, uint32_t topic)
{
    return name_owner(name_hash(topic_span(topic)), shard->shard_count) == shard->shard;
}

/* --- sending --- */

static void send_pending(struct fake_shard *shard)
{
    uint32_t sent = 0;
    while (sent < shard->pending_count &&
           mesh_ask(shard->mesh, shard->shard, shard->link_peer, &shard->pending[sent])) {
        sent++;
    }
    if (sent == 0) {
        return;
    }
    shard->pending_count -= sent;
    memmove(shard->pending, shard->pending + sent, shard->pending_count * sizeof *shard->pending);
}

static void ask(struct fake_shard *shard, struct envelope envelope)
{
    if (shard->pending_count == shard->pending_room) {
        shard->pending_room = shard->pending_room * 2 + 16;
        shard->pending = realloc(shard->pending, shard->pending_room * sizeof *shard->pending);
        CHECK(shard->pending);
    }
    shard->pending[shard->pending_count++] = envelope;
    send_pending(shard);
    mesh_ring_bells(shard->mesh, shard->shard);
}

static struct name *name_of_text(const char *text)
{
    struct name *name = name_create((struct span){text, strlen(text)});
    CHECK(name);
    return name;
}

void fake_shard_publish(struct fake_shard *shard, uint32_t number)
{
    static char payload[CLUSTER_PAYLOAD_MAX];
    struct cluster_publish *publish = &shard->record->publishes[number];
    char key[16];
    size_t size = cluster_payload_write(shard->record, number, payload);
    size_t key_size = publish->keyed ? (size_t)snprintf(key, sizeof key, "k%u", number) : 0;
    struct span topic = topic_span(publish->topic);
    struct relay *relay = relay_create(topic.data, topic.size, key, key_size, payload, size);
    CHECK(relay);
    relay->hash = name_hash(topic);
    relay->context = (void *)(uintptr_t)(number + 1u);
    relay->topic = publish->topic;
    relay->shard = (uint8_t)shard->shard;
    relay->logged = topic_is_logged(publish->topic);
    relay->kind = (uint8_t)(number % 3);
    relay->time_ms = 1700000000000 + number;
    relay->messages_max = shard->stream_max;
    relay->stream_age_s = 86400;
    publish->tries++;
    publish->state = CLUSTER_SENT;
    shard->relays_out += relay->logged;
    ask(shard, (struct envelope){.kind = ASK_RELAY, .hash = relay->hash, .topic = relay->topic, .relay = relay});
}

void fake_shard_want(struct fake_shard *shard, uint32_t number)
{
    struct fake_topic *topic = &shard->topics[number];
    CHECK(!topic->wanted);
    *topic = (struct fake_topic){.wanted = true, .life = topic->life + 1};
    ask(shard, (struct envelope){.kind = ASK_WANT,
                                 .name = name_of_text(cluster_topics[number]),
                                 .hash = name_hash(topic_span(number)),
                                 .topic = number});
}

void fake_shard_unwant(struct fake_shard *shard, uint32_t number)
{
    struct fake_topic *topic = &shard->topics[number];
    CHECK(topic->wanted);
    free(topic->entries);
    *topic = (struct fake_topic){.life = topic->life};
    struct name *name = name_of_text(cluster_topics[number]);
    if (shard->sabotage == FAKE_LEAKS_NAME && !shard->sabotaged) {
        shard->sabotaged = true;
        name_share(name);
    }
    ask(shard,
        (struct envelope){.kind = ASK_UNWANT, .name = name, .hash = name_hash(topic_span(number)), .topic = number});
}

void fake_shard_filter(struct fake_shard *shard, uint32_t number, bool on)
{
    shard->filters[number] = (struct fake_filter){.asked = on};
    ask(shard, (struct envelope){.kind = ASK_FILTER,
                                 .name = name_of_text(cluster_filters[number]),
                                 .feed = number + 1,
                                 .lanes = on ? ANY_LANES : 0,
                                 .lanes_before = on ? 0 : ANY_LANES});
}

static void fetch(struct fake_shard *shard, uint32_t number)
{
    struct fake_topic *topic = &shard->topics[number];
    struct span name = topic_span(number);
    struct relay *relay = relay_create(name.data, name.size, NULL, 0, NULL, 0);
    CHECK(relay);
    relay->hash = name_hash(name);
    relay->context = (void *)(uintptr_t)topic->life;
    relay->topic = number;
    relay->shard = (uint8_t)shard->shard;
    relay->logged = true;
    relay->epoch = topic->epoch;
    relay->offset = topic->tail;
    relay->messages_max = shard->history_max;
    relay->stream_age_s = 86400;
    topic->fetching = true;
    topic->stale = false;
    shard->relays_out++;
    ask(shard, (struct envelope){.kind = ASK_FETCH, .hash = relay->hash, .topic = number, .relay = relay});
}

/* --- the log of a topic --- */

static void log_append(struct fake_shard *shard, uint32_t number, uint64_t offset, uint32_t publish)
{
    struct fake_topic *topic = &shard->topics[number];
    if (topic->entry_count == topic->entry_room) {
        topic->entry_room = topic->entry_room * 2 + 64;
        topic->entries = realloc(topic->entries, topic->entry_room * sizeof *topic->entries);
        CHECK(topic->entries);
    }
    topic->entries[topic->entry_count++] = (struct fake_entry){topic->epoch, offset, publish};
    topic->tail = offset;
    shard->record->digest = (shard->record->digest ^ publish ^ offset << 32) * 0x100000001B3u;
}

static void log_gap(struct fake_shard *shard, uint32_t number, uint64_t to, const char *reason)
{
    TRACE(shard->record->verdict, "  host %u: %s has a gap up to %llu: %s", shard->host, cluster_topics[number],
          POSITION(to), reason);
    bool of_epoch = strcmp(reason, "epoch") == 0;
    if (shard->calm || (shard->durable && of_epoch)) {
        verdict_fail(shard->record->verdict, CHECK_LOSS, "host %u: %s has a gap up to %llu without a reason: %s",
                     shard->host, cluster_topics[number], POSITION(to), reason);
    }
    shard->record->gaps++;
    log_append(shard, number, to, UINT32_MAX);
}

/* A message at a place, however it came: it is what everybody else has there. UINT32_MAX: it is nonsense. */
static uint32_t place(struct fake_shard *shard, uint32_t number, uint64_t epoch, uint64_t offset, struct span payload)
{
    uint32_t publish = cluster_payload_read(shard->record, number, payload);
    if (publish != UINT32_MAX) {
        cluster_placed(shard->record, publish, epoch, offset);
    }
    return publish;
}

static bool sabotage_takes(struct fake_shard *shard, const struct fake_topic *topic, uint64_t offset)
{
    bool next = offset == topic->tail + 1 && shard->record->publish_count > 20;
    if (shard->sabotage != FAKE_DROPS || shard->sabotaged || !next) {
        return false;
    }
    shard->sabotaged = true;
    return true;
}

static void arrived_logged(struct fake_shard *shard, uint32_t number, const struct relay *relay)
{
    struct fake_topic *topic = &shard->topics[number];
    struct span payload = {relay_payload(relay), relay->payload_size};
    uint32_t publish = place(shard, number, relay->epoch, relay->offset, payload);
    TRACE(shard->record->verdict, "  host %u: %s arrives: publish %u at %llx:%llu, the log is at %llx:%llu%s",
          shard->host, cluster_topics[number], publish, POSITION(relay->epoch), POSITION(relay->offset),
          POSITION(topic->epoch), POSITION(topic->tail), topic->wanted ? "" : ", not wanted");
    shard->record->logged_arrived++;
    if (publish == UINT32_MAX || !topic->wanted) {
        return;
    }
    if (topic->fetching || !topic->epoch || relay->epoch != topic->epoch || relay->offset > topic->tail + 1) {
        topic->stale = true;
        return;
    }
    if (sabotage_takes(shard, topic, relay->offset)) {
        topic->tail++; /* as if it had been shown */
        return;
    }
    if (relay->offset == topic->tail + 1) {
        log_append(shard, number, relay->offset, publish);
        if (shard->sabotage == FAKE_TAKES_TWICE && !shard->sabotaged && shard->record->publish_count > 20) {
            shard->sabotaged = true;
            log_append(shard, number, relay->offset, publish);
        }
    }
}

static void arrived(struct fake_shard *shard, const struct envelope *envelope)
{
    struct relay *relay = envelope->relay;
    struct span name = {relay_topic(relay), relay->topic_size};
    uint32_t number = topic_by_name(name);
    if (number == CLUSTER_TOPICS || !fake_shard_owns(shard, number) || relay->hash != name_hash(name)) {
        verdict_fail(shard->record->verdict, CHECK_PROTOCOL, "host %u, shard %u: a message of %.*s", shard->host,
                     shard->shard, (int)name.size, name.data);
    } else if (relay->logged != topic_is_logged(number)) {
        verdict_fail(shard->record->verdict, CHECK_PROTOCOL, "%s comes as of another class", cluster_topics[number]);
    } else if (relay->logged) {
        arrived_logged(shard, number, relay);
    } else {
        uint32_t publish =
            cluster_payload_read(shard->record, number, (struct span){relay_payload(relay), relay->payload_size});
        if (publish != UINT32_MAX) {
            TRACE(shard->record->verdict, "  host %u: %s arrives: publish %u", shard->host, cluster_topics[number],
                  publish);
            cluster_live_arrived(shard->record, publish, shard->host);
        }
    }
    relay_free(relay);
}

/* --- answers --- */

static void relayed(struct fake_shard *shard, struct relay *relay)
{
    uint32_t number = (uint32_t)(uintptr_t)relay->context - 1;
    CHECK(number < shard->record->publish_count);
    struct cluster_publish *publish = &shard->record->publishes[number];
    shard->relays_out--;
    if (publish->state != CLUSTER_SENT) {
        verdict_fail(shard->record->verdict, CHECK_PROTOCOL, "publish %u is answered twice", number);
    }
    TRACE(shard->record->verdict, "  host %u: publish %u of %s is answered: %u %llx:%llu", shard->host, number,
          cluster_topics[publish->topic], relay->status, POSITION(relay->epoch), POSITION(relay->offset));
    if (relay->status == RELAY_DONE) {
        cluster_acknowledged(shard->record, number, relay->epoch, relay->offset);
    } else {
        publish->state = CLUSTER_FAILED;
        shard->record->failed++;
        shard->away++;
        if (shard->calm) {
            verdict_fail(shard->record->verdict, CHECK_LOSS, "publish %u is refused without a reason: %u", number,
                         relay->status);
        }
    }
    relay_free(relay);
}

static void wanted(struct fake_shard *shard, const struct envelope *envelope)
{
    CHECK(envelope->topic < CLUSTER_TOPICS);
    struct fake_topic *topic = &shard->topics[envelope->topic];
    TRACE(shard->record->verdict, "  host %u: %s is wanted: %u", shard->host, cluster_topics[envelope->topic],
          envelope->status);
    if (!topic->wanted) {
        return; /* of an earlier want */
    }
    if (envelope->hash != name_hash(topic_span(envelope->topic)) || envelope->status > RELAY_FULL) {
        verdict_fail(shard->record->verdict, CHECK_PROTOCOL, "%s is wanted as another one",
                     cluster_topics[envelope->topic]);
    }
    bool done = envelope->status == RELAY_DONE;
    if (done && !topic->confirmed) {
        topic->confirmed_at = shard->record->step;
    }
    topic->told = true;
    topic->confirmed = done;
    topic->stale |= done && topic_is_logged(envelope->topic);
    topic->retry_us = 0;
}

static void filtered(struct fake_shard *shard, const struct envelope *envelope)
{
    uint32_t number = envelope->feed - 1;
    if (number >= CLUSTER_FILTERS) {
        verdict_fail(shard->record->verdict, CHECK_PROTOCOL, "a filter is told that nobody asked for: %u", number);
        return;
    }
    bool of_now = shard->filters[number].asked == (envelope->lanes != 0); /* else of an earlier ask */
    shard->filters[number].told |= of_now;
    shard->filters[number].told_at = shard->record->step;
}

/* A page continues the log, after gaps where something is missing. */
static void take_page(struct fake_shard *shard, uint32_t number, const struct relay_page *page)
{
    struct fake_topic *topic = &shard->topics[number];
    bool opens = topic->epoch == 0;
    if (opens) {
        topic->epoch = page->epoch;
        topic->tail = page->count ? page->entries[0].offset - 1 : page->tail;
    } else if (topic->epoch != page->epoch) {
        topic->epoch = page->epoch;
        log_gap(shard, number, page->epoch_base, "epoch");
    }
    for (uint32_t i = 0; i < page->count; i++) {
        const struct relay_entry *entry = &page->entries[i];
        struct span payload = {entry->payload, entry->payload_size};
        shard->record->fetched++;
        bool of_epoch = entry->offset > page->epoch_base; /* what is older was placed under another one */
        uint32_t publish = of_epoch ? place(shard, number, page->epoch, entry->offset, payload)
                                    : cluster_payload_read(shard->record, number, payload);
        if (publish == UINT32_MAX || entry->offset <= topic->tail) {
            continue;
        }
        if (entry->offset > topic->tail + 1) {
            log_gap(shard, number, entry->offset - 1, "expired");
        }
        log_append(shard, number, entry->offset, publish);
    }
    if (page->count == 0 && topic->tail < page->tail) {
        log_gap(shard, number, page->tail, "expired");
    }
    topic->stale |= topic->tail < page->tail;
}

static void fetched(struct fake_shard *shard, struct relay *relay)
{
    struct fake_topic *topic = &shard->topics[relay->topic];
    shard->relays_out--;
    if (topic->wanted && topic->life == (uint32_t)(uintptr_t)relay->context) {
        TRACE(shard->record->verdict, "  host %u: %s is fetched after %llx:%llu: %u, %u messages of %llx up to %llu",
              shard->host, cluster_topics[relay->topic], POSITION(relay->epoch), POSITION(relay->offset), relay->status,
              relay->page ? relay->page->count : 0, POSITION(relay->page ? relay->page->epoch : 0),
              POSITION(relay->page ? relay->page->tail : 0));
        topic->fetching = false;
        if (relay->status == RELAY_DONE) {
            take_page(shard, relay->topic, relay->page);
        } else {
            shard->away++;
            topic->stale = true;
            topic->retry_us = shard->clock->monotonic_us(shard->clock) + RETRY_US;
        }
    }
    relay_free(relay);
}

/* --- turning --- */

static void work_tell(struct fake_shard *shard, const struct envelope *envelope)
{
    switch (envelope->kind) {
    case TELL_RELAYED:
        relayed(shard, envelope->relay);
        break;
    case TELL_WANTED:
        wanted(shard, envelope);
        break;
    case TELL_FETCHED:
        fetched(shard, envelope->relay);
        break;
    case TELL_FILTERED:
        filtered(shard, envelope);
        break;
    case TELL_PATTERNS: /* all topics of these worlds are known, or live */
        break;
    default:
        verdict_fail(shard->record->verdict, CHECK_PROTOCOL, "the link tells %u", envelope->kind);
    }
}

static void fetch_what_is_stale(struct fake_shard *shard)
{
    for (uint32_t i = CLUSTER_TOPICS / 2; i < CLUSTER_TOPICS; i++) {
        struct fake_topic *topic = &shard->topics[i];
        if (topic->wanted && topic->confirmed && topic->stale && !topic->fetching &&
            topic->retry_us <= shard->clock->monotonic_us(shard->clock)) {
            fetch(shard, i);
        }
    }
}

void fake_shard_turn(struct fake_shard *shard)
{
    struct spsc *tells = mesh_tells(shard->mesh, shard->link_peer, shard->shard);
    struct spsc *asks = mesh_asks(shard->mesh, shard->link_peer, shard->shard);
    mesh_awake(shard->mesh, shard->shard);
    for (const struct envelope *envelope; (envelope = spsc_peek(tells));) {
        struct envelope copy = *envelope;
        spsc_pop(tells);
        work_tell(shard, &copy);
    }
    for (const struct envelope *envelope; (envelope = spsc_peek(asks));) {
        struct envelope copy = *envelope;
        spsc_pop(asks);
        if (copy.kind == ASK_ARRIVED) {
            arrived(shard, &copy);
        } else {
            verdict_fail(shard->record->verdict, CHECK_PROTOCOL, "the link asks %u", copy.kind);
        }
    }
    fetch_what_is_stale(shard);
    send_pending(shard);
    mesh_ring_bells(shard->mesh, shard->shard);
}
