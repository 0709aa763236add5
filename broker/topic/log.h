/*
 * log: the messages of one topic (or of one filter), in order, as a chain of chunks.
 *
 *      oldest ─▶ [chunk] ─▶ [chunk] ─▶ [chunk ··] ◀─ newest          positions count on; tail is the last one given
 *
 * Who is behind holds references of its own on the chunks that it reads. So the log itself keeps only what history asks
 * for, and a log without history keeps no more than its open chunk, and not even that when it has fallen silent.
 *
 * Thread: the owner's.
 */
#ifndef SHOAL_TOPIC_LOG_H
#define SHOAL_TOPIC_LOG_H

#include "topic/chunk.h"

/* What history a log keeps, and how large its chunks grow. */
struct log_limits {
    uint32_t history_messages; /* 0: none */
    uint64_t history_bytes;
    int64_t history_age_ms; /* 0: however old */
    uint32_t chunk_bytes_max;
};

struct log {
    struct chunk *oldest; /* reference; NULL: nothing is kept */
    union {
        struct chunk *newest; /* held through oldest */
        int64_t last_ms;      /* where nothing is kept: when the last message was published; 0: there was none */
    };
    uint64_t tail;  /* position of the last message ever appended, 0: none */
    uint64_t bytes; /* of all messages ever appended, in the measuring lane */
};

/*
 * Gives message->offset = position + shift, and appends. Another shift or epoch than the last message's begins a chunk.
 * False: no memory, nothing changed.
 */
bool log_append(struct log *log, const struct log_limits *limits, uint8_t lanes, struct lane_writer *writer,
                int64_t shift, struct message *message);

/*
 * Appends a gap in a topic's log, in a chunk of its own; its `to` is the offset of its position, and the messages
 * behind it count on from there. As log_append().
 */
bool log_append_gap(struct log *log, const struct log_limits *limits, uint8_t lanes, struct span topic,
                    const struct gap *gap, int64_t time_ms);

/* To a filter's log: appends a copy of message `index` of a chunk of the topic with this hash. As log_append(). */
bool log_append_copy(struct log *log, const struct log_limits *limits, uint8_t lanes, const struct chunk *from,
                     uint32_t index, uint64_t hash);

/* Counts a message that is not to be kept, and lets go of all others. */
void log_skip(struct log *log, int64_t time_ms);

/* Lets go of what is no longer history. An open chunk that somebody else holds stays: see log_release_unread(). */
void log_trim(struct log *log, const struct log_limits *limits, int64_t now_ms);

/*
 * Lets go of all chunks; the positions go on. Only for a log that nobody reads: a reader in the open chunk would miss
 * what comes next, as nothing is chained to that chunk any more.
 */
void log_release(struct log *log);

/* The same for a log that has fallen silent: if somebody else holds the open chunk, it stays. */
void log_release_unread(struct log *log);

/* The first position that history still has; tail + 1: none. */
uint64_t log_first(const struct log *log, const struct log_limits *limits, int64_t now_ms);

/*
 * When the message at a position was published, ms since 1970. If it is not kept any more: the earliest time that it
 * cannot be later than. 0: nothing was ever published.
 */
int64_t log_time_ms(const struct log *log, uint64_t position);

/* The chunk with this position, NULL: not kept. Borrows. */
struct chunk *log_find(const struct log *log, uint64_t position);

/* Finds an offset of an epoch among what is kept, or right before that. False: it is not there. */
bool log_position(const struct log *log, uint64_t epoch, uint64_t offset, uint64_t *position);

/* The first position that is kept of an epoch; tail + 1: none. */
uint64_t log_epoch_first(const struct log *log, uint64_t epoch);

/* The chunk that says which offset and epoch a position has, also for the one right before the oldest. NULL: none. */
const struct chunk *log_chunk_at(const struct log *log, uint64_t position);

/* Makes sure that the open chunk has these lanes. False: no memory. */
bool log_lanes(struct log *log, uint8_t lanes, struct lane_writer *writer, struct span topic);

#endif
