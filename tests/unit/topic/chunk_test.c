/*
 * chunk_test: appending to several lanes at once, what does not fit, lanes that are made later, copies, and references
 * along the chain. Two threads that make one lane: tests/stress/chunk_stress.c.
 */
#include "topic/chunk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RAW_AND_JSON (LANE_BIT(LANE_RAW) | LANE_BIT(LANE_JSON))

#define EPOCH 9

static const struct span topic = {"a/b", 3};
static struct lane_writer writer;
static uint64_t chunks_before, bytes_before;

static int setup(void **state)
{
    (void)state;
    chunks_before = chunk_count_in_use();
    bytes_before = chunk_bytes_in_use();
    return 0;
}

/* Each test gives everything back. */
static int teardown(void **state)
{
    (void)state;
    lane_writer_destroy(&writer);
    return chunk_count_in_use() == chunks_before && chunk_bytes_in_use() == bytes_before ? 0 : -1;
}

static const char *text_of(uint64_t offset)
{
    static char text[64];
    snprintf(text, sizeof text, "message %llu", (unsigned long long)offset);
    return text;
}

static struct message message_of(uint64_t offset)
{
    const char *text = text_of(offset);
    return (struct message){
        .topic = topic,
        .payload = {text, strlen(text)},
        .kind = PAYLOAD_TEXT,
        .epoch = EPOCH,
        .offset = offset,
        .time_ms = 1000 + (int64_t)offset * 10,
    };
}

static bool append(struct chunk *chunk, uint32_t *room)
{
    struct message message = message_of(chunk->base + chunk->count);
    return chunk_append(chunk, &writer, &message, room);
}

/* A chunk from `base` on with as many messages as fit. */
static struct chunk *chunk_full(uint64_t base, uint32_t messages_max, uint32_t room, uint8_t lanes)
{
    struct chunk *chunk = chunk_create(base, 0, messages_max, room, lanes, false);
    uint32_t needed;
    while (append(chunk, &needed))
        continue;
    return chunk;
}

static void check_message(const struct chunk *chunk, uint32_t index)
{
    struct message message = chunk_message(chunk, index, topic);
    const char *text = text_of(chunk->base + index);
    assert_int_equal(message.offset, chunk->base + index);
    assert_int_equal(message.kind, PAYLOAD_TEXT);
    assert_int_equal(message.epoch, EPOCH);
    assert_int_equal(message.time_ms, 1000 + (int64_t)message.offset * 10);
    assert_true(span_equal(message.payload, (struct span){text, strlen(text)}));
}

/* All frames of a lane stand one behind the other, and are what lane_write() writes alone. */
static void check_lane(const struct chunk *chunk, enum lane lane)
{
    const struct chunk_lane *bytes = chunk_lane(chunk, lane);
    assert_non_null(bytes);
    for (uint32_t i = 0; i < chunk->count; i++) {
        char alone[512];
        size_t needed;
        struct message message = message_of(chunk->base + i);
        size_t size = lane_write(&writer, lane, &message, alone, sizeof alone, &needed);
        assert_int_equal(bytes->ends[i] - chunk_begin(bytes, i), size);
        assert_memory_equal(bytes->bytes + chunk_begin(bytes, i), alone, size);
    }
    assert_true(chunk->count == 0 || bytes->ends[chunk->count - 1] <= bytes->room);
}

static void messages_stand_in_all_lanes(void **state)
{
    (void)state;
    struct chunk *chunk = chunk_full(101, 16, 100000, RAW_AND_JSON);
    assert_int_equal(chunk->count, 16);
    for (uint32_t i = 0; i < 16; i++)
        check_message(chunk, i);
    check_lane(chunk, LANE_RAW);
    check_lane(chunk, LANE_JSON);
    assert_null(chunk_lane(chunk, LANE_SSE));
    assert_int_equal(chunk->measure, chunk_lane(chunk, LANE_RAW)->ends[15]);
    chunk_drop(chunk);
}

/* JSON is full first; then the raw lane must not keep what was written of the message that did not fit. */
static void what_does_not_fit_changes_nothing(void **state)
{
    (void)state;
    struct chunk *chunk = chunk_full(1, 100, 400, RAW_AND_JSON);
    uint32_t count = chunk->count, measure = chunk->measure, needed;
    assert_in_range(count, 2, 99);
    assert_false(append(chunk, &needed));
    assert_int_equal(chunk->count, count);
    assert_int_equal(chunk->measure, measure);
    check_lane(chunk, LANE_RAW);
    check_lane(chunk, LANE_JSON);
    struct chunk *next = chunk_create(1 + count, measure, 100, needed, RAW_AND_JSON, false);
    assert_true(append(next, &needed)); /* what was needed is enough */
    chunk_drop(next);
    chunk_drop(chunk);
}

static void needed_room_is_the_largest_lanes(void **state)
{
    (void)state;
    static char large[5000];
    memset(large, '"', sizeof large); /* twice as long in JSON */
    struct message message = message_of(1);
    message.payload = (struct span){large, sizeof large};
    struct chunk *chunk = chunk_create(1, 0, 16, 100, RAW_AND_JSON, false);
    uint32_t needed;
    assert_false(chunk_append(chunk, &writer, &message, &needed));
    assert_in_range(needed, 10000, 10200);
    chunk_drop(chunk);
}

static void lane_is_made_later(void **state)
{
    (void)state;
    struct chunk *chunk = chunk_full(5, 16, 100000, LANE_BIT(LANE_RAW));
    struct chunk *next = chunk_create(21, chunk->measure, 16, 1000, LANE_BIT(LANE_RAW), false);
    chunk_seal(chunk, next);
    for (int lane = LANE_JSON; lane <= LANE_SSE; lane += LANE_SSE - LANE_JSON) {
        assert_true(chunk_lane_make(chunk, lane, 16, &writer, topic));
        check_lane(chunk, lane);
        const struct chunk_lane *made = chunk_lane(chunk, lane);
        assert_int_equal(made->room, made->ends[15]); /* no more than it takes */
        assert_true(chunk_lane_make(chunk, lane, 16, &writer, topic));
        assert_ptr_equal(chunk_lane(chunk, lane), made);
    }
    chunk_drop(chunk);
}

/* In an open chunk the new lane has room for what is still to come, and goes along. */
static void lane_is_made_in_an_open_chunk(void **state)
{
    (void)state;
    struct chunk *chunk = chunk_create(1, 0, 64, 4000, LANE_BIT(LANE_RAW), false);
    uint32_t needed;
    for (int i = 0; i < 5; i++)
        assert_true(append(chunk, &needed));
    assert_true(chunk_lane_make(chunk, LANE_JSON, chunk->count, &writer, topic));
    while (append(chunk, &needed))
        continue;
    assert_true(chunk->count > 20);
    check_lane(chunk, LANE_RAW);
    check_lane(chunk, LANE_JSON);
    chunk_drop(chunk);
}

static void copies_take_the_lanes_that_are_there(void **state)
{
    (void)state;
    struct chunk *from = chunk_full(50, 8, 100000, RAW_AND_JSON);
    struct chunk *to = chunk_create(1, 0, 64, 100000, LANE_BIT(LANE_JSON) | LANE_BIT(LANE_SSE), true);
    uint32_t needed;
    for (uint32_t i = 0; i < 8; i++)
        assert_true(chunk_append_copy(to, from, 7 - i, 77, &needed));
    const struct chunk_lane *json = chunk_lane(to, LANE_JSON), *source = chunk_lane(from, LANE_JSON);
    for (uint32_t i = 0; i < 8; i++) {
        uint32_t size = json->ends[i] - chunk_begin(json, i);
        assert_int_equal(size, source->ends[7 - i] - chunk_begin(source, 7 - i));
        assert_memory_equal(json->bytes + chunk_begin(json, i), source->bytes + chunk_begin(source, 7 - i), size);
        assert_int_equal(chunk_lane(to, LANE_SSE)->ends[i], 0); /* the other has none */
        assert_int_equal(to->origins[i].hash, 77);
        assert_int_equal(to->origins[i].position, 57 - i);
        assert_int_equal(to->infos[i].kind, PAYLOAD_TEXT);
    }
    assert_int_equal(to->measure, json->ends[7]); /* measured by the first lane that is there */
    chunk_drop(from);
    chunk_drop(to);
}

static void copy_that_does_not_fit(void **state)
{
    (void)state;
    struct chunk *from = chunk_full(1, 8, 100000, RAW_AND_JSON);
    const struct chunk_lane *json = chunk_lane(from, LANE_JSON);
    struct chunk *to = chunk_create(1, 0, 64, json->ends[0], RAW_AND_JSON, true);
    uint32_t needed;
    assert_true(chunk_append_copy(to, from, 0, 1, &needed));
    assert_false(chunk_append_copy(to, from, 1, 1, &needed));
    assert_int_equal(needed, json->ends[1] - json->ends[0]);
    assert_int_equal(to->count, 1);
    chunk_drop(from);
    chunk_drop(to);
}

static void times_are_kept_in_order(void **state)
{
    (void)state;
    struct chunk *chunk = chunk_create(1, 0, 8, 10000, LANE_BIT(LANE_RAW), false);
    static const int64_t times[] = {100000, 100005, 90000, INT64_MAX / 2}; /* the wall clock may jump */
    uint32_t needed;
    for (uint32_t i = 0; i < 4; i++) {
        struct message message = message_of(i + 1);
        message.time_ms = times[i];
        assert_true(chunk_append(chunk, &writer, &message, &needed));
    }
    assert_int_equal(chunk_time_ms(chunk, 1), 100005);
    assert_int_equal(chunk_time_ms(chunk, 2), 100000);
    assert_true(chunk_time_ms(chunk, 3) == 100000 + (int64_t)UINT32_MAX);
    chunk_drop(chunk);
}

/* Whoever holds a chunk holds all that follow; with the last reference the whole chain goes. */
static void references_hold_the_chain(void **state)
{
    (void)state;
    struct chunk *chunks[5];
    for (uint32_t i = 0; i < 5; i++) {
        chunks[i] = chunk_create(1 + i, 0, 1, 100, LANE_BIT(LANE_RAW), false);
        if (i > 0)
            chunk_seal(chunks[i - 1], chunks[i]);
    }
    struct chunk *middle = chunk_share(chunks[2]);
    chunk_drop(chunks[0]);
    assert_int_equal(chunk_count_in_use(), chunks_before + 3);
    assert_ptr_equal(chunk_next(chunk_next(middle)), chunks[4]);
    assert_null(chunk_next(chunks[4]));
    chunk_drop(middle);
    assert_int_equal(chunk_count_in_use(), chunks_before);
    chunk_drop(NULL);
}

/* A long chain is freed in a loop, not by recursion. */
static void long_chain_is_freed(void **state)
{
    (void)state;
    struct chunk *first = chunk_create(1, 0, 1, 16, 0, false), *last = first;
    for (uint32_t i = 2; i < 200000; i++) {
        struct chunk *next = chunk_create(i, 0, 1, 16, 0, false);
        chunk_seal(last, next);
        last = next;
    }
    chunk_drop(first);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(messages_stand_in_all_lanes),      TEST(what_does_not_fit_changes_nothing),
        TEST(needed_room_is_the_largest_lanes), TEST(lane_is_made_later),
        TEST(lane_is_made_in_an_open_chunk),    TEST(copies_take_the_lanes_that_are_there),
        TEST(copy_that_does_not_fit),           TEST(times_are_kept_in_order),
        TEST(references_hold_the_chain),        TEST(long_chain_is_freed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
