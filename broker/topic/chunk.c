/* chunk: see chunk.h for the drawing. A lane is one allocation: the struct, the ends, then the bytes. */
#include "topic/chunk.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/limits.h"

static _Atomic uint64_t bytes_in_use;
static _Atomic uint64_t count_in_use;

uint64_t chunk_bytes_in_use(void)
{
    return atomic_load_explicit(&bytes_in_use, memory_order_relaxed);
}

uint64_t chunk_count_in_use(void)
{
    return atomic_load_explicit(&count_in_use, memory_order_relaxed);
}

static size_t chunk_size(uint32_t messages_max, bool origins)
{
    size_t message = sizeof(struct chunk_info) + (origins ? sizeof(struct chunk_origin) : 0);
    size_t size = sizeof(struct chunk) + messages_max * message;
    return (size + CACHE_LINE - 1) & ~(size_t)(CACHE_LINE - 1);
}

static size_t lane_size(uint32_t messages_max, uint32_t room)
{
    return sizeof(struct chunk_lane) + messages_max * sizeof(uint32_t) + room;
}

static struct chunk_lane *lane_create(uint32_t messages_max, uint32_t room)
{
    struct chunk_lane *lane = malloc(lane_size(messages_max, room));
    if (lane) {
        lane->room = room;
        lane->ends = (uint32_t *)(lane + 1);
        lane->bytes = (char *)(lane->ends + messages_max);
        atomic_fetch_add_explicit(&bytes_in_use, lane_size(messages_max, room), memory_order_relaxed);
    }
    return lane;
}

static void lane_destroy(struct chunk_lane *lane, uint32_t messages_max)
{
    if (lane) {
        atomic_fetch_sub_explicit(&bytes_in_use, lane_size(messages_max, lane->room), memory_order_relaxed);
        free(lane);
    }
}

static void chunk_destroy(struct chunk *chunk)
{
    for (int i = 0; i < LANE_COUNT; i++) {
        lane_destroy(chunk_lane(chunk, i), chunk->messages_max);
    }
    atomic_fetch_sub_explicit(&bytes_in_use, chunk_size(chunk->messages_max, chunk->origins), memory_order_relaxed);
    atomic_fetch_sub_explicit(&count_in_use, 1, memory_order_relaxed);
    free(chunk);
}

struct chunk *chunk_create(uint64_t base, uint64_t start_bytes, uint32_t messages_max, uint32_t room, uint8_t lanes,
                           bool origins)
{
    struct chunk *chunk = aligned_alloc(CACHE_LINE, chunk_size(messages_max, origins));
    if (!chunk) {
        return NULL;
    }
    *chunk = (struct chunk){.base = base, .start_bytes = start_bytes, .messages_max = messages_max};
    chunk->origins = origins ? (struct chunk_origin *)(chunk + 1) : NULL;
    chunk->infos = (struct chunk_info *)((struct chunk_origin *)(chunk + 1) + (origins ? messages_max : 0));
    atomic_init(&chunk->references, 1);
    atomic_fetch_add_explicit(&bytes_in_use, chunk_size(messages_max, origins), memory_order_relaxed);
    atomic_fetch_add_explicit(&count_in_use, 1, memory_order_relaxed);
    for (int i = 0; i < LANE_COUNT; i++) {
        struct chunk_lane *lane = lanes & LANE_BIT(i) ? lane_create(messages_max, room) : NULL;
        if (lanes & LANE_BIT(i) && !lane) {
            chunk_destroy(chunk);
            return NULL;
        }
        atomic_init(&chunk->lanes[i], lane);
    }
    return chunk;
}

struct chunk *chunk_share(struct chunk *chunk)
{
    atomic_fetch_add_explicit(&chunk->references, 1, memory_order_relaxed);
    return chunk;
}

void chunk_drop(struct chunk *chunk)
{
    while (chunk && atomic_fetch_sub_explicit(&chunk->references, 1, memory_order_acq_rel) == 1) {
        struct chunk *next = chunk_next(chunk);
        chunk_destroy(chunk);
        chunk = next;
    }
}

/* The first message says what holds for all. */
static void chunk_begins(struct chunk *chunk, int64_t time_ms, uint64_t epoch, uint64_t offset)
{
    if (chunk->count == 0) {
        chunk->time_ms = time_ms;
        chunk->epoch = epoch;
        chunk->shift = (int64_t)(offset - chunk->base);
    }
}

static void info_set(struct chunk *chunk, int64_t time_ms, enum payload_kind kind)
{
    int64_t delta = time_ms - chunk->time_ms;
    chunk->infos[chunk->count] = (struct chunk_info){
        .time_delta_ms = delta < 0            ? 0
                         : delta > UINT32_MAX ? UINT32_MAX
                                              : (uint32_t)delta,
        .kind = (uint8_t)kind,
    };
}

/* The lane by which the log is measured: raw, or in a filter's log the first that is there. */
static void message_done(struct chunk *chunk)
{
    for (int i = 0; i < LANE_COUNT; i++) {
        struct chunk_lane *lane = chunk_lane(chunk, i);
        if (lane) {
            chunk->measure = lane->ends[chunk->count];
            break;
        }
    }
    chunk->count++;
}

/* What a lane must have for this message alone, when it did not fit into `size` of `room`. */
static bool too_small(uint32_t *room, size_t needed)
{
    if (needed > *room) {
        *room = (uint32_t)needed;
    }
    return false;
}

bool chunk_append(struct chunk *chunk, struct lane_writer *writer, const struct message *message, uint32_t *room)
{
    bool fits = chunk->count < chunk->messages_max;
    *room = 0;
    for (int i = 0; i < LANE_COUNT; i++) {
        struct chunk_lane *lane = chunk_lane(chunk, i);
        if (!lane) {
            continue;
        }
        uint32_t begin = fits ? chunk_begin(lane, chunk->count) : lane->room;
        size_t needed;
        size_t size = lane_write(writer, i, message, lane->bytes + begin, lane->room - begin, &needed);
        if (size == 0) {
            fits = too_small(room, needed);
        } else if (fits) {
            lane->ends[chunk->count] = begin + (uint32_t)size;
        }
    }
    if (fits) {
        chunk_begins(chunk, message->time_ms, message->epoch, message->offset);
        info_set(chunk, message->time_ms, message->kind);
        message_done(chunk);
    }
    return fits;
}

bool chunk_append_gap(struct chunk *chunk, struct span topic, const struct gap *gap, int64_t time_ms, uint32_t *room)
{
    CHECK(chunk->count == 0 && !chunk->origins);
    bool fits = true;
    *room = 0;
    for (int i = 0; i < LANE_COUNT; i++) {
        struct chunk_lane *lane = chunk_lane(chunk, i);
        if (!lane) {
            continue;
        }
        size_t needed;
        size_t size = lane_write_gap(i, topic, gap, lane->bytes, lane->room, &needed);
        if (size == 0) {
            fits = too_small(room, needed);
        } else {
            lane->ends[0] = (uint32_t)size;
        }
    }
    if (fits) {
        chunk->has_gap = chunk->tells_gap = true;
        chunk->gap_from = gap->from;
        chunk->gap_reason = (uint8_t)gap->reason;
        chunk_begins(chunk, time_ms, gap->epoch, gap->to);
        info_set(chunk, time_ms, PAYLOAD_BINARY);
        message_done(chunk);
    }
    return fits;
}

bool chunk_append_copy(struct chunk *chunk, const struct chunk *from, uint32_t index, uint64_t hash, uint32_t *room)
{
    bool fits = chunk->count < chunk->messages_max;
    *room = 0;
    for (int i = 0; i < LANE_COUNT; i++) {
        struct chunk_lane *lane = chunk_lane(chunk, i);
        if (!lane) {
            continue;
        }
        const struct chunk_lane *source = chunk_lane(from, i);
        uint32_t begin = fits ? chunk_begin(lane, chunk->count) : lane->room;
        uint32_t size = source ? source->ends[index] - chunk_begin(source, index) : 0;
        if (size > lane->room - begin || (size == 0 && !fits)) {
            fits = too_small(room, size);
        } else if (fits) {
            memcpy(lane->bytes + begin, source ? source->bytes + chunk_begin(source, index) : "", size);
            lane->ends[chunk->count] = begin + size;
        }
    }
    if (fits) {
        chunk_begins(chunk, chunk_time_ms(from, index), FILTER_EPOCH, chunk->base);
        info_set(chunk, chunk_time_ms(from, index), from->infos[index].kind);
        chunk->tells_gap |= chunk_is_gap(from, index);
        chunk->origins[chunk->count] = (struct chunk_origin){.hash = hash, .position = from->base + index};
        message_done(chunk);
    }
    return fits;
}

void chunk_seal(struct chunk *chunk, struct chunk *next)
{
    CHECK(chunk_next(chunk) == NULL);
    atomic_store_explicit(&chunk->next, next, memory_order_release);
}

uint32_t chunk_sendable(const struct chunk *chunk, enum lane lane, uint32_t index, uint32_t count)
{
    if (!chunk->tells_gap || (lane != LANE_RAW && lane != LANE_RAW_DEFLATED)) {
        return count;
    }
    const struct chunk_lane *of = chunk_lane(chunk, lane);
    uint32_t begin = chunk_begin(of, index);
    while (index < count && !lane_is_close(of->bytes + begin, of->ends[index] - begin)) {
        begin = of->ends[index++];
    }
    return index;
}

struct message chunk_message(const struct chunk *chunk, uint32_t index, struct span topic)
{
    const struct chunk_lane *raw = chunk_lane(chunk, LANE_RAW);
    uint32_t begin = chunk_begin(raw, index);
    return (struct message){
        .topic = topic,
        .payload = lane_raw_payload(raw->bytes + begin, raw->ends[index] - begin),
        .kind = chunk->infos[index].kind,
        .epoch = chunk->epoch,
        .offset = chunk_offset(chunk, chunk->base + index),
        .time_ms = chunk_time_ms(chunk, index),
    };
}

/* Writes an entry, from what the raw lane and the chunk have of it, in another lane. As lane_write(). */
static size_t entry_write(const struct chunk *chunk, enum lane lane, uint32_t index, struct lane_writer *writer,
                          struct span topic, char *out, size_t room, size_t *needed)
{
    if (chunk_is_gap(chunk, index)) {
        const struct gap gap = chunk_gap(chunk);
        return lane_write_gap(lane, topic, &gap, out, room, needed);
    }
    struct message message = chunk_message(chunk, index, topic);
    return lane_write(writer, lane, &message, out, room, needed);
}

/* Bytes that `count` entries take in a lane, written out to nowhere. A deflated lane is given room for the worst. */
static size_t lane_measure(const struct chunk *chunk, enum lane lane, uint32_t count, struct lane_writer *writer,
                           struct span topic)
{
    size_t total = 0;
    for (uint32_t i = 0; i < count; i++) {
        size_t needed;
        entry_write(chunk, lane, i, writer, topic, NULL, 0, &needed);
        total += needed;
    }
    return total;
}

/* An open chunk's new lane must have room for what is still to come: as much again as the raw lane has left. */
static size_t lane_room_ahead(const struct chunk *chunk, uint32_t count)
{
    const struct chunk_lane *raw = chunk_lane(chunk, LANE_RAW);
    return chunk_next(chunk) ? 0 : raw->room - chunk_begin(raw, count);
}

bool chunk_lane_make(struct chunk *chunk, enum lane lane, uint32_t count, struct lane_writer *writer, struct span topic)
{
    if (chunk_lane(chunk, lane)) {
        return true;
    }
    size_t room = lane_measure(chunk, lane, count, writer, topic) + lane_room_ahead(chunk, count);
    struct chunk_lane *made = room <= UINT32_MAX ? lane_create(chunk->messages_max, (uint32_t)room) : NULL;
    if (!made) {
        return false;
    }
    uint32_t end = 0;
    for (uint32_t i = 0; i < count; i++) {
        size_t needed;
        size_t size = entry_write(chunk, lane, i, writer, topic, made->bytes + end, made->room - end, &needed);
        CHECK(size > 0);
        end += (uint32_t)size;
        made->ends[i] = end;
    }
    struct chunk_lane *none = NULL;
    if (!atomic_compare_exchange_strong_explicit(&chunk->lanes[lane], &none, made, memory_order_release,
                                                 memory_order_acquire)) {
        lane_destroy(made, chunk->messages_max);
    }
    return true;
}
