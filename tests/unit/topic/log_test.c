/*
 * log_test: offsets, the chain of chunks, what is kept by count, bytes and age, and where it is found; through random
 * appends and trims, against a plain list of all messages.
 */
#include "topic/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RAW LANE_BIT(LANE_RAW)

static const struct span topic = {"t", 1};
static struct lane_writer writer;
static char filling[300000];

static const struct log_limits unlimited = {
    .history_messages = UINT32_MAX,
    .history_bytes = UINT64_MAX,
    .chunk_bytes_max = CHUNK_BYTES_MAX,
};
static const struct log_limits none = {.chunk_bytes_max = CHUNK_BYTES_MAX};

static uint32_t random_state;

static uint32_t chance(uint32_t bound)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)random_state * bound) >> 32);
}

static uint64_t append(struct log *log, const struct log_limits *limits, uint8_t lanes, size_t size, int64_t time_ms)
{
    struct message message = {
        .topic = topic,
        .payload = {filling, size},
        .kind = PAYLOAD_TEXT,
        .epoch = 9,
        .time_ms = time_ms,
    };
    memset(filling, '.', sizeof filling);
    assert_true(log_append(log, limits, lanes, &writer, 0, &message));
    assert_int_equal(message.offset, log->tail);
    return message.offset;
}

static uint32_t chunks_of(const struct log *log)
{
    uint32_t count = 0;
    for (const struct chunk *chunk = log->oldest; chunk; chunk = chunk_next(chunk))
        count++;
    return count;
}

/* The chain has no hole, ends at the tail, and knows its bytes. */
static void check_chain(const struct log *log)
{
    if (!log->oldest) {
        return;
    }
    uint64_t next_base = log->oldest->base, start = log->oldest->start_bytes;
    const struct chunk *last = NULL;
    for (const struct chunk *chunk = log->oldest; chunk; chunk = chunk_next(chunk)) {
        assert_int_equal(chunk->base, next_base);
        assert_int_equal(chunk->start_bytes, start);
        assert_true(chunk->count > 0);
        assert_false(chunk->retired);
        next_base += chunk->count;
        start += chunk->measure;
        last = chunk;
    }
    assert_ptr_equal(last, log->newest);
    assert_int_equal(next_base, log->tail + 1);
    assert_int_equal(start, log->bytes);
}

static void chunks_grow_up_to_the_largest(void **state)
{
    (void)state;
    struct log log = {0};
    for (int i = 0; i < 5000; i++)
        append(&log, &unlimited, RAW, 100, 0);
    check_chain(&log);
    const struct chunk *chunk = log.oldest;
    assert_int_equal(chunk_lane(chunk, LANE_RAW)->room, CHUNK_BYTES_MIN);
    assert_int_equal(chunk->messages_max, CHUNK_MESSAGES_MIN);
    assert_int_equal(chunk_lane(chunk_next(chunk), LANE_RAW)->room, 4 * CHUNK_BYTES_MIN);
    assert_int_equal(chunk_lane(log.newest, LANE_RAW)->room, CHUNK_BYTES_MAX);
    assert_int_equal(log.newest->messages_max, CHUNK_MESSAGES_MAX);
    log_release(&log);
}

/* Without history a chunk follows that is as large as the last one was slow to be read. */
static void chunks_stay_small_where_all_keep_up(void **state)
{
    (void)state;
    struct log log = {0};
    const struct log_limits no_history = {.chunk_bytes_max = CHUNK_BYTES_MAX};
    struct chunk *held = NULL;
    for (int i = 0; i < 9000; i++) {
        append(&log, &no_history, RAW, 100, 0);
        log_trim(&log, &no_history, 0);
        if (i == 3000) {
            assert_int_equal(log.newest->messages_max, CHUNK_MESSAGES_MIN);
            held = chunk_share(log.newest);
        }
        if (i > 3000 && i < 6000 && held != log.newest) { /* a reader that is always one message behind */
            chunk_drop(held);
            held = chunk_share(log.newest);
        }
        if (i == 6000) {
            assert_int_equal(log.newest->messages_max, CHUNK_MESSAGES_MAX);
            chunk_drop(held);
        }
    }
    assert_int_equal(log.newest->messages_max, CHUNK_MESSAGES_MIN);
    log_release(&log);
}

static void large_message_gets_a_chunk_of_its_size(void **state)
{
    (void)state;
    struct log log = {0};
    append(&log, &unlimited, RAW | LANE_BIT(LANE_JSON), 10, 0);
    append(&log, &unlimited, RAW | LANE_BIT(LANE_JSON), 250000, 0);
    append(&log, &unlimited, RAW | LANE_BIT(LANE_JSON), 10, 0);
    check_chain(&log);
    assert_int_equal(log_find(&log, 2)->base, 2);
    assert_true(chunk_lane(log_find(&log, 2), LANE_RAW)->room > 250000);
    assert_true(chunk_lane(log.newest, LANE_RAW)->room <= CHUNK_BYTES_MAX);
    log_release(&log);
}

static void lane_that_is_wanted_begins_a_chunk(void **state)
{
    (void)state;
    struct log log = {0};
    append(&log, &unlimited, RAW, 10, 0);
    append(&log, &unlimited, RAW | LANE_BIT(LANE_JSON), 10, 0);
    assert_int_equal(chunks_of(&log), 2);
    append(&log, &unlimited, RAW, 10, 0); /* nobody wants JSON any more: the open chunk has it to its end */
    assert_int_equal(chunks_of(&log), 2);
    assert_true(log_lanes(&log, RAW | LANE_BIT(LANE_SSE), &writer, topic));
    append(&log, &unlimited, RAW | LANE_BIT(LANE_SSE), 10, 0);
    assert_int_equal(chunks_of(&log), 2);
    assert_non_null(chunk_lane(log.newest, LANE_SSE));
    assert_null(chunk_lane(log.oldest, LANE_SSE));
    check_chain(&log);
    log_release(&log);
    assert_true(log_lanes(&log, RAW, &writer, topic)); /* of nothing */
}

static void find_knows_what_is_kept(void **state)
{
    (void)state;
    struct log log = {0};
    assert_null(log_find(&log, 0));
    assert_null(log_find(&log, 1));
    for (int i = 0; i < 1000; i++)
        append(&log, &unlimited, RAW, 50, 0);
    assert_null(log_find(&log, 0));
    assert_null(log_find(&log, 1001));
    for (uint64_t offset = 1; offset <= 1000; offset++) {
        const struct chunk *chunk = log_find(&log, offset);
        assert_true(chunk->base <= offset && offset < chunk->base + chunk->count);
    }
    log_release(&log);
    assert_null(log_find(&log, 1000));
    assert_int_equal(append(&log, &unlimited, RAW, 50, 0), 1001); /* offsets go on */
    assert_int_equal(log_find(&log, 1001)->base, 1001);
    log_release(&log);
}

static void without_history_only_the_open_chunk_stays(void **state)
{
    (void)state;
    struct log log = {0};
    for (int i = 0; i < 2000; i++) {
        append(&log, &none, RAW, 500, 0);
        log_trim(&log, &none, 0);
        assert_int_equal(chunks_of(&log), 1);
        assert_int_equal(log_first(&log, &none, 0), log.tail + 1);
    }
    log_release_unread(&log);
    assert_null(log.oldest);
}

/* What a reader holds is no longer history, but stays for it, chained to what comes. */
static void retired_chunks_stay_for_their_readers(void **state)
{
    (void)state;
    struct log log = {0};
    append(&log, &none, RAW, 500, 0);
    struct chunk *held = chunk_share(log.oldest);
    for (int i = 0; i < 100; i++) {
        append(&log, &none, RAW, 500, 0);
        log_trim(&log, &none, 0);
    }
    assert_true(held->retired);
    uint64_t offset = 1;
    for (const struct chunk *chunk = held; chunk; chunk = chunk_next(chunk), offset++)
        offset += chunk->count - 1;
    assert_int_equal(offset, 102);
    chunk_drop(held);
    assert_int_equal(chunks_of(&log), 1);
    log_release(&log);
}

/* The open chunk of a silent log goes, but not from under a reader: the next message must be chained to it. */
static void open_chunk_waits_for_its_readers(void **state)
{
    (void)state;
    const struct log_limits aged = {.history_messages = 10,
                                    .history_bytes = UINT64_MAX,
                                    .history_age_ms = 1000,
                                    .chunk_bytes_max = CHUNK_BYTES_MAX};
    struct log log = {0};
    append(&log, &aged, RAW, 50, 0);
    struct chunk *held = chunk_share(log.oldest);
    log_trim(&log, &aged, 1000000);
    log_release_unread(&log);
    assert_ptr_equal(log.oldest, held);
    assert_int_equal(log_first(&log, &aged, 1000000), 2); /* kept, but no history */
    append(&log, &aged, RAW, CHUNK_BYTES_MIN, 1000000);
    assert_ptr_equal(chunk_next(held), log.newest);
    chunk_drop(held);
    log_trim(&log, &aged, 1000000);
    assert_int_equal(log.oldest->base, 2);
    log_trim(&log, &aged, 2000000);
    assert_null(log.oldest);
    assert_int_equal(log_time_ms(&log, 2), 1000000); /* that is not forgotten */
    assert_int_equal(append(&log, &aged, RAW, 50, 2000000), 3);
    assert_int_equal(log_time_ms(&log, 3), 2000000);
    assert_int_equal(log_time_ms(&log, 2), 2000000); /* not later than that is all that is known now */
    log_skip(&log, 3000000);
    assert_null(log.oldest);
    assert_int_equal(log.tail, 4);
    assert_int_equal(log_time_ms(&log, 4), 3000000);
}

static void open_chunk_with_too_many_bytes_goes_by_age(void **state)
{
    (void)state;
    const struct log_limits limits = {
        .history_messages = 10, .history_bytes = 1000, .history_age_ms = 1000, .chunk_bytes_max = CHUNK_BYTES_MAX};
    struct log log = {0};
    append(&log, &limits, RAW, 1900, 0);
    log_trim(&log, &limits, 500);
    assert_non_null(log.oldest);
    log_trim(&log, &limits, 1001);
    assert_null(log.oldest);
}

/* --- the random run --- */

#define MESSAGES 3000

struct listed {
    int64_t time_ms;
    uint64_t bytes_before;
};

/* What must be there: all that count, bytes and age allow; chunks may keep more, or for bytes somewhat less. */
static void check_first(const struct log *log, const struct log_limits *limits, int64_t now_ms,
                        const struct listed *all)
{
    uint64_t first = log_first(log, limits, now_ms);
    assert_true(first >= 1 && first <= log->tail + 1);
    assert_true(log->tail + 1 - first <= limits->history_messages);
    assert_int_equal(log_time_ms(log, log->tail), all[log->tail].time_ms); /* whether it is kept or not */
    for (uint64_t offset = first; offset <= log->tail; offset++) {
        assert_non_null(log_find(log, offset));
        assert_true(!limits->history_age_ms || all[offset].time_ms + limits->history_age_ms >= now_ms);
    }
    if (first > 1) { /* the one before is gone for a reason */
        assert_true(log_time_ms(log, first - 1) >= all[first - 1].time_ms);
        bool by_count = log->tail - first + 2 > limits->history_messages;
        bool by_age = limits->history_age_ms && all[first - 1].time_ms + limits->history_age_ms < now_ms;
        uint64_t slack = 2 * CHUNK_BYTES_MAX;
        bool by_bytes = log->bytes - all[first - 1].bytes_before + slack > limits->history_bytes;
        assert_true(by_count || by_age || by_bytes);
    }
    if (log->oldest)
        assert_true(log->bytes - log->oldest->start_bytes <= limits->history_bytes ||
                    log->oldest == log->newest); /* memory is bounded */
}

static void random_run(const struct log_limits *limits, uint32_t seed)
{
    static struct listed all[MESSAGES + 1];
    struct log log = {0};
    int64_t now_ms = 1000000;
    random_state = seed;
    for (uint32_t i = 1; i <= MESSAGES; i++) {
        size_t size = chance(20) ? chance(200) : chance(20000);
        now_ms += chance(4) ? 0 : chance(50);
        if (chance(500) == 0)
            now_ms += 4000;
        all[i] = (struct listed){now_ms, log.bytes};
        assert_int_equal(append(&log, limits, chance(3) ? RAW : RAW | LANE_BIT(LANE_JSON), size, now_ms), i);
        if (chance(3) == 0) /* else the sweep has not come yet */
            log_trim(&log, limits, now_ms);
        if (i % 8 == 0) {
            log_trim(&log, limits, now_ms);
            check_chain(&log);
            check_first(&log, limits, now_ms, all);
            check_first(&log, limits, now_ms + 700, all);
        }
    }
    log_trim(&log, limits, now_ms + 10000000);
    assert_int_equal(log.oldest == NULL, limits->history_age_ms != 0);
    log_release(&log);
}

static void history_by_count_bytes_and_age(void **state)
{
    (void)state;
    static const struct log_limits sorts[] = {
        {.history_messages = 1, .history_bytes = UINT64_MAX, .chunk_bytes_max = CHUNK_BYTES_MAX},
        {.history_messages = 100, .history_bytes = UINT64_MAX, .chunk_bytes_max = CHUNK_BYTES_MIN},
        {.history_messages = UINT32_MAX, .history_bytes = 300000, .chunk_bytes_max = 32768},
        {.history_messages = UINT32_MAX, .history_bytes = UINT64_MAX, .history_age_ms = 1000, .chunk_bytes_max = 65536},
        {.history_messages = 200, .history_bytes = 200000, .history_age_ms = 2000, .chunk_bytes_max = 16384},
    };
    uint64_t chunks = chunk_count_in_use(), bytes = chunk_bytes_in_use();
    for (uint32_t i = 0; i < sizeof sorts / sizeof sorts[0]; i++)
        random_run(&sorts[i], 1 + i);
    assert_int_equal(chunk_count_in_use(), chunks);
    assert_int_equal(chunk_bytes_in_use(), bytes);
}

static int group_teardown(void **state)
{
    (void)state;
    lane_writer_destroy(&writer);
    return chunk_count_in_use() == 0 ? 0 : -1;
}

/* --- gaps --- */

#define GAP_LANES (RAW | LANE_BIT(LANE_JSON))

static void append_shifted(struct log *log, uint64_t epoch, int64_t shift)
{
    struct message message = {.topic = topic, .payload = {"x", 1}, .kind = PAYLOAD_TEXT, .epoch = epoch, .time_ms = 5};
    assert_true(log_append(log, &unlimited, GAP_LANES, &writer, shift, &message));
    assert_int_equal(message.offset, log->tail + (uint64_t)shift);
}

/* Positions 1 2 3 are offsets 1 2 3; 4 is the gap 4..9; 5 6 are 10 11; 7 is the gap 0..4 of epoch 8; 8 is 5. */
static struct log log_with_gaps(void)
{
    struct log log = {0};
    for (int i = 0; i < 3; i++)
        append_shifted(&log, 9, 0);
    const struct gap expired = {.epoch = 9, .from = 4, .to = 9, .reason = GAP_EXPIRED};
    assert_true(log_append_gap(&log, &unlimited, GAP_LANES, topic, &expired, 5));
    append_shifted(&log, 9, 5);
    append_shifted(&log, 9, 5);
    const struct gap epoch = {.epoch = 8, .from = 0, .to = 4, .reason = GAP_EPOCH};
    assert_true(log_append_gap(&log, &unlimited, GAP_LANES, topic, &epoch, 5));
    append_shifted(&log, 8, -3);
    check_chain(&log);
    return log;
}

static bool lane_shows(const struct chunk *chunk, enum lane of, uint32_t index, const char *text)
{
    const struct chunk_lane *lane = chunk_lane(chunk, of);
    uint32_t begin = chunk_begin(lane, index);
    return memmem(lane->bytes + begin, lane->ends[index] - begin, text, strlen(text)) != NULL;
}

static void gap_stands_in_its_place_in_each_lane(void **state)
{
    (void)state;
    struct log log = log_with_gaps();
    assert_int_equal(chunks_of(&log), 3);
    struct chunk *chunk = log_find(&log, 4);
    assert_int_equal(chunk->base, 4);
    assert_true(chunk_is_gap(chunk, 0));
    assert_false(chunk_is_gap(chunk, 1));
    assert_int_equal(chunk_gap(chunk).to, 9);
    assert_true(lane_shows(chunk, LANE_RAW, 0, "\x11\x39")); /* a close frame, 4409 */
    assert_true(lane_shows(chunk, LANE_JSON, 0, "\"from\":4,\"to\":9,\"reason\":\"expired\""));
    assert_true(lane_shows(chunk, LANE_JSON, 1, "\"offset\":10"));
    assert_int_equal(chunk_message(chunk, 2, topic).offset, 11);
    const struct chunk *last = log_find(&log, 8);
    assert_true(
        lane_shows(last, LANE_JSON, 0, "\"from\":0,\"to\":4,\"reason\":\"epoch\",\"epoch\":\"0000000000000008\""));
    assert_int_equal(chunk_message(last, 1, topic).offset, 5);
    assert_int_equal(chunk_message(last, 1, topic).epoch, 8);
    log_release(&log);
}

static void lane_made_later_tells_of_the_gap(void **state)
{
    (void)state;
    struct log log = log_with_gaps();
    struct chunk *chunk = log_find(&log, 4);
    for (int lane = 0; lane < LANE_COUNT; lane++) {
        assert_true(chunk_lane_make(chunk, lane, 3, &writer, topic));
        assert_true(chunk_lane(chunk, lane)->ends[0] > 0);
    }
    assert_true(lane_shows(chunk, LANE_RAW_DEFLATED, 0, "\x11\x39"));
    assert_true(lane_shows(chunk, LANE_SSE, 0, "event: gap"));
    assert_true(lane_shows(chunk, LANE_SSE, 1, "id: 0000000000000009:10"));
    assert_true(log_lanes(&log, RAW | LANE_BIT(LANE_SSE), &writer, topic)); /* in the open one */
    assert_true(lane_shows(log.newest, LANE_SSE, 0, "event: gap"));
    log_release(&log);
}

static void gap_is_copied_into_filters_logs(void **state)
{
    (void)state;
    struct log log = log_with_gaps(), filter = {0};
    for (uint64_t position = 1; position <= log.tail; position++) {
        const struct chunk *chunk = log_find(&log, position);
        assert_true(
            log_append_copy(&filter, &unlimited, LANE_BIT(LANE_JSON), chunk, (uint32_t)(position - chunk->base), 77));
    }
    assert_int_equal(chunks_of(&filter), 1); /* one count, one epoch */
    const struct chunk *copies = log_find(&filter, 1);
    assert_int_equal(copies->epoch, FILTER_EPOCH);
    assert_int_equal(copies->shift, 0);
    assert_true(lane_shows(copies, LANE_JSON, 3, "\"op\":\"gap\""));
    assert_true(lane_shows(copies, LANE_JSON, 7, "\"offset\":5"));
    assert_int_equal(copies->origins[7].position, 8);
    log_release(&filter);
    log_release(&log);
}

static void offsets_are_found_by_their_epoch(void **state)
{
    (void)state;
    static const struct {
        uint64_t epoch, offset, position; /* 0: not there */
    } rows[] = {{9, 3, 3},  {9, 4, 0}, {9, 8, 0}, {9, 9, 4}, {9, 10, 5}, {9, 11, 6},
                {9, 12, 0}, {8, 3, 0}, {8, 4, 7}, {8, 5, 8}, {8, 6, 0},  {7, 5, 0}};
    struct log log = log_with_gaps();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t position = 0;
        assert_int_equal(log_position(&log, rows[i].epoch, rows[i].offset, &position), rows[i].position > 0);
        assert_int_equal(position, rows[i].position);
    }
    assert_int_equal(log_epoch_first(&log, 9), 1);
    assert_int_equal(log_epoch_first(&log, 8), 7);
    assert_int_equal(log_epoch_first(&log, 7), 9);
    log_release(&log);
}

/* Who has all that came before the oldest chunk is told of the gap with which that begins. */
static void gap_may_be_the_oldest(void **state)
{
    (void)state;
    const struct log_limits limits = {.history_messages = 3, .history_bytes = UINT64_MAX, .chunk_bytes_max = 65536};
    struct log log = {0};
    uint64_t position = 0;
    append_shifted(&log, 9, 0);
    const struct gap gap = {.epoch = 9, .from = 2, .to = 9, .reason = GAP_EXPIRED};
    assert_true(log_append_gap(&log, &unlimited, GAP_LANES, topic, &gap, 5));
    for (int i = 0; i < 2; i++)
        append_shifted(&log, 9, 7);
    log_trim(&log, &limits, 0);
    assert_int_equal(log.oldest->base, 2);
    assert_true(log_position(&log, 9, 1, &position));
    assert_int_equal(position, 1);
    assert_false(log_position(&log, 9, 2, &position));
    assert_false(log_position(&log, 9, 0, &position));
    log_release(&log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_grow_up_to_the_largest),
        cmocka_unit_test(chunks_stay_small_where_all_keep_up),
        cmocka_unit_test(large_message_gets_a_chunk_of_its_size),
        cmocka_unit_test(lane_that_is_wanted_begins_a_chunk),
        cmocka_unit_test(find_knows_what_is_kept),
        cmocka_unit_test(without_history_only_the_open_chunk_stays),
        cmocka_unit_test(retired_chunks_stay_for_their_readers),
        cmocka_unit_test(open_chunk_waits_for_its_readers),
        cmocka_unit_test(open_chunk_with_too_many_bytes_goes_by_age),
        cmocka_unit_test(history_by_count_bytes_and_age),
        cmocka_unit_test(gap_stands_in_its_place_in_each_lane),
        cmocka_unit_test(lane_made_later_tells_of_the_gap),
        cmocka_unit_test(gap_is_copied_into_filters_logs),
        cmocka_unit_test(offsets_are_found_by_their_epoch),
        cmocka_unit_test(gap_may_be_the_oldest),
    };
    return cmocka_run_group_tests(tests, NULL, group_teardown);
}
