/* log: see log.h. */
#include "topic/log.h"

#include "base/check.h"
#include "base/limits.h"

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static uint32_t max_u32(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/*
 * Whether somebody but the log has a chunk: a reader is in it, or on the way to it. Only who holds a chunk can share
 * it, so a count of one (ours) can't grow meanwhile.
 */
static bool chunk_is_shared(const struct chunk *chunk)
{
    return atomic_load_explicit(&chunk->references, memory_order_relaxed) > 1;
}

/*
 * The chunk that follows `last` is four times its size, up to the largest, if there is history to keep or somebody is
 * behind. Else a quarter: where all keep up, what is read must come once through the cache, and many topics take turns
 * with the same memory. One message alone may need more.
 */
static struct chunk *chunk_for(const struct log *log, const struct log_limits *limits, uint8_t lanes, uint32_t needed,
                               bool origins)
{
    const struct chunk *last = log->oldest ? log->newest : NULL;
    uint32_t room = CHUNK_BYTES_MIN;
    uint32_t messages = CHUNK_MESSAGES_MIN;
    if (last) {
        bool keeps_up = limits->history_messages == 0 && !chunk_is_shared(last);
        messages = keeps_up ? max_u32(last->messages_max / 4, CHUNK_MESSAGES_MIN)
                            : min_u32(last->messages_max * 4, CHUNK_MESSAGES_MAX);
        room = min_u32(messages / CHUNK_MESSAGES_MIN * CHUNK_BYTES_MIN, limits->chunk_bytes_max);
    }
    if (needed > room) {
        room = needed;
    }
    return chunk_create(log->tail + 1, log->bytes, messages, room, lanes, origins);
}

static void chunk_becomes_newest(struct log *log, struct chunk *chunk)
{
    if (log->oldest) {
        chunk_seal(log->newest, chunk);
    } else {
        log->oldest = chunk;
    }
    log->newest = chunk;
}

/* What is to be appended: a new message, a gap, or a copy of an entry of another log. */
struct entry {
    struct lane_writer *writer;
    const struct message *message;
    const struct gap *gap;
    struct span topic;        /* gap */
    int64_t time_ms;          /* gap */
    const struct chunk *from; /* copy */
    uint32_t index;
    uint64_t hash;
};

/* Whether an entry belongs to the same epoch and count of offsets as those before it. A filter's log has just one. */
static bool epoch_goes_on(const struct chunk *chunk, uint64_t position, const struct entry *entry)
{
    const struct message *message = entry->message;
    return entry->from ||
           (message && chunk->epoch == message->epoch && chunk_offset(chunk, position) == message->offset);
}

/* An open chunk lacks a lane that is wanted now, or has one that nobody wants any more: the next one is right again. */
static bool open_chunk_serves(const struct log *log, uint8_t lanes, const struct entry *entry)
{
    if (!log->oldest || !epoch_goes_on(log->newest, log->tail + 1, entry)) {
        return false;
    }
    for (int i = 0; i < LANE_COUNT; i++) {
        if ((lanes & LANE_BIT(i)) && !chunk_lane(log->newest, i)) {
            return false;
        }
    }
    return true;
}

static bool entry_append(struct chunk *chunk, const struct entry *entry, uint32_t *needed)
{
    if (entry->gap) {
        return chunk_append_gap(chunk, entry->topic, entry->gap, entry->time_ms, needed);
    }
    return entry->message ? chunk_append(chunk, entry->writer, entry->message, needed)
                          : chunk_append_copy(chunk, entry->from, entry->index, entry->hash, needed);
}

/* A new chunk with the entry in it. What it needs is known only when it was tried. NULL: no memory. */
static struct chunk *chunk_with_entry(const struct log *log, const struct log_limits *limits, uint8_t lanes,
                                      const struct entry *entry, uint32_t needed)
{
    bool origins = entry->from != NULL;
    struct chunk *chunk = chunk_for(log, limits, lanes, needed, origins);
    while (chunk && !entry_append(chunk, entry, &needed)) {
        chunk_drop(chunk);
        chunk = chunk_for(log, limits, lanes, needed, origins);
    }
    return chunk;
}

static bool append(struct log *log, const struct log_limits *limits, uint8_t lanes, const struct entry *entry)
{
    uint32_t needed = 0;
    struct chunk *chunk = open_chunk_serves(log, lanes, entry) ? log->newest : NULL;
    uint32_t before = chunk ? chunk->measure : 0;
    if (!chunk || !entry_append(chunk, entry, &needed)) {
        chunk = chunk_with_entry(log, limits, lanes, entry, needed);
        if (!chunk) {
            return false;
        }
        before = 0;
        chunk_becomes_newest(log, chunk);
    }
    log->tail++;
    log->bytes += chunk->measure - before;
    return true;
}

bool log_append(struct log *log, const struct log_limits *limits, uint8_t lanes, struct lane_writer *writer,
                int64_t shift, struct message *message)
{
    message->offset = log->tail + 1 + (uint64_t)shift;
    return append(log, limits, lanes, &(struct entry){.writer = writer, .message = message});
}

bool log_append_gap(struct log *log, const struct log_limits *limits, uint8_t lanes, struct span topic,
                    const struct gap *gap, int64_t time_ms)
{
    return append(log, limits, lanes, &(struct entry){.gap = gap, .topic = topic, .time_ms = time_ms});
}

bool log_append_copy(struct log *log, const struct log_limits *limits, uint8_t lanes, const struct chunk *from,
                     uint32_t index, uint64_t hash)
{
    return append(log, limits, lanes, &(struct entry){.from = from, .index = index, .hash = hash});
}

static void oldest_drop(struct log *log)
{
    struct chunk *chunk = log->oldest;
    struct chunk *next = chunk_next(chunk);
    atomic_store_explicit(&chunk->retired, true, memory_order_release);
    log->oldest = next ? chunk_share(next) : NULL;
    if (!next) {
        log->last_ms = chunk_time_ms(chunk, chunk->count - 1);
    }
    chunk_drop(chunk);
}

/* By count and bytes the open chunk stays, whatever is in it: messages still come. By age it goes, too. */
static bool oldest_is_history(const struct log *log, const struct log_limits *limits, int64_t now_ms)
{
    const struct chunk *chunk = log->oldest;
    const struct chunk *next = chunk_next(chunk);
    if (next && (log->tail - next->base + 1 >= limits->history_messages ||
                 log->bytes - chunk->start_bytes > limits->history_bytes)) {
        return false;
    }
    uint32_t last = chunk->count - 1;
    return limits->history_age_ms == 0 || chunk_time_ms(chunk, last) + limits->history_age_ms >= now_ms;
}

/*
 * Whether the oldest chunk is the open one, and has a reader: who finds what comes next by the chain, so that this
 * chunk must still be here to be sealed.
 */
static bool oldest_is_awaited(const struct log *log)
{
    return !chunk_next(log->oldest) && chunk_is_shared(log->oldest);
}

void log_trim(struct log *log, const struct log_limits *limits, int64_t now_ms)
{
    while (log->oldest && !oldest_is_history(log, limits, now_ms) && !oldest_is_awaited(log)) {
        oldest_drop(log);
    }
}

void log_release(struct log *log)
{
    while (log->oldest) {
        oldest_drop(log);
    }
}

void log_release_unread(struct log *log)
{
    while (log->oldest && !oldest_is_awaited(log)) {
        oldest_drop(log);
    }
}

void log_skip(struct log *log, int64_t time_ms)
{
    log_release(log);
    log->tail++;
    log->last_ms = time_ms;
}

int64_t log_time_ms(const struct log *log, uint64_t position)
{
    if (!log->oldest) {
        return log->last_ms;
    }
    const struct chunk *chunk = log_find(log, position);
    return chunk ? chunk_time_ms(chunk, (uint32_t)(position - chunk->base)) : chunk_time_ms(log->oldest, 0);
}

/* The first message of a chunk that is young enough; base + count: none. */
static uint64_t first_young_in(const struct chunk *chunk, int64_t oldest_ms)
{
    uint32_t low = 0, high = chunk->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (chunk_time_ms(chunk, middle) < oldest_ms) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return chunk->base + low;
}

/* Trimming comes now and then, so more than the oldest chunk may be too old. */
static uint64_t first_young(const struct log *log, int64_t oldest_ms)
{
    const struct chunk *chunk = log->oldest;
    uint64_t first = first_young_in(chunk, oldest_ms);
    for (const struct chunk *next = chunk_next(chunk); next && first == next->base; next = chunk_next(chunk)) {
        chunk = next;
        first = first_young_in(chunk, oldest_ms);
    }
    return first;
}

uint64_t log_first(const struct log *log, const struct log_limits *limits, int64_t now_ms)
{
    if (!log->oldest || limits->history_messages == 0) {
        return log->tail + 1;
    }
    uint64_t first = log->oldest->base;
    if (log->tail - first + 1 > limits->history_messages) {
        first = log->tail - limits->history_messages + 1;
    }
    if (limits->history_age_ms) {
        uint64_t young = first_young(log, now_ms - limits->history_age_ms);
        first = young > first ? young : first;
    }
    return first;
}

struct chunk *log_find(const struct log *log, uint64_t position)
{
    struct chunk *chunk = log->oldest;
    if (!chunk || position < chunk->base || position > log->tail) {
        return NULL;
    }
    for (struct chunk *next = chunk_next(chunk); next && next->base <= position; next = chunk_next(chunk)) {
        chunk = next;
    }
    return chunk;
}

/* Whether whoever has this offset goes on with the first entry of the oldest chunk. */
static bool stands_before(const struct chunk *oldest, uint64_t offset)
{
    if (!oldest->has_gap) {
        return offset + 1 == chunk_offset(oldest, oldest->base);
    }
    return oldest->gap_reason == GAP_EXPIRED && offset + 1 == oldest->gap_from;
}

bool log_position(const struct log *log, uint64_t epoch, uint64_t offset, uint64_t *position)
{
    if (log->oldest && log->oldest->epoch == epoch && stands_before(log->oldest, offset)) {
        *position = log->oldest->base - 1;
        return true;
    }
    for (const struct chunk *chunk = log->oldest; chunk; chunk = chunk_next(chunk)) {
        uint64_t first = chunk_offset(chunk, chunk->base);
        if (chunk->epoch == epoch && offset >= first && offset - first < chunk->count) {
            *position = offset - (uint64_t)chunk->shift;
            return true;
        }
    }
    return false;
}

uint64_t log_epoch_first(const struct log *log, uint64_t epoch)
{
    const struct chunk *chunk = log->oldest;
    while (chunk && chunk->epoch != epoch) {
        chunk = chunk_next(chunk);
    }
    return chunk ? chunk->base : log->tail + 1;
}

const struct chunk *log_chunk_at(const struct log *log, uint64_t position)
{
    bool before = log->oldest && position + 1 == log->oldest->base;
    return before ? log->oldest : log_find(log, position);
}

bool log_lanes(struct log *log, uint8_t lanes, struct lane_writer *writer, struct span topic)
{
    for (int i = 0; log->oldest && i < LANE_COUNT; i++) {
        if ((lanes & LANE_BIT(i)) && !chunk_lane_make(log->newest, i, log->newest->count, writer, topic)) {
            return false;
        }
    }
    return true;
}
