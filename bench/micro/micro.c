/*
 * micro: single operations of the broker's own code, to be counted by callgrind.
 *
 *      micro NAME OPERATIONS [SIZE]      prints ns an operation
 *
 *   ring      push an envelope into a ring of the mesh, peek and pop it: eight in, eight out, as in a busy turn
 *   frame     decode a client's masked frame of 128 bytes, all of it there
 *   unmask    unmask 4,096 bytes that are not aligned
 *   filter    match a topic of four levels against a million filters (SIZE), of which three match
 *   append    append a message of 128 bytes to the log of a topic, without history, in two lanes (raw, json)
 *
 * What is prepared, and the checks that the result is right, stand outside of measured(), which is what callgrind is
 * told to look at (bench/harness/micro.py).
 *
 * Not measured: caches. A million filters are matched by names that go round, so that few of their nodes stay near.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "mesh/spsc.h"
#include "process.h"
#include "protocol/topic.h"
#include "protocol/ws_frame.h"
#include "topic/filters.h"
#include "topic/log.h"

#define RING_SLOTS   64u
#define RING_RUN     8u
#define PAYLOAD      128u
#define UNMASK_BYTES 4096u
#define FILTERS      1000000u
#define MATCHES_MAX  16u
#define UNMASK_KEY   0x5AC3967Eu

struct operation {
    const char *name;
    void (*prepare)(uint32_t size);
    void (*run)(uint64_t operations);
    void (*check)(uint64_t operations);
};

/* --- ring --- */

static struct spsc ring;
static uint64_t ring_sum;

static void ring_prepare(uint32_t size)
{
    (void)size;
    ring.slots = aligned_alloc(CACHE_LINE, RING_SLOTS * sizeof *ring.slots);
    ring.mask = RING_SLOTS - 1;
    CHECK_MSG(ring.slots, "no memory");
}

static void ring_run(uint64_t operations)
{
    struct envelope envelope = {.kind = TELL_TAIL};
    for (uint64_t done = 0; done < operations; done += RING_RUN) {
        for (uint32_t i = 0; i < RING_RUN; i++) {
            envelope.offset = done + i;
            spsc_push(&ring, &envelope);
        }
        for (uint32_t i = 0; i < RING_RUN; i++) {
            ring_sum += spsc_peek(&ring)->offset;
            spsc_pop(&ring);
        }
    }
}

static void ring_check(uint64_t operations)
{
    uint64_t pushed = (operations + RING_RUN - 1) / RING_RUN * RING_RUN;
    CHECK_MSG(ring_sum == pushed * (pushed - 1) / 2, "the ring lost an envelope");
}

/* --- frame --- */

static char frame[WS_MASKED_HEADER_BYTES_MAX + PAYLOAD], frame_read[sizeof frame];
static size_t frame_size;
static uint64_t frame_bytes;

static void frame_prepare(uint32_t size)
{
    (void)size;
    size_t header = ws_masked_header_write(frame, WS_BINARY, true, false, PAYLOAD, UNMASK_KEY);
    memset(frame + header, 'x', PAYLOAD);
    ws_mask(frame + header, PAYLOAD, UNMASK_KEY, 0);
    frame_size = header + PAYLOAD;
}

/* The bytes are put back each time, since the reader unmasks in place: a copy of 134 bytes is in the figure. */
static void frame_run(uint64_t operations)
{
    struct ws_reader reader;
    struct ws_event event;
    ws_reader_init(&reader, WS_ROLE_SERVER, PAYLOAD, false);
    for (uint64_t i = 0; i < operations; i++) {
        memcpy(frame_read, frame, sizeof frame);
        ws_reader_feed(&reader, frame_read, frame_size, &event);
        frame_bytes += event.kind == WS_EVENT_DATA && event.data.data[PAYLOAD - 1] == 'x' ? event.data.size : 0;
    }
}

static void frame_check(uint64_t operations)
{
    CHECK_MSG(frame_bytes == operations * PAYLOAD, "a frame was not read");
}

/* --- unmask --- */

static char masked[UNMASK_BYTES + 1];

static void unmask_prepare(uint32_t size)
{
    (void)size;
    memset(masked, 'x', sizeof masked);
}

static void unmask_run(uint64_t operations)
{
    for (uint64_t i = 0; i < operations; i++) {
        ws_mask(masked + 1, UNMASK_BYTES, UNMASK_KEY, 0);
    }
}

static void unmask_check(uint64_t operations)
{
    if (operations % 2) {
        ws_mask(masked + 1, UNMASK_BYTES, UNMASK_KEY, 0);
    }
    CHECK_MSG(masked[1] == 'x' && masked[UNMASK_BYTES] == 'x', "masking twice is not nothing");
}

/* --- filter --- */

static struct filters *filters;
static uint32_t filter_count;
static uint64_t filter_matches;

static void filter_add(const char *text, uint32_t value)
{
    struct span filter = {text, strlen(text)};
    CHECK_MSG(topic_filter_check(filter) == TOPIC_OK, "%s is no filter", text);
    CHECK_MSG(filters_add(filters, filter, value), "the filters are full");
}

/* One for each device; three that match more, of which any name matches two. */
static void filter_prepare(uint32_t size)
{
    char text[64];
    filter_count = size;
    filters = filters_create(size + 3, 1);
    CHECK_MSG(filters, "no memory");
    for (uint32_t i = 0; i < size; i++) {
        snprintf(text, sizeof text, "site/%u/device%u/+", i % 1000, i);
        filter_add(text, i);
    }
    filter_add("site/+/+/state", size);
    filter_add("site/#", size + 1);
    filter_add("other/#", size + 2);
}

static void filter_run(uint64_t operations)
{
    char text[64];
    uint32_t values[MATCHES_MAX];
    for (uint64_t i = 0; i < operations; i++) {
        uint32_t device = (uint32_t)(i * 7919 % filter_count);
        int size = snprintf(text, sizeof text, "site/%u/device%u/state", device % 1000, device);
        filter_matches += filters_match(filters, (struct span){text, (size_t)size}, values, MATCHES_MAX);
    }
}

static void filter_check(uint64_t operations)
{
    CHECK_MSG(filter_matches == 3 * operations, "%lu matches, not %lu", filter_matches, 3 * operations);
    filters_destroy(filters);
}

/* --- append --- */

static struct log append_log;
static char append_payload[PAYLOAD];

static void append_prepare(uint32_t size)
{
    (void)size;
    memset(append_payload, 'x', sizeof append_payload);
}

static void append_run(uint64_t operations)
{
    static const char topic[] = "bench/append";
    const struct log_limits limits = {.chunk_bytes_max = CHUNK_BYTES_MAX};
    struct lane_writer writer = {0};
    struct message message = {.topic = {topic, sizeof topic - 1},
                              .payload = {append_payload, PAYLOAD},
                              .kind = PAYLOAD_TEXT,
                              .epoch = 1,
                              .time_ms = 1};
    for (uint64_t i = 0; i < operations; i++) {
        CHECK_MSG(log_append(&append_log, &limits, LANE_BIT(LANE_RAW) | LANE_BIT(LANE_JSON), &writer, 0, &message),
                  "no memory");
    }
    lane_writer_destroy(&writer);
}

static void append_check(uint64_t operations)
{
    CHECK_MSG(append_log.tail == operations, "a message was not appended");
    log_release(&append_log);
}

/* --- which of them --- */

static const struct operation operations[] = {
    {"ring", ring_prepare, ring_run, ring_check},         {"frame", frame_prepare, frame_run, frame_check},
    {"unmask", unmask_prepare, unmask_run, unmask_check}, {"filter", filter_prepare, filter_run, filter_check},
    {"append", append_prepare, append_run, append_check},
};

/* What callgrind counts: it must stay a function. */
__attribute__((noinline)) void measured(const struct operation *operation, uint64_t count);
void measured(const struct operation *operation, uint64_t count)
{
    operation->run(count);
}

int main(int argc, char **argv)
{
    uint32_t size = argc > 3 ? (uint32_t)number_read("SIZE", argv[3], FILTERS) : FILTERS;
    uint64_t count = argc > 2 ? number_read("OPERATIONS", argv[2], 1000000000) : 0;
    for (size_t i = 0; count > 0 && i < sizeof operations / sizeof *operations; i++) {
        if (strcmp(operations[i].name, argv[1]) == 0) {
            operations[i].prepare(size);
            uint64_t ns = now_ns();
            measured(&operations[i], count);
            ns = now_ns() - ns;
            operations[i].check(count);
            printf("%.1f\n", (double)ns / (double)count);
            return 0;
        }
    }
    die("usage: micro ring|frame|unmask|filter|append OPERATIONS [SIZE]");
}
