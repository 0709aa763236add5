/* follow: see follow.h. */
#include "follow.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#define OFFSET(value) ((unsigned long long)(value))

void follow_ask(struct follow *follow, uint32_t number, uint32_t host, uint64_t asked_epoch, uint64_t asked_offset)
{
    CHECK(follow->state == FOLLOW_FREE);
    *follow = (struct follow){
        .state = FOLLOW_ASKED,
        .number = (uint8_t)number,
        .host = (uint8_t)host,
        .wild = number >= TOPIC_COUNT,
        .by_cursor = asked_epoch != 0,
        .asked_epoch = asked_epoch,
        .asked_offset = asked_offset,
    };
}

void follow_ask_again(struct follow *follow, const struct keepsake *keepsake, uint32_t host)
{
    follow_ask(follow, keepsake->number, host, 0, 0);
    follow->by_cursor = true;
    follow->since_ms = keepsake->since_ms;
    follow->came_first = keepsake->came_first;
    memcpy(follow->tops, keepsake->tops, sizeof follow->tops);
    memcpy(follow->epochs, keepsake->epochs, sizeof follow->epochs);
    memcpy(follow->starts, keepsake->tops, sizeof follow->starts);
    memcpy(follow->anew_at, keepsake->anew_at, sizeof follow->anew_at);
    for (uint32_t topic = 0; topic < TOPIC_COUNT; topic++) {
        follow->named |= keepsake->tops[topic] ? 1u << topic : 0;
    }
}

/* What was asked for, and what is given, must fit together. */
static void check_beginning(const struct follow *follow, struct record *record, uint64_t epoch, uint64_t offset,
                            bool has_recovered, bool recovered)
{
    struct verdict *verdict = record->verdict;
    if (has_recovered != follow->by_cursor) {
        verdict_fail(verdict, CHECK_PROTOCOL, "%s: `recovered` is told to who did not ask from a position, or not told",
                     name_of(follow->number));
    }
    if (recovered && !follow->wild && (epoch != follow->asked_epoch || offset != follow->asked_offset)) {
        verdict_fail(verdict, CHECK_ORDER, "%s: recovered at %llx:%llu, asked was %llx:%llu", name_of(follow->number),
                     OFFSET(epoch), OFFSET(offset), OFFSET(follow->asked_epoch), OFFSET(follow->asked_offset));
    }
}

void follow_begin(struct follow *follow, struct record *record, uint64_t epoch, uint64_t offset, bool has_recovered,
                  bool recovered)
{
    if (follow->state != FOLLOW_ASKED) {
        verdict_fail(record->verdict, CHECK_PROTOCOL, "%s: an ok that nobody waits for", name_of(follow->number));
        return;
    }
    check_beginning(follow, record, epoch, offset, has_recovered, recovered);
    follow->state = has_recovered && !recovered ? FOLLOW_LOST : FOLLOW_LIVE;
    follow->since = record->step;
    follow->came_first = follow->came_first ? follow->came_first : record->step;
    follow->epoch = epoch;
    follow->last = offset;
}

/* ok has told where it goes on: the gap ends there, and begins where the subscriber was. */
static void gap_of_resume(struct follow *follow, struct record *record, enum gap_reason reason, uint64_t from,
                          uint64_t to)
{
    bool of_epoch = follow->epoch != follow->asked_epoch;
    uint64_t from_right = of_epoch ? 0 : follow->asked_offset + 1;
    enum gap_reason reason_right = of_epoch ? GAP_EPOCH : GAP_EXPIRED;
    if (from != from_right || to != follow->last || reason != reason_right) {
        verdict_fail(record->verdict, CHECK_LOSS, "%s: gap %llu to %llu (%s), right would be %llu to %llu (%s)",
                     name_of(follow->number), OFFSET(from), OFFSET(to), gap_reason_name(reason), OFFSET(from_right),
                     OFFSET(follow->last), gap_reason_name(reason_right));
    }
    uint64_t kept = record->topics[follow->number].history_messages;
    if (!of_epoch && kept && to + kept > record->topics[follow->number].sent) {
        verdict_fail(record->verdict, CHECK_LOSS, "%s: a gap up to %llu, but %llu of at most %u messages are kept",
                     name_of(follow->number), OFFSET(to), OFFSET(kept), record->topics[follow->number].sent);
    }
    follow->state = FOLLOW_LIVE;
}

/* Told after the ok, one for each topic of which something is missing. */
static void gap_of_return(struct follow *follow, struct record *record, uint32_t topic, enum gap_reason reason,
                          uint64_t from, uint64_t to)
{
    bool of_epoch = reason == GAP_EPOCH;
    uint64_t from_right = of_epoch ? 0 : follow->tops[topic] + 1;
    if (from != from_right || (!of_epoch && to < from)) {
        verdict_fail(record->verdict, CHECK_LOSS, "%s for %s: gap %llu to %llu (%s), the last message was %llu",
                     topic_names[topic], name_of(follow->number), OFFSET(from), OFFSET(to), gap_reason_name(reason),
                     OFFSET(follow->tops[topic]));
    }
    follow->anew_at[topic] = of_epoch ? record->step : follow->anew_at[topic];
    follow->tops[topic] = follow->starts[topic] = to;
    follow->epochs[topic] = 0;
    follow->state = follow->state == FOLLOW_LOST ? FOLLOW_LIVE : follow->state; /* after the first it may be ending */
}

/*
 * In the middle of a logged topic: its stream does not have these messages any more, or another epoch began. Where a
 * filter has seen nothing of the topic yet, there is nothing to compare.
 */
static void gap_of_stream(struct follow *follow, struct record *record, uint32_t topic, enum gap_reason reason,
                          uint64_t epoch, uint64_t from, uint64_t to)
{
    bool of_epoch = reason == GAP_EPOCH;
    uint64_t *last = follow->wild ? &follow->tops[topic] : &follow->last;
    uint64_t *known = follow->wild ? &follow->epochs[topic] : &follow->epoch;
    bool begins = of_epoch ? from == 0 : from == *last + 1 && to >= from;
    bool of_other = *known && epoch && *known != epoch;
    bool fits = begins && (of_other == of_epoch || !*known);
    if (!fits && (!follow->wild || *last)) {
        verdict_fail(record->verdict, CHECK_LOSS,
                     "%s for %s: gap %llu to %llu of %llx (%s), the last message was %llx:%llu", topic_names[topic],
                     name_of(follow->number), OFFSET(from), OFFSET(to), OFFSET(epoch), gap_reason_name(reason),
                     OFFSET(*known), OFFSET(*last));
    }
    *last = to;
    *known = epoch;
    if (follow->wild) {
        follow->starts[topic] = to;
        follow->anew_at[topic] = of_epoch ? record->step : follow->anew_at[topic];
    }
}

void follow_gap(struct follow *follow, struct record *record, uint32_t topic, enum gap_reason reason, uint64_t epoch,
                uint64_t from, uint64_t to)
{
    bool of_stream = topic < TOPIC_COUNT && record->topics[topic].logged && reason != GAP_SLOW;
    if (of_stream && follow_flows(follow)) {
        gap_of_stream(follow, record, topic, reason, epoch, from, to);
        return;
    }
    if (follow->wild && follow->by_cursor && topic < TOPIC_COUNT) {
        gap_of_return(follow, record, topic, reason, from, to);
        return;
    }
    if (follow->state == FOLLOW_LOST) {
        gap_of_resume(follow, record, reason, from, to);
        return;
    }
    if (!follow_flows(follow) || reason != GAP_SLOW || to < from) {
        verdict_fail(record->verdict, CHECK_PROTOCOL, "%s: gap %llu to %llu (%s) out of place", name_of(follow->number),
                     OFFSET(from), OFFSET(to), gap_reason_name(reason));
        return;
    }
    if (follow->wild) {
        follow->gapped += to - from + 1;
        return;
    }
    if (from != follow->last + 1 || epoch != follow->epoch) {
        verdict_fail(record->verdict, CHECK_ORDER, "%s: gap %llu to %llu, but the last message was %llu",
                     name_of(follow->number), OFFSET(from), OFFSET(to), OFFSET(follow->last));
    }
    follow->last = to;
}

bool follow_got(const struct follow *follow, uint32_t publish)
{
    return publish / 8 < follow->got_room && (follow->got[publish / 8] >> publish % 8 & 1);
}

bool follow_expects(const struct follow *follow, const struct record *record, uint32_t number)
{
    const struct publish *publish = &record->publishes[number];
    uint32_t topic = publish->topic;
    if (publish->state != PUBLISH_ACKNOWLEDGED || !name_covers(follow->number, topic) ||
        record_place(record, number, follow->host)->offset <= follow->starts[topic]) {
        return false;
    }
    if (follow->anew_at[topic] && publish->sent_at <= follow->anew_at[topic]) {
        return false; /* it may be of the life that is over, as was told: its offset says nothing in this one */
    }
    /* Of a live topic that came from elsewhere a host has just what it was following itself. */
    bool replayed = record->topics[topic].logged || !record->federated;
    bool reaches_back = (follow->named >> topic & 1 && replayed) || record->topics[topic].history_messages;
    return publish->sent_at > follow->since || (reaches_back && publish->sent_at > follow->came_first);
}

static void got_set(struct follow *follow, uint32_t publish)
{
    if (publish / 8 >= follow->got_room) {
        uint32_t room = publish / 4 + 64;
        follow->got = realloc(follow->got, room);
        CHECK(follow->got);
        memset(follow->got + follow->got_room, 0, room - follow->got_room);
        follow->got_room = room;
    }
    follow->got[publish / 8] |= (uint8_t)(1u << publish % 8);
}

/* A topic among those that a filter matches. */
static void message_of_filter(struct follow *follow, struct record *record, uint32_t number, uint64_t epoch,
                              uint64_t offset)
{
    const struct publish *publish = &record->publishes[number];
    if (offset) {
        record_received(record, number, follow->host, epoch, offset);
    } else if (record_place(record, number, follow->host)->known) {
        offset = record_place(record, number, follow->host)->offset; /* raw does not show it, others have */
    }
    uint64_t *top = &follow->tops[publish->topic];
    if (offset && offset <= *top) {
        verdict_fail(record->verdict, CHECK_ORDER, "%s for %s: offset %llu after %llu", topic_names[publish->topic],
                     name_of(follow->number), OFFSET(offset), OFFSET(*top));
    }
    if (offset && *top && !follow->jumps) {
        follow->missing += offset - *top - 1;
    }
    if (follow->missing > follow->gapped && !follow->jumps) {
        verdict_fail(record->verdict, CHECK_LOSS, "%s for %s: %llu messages are left out at offset %llu, %llu told",
                     topic_names[publish->topic], name_of(follow->number), OFFSET(follow->missing), OFFSET(offset),
                     OFFSET(follow->gapped));
    }
    follow->epochs[publish->topic] = epoch;
    *top = offset; /* 0: not known, the count begins again */
}

static void message_of_topic(struct follow *follow, struct record *record, uint32_t number, uint64_t epoch,
                             uint64_t offset)
{
    offset = offset ? offset : follow->last + 1; /* raw does not show it */
    if (offset != follow->last + 1 || (epoch && epoch != follow->epoch)) {
        verdict_fail(record->verdict, CHECK_ORDER, "%s: offset %llu after %llu", name_of(follow->number),
                     OFFSET(offset), OFFSET(follow->last));
    }
    record_received(record, number, follow->host, follow->epoch, offset);
    follow->last = offset;
}

static void message_that_jumps(struct follow *follow, struct record *record, uint32_t number)
{
    const struct publish_place *place = record_place(record, number, follow->host);
    follow->unplaced = !place->known;
    if (follow->unplaced) {
        return;
    }
    if (place->offset <= follow->last) {
        verdict_fail(record->verdict, CHECK_ORDER, "%s: offset %llu after %llu", name_of(follow->number),
                     OFFSET(place->offset), OFFSET(follow->last));
    }
    follow->last = place->offset;
}

void follow_message(struct follow *follow, struct record *record, uint32_t number, uint64_t epoch, uint64_t offset)
{
    uint32_t topic = record->publishes[number].topic;
    if (!follow_flows(follow) || !name_covers(follow->number, topic)) {
        verdict_fail(record->verdict, CHECK_PROTOCOL, "%s: a message of %s out of place", name_of(follow->number),
                     topic_names[topic]);
        return;
    }
    record->delivered++;
    record->digest = (record->digest ^ number ^ offset << 32) * 0x100000001B3u;
    if (follow_got(follow, number) && !(record->amnesia && record->publishes[number].repeated)) {
        verdict_fail(record->verdict, CHECK_ORDER, "%s: publish %u comes twice", name_of(follow->number), number);
    }
    got_set(follow, number);
    if (follow->wild) {
        message_of_filter(follow, record, number, epoch, offset);
    } else if (follow->jumps) {
        message_that_jumps(follow, record, number);
    } else {
        message_of_topic(follow, record, number, epoch, offset);
    }
}

void follow_end(struct follow *follow)
{
    free(follow->got);
    *follow = (struct follow){.state = FOLLOW_FREE};
}
