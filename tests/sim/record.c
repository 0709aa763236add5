/* record: see record.h. */
#include "record.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

const char *const topic_names[TOPIC_COUNT] = {
    "plain/a", "plain/b", "plain/a/x", "plain/c", "kept/a", "kept/b",  "kept/a/x", "skip/a",
    "skip/b",  "last/a",  "last/b",    "aged/a",  "aged/b", "tight/a", "tight/b",  "lone",
};

const char *const filter_names[FILTER_COUNT] = {
    "#", "plain/#", "+/a", "kept/+", "+/a/x", "skip/#", "last/+", "tight/#", "+",
};

/* --- names --- */

/* One level of `text` from `at` on; its size. */
static size_t level_size(const char *text)
{
    return strcspn(text, "/");
}

static bool matches(const char *filter, const char *topic)
{
    for (;;) {
        if (filter[0] == '#') {
            return true;
        }
        size_t of_filter = level_size(filter), of_topic = level_size(topic);
        bool any = of_filter == 1 && filter[0] == '+';
        if (!any && (of_filter != of_topic || memcmp(filter, topic, of_filter) != 0)) {
            return false;
        }
        filter += of_filter;
        topic += of_topic;
        if (!*topic) {
            return !*filter || strcmp(filter, "/#") == 0;
        }
        if (!*filter) {
            return false;
        }
        filter++;
        topic++;
    }
}

bool name_covers(uint32_t number, uint32_t topic)
{
    return number < TOPIC_COUNT ? number == topic : matches(name_of(number), topic_names[topic]);
}

bool names_overlap(uint32_t a, uint32_t b)
{
    for (uint32_t topic = 0; topic < TOPIC_COUNT; topic++) {
        if (name_covers(a, topic) && name_covers(b, topic)) {
            return true;
        }
    }
    return false;
}

uint32_t topic_number(struct span text)
{
    uint32_t topic = 0;
    while (topic < TOPIC_COUNT && !span_equal(text, (struct span){topic_names[topic], strlen(topic_names[topic])})) {
        topic++;
    }
    return topic;
}

/* --- publishes --- */

void record_init(struct record *record, struct verdict *verdict)
{
    *record = (struct record){.verdict = verdict, .digest = 0xCBF29CE484222325u};
}

void record_free(struct record *record)
{
    for (uint32_t topic = 0; topic < TOPIC_COUNT; topic++) {
        for (uint32_t i = 0; i < record->topics[topic].life_count; i++) {
            free(record->topics[topic].lives[i].publishes);
        }
        free(record->topics[topic].lives);
    }
    free(record->publishes);
}

uint32_t record_publish(struct record *record, uint32_t topic, enum payload_kind kind, uint32_t pad)
{
    if (record->publish_count == record->publish_room) {
        record->publish_room = record->publish_room * 2 + 256;
        record->publishes = realloc(record->publishes, record->publish_room * sizeof *record->publishes);
        CHECK(record->publishes);
    }
    record->publishes[record->publish_count] =
        (struct publish){.topic = (uint8_t)topic, .kind = (uint8_t)kind, .pad = pad, .sent_at = record->step};
    record->topics[topic].sent++;
    return record->publish_count++;
}

/* {"p":NUMBER,"x":"abcd…"}: valid as JSON and as text. */
size_t payload_write(const struct record *record, uint32_t publish, char *out)
{
    uint32_t pad = record->publishes[publish].pad;
    CHECK(pad < PAYLOAD_ROOM - 64);
    size_t size = (size_t)snprintf(out, PAYLOAD_ROOM, "{\"p\":%u,\"x\":\"", publish);
    for (uint32_t i = 0; i < pad; i++) {
        out[size++] = (char)('a' + (publish + i) % 26);
    }
    out[size++] = '"';
    out[size++] = '}';
    return size;
}

uint32_t payload_read(struct record *record, struct span payload)
{
    static char expected[PAYLOAD_ROOM];
    uint32_t publish = 0;
    size_t at = 5;
    while (at < payload.size && payload.data[at] >= '0' && payload.data[at] <= '9' && publish < UINT32_MAX / 11) {
        publish = publish * 10 + (uint32_t)(payload.data[at++] - '0');
    }
    if (at > 5 && publish < record->publish_count) {
        size_t size = payload_write(record, publish, expected);
        if (span_equal(payload, (struct span){expected, size})) {
            return publish;
        }
    }
    verdict_fail(record->verdict, CHECK_ORDER, "a payload that nobody published: %.*s",
                 payload.size < 100 ? (int)payload.size : 100, payload.data);
    return UINT32_MAX;
}

/* --- places --- */

struct life *record_life(struct record *record, uint32_t topic, uint64_t epoch)
{
    uint32_t count = record->topics[topic].life_count;
    for (uint32_t i = 0; i < count; i++) {
        if (record->topics[topic].lives[i].epoch == epoch) {
            return &record->topics[topic].lives[i];
        }
    }
    record->topics[topic].lives = realloc(record->topics[topic].lives, (count + 1) * sizeof(struct life));
    CHECK(record->topics[topic].lives);
    record->topics[topic].lives[count] = (struct life){.epoch = epoch};
    record->topics[topic].life_count++;
    return &record->topics[topic].lives[count];
}

/* The place in a topic's life is taken by one publish, for ever. */
static void life_place(struct record *record, uint32_t number, uint64_t epoch, uint64_t offset)
{
    uint32_t topic = record->publishes[number].topic;
    struct life *life = record_life(record, topic, epoch);
    if (offset == 0 || offset > record->topics[topic].sent + 1000u) {
        verdict_fail(record->verdict, CHECK_ORDER, "%s: offset %llu was never given out", topic_names[topic],
                     (unsigned long long)offset);
        return;
    }
    if (offset >= life->room) {
        uint32_t room = (uint32_t)offset * 2 + 64;
        life->publishes = realloc(life->publishes, room * sizeof *life->publishes);
        CHECK(life->publishes);
        memset(life->publishes + life->room, 0, (room - life->room) * sizeof *life->publishes);
        life->room = room;
    }
    uint32_t before = life->publishes[offset];
    if (before && before != number + 1) {
        verdict_fail(record->verdict, CHECK_ORDER, "%s: offset %llu of one epoch is publish %u and %u",
                     topic_names[topic], (unsigned long long)offset, before - 1, number);
    }
    life->publishes[offset] = number + 1;
    life->tail = offset > life->tail ? offset : life->tail;
}

/* Where a publish is must be the same for all who tell. */
static void place(struct record *record, uint32_t number, uint32_t host, uint64_t epoch, uint64_t offset)
{
    const struct publish *publish = &record->publishes[number];
    struct publish_place *known = record_place(record, number, host);
    /* A host that comes to a logged topic later shows what an earlier epoch left in the stream as of the present one.
     */
    bool carried_on = record->topics[publish->topic].logged && record->restarts;
    bool other_epoch = known->epoch && epoch && known->epoch != epoch && !carried_on;
    bool twice = record->amnesia && publish->repeated;
    if (known->known && (known->offset != offset || other_epoch) && !twice) {
        verdict_fail(record->verdict, CHECK_ORDER, "publish %u of %s is at %llx:%llu and %llx:%llu", number,
                     topic_names[publish->topic], (unsigned long long)known->epoch, (unsigned long long)known->offset,
                     (unsigned long long)epoch, (unsigned long long)offset);
        return;
    }
    known->known = true;
    known->offset = offset;
    if (epoch) {
        known->epoch = epoch;
        life_place(record, number, epoch, offset);
    }
}

void record_acknowledged(struct record *record, uint32_t number, uint32_t host, uint64_t epoch, uint64_t offset)
{
    record->publishes[number].state = PUBLISH_ACKNOWLEDGED;
    place(record, number, host, epoch, offset);
}

void record_refused(struct record *record, uint32_t number)
{
    for (uint32_t host = 0; host < RECORD_HOSTS_MAX; host++) {
        if (record->publishes[number].places[host].known) {
            verdict_fail(record->verdict, CHECK_LOSS, "publish %u was refused, and delivered", number);
        }
    }
    record->publishes[number].state = PUBLISH_REFUSED;
}

void record_received(struct record *record, uint32_t number, uint32_t host, uint64_t epoch, uint64_t offset)
{
    if (record->publishes[number].state == PUBLISH_REFUSED) {
        verdict_fail(record->verdict, CHECK_LOSS, "publish %u was refused, and delivered", number);
    }
    place(record, number, host, epoch, offset);
}
