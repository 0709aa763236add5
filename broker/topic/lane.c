/* lane: see lane.h. */
#include "topic/lane.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "protocol/close_code.h"
#include "protocol/ws_frame.h"

static const struct {
    const char *name;
    enum dialect_id dialect;
    bool deflated;
} lanes[LANE_COUNT] = {
    [LANE_RAW] = {"raw", DIALECT_RAW, false},
    [LANE_JSON] = {"json", DIALECT_JSON, false},
    [LANE_BIN] = {"bin", DIALECT_BIN, false},
    [LANE_SSE] = {"sse", DIALECT_SSE, false},
    [LANE_RAW_DEFLATED] = {"raw_deflated", DIALECT_RAW, true},
    [LANE_JSON_DEFLATED] = {"json_deflated", DIALECT_JSON, true},
    [LANE_BIN_DEFLATED] = {"bin_deflated", DIALECT_BIN, true},
};

void lane_writer_destroy(struct lane_writer *writer)
{
    free(writer->scratch);
    *writer = (struct lane_writer){0};
}

enum lane lane_of(enum dialect_id dialect, bool deflated)
{
    for (int lane = 0; lane < LANE_COUNT; lane++) {
        if (lanes[lane].dialect == dialect && (lanes[lane].deflated == deflated || dialect == DIALECT_SSE)) {
            return (enum lane)lane;
        }
    }
    UNREACHABLE();
}

const char *lane_name(enum lane lane)
{
    return lanes[lane].name;
}

/* The body, written where it stays: behind a header whose size depends on the body's. */
static size_t write_plain(const struct dialect *dialect, const struct reply *reply, char *out, size_t room,
                          size_t *needed)
{
    size_t body = dialect->encode(reply, NULL, 0);
    size_t header = dialect->id == DIALECT_SSE ? 0 : ws_header_size(body);
    *needed = header + body;
    if (*needed > room) {
        return 0;
    }
    if (header) {
        ws_header_write(out, dialect->is_text(reply) ? WS_TEXT : WS_BINARY, true, false, body);
    }
    dialect->encode(reply, out + header, body);
    return header + body;
}

static bool scratch_reach(struct lane_writer *writer, size_t size)
{
    if (writer->scratch_size < size) {
        char *grown = realloc(writer->scratch, size);
        if (!grown) {
            return false;
        }
        writer->scratch = grown;
        writer->scratch_size = size;
    }
    return true;
}

/* Deflated behind room for the longest header, then moved down to the header that it got. */
static size_t write_deflated(struct lane_writer *writer, const struct dialect *dialect, const struct reply *reply,
                             size_t body, char *out, size_t room, size_t *needed)
{
    dialect->encode(reply, writer->scratch, body);
    *needed = WS_HEADER_BYTES_MAX + deflate_room(writer->deflater, body);
    if (*needed > room) {
        return 0;
    }
    size_t size;
    if (!deflate_message(writer->deflater, (struct span){writer->scratch, body}, out + WS_HEADER_BYTES_MAX,
                         room - WS_HEADER_BYTES_MAX, &size)) {
        return write_plain(dialect, reply, out, room, needed); /* always valid: the header says what it is */
    }
    size_t header = ws_header_write(out, dialect->is_text(reply) ? WS_TEXT : WS_BINARY, true, true, size);
    memmove(out + header, out + WS_HEADER_BYTES_MAX, size);
    return header + size;
}

size_t lane_write(struct lane_writer *writer, enum lane lane, const struct message *message, char *out, size_t room,
                  size_t *needed)
{
    const struct dialect *dialect = dialect_of(lanes[lane].dialect);
    struct reply reply = {
        .kind = REPLY_KIND_MESSAGE,
        .topic = message->topic,
        .payload = message->payload,
        .payload_kind = message->kind,
        .epoch = message->epoch,
        .offset = message->offset,
        .time_ms = (uint64_t)message->time_ms,
    };
    if (lanes[lane].deflated && writer->deflater) {
        size_t body = dialect->encode(&reply, NULL, 0);
        if (body >= writer->deflate_bytes_min && scratch_reach(writer, body)) {
            return write_deflated(writer, dialect, &reply, body, out, room, needed);
        }
    }
    return write_plain(dialect, &reply, out, room, needed);
}

static size_t write_close(uint16_t code, char *out, size_t room, size_t *needed)
{
    const char *sentence = close_code_sentence(code);
    char frame[WS_CONTROL_FRAME_MAX];
    *needed = ws_close_write(frame, code, (struct span){sentence, strlen(sentence)});
    if (*needed > room) {
        return 0;
    }
    memcpy(out, frame, *needed);
    return *needed;
}

size_t lane_write_gap(enum lane lane, struct span topic, const struct gap *gap, char *out, size_t room, size_t *needed)
{
    const struct dialect *dialect = dialect_of(lanes[lane].dialect);
    const struct reply reply = {
        .kind = REPLY_KIND_GAP,
        .topic = topic,
        .epoch = gap->epoch,
        .from_offset = gap->from,
        .to_offset = gap->to,
        .reason = gap->reason,
    };
    return dialect->id == DIALECT_RAW ? write_close(CLOSE_POSITION_LOST, out, room, needed)
                                      : write_plain(dialect, &reply, out, room, needed);
}

bool lane_is_close(const char *frame, size_t size)
{
    return size > 0 && (uint8_t)frame[0] == (0x80 | WS_CLOSE);
}

struct span lane_raw_payload(const char *frame, size_t size)
{
    uint8_t length = (uint8_t)frame[1] & 0x7F;
    size_t header = length < 126 ? 2 : length == 126 ? 4 : 10;
    CHECK(header <= size);
    return (struct span){frame + header, size - header};
}
