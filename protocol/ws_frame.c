/*
 * ws_frame: the writer of headers, the mask, and the reader.
 *
 * The reader is a machine of four stages that takes from the front of the bytes as much as its stage can use:
 *
 *                  ┌──────────── frame complete ─────────────┐
 *                  ▼                                          │
 *      ┌──▶ STAGE_HEADER ──── data frame, not empty ───▶ STAGE_DATA ─────┐
 *      │      │   │                                                       │
 *      │      │   └────────── control frame ───────▶ STAGE_CONTROL ──────┤ anything wrong
 *      └──────┼────────── ping, pong complete ────────────┘ │             ▼
 *             │                                             │        STAGE_FAILED: the same error for ever
 *             └─────────────── anything wrong ──────────────┼───────────▲
 *                                       close complete ─────▶ STAGE_CLOSED: the rest is ignored
 *
 * A header is read where it stands. Only one that is cut in two is collected in the store; a control frame's
 * payload always is, so that whoever answers it need not know how it came.
 */
#include "protocol/ws_frame.h"

#include <assert.h>
#include <string.h>

#include "protocol/close_code.h"
#include "protocol/utf8.h"

#define FIN            0x80
#define RSV1           0x40
#define RSV2_RSV3      0x30
#define OPCODE         0x0F
#define OPCODE_CONTROL 0x08
#define MASKED         0x80
#define LENGTH         0x7F
#define LENGTH_16      126
#define LENGTH_64      127

/* Of a deflated message of few bytes: its end, and a block's head. */
#define DEFLATED_OVERHEAD_BYTES 64

/* ---- writing ---- */

static void store_big_endian(char *out, uint64_t number, size_t size)
{
    for (size_t at = size; at > 0; at--, number >>= 8)
        out[at - 1] = (char)(number & 0xFF);
}

static uint64_t load_big_endian(const char *bytes, size_t size)
{
    uint64_t number = 0;
    for (size_t at = 0; at < size; at++)
        number = number << 8 | (uint8_t)bytes[at];
    return number;
}

size_t ws_header_write(char out[WS_HEADER_BYTES_MAX], enum ws_opcode opcode, bool fin, bool rsv1, uint64_t payload_size)
{
    size_t size = ws_header_size(payload_size);
    assert(payload_size <= INT64_MAX);
    out[0] = (char)((fin ? FIN : 0) | (rsv1 ? RSV1 : 0) | (int)opcode);
    out[1] = (char)(size == 2 ? payload_size : size == 4 ? LENGTH_16 : LENGTH_64);
    store_big_endian(out + 2, payload_size, size - 2);
    return size;
}

size_t ws_masked_header_write(char out[WS_MASKED_HEADER_BYTES_MAX], enum ws_opcode opcode, bool fin, bool rsv1,
                              uint64_t payload_size, uint32_t key)
{
    size_t size = ws_header_write(out, opcode, fin, rsv1, payload_size);
    out[1] = (char)((uint8_t)out[1] | MASKED);
    memcpy(out + size, &key, sizeof key);
    return size + sizeof key;
}

/*
 * Byte i is XORed with key byte (phase + i) mod 4 (RFC 6455 5.3). The key is first turned so that phase is 0; then it
 * repeats in every word, whatever the machine's byte order, and the loop is one that compilers make wide.
 */
void ws_mask(char *bytes, size_t size, uint32_t key, size_t phase)
{
    char turned[8];
    uint64_t wide;
    size_t at = 0;
    for (size_t i = 0; i < sizeof turned; i++)
        turned[i] = ((const char *)&key)[(phase + i) & 3];
    memcpy(&wide, turned, sizeof wide);
    for (; at + sizeof wide <= size; at += sizeof wide) {
        uint64_t word;
        memcpy(&word, bytes + at, sizeof word);
        word ^= wide;
        memcpy(bytes + at, &word, sizeof word);
    }
    for (; at < size; at++)
        bytes[at] ^= turned[at & 7];
}

size_t ws_control_write(char out[WS_CONTROL_FRAME_MAX], enum ws_opcode opcode, struct span payload)
{
    assert(payload.size <= WS_CONTROL_PAYLOAD_MAX && ((int)opcode & OPCODE_CONTROL));
    size_t size = ws_header_write(out, opcode, true, false, payload.size);
    if (payload.size > 0)
        memcpy(out + size, payload.data, payload.size);
    return size + payload.size;
}

/* The bytes of a reason that fit, without a part of a character at the end. */
static size_t reason_size(struct span reason)
{
    size_t size = reason.size;
    if (size <= CLOSE_REASON_BYTES_MAX)
        return size;
    size = CLOSE_REASON_BYTES_MAX;
    while (size > 0 && ((uint8_t)reason.data[size] & 0xC0) == 0x80)
        size--;
    return size;
}

size_t ws_close_payload_write(char out[WS_CONTROL_PAYLOAD_MAX], uint16_t code, struct span reason)
{
    if (code == CLOSE_NONE)
        return 0;
    size_t size = reason_size(reason);
    store_big_endian(out, code, 2);
    if (size > 0)
        memcpy(out + 2, reason.data, size);
    return 2 + size;
}

size_t ws_close_write(char out[WS_CONTROL_FRAME_MAX], uint16_t code, struct span reason)
{
    size_t size = ws_close_payload_write(out + 2, code, reason);
    return ws_header_write(out, WS_CLOSE, true, false, size) + size;
}

/* ---- reading: errors ---- */

/* Everything that can be wrong with a peer's frames. X(NAME, close code, "problem") */
#define READER_ERRORS(X)                                                                                               \
    X(RSV, PROTOCOL_ERROR, "A reserved bit is set that no extension has given a meaning.")                             \
    X(RSV1_PLACE, PROTOCOL_ERROR, "RSV1 may only be set on the first frame of a message.")                             \
    X(OPCODE, PROTOCOL_ERROR, "The opcode is reserved.")                                                               \
    X(CONTROL_FRAGMENT, PROTOCOL_ERROR, "A control frame is fragmented.")                                              \
    X(CONTROL_LENGTH, PROTOCOL_ERROR, "A control frame has more than 125 bytes.")                                      \
    X(CONTINUATION, PROTOCOL_ERROR, "A continuation frame comes without a message to continue.")                       \
    X(INTERRUPTED, PROTOCOL_ERROR, "A new message begins before the last one has ended.")                              \
    X(MASK_MISSING, PROTOCOL_ERROR, "A client must mask its frames.")                                                  \
    X(MASK_FORBIDDEN, PROTOCOL_ERROR, "A server must not mask its frames.")                                            \
    X(LENGTH_FORM, PROTOCOL_ERROR, "The length is not in its shortest form.")                                          \
    X(LENGTH_SIGN, PROTOCOL_ERROR, "The length has its highest bit set.")                                              \
    X(TOO_BIG, TOO_BIG, "The message is too big.")                                                                     \
    X(UTF8, INVALID_PAYLOAD, "The text is not valid UTF-8.")                                                           \
    X(CLOSE_LENGTH, PROTOCOL_ERROR, "A close frame has half a code.")                                                  \
    X(CLOSE_CODE, PROTOCOL_ERROR, "A close frame has a code that may not be sent.")                                    \
    X(CLOSE_REASON, INVALID_PAYLOAD, "The reason in a close frame is not valid UTF-8.")

enum reader_error {
    READER_OK = 0,
#define X(name, code, problem) READER_##name,
    READER_ERRORS(X)
#undef X
};

static const struct {
    uint16_t close_code;
    const char *problem;
} reader_errors[] = {
#define X(name, code, text) [READER_##name] = {CLOSE_##code, text},
    READER_ERRORS(X)
#undef X
};

enum reader_stage {
    STAGE_HEADER,  /* stored, store: what came of the header */
    STAGE_DATA,    /* frame, payload_left > 0, key, phase, and the message's fields */
    STAGE_CONTROL, /* frame, payload_left, key, stored, store: what came of the payload */
    STAGE_CLOSED,  /* nothing */
    STAGE_FAILED,  /* stored: enum reader_error */
};

static void fail(struct ws_reader *reader, enum reader_error error, struct ws_event *event)
{
    reader->stage = STAGE_FAILED;
    reader->stored = (uint8_t)error;
    *event = (struct ws_event){
        .kind = WS_EVENT_ERROR,
        .close_code = reader_errors[error].close_code,
        .problem = reader_errors[error].problem,
    };
}

/* ---- reading: headers ---- */

void ws_reader_init(struct ws_reader *reader, enum ws_role role, uint64_t message_bytes_max, bool deflate)
{
    memset(reader, 0, sizeof *reader);
    reader->role = (uint8_t)role;
    reader->message_bytes_max = message_bytes_max;
    reader->deflate = deflate;
}

bool ws_reader_idle(const struct ws_reader *reader)
{
    return reader->stage == STAGE_HEADER && reader->stored == 0 && reader->message == 0;
}

/* The size of a header of which `size` bytes are here: 2 until it is known. */
static size_t header_size(const char *header, size_t size)
{
    if (size < 2)
        return 2;
    uint8_t length = (uint8_t)header[1] & LENGTH;
    size_t extended = length == LENGTH_64 ? 8 : length == LENGTH_16 ? 2 : 0;
    return 2 + extended + ((uint8_t)header[1] & MASKED ? 4 : 0);
}

/* RFC 6455 5.5. */
static enum reader_error control_check(uint8_t frame, uint8_t length)
{
    if ((frame & OPCODE) > WS_PONG)
        return READER_OPCODE;
    if (frame & RSV1)
        return READER_RSV1_PLACE;
    if (!(frame & FIN))
        return READER_CONTROL_FRAGMENT;
    return length > WS_CONTROL_PAYLOAD_MAX ? READER_CONTROL_LENGTH : READER_OK;
}

/* RFC 6455 5.4, and RFC 7692 6.1 for RSV1. */
static enum reader_error data_check(const struct ws_reader *reader, uint8_t frame)
{
    uint8_t opcode = frame & OPCODE;
    if (opcode > WS_BINARY)
        return READER_OPCODE;
    if (opcode == WS_CONTINUATION && (frame & RSV1))
        return READER_RSV1_PLACE;
    if (opcode == WS_CONTINUATION)
        return reader->message != 0 ? READER_OK : READER_CONTINUATION;
    return reader->message == 0 ? READER_OK : READER_INTERRUPTED;
}

/* What the first two bytes tell: everything but the length. */
static enum reader_error opening_check(const struct ws_reader *reader, uint8_t frame, uint8_t second)
{
    if ((frame & RSV2_RSV3) || ((frame & RSV1) && !reader->deflate))
        return READER_RSV;
    enum reader_error error =
        frame & OPCODE_CONTROL ? control_check(frame, second & LENGTH) : data_check(reader, frame);
    if (error != READER_OK)
        return error;
    if (reader->role == WS_ROLE_SERVER)
        return second & MASKED ? READER_OK : READER_MASK_MISSING;
    return second & MASKED ? READER_MASK_FORBIDDEN : READER_OK;
}

/* RFC 6455 5.2: the minimal number of bytes must be used, and the highest bit of 64 must be 0. */
static enum reader_error length_read(const char *header, uint64_t *length)
{
    uint8_t form = (uint8_t)header[1] & LENGTH;
    *length = form;
    if (form == LENGTH_16) {
        *length = load_big_endian(header + 2, 2);
        return *length >= 126 ? READER_OK : READER_LENGTH_FORM;
    }
    if (form == LENGTH_64) {
        *length = load_big_endian(header + 2, 8);
        if (*length > INT64_MAX)
            return READER_LENGTH_SIGN;
        return *length > 0xFFFF ? READER_OK : READER_LENGTH_FORM;
    }
    return READER_OK;
}

/* Counts a data frame into its message, which may begin with it. */
static enum reader_error message_extend(struct ws_reader *reader)
{
    uint8_t opcode = reader->frame & OPCODE;
    if (opcode != WS_CONTINUATION) {
        reader->message = opcode;
        reader->compressed = reader->frame & RSV1;
        reader->message_bytes = 0;
        reader->utf8 = UTF8_START;
        reader->begun = false;
    }
    uint64_t most = reader->message_bytes_max;
    if (reader->compressed) /* what can't be deflated grows: by an eighth where the peer has the least memory for it */
        most += reader->message_bytes_max / 8 + DEFLATED_OVERHEAD_BYTES;
    if (reader->payload_left > most - reader->message_bytes)
        return READER_TOO_BIG;
    reader->message_bytes += reader->payload_left;
    return READER_OK;
}

/* ---- reading: payloads ---- */

static void message_finish(struct ws_reader *reader)
{
    reader->stage = STAGE_HEADER;
    reader->stored = 0;
    if (reader->frame & FIN)
        reader->message = 0;
}

/*
 * Gives the next piece of a data frame: unmasked, checked, and told. A frame that ends without ending its message and
 * has nothing to tell gives no event.
 */
static void data_take(struct ws_reader *reader, char *bytes, size_t size, struct ws_event *event)
{
    reader->payload_left -= size;
    bool frame_ends = reader->payload_left == 0;
    bool last = frame_ends && (reader->frame & FIN);
    if (reader->key != 0)
        ws_mask(bytes, size, reader->key, reader->phase);
    reader->phase = (uint8_t)((reader->phase + size) & 3);
    if (reader->message == WS_TEXT && !reader->compressed &&
        (!utf8_feed(&reader->utf8, bytes, size) || (last && !utf8_complete(reader->utf8)))) {
        fail(reader, READER_UTF8, event);
        return;
    }
    if (size > 0 || last) {
        *event = (struct ws_event){
            .kind = WS_EVENT_DATA,
            .opcode = reader->message,
            .first = !reader->begun,
            .last = last,
            .compressed = reader->compressed,
            .data = {bytes, size},
        };
        reader->begun = true;
    }
    if (frame_ends)
        message_finish(reader);
}

/* RFC 6455 5.5.1 and 7.4. */
static enum reader_error close_check(struct span payload)
{
    if (payload.size == 0)
        return READER_OK;
    if (payload.size == 1)
        return READER_CLOSE_LENGTH;
    if (!close_code_may_be_received((uint16_t)load_big_endian(payload.data, 2)))
        return READER_CLOSE_CODE;
    return utf8_valid(payload.data + 2, payload.size - 2) ? READER_OK : READER_CLOSE_REASON;
}

static void close_finish(struct ws_reader *reader, struct span payload, struct ws_event *event)
{
    enum reader_error error = close_check(payload);
    if (error != READER_OK) {
        fail(reader, error, event);
        return;
    }
    reader->stage = STAGE_CLOSED;
    *event = (struct ws_event){.kind = WS_EVENT_CLOSE, .close_code = CLOSE_NO_CODE};
    if (payload.size >= 2) {
        event->close_code = (uint16_t)load_big_endian(payload.data, 2);
        event->data = (struct span){payload.data + 2, payload.size - 2};
    }
}

/* The whole payload of a control frame is in the store. */
static void control_finish(struct ws_reader *reader, struct ws_event *event)
{
    struct span payload = {reader->store, reader->stored};
    if (reader->key != 0)
        ws_mask(reader->store, reader->stored, reader->key, 0);
    reader->stage = STAGE_HEADER;
    reader->stored = 0;
    if ((reader->frame & OPCODE) == WS_CLOSE)
        close_finish(reader, payload, event);
    else
        *event = (struct ws_event){
            .kind = (reader->frame & OPCODE) == WS_PING ? WS_EVENT_PING : WS_EVENT_PONG,
            .data = payload,
        };
}

/* Appends to the store up to `wanted` bytes in all. Returns how many it took. */
static size_t store_fill(struct ws_reader *reader, const char *bytes, size_t size, size_t wanted)
{
    size_t taken = wanted - reader->stored < size ? wanted - reader->stored : size;
    assert(wanted <= sizeof reader->store);
    memcpy(reader->store + reader->stored, bytes, taken);
    reader->stored = (uint8_t)(reader->stored + taken);
    return taken;
}

/* ---- reading: the stages ---- */

/* A whole header is here, and its first two bytes are checked. */
static void frame_begin(struct ws_reader *reader, const char *header, struct ws_event *event)
{
    size_t size = header_size(header, 2);
    enum reader_error error = length_read(header, &reader->payload_left);
    reader->frame = (uint8_t)header[0];
    reader->key = 0;
    if ((uint8_t)header[1] & MASKED)
        memcpy(&reader->key, header + size - 4, sizeof reader->key);
    reader->phase = 0;
    reader->stored = 0;
    bool control = reader->frame & OPCODE_CONTROL;
    if (error == READER_OK && !control)
        error = message_extend(reader);
    if (error != READER_OK) {
        fail(reader, error, event);
        return;
    }
    reader->stage = control ? STAGE_CONTROL : STAGE_DATA;
    if (reader->payload_left == 0 && control)
        control_finish(reader, event);
    else if (reader->payload_left == 0)
        data_take(reader, reader->store, 0, event);
}

static size_t header_feed(struct ws_reader *reader, const char *bytes, size_t size, struct ws_event *event)
{
    const char *header = bytes;
    size_t taken = 0;
    size_t here = size;
    if (reader->stored > 0 || size < header_size(bytes, size)) {
        taken = store_fill(reader, bytes, size, header_size(reader->store, reader->stored));
        if (reader->stored == 2) /* now the rest is known */
            taken += store_fill(reader, bytes + taken, size - taken, header_size(reader->store, 2));
        header = reader->store;
        here = reader->stored;
    }
    enum reader_error error = here >= 2 ? opening_check(reader, (uint8_t)header[0], (uint8_t)header[1]) : READER_OK;
    if (error != READER_OK)
        fail(reader, error, event);
    else if (here >= header_size(header, here)) {
        if (header == bytes)
            taken = header_size(header, here);
        frame_begin(reader, header, event);
    }
    return taken;
}

static size_t data_feed(struct ws_reader *reader, char *bytes, size_t size, struct ws_event *event)
{
    size_t taken = reader->payload_left < size ? (size_t)reader->payload_left : size;
    data_take(reader, bytes, taken, event);
    return taken;
}

static size_t control_feed(struct ws_reader *reader, const char *bytes, size_t size, struct ws_event *event)
{
    size_t taken = store_fill(reader, bytes, size, (size_t)reader->payload_left);
    if (reader->stored == reader->payload_left)
        control_finish(reader, event);
    return taken;
}

size_t ws_reader_feed(struct ws_reader *reader, char *bytes, size_t size, struct ws_event *event)
{
    size_t at = 0;
    *event = (struct ws_event){.kind = WS_EVENT_NONE};
    while (at < size && event->kind == WS_EVENT_NONE) {
        switch ((enum reader_stage)reader->stage) {
        case STAGE_HEADER:
            at += header_feed(reader, bytes + at, size - at, event);
            break;
        case STAGE_DATA:
            at += data_feed(reader, bytes + at, size - at, event);
            break;
        case STAGE_CONTROL:
            at += control_feed(reader, bytes + at, size - at, event);
            break;
        case STAGE_CLOSED:
            return size;
        case STAGE_FAILED:
            fail(reader, (enum reader_error)reader->stored, event);
            break;
        }
    }
    return event->kind == WS_EVENT_ERROR ? size : at;
}
