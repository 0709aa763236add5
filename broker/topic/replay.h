/*
 * replay: what a filter's subscriber has missed, asked of every owner.
 *
 *   conn/replay ── ASK_REPLAY (one to each shard) ──▶ owner: a piece for each of its topics that match
 *               ◀── TELL_REPLAY ────────────────────
 *
 * A piece is a stretch of a topic's history: from the position that the subscriber named, or for other topics from the
 * time that it named, up to what the asking shard had been told when the owner answered. All later messages come to
 * that shard by TELL_TAIL, after the answer, into the filter's own log: so the pieces and that log together have no
 * hole.
 */
#ifndef SHOAL_TOPIC_REPLAY_H
#define SHOAL_TOPIC_REPLAY_H

#include "mesh/name.h"
#include "topic/chunk.h"

/* A stretch of one topic. */
struct replay_piece {
    uint64_t hash;       /* of the name */
    struct name *name;   /* reference */
    struct chunk *chunk; /* reference on the chunk with message `first`; NULL: nothing to replay */
    uint64_t epoch;      /* of the message before `first`, or of `first`, with which the subscriber goes on */
    uint64_t first;      /* position: earlier ones the subscriber has, or is told that they are lost */
    uint64_t last;       /* what the asking shard has been told */
    bool lost;           /* a gap is to be told */
    enum gap_reason reason;
    uint64_t gap_from; /* public offsets */
    uint64_t gap_to;
};

/* The request to one owner. The shard that makes it frees it; it always comes back. */
struct replay_ask {
    /* set by the shard that asks */
    uint32_t conn;
    uint16_t generation;
    uint8_t shard;
    uint8_t lane;
    uint32_t subscription;
    uint32_t serial;               /* of the replay: a subscription's number is soon another's */
    const struct dialect *dialect; /* reads the positions */
    uint64_t since_ms;
    uint8_t filter_size;
    uint32_t positions_size;
    /* set by the owner */
    bool failed;          /* no memory, or a topic's log can't be reached now */
    size_t ready_at;      /* the topics named before here in `positions` have been opened */
    uint32_t piece_count; /* of them, sorted by hash */
    uint32_t piece_room;
    struct replay_piece *pieces;
    struct replay_ask *next;
    char bytes[]; /* filter, positions */
};

/* Copies what is given. NULL: no memory. */
struct replay_ask *replay_ask_create(struct span filter, struct span positions);
/* Takes the ask, with the references of its pieces. */
void replay_ask_free(struct replay_ask *ask);

static inline struct span replay_ask_filter(const struct replay_ask *ask)
{
    return (struct span){ask->bytes, ask->filter_size};
}

static inline struct span replay_ask_positions(const struct replay_ask *ask)
{
    return (struct span){ask->bytes + ask->filter_size, ask->positions_size};
}

/* A new piece at the end. NULL: no memory. */
struct replay_piece *replay_ask_add(struct replay_ask *ask);

/* Sorts the pieces by hash; of several for one topic the one that begins first stays. */
void replay_ask_sort(struct replay_ask *ask);
/* The first of the topics with that hash among the first `count` pieces, which are sorted. NULL: there is none. */
const struct replay_piece *replay_ask_find(const struct replay_ask *ask, uint32_t count, uint64_t hash);

#endif
