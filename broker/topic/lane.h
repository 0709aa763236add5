/*
 * lane: one way in which a topic's messages are written on the wire.
 *
 * A lane is a dialect, plain or deflated. The bytes of a message in a lane are a whole WebSocket frame (for sse: an
 * event), the same for every subscriber of that lane, so a log holds them ready to be sent. Which lane a subscriber
 * reads is settled when its connection opens.
 *
 * LANE_RAW is special: a log always has it. Its frames hold just the payload, from which every other lane can be
 * written later (a subscriber with another dialect that resumes from history).
 */
#ifndef SHOAL_TOPIC_LANE_H
#define SHOAL_TOPIC_LANE_H

#include "protocol/deflate.h"
#include "protocol/dialect.h"

enum lane {
    LANE_RAW,
    LANE_JSON,
    LANE_BIN,
    LANE_SSE,
    LANE_RAW_DEFLATED,
    LANE_JSON_DEFLATED,
    LANE_BIN_DEFLATED,
    LANE_COUNT,
};

#define LANE_BIT(lane) ((uint8_t)(1u << (lane)))

/* A message as the owner of its topic knows it. Spans are borrowed. */
struct message {
    struct span topic;
    struct span payload;
    enum payload_kind kind;
    uint64_t epoch;
    uint64_t offset;
    int64_t time_ms;
};

/* A stretch of a topic's messages that its log lacks, as readers are told of it. */
struct gap {
    uint64_t epoch; /* the one that is valid now */
    uint64_t from;  /* offsets, both inclusive */
    uint64_t to;
    enum gap_reason reason;
};

/* What a thread that writes lanes needs. */
struct lane_writer {
    struct deflater *deflater;  /* NULL: deflated lanes are written plain, which is always valid */
    uint32_t deflate_bytes_min; /* smaller frames are not worth it */
    char *scratch;              /* grows to the largest body deflated */
    size_t scratch_size;
};

void lane_writer_destroy(struct lane_writer *writer);

enum lane lane_of(enum dialect_id dialect, bool deflated);
const char *lane_name(enum lane lane);

/*
 * Writes a message's bytes in a lane to `out`. Returns how many it wrote; 0: it does not fit into `room`, and *needed
 * bytes would surely do.
 */
size_t lane_write(struct lane_writer *writer, enum lane lane, const struct message *message, char *out, size_t room,
                  size_t *needed);

/*
 * Writes a gap as a lane's readers are told of it, as lane_write(). Deflated lanes have it plain. The raw dialect has
 * no words for it: what stands there is a close frame, which is never sent, for nothing may follow one (RFC
 * 6455 5.5.1). It marks the place where whoever delivers closes these readers (4409).
 */
size_t lane_write_gap(enum lane lane, struct span topic, const struct gap *gap, char *out, size_t room, size_t *needed);

/* Whether an entry's bytes in a lane are such a close frame. */
bool lane_is_close(const char *frame, size_t size);

/* The payload inside of one LANE_RAW frame, and its kind. */
struct span lane_raw_payload(const char *frame, size_t size);

#endif
