/*
 * limits: the sizes that the design stands on, in one place, with their reasons.
 *
 * What an operator may choose is configuration (config/config_keys.h). Here is what the code itself counts on.
 */
#ifndef SHOAL_BASE_LIMITS_H
#define SHOAL_BASE_LIMITS_H

#include <assert.h>
#include <stdint.h>

/* Memory's unit between cores: what two threads write must not share one. */
#define CACHE_LINE 64

/*
 * Shards a host, and peers on its mesh: the shards, then the admin port, then the federation link. A peer's index
 * travels in a byte; the mesh has a ring for each ordered pair.
 */
#define PEERS_MAX  256
#define SHARDS_MAX (PEERS_MAX - 2)

/* Records of a slab's segment: 4096 connections of 32 bytes are 128 KB, given back at once when the last has left. */
#define SLAB_SEGMENT_RECORDS 4096u

/* An envelope in a mesh ring: one cache line, so that two neighbours are never written by two cores. */
#define ENVELOPE_SIZE 64

/* Topic names. */
#define TOPIC_BYTES_MAX 255

/* Idempotency keys of clients. */
#define KEY_BYTES_MAX 128

/* `id` of a command as the dialect wrote it. */
#define COMMAND_ID_BYTES_MAX 64

/*
 * Chunks of a log. The first of a quiet topic is small, each next one four times the last, up to the largest. A message
 * that is larger than a chunk gets a chunk of its own size.
 */
#define CHUNK_BYTES_MIN    2048u
#define CHUNK_BYTES_MAX    65536u
#define CHUNK_MESSAGES_MIN 16u
#define CHUNK_MESSAGES_MAX 1024u

/* Bytes offered to one socket in one send, and to one connection before others have their turn. */
#define SEND_BYTES_MAX (256u * 1024)

/*
 * Deliveries of one turn, and of one slice of a large topic: a send is some 4 us, so a turn stays under 10 ms. What is
 * published during a slice is taken into the walk behind it, so slices are short: 20 messages in flight to 1,000
 * subscribers are sent 17 at a time with this one, 15 with twice as many.
 */
#define TURN_DELIVERIES_MAX 1024u
#define SLICE_DELIVERIES    128u
/* Of a turn where many shards share a thread: fewer would not be worth a system call. */
#define TURN_DELIVERIES_LEAST 64u
static_assert(SLICE_DELIVERIES <= TURN_DELIVERIES_MAX, "a slice is part of a turn");

/* So many bytes count as one more delivery: a send of 64 KB takes some 30 us. */
#define SEND_COST_BYTES 8192u

#endif
