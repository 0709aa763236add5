/* cluster_record: see cluster_record.h. */
#include "cluster_record.h"

#include <stdlib.h>

#include "base/check.h"

/* Among them are what Redis takes for patterns. */
const char *const cluster_topics[CLUSTER_TOPICS] = {
    "live/a",   "live/b",   "live/b/c",   "live/[x]",   "live/*",   "lone",
    "logged/a", "logged/b", "logged/b/c", "logged/[x]", "logged/*", "log",
};

const char *const cluster_filters[CLUSTER_FILTERS] = {"live/+", "logged/b/#", "live/[x]/#", "+/a"};

#define BIT(topic) (1u << (topic))

static const uint16_t covered[CLUSTER_FILTERS] = {
    BIT(0) | BIT(1) | BIT(3) | BIT(4),
    BIT(7) | BIT(8),
    BIT(3),
    BIT(0) | BIT(6),
};

bool filter_covers(uint32_t filter, uint32_t topic)
{
    return covered[filter] >> topic & 1;
}

uint32_t topic_by_name(struct span name)
{
    uint32_t topic = 0;
    while (topic < CLUSTER_TOPICS && !span_equal(name, topic_span(topic))) {
        topic++;
    }
    return topic;
}

void cluster_record_init(struct cluster_record *record, struct verdict *verdict)
{
    *record = (struct cluster_record){.verdict = verdict, .digest = 0xCBF29CE484222325u};
}

void cluster_record_free(struct cluster_record *record)
{
    free(record->publishes);
    free(record->places);
}

/* --- publishes --- */

uint32_t cluster_publish_new(struct cluster_record *record, uint32_t topic, uint32_t host, uint32_t pad, bool keyed)
{
    if (record->publish_count == record->publish_room) {
        record->publish_room = record->publish_room * 2 + 256;
        record->publishes = realloc(record->publishes, record->publish_room * sizeof *record->publishes);
        CHECK(record->publishes);
    }
    record->publishes[record->publish_count] = (struct cluster_publish){
        .topic = (uint8_t)topic, .host = (uint8_t)host, .pad = pad, .keyed = keyed, .sent_at = record->step};
    return record->publish_count++;
}

size_t cluster_payload_write(const struct cluster_record *record, uint32_t publish, char *out)
{
    uint32_t pad = record->publishes[publish].pad;
    CHECK(pad < CLUSTER_PAYLOAD_MAX - 32);
    size_t size = (size_t)snprintf(out, CLUSTER_PAYLOAD_MAX, "%u:", publish);
    for (uint32_t i = 0; i < pad; i++) {
        out[size++] = (char)(publish * 7 + i); /* any byte */
    }
    return size;
}

uint32_t cluster_payload_read(struct cluster_record *record, uint32_t topic, struct span payload)
{
    static char expected[CLUSTER_PAYLOAD_MAX];
    uint32_t publish = 0;
    size_t at = 0;
    while (at < payload.size && at < 9 && payload.data[at] >= '0' && payload.data[at] <= '9') {
        publish = publish * 10 + (uint32_t)(payload.data[at++] - '0');
    }
    if (at > 0 && publish < record->publish_count && record->publishes[publish].topic == topic) {
        size_t size = cluster_payload_write(record, publish, expected);
        if (span_equal(payload, (struct span){expected, size})) {
            return publish;
        }
    }
    verdict_fail(record->verdict, CHECK_ORDER, "%s: a payload that nobody published there: %.*s",
                 topic < CLUSTER_TOPICS ? cluster_topics[topic] : "?", payload.size < 40 ? (int)payload.size : 40,
                 payload.data);
    return UINT32_MAX;
}

/* --- places --- */

static uint32_t slot_of(const struct cluster_record *record, uint32_t topic, uint64_t epoch, uint64_t offset)
{
    uint64_t hash = (epoch ^ offset * 0x9E3779B97F4A7C15u ^ (uint64_t)topic << 32) * 0xD1342543DE82EF95u;
    uint32_t slot = (uint32_t)(hash >> 32) & (record->place_room - 1);
    for (;; slot = (slot + 1) & (record->place_room - 1)) {
        const struct cluster_place *place = &record->places[slot];
        if (!place->epoch || (place->topic == topic && place->epoch == epoch && place->offset == offset)) {
            return slot;
        }
    }
}

static void places_grow(struct cluster_record *record)
{
    struct cluster_place *before = record->places;
    uint32_t room = record->place_room;
    record->place_room = room ? room * 2 : 1024;
    record->places = calloc(record->place_room, sizeof *record->places);
    CHECK(record->places);
    for (uint32_t i = 0; i < room; i++) {
        if (before[i].epoch) {
            record->places[slot_of(record, before[i].topic, before[i].epoch, before[i].offset)] = before[i];
        }
    }
    free(before);
}

void cluster_placed(struct cluster_record *record, uint32_t number, uint64_t epoch, uint64_t offset)
{
    struct cluster_publish *publish = &record->publishes[number];
    if (record->place_count * 2 >= record->place_room) {
        places_grow(record);
    }
    struct cluster_place *place = &record->places[slot_of(record, publish->topic, epoch, offset)];
    if (place->epoch && place->publish != number) {
        verdict_fail(record->verdict, CHECK_ORDER, "%s: %llx:%llu is publish %u and %u", cluster_topics[publish->topic],
                     (unsigned long long)epoch, (unsigned long long)offset, place->publish, number);
    }
    bool moved = publish->epoch && (publish->epoch != epoch || publish->offset != offset);
    if (moved && !(record->amnesia && publish->tries > 1)) {
        verdict_fail(record->verdict, CHECK_ORDER, "publish %u of %s is at %llx:%llu and %llx:%llu", number,
                     cluster_topics[publish->topic], (unsigned long long)publish->epoch,
                     (unsigned long long)publish->offset, (unsigned long long)epoch, (unsigned long long)offset);
    }
    record->place_count += !place->epoch;
    *place = (struct cluster_place){epoch, offset, number, publish->topic};
    publish->epoch = epoch;
    publish->offset = offset;
}

void cluster_acknowledged(struct cluster_record *record, uint32_t number, uint64_t epoch, uint64_t offset)
{
    struct cluster_publish *publish = &record->publishes[number];
    cluster_placed(record, number, epoch, offset);
    publish->state = CLUSTER_ACKNOWLEDGED;
    publish->acknowledged_epoch = epoch;
    publish->acknowledged_offset = offset;
    record->acknowledged++;
}

/* --- live --- */

void cluster_live_arrived(struct cluster_record *record, uint32_t number, uint32_t host)
{
    struct cluster_publish *publish = &record->publishes[number];
    const char *topic = cluster_topics[publish->topic];
    uint32_t *last = &record->last_live[host][publish->host][publish->topic];
    if (publish->host == host) {
        verdict_fail(record->verdict, CHECK_ORDER, "%s: publish %u comes back to its own host %u", topic, number, host);
    }
    if (publish->arrived >> host & 1) {
        verdict_fail(record->verdict, CHECK_ORDER, "%s: publish %u comes twice to host %u", topic, number, host);
    } else if (number < *last) {
        verdict_fail(record->verdict, CHECK_ORDER, "%s: publish %u after %u at host %u", topic, number, *last - 1,
                     host);
    }
    publish->arrived |= (uint8_t)(1u << host);
    *last = number + 1;
    record->live_arrived++;
    record->digest = (record->digest ^ number ^ (uint64_t)host << 32) * 0x100000001B3u;
}
