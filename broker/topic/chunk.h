/*
 * chunk: a stretch of a log, shared by all shards that read it.
 *
 *              base ─┐
 *   chunk ──▶ infos  │ 0 │ 1 │ 2 │ 3 │ ··· │          when and of what kind each message is
 *         ──▶ lane raw   ends │ 31│ 64│ 99│130│    bytes [frame 0][frame 1][frame 2][frame 3]····
 *         ──▶ lane json  ends │ 88│170│...         bytes [frame 0][frame 1]…
 *         ──▶ next chunk (a reference), once there is one
 *
 * The owner of the log alone appends. What lies below the tail never changes and never moves, so every shard that was
 * told of the tail (through the mesh, which orders memory) reads it without a lock, and sends any run of messages with
 * one pointer and one length.
 *
 * A lane is either absent or complete up to the tail. The owner adds a lane to its open chunk when somebody wants it;
 * a sealed chunk gets a missing lane from whoever needs it first (chunk_lane_make): two may write it at once, one of
 * them wins, and both have made the same bytes.
 *
 * A log is walked by *positions*, which count on without a hole as long as the log lives: `base`, `tail` and cursors
 * are positions. What clients are shown is an *offset* of an *epoch*, and a chunk says what that is for its messages:
 * offset = position + shift. For logs whose order is this host's own the two are the same. Where Redis gives the order,
 * it may begin anew (docs/ARCHITECTURE.md, Federation), and the positions still go on: a new chunk with another shift
 * follows.
 *
 * A chunk may begin with a *gap* instead of a message: an entry that stands for messages which the topic had and this
 * log lacks. It has a position of its own (its offset is that of the last message that is missing), and in each lane
 * the bytes that tell of it, so whoever walks the log is told in its place.
 *
 * References are counted; a chunk holds one on the next, so that whoever holds a chunk holds all that follow.
 * A filter's log is made of chunks too; these have no LANE_RAW of their own unless somebody reads it.
 */
#ifndef SHOAL_TOPIC_CHUNK_H
#define SHOAL_TOPIC_CHUNK_H

#include <stdatomic.h>

#include "base/limits.h"
#include "topic/lane.h"

/* One lane of a chunk. `ends[i]` is where message i ends, and message i + 1 begins. */
struct chunk_lane {
    uint32_t room;  /* bytes */
    uint32_t *ends; /* capacity of the chunk's messages */
    char *bytes;
};

struct chunk_info {
    uint32_t time_delta_ms; /* since the chunk's first message */
    uint8_t kind;           /* enum payload_kind */
};

/* Where a message in the log of a filter came from. */
struct chunk_origin {
    uint64_t hash;     /* of the topic's name */
    uint64_t position; /* in the topic's log */
};

/* The epoch of all filters' logs, whose offsets nobody can come back to. */
#define FILTER_EPOCH 1u

struct chunk {
    /* fixed when made */
    uint64_t base;        /* position of the first message */
    uint64_t start_bytes; /* bytes of the log before this chunk, in the lane by which the log is measured */
    int64_t time_ms;      /* of the first message */
    uint32_t messages_max;
    /* fixed with the first message */
    int64_t shift;  /* public offset = position + shift */
    uint64_t epoch; /* of these offsets */
    uint64_t gap_from;
    uint8_t gap_reason; /* enum gap_reason, if the first entry is a gap */
    bool has_gap;       /* it is */
    bool tells_gap;     /* some entry is a gap, or in a filter's log the copy of one */
    /* written by the owner */
    uint32_t count;       /* messages; the owner's to read, others go by the tail that they were told */
    uint32_t measure;     /* bytes in the measuring lane; valid for others once sealed */
    _Atomic bool retired; /* no longer part of the log's history */
    struct chunk_info *infos;
    struct chunk_origin *origins; /* NULL: the log is no filter's */
    _Atomic(struct chunk *) next; /* set when sealed */
    _Atomic(struct chunk_lane *) lanes[LANE_COUNT];
    /* written by all */
    _Alignas(CACHE_LINE) _Atomic uint32_t references;
};

/* How much memory all chunks of this process take now (bytes), and how many there are. Any thread. */
uint64_t chunk_bytes_in_use(void);
uint64_t chunk_count_in_use(void);

/*
 * An empty chunk with these lanes, each with `room` bytes; of a filter's log if `origins`. Gives a reference. NULL: no
 * memory.
 */
struct chunk *chunk_create(uint64_t base, uint64_t start_bytes, uint32_t messages_max, uint32_t room, uint8_t lanes,
                           bool origins);

struct chunk *chunk_share(struct chunk *chunk);
/* Takes a reference; frees the chunk, and those that only it held, with the last. NULL is allowed. */
void chunk_drop(struct chunk *chunk);

/*
 * Appends a message to all lanes; all messages of a chunk have one epoch and one shift. False: it does not fit (the
 * chunk is unchanged); *room is what each lane of a chunk for it must have. Owner's thread.
 */
bool chunk_append(struct chunk *chunk, struct lane_writer *writer, const struct message *message, uint32_t *room);

/* Begins an empty chunk with a gap in a topic's log, in all lanes. As chunk_append(). */
bool chunk_append_gap(struct chunk *chunk, struct span topic, const struct gap *gap, int64_t time_ms, uint32_t *room);

/*
 * Appends message `index` of another chunk, which is of the topic with this hash, in all lanes of this one. As
 * chunk_append(). A lane that the other lacks gets no bytes: whoever reads it here came after the message was
 * published.
 */
bool chunk_append_copy(struct chunk *chunk, const struct chunk *from, uint32_t index, uint64_t hash, uint32_t *room);

/* Seals the chunk: `next` follows (its reference is given to the chunk). Owner's thread. */
void chunk_seal(struct chunk *chunk, struct chunk *next);

/* The chunk that follows, or NULL: not sealed yet. Borrowed through the reference on this one. */
static inline struct chunk *chunk_next(const struct chunk *chunk)
{
    return atomic_load_explicit(&((struct chunk *)chunk)->next, memory_order_acquire);
}

/* Messages of a chunk at or below the position `tail`, as far as a reader that was told of this tail knows. */
static inline uint32_t chunk_count_to(const struct chunk *chunk, uint64_t tail)
{
    const struct chunk *next = chunk_next(chunk);
    uint64_t end = next && next->base <= tail ? next->base : tail + 1;
    return (uint32_t)(end - chunk->base);
}

static inline struct chunk_lane *chunk_lane(const struct chunk *chunk, enum lane lane)
{
    return atomic_load_explicit(&((struct chunk *)chunk)->lanes[lane], memory_order_acquire);
}

/*
 * Makes sure that the lane is there, for the first `count` messages: all of them in a sealed chunk, or, for the owner,
 * those of its open one. False: no memory. Any thread for a sealed chunk; the owner's for an open one.
 */
bool chunk_lane_make(struct chunk *chunk, enum lane lane, uint32_t count, struct lane_writer *writer,
                     struct span topic);

/* Message `index` as it was published to this topic; not the gap. LANE_RAW must be there. Borrows from the chunk. */
struct message chunk_message(const struct chunk *chunk, uint32_t index, struct span topic);

/*
 * Up to which entry, of those from `index` on and below `count`, a lane's readers may be sent its bytes: the first one
 * that closes them (lane_write_gap()); `count`: none does.
 */
uint32_t chunk_sendable(const struct chunk *chunk, enum lane lane, uint32_t index, uint32_t count);

/* Whether an entry is a gap. */
static inline bool chunk_is_gap(const struct chunk *chunk, uint32_t index)
{
    return index == 0 && chunk->has_gap;
}

/* The gap with which a chunk begins. */
static inline struct gap chunk_gap(const struct chunk *chunk)
{
    return (struct gap){
        .epoch = chunk->epoch,
        .from = chunk->gap_from,
        .to = chunk->base + (uint64_t)chunk->shift,
        .reason = chunk->gap_reason,
    };
}

/* What clients are shown for a position of this chunk, or for the one before it. */
static inline uint64_t chunk_offset(const struct chunk *chunk, uint64_t position)
{
    return position + (uint64_t)chunk->shift;
}

/* Where message `index` begins in a lane. */
static inline uint32_t chunk_begin(const struct chunk_lane *lane, uint32_t index)
{
    return index ? lane->ends[index - 1] : 0;
}

/* When message `index` was published, ms since 1970. */
static inline int64_t chunk_time_ms(const struct chunk *chunk, uint32_t index)
{
    return chunk->time_ms + chunk->infos[index].time_delta_ms;
}

#endif
