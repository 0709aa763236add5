/*
 * ws_frame: WebSocket frames (RFC 6455 5), both directions, both roles.
 *
 *      offset  size      meaning
 *      0       1         FIN (0x80), RSV1 (0x40: the message is deflated), RSV2, RSV3, opcode (low 4 bits)
 *      1       1         MASK (0x80), length: 0 to 125 itself; 126: in the next 2 bytes; 127: in the next 8
 *      2       0, 2, 8   length, big-endian, never longer than it need be
 *      …       0, 4      masking key, from clients only
 *      …       length    payload, masked with the key from clients
 *
 * The reader is incremental: it takes bytes as they come, unmasks them in place, and gives events that point into them.
 * A whole small message in one piece is one event and no copy. A reader is a plain record that may be copied and thrown
 * away whenever ws_reader_idle says so: an idle connection has none. Only headers cut in two and control payloads are
 * kept in it.
 *
 * What it does not do: put fragments together, inflate, answer. Pure; any thread.
 */
#ifndef SHOAL_PROTOCOL_WS_FRAME_H
#define SHOAL_PROTOCOL_WS_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/span.h"

enum ws_opcode {
    WS_CONTINUATION = 0x0,
    WS_TEXT = 0x1,
    WS_BINARY = 0x2,
    WS_CLOSE = 0x8,
    WS_PING = 0x9,
    WS_PONG = 0xA,
};

#define WS_HEADER_BYTES_MAX        10  /* unmasked */
#define WS_MASKED_HEADER_BYTES_MAX 14  /* the same and a key */
#define WS_CONTROL_PAYLOAD_MAX     125 /* RFC 6455 5.5 */
#define WS_CONTROL_FRAME_MAX       (2 + WS_CONTROL_PAYLOAD_MAX)

/* ---- writing ---- */

/* Writes the header of a server's frame. Returns its size: 2, 4 or 10. */
size_t ws_header_write(char out[WS_HEADER_BYTES_MAX], enum ws_opcode opcode, bool fin, bool rsv1,
                       uint64_t payload_size);

/* The size that ws_header_write will return. */
static inline size_t ws_header_size(uint64_t payload_size)
{
    return payload_size < 126 ? 2 : payload_size <= 0xFFFF ? 4 : 10;
}

/*
 * The same for a client's frame: 6, 8 or 14. The key (from a good source of randomness, RFC 6455 5.3) is in memory
 * order: the four bytes as they stand in the frame. The payload must then be masked with ws_mask(…, key, 0).
 */
size_t ws_masked_header_write(char out[WS_MASKED_HEADER_BYTES_MAX], enum ws_opcode opcode, bool fin, bool rsv1,
                              uint64_t payload_size, uint32_t key);

/* Masks or unmasks in place. `phase`: how many bytes of the payload came before these (only its last 2 bits matter). */
void ws_mask(char *bytes, size_t size, uint32_t key, size_t phase);

/* Writes a server's whole control frame; the payload has at most WS_CONTROL_PAYLOAD_MAX bytes. Returns its size. */
size_t ws_control_write(char out[WS_CONTROL_FRAME_MAX], enum ws_opcode opcode, struct span payload);

/*
 * Writes the payload of a close frame. Code 0: it is empty. A reason that is too long is cut between characters.
 * Returns its size. For clients, who must mask it.
 */
size_t ws_close_payload_write(char out[WS_CONTROL_PAYLOAD_MAX], uint16_t code, struct span reason);

/* Writes a server's whole close frame. Returns its size. */
size_t ws_close_write(char out[WS_CONTROL_FRAME_MAX], uint16_t code, struct span reason);

/* ---- reading ---- */

enum ws_role {
    WS_ROLE_SERVER, /* we are the server: the peer must mask */
    WS_ROLE_CLIENT, /* we are the client: the peer must not mask */
};

/* What a call of ws_reader_feed found. The comment names the event's fields that are valid. */
enum ws_event_kind {
    WS_EVENT_NONE,  /* nothing yet; all bytes were taken */
    WS_EVENT_DATA,  /* data (in the caller's bytes, unmasked), opcode, first, last, compressed */
    WS_EVENT_PING,  /* data (in the reader, until the next call): the payload to send back */
    WS_EVENT_PONG,  /* data (in the reader, until the next call) */
    WS_EVENT_CLOSE, /* close_code (CLOSE_NO_CODE if it had none), data: the reason (in the reader) */
    WS_EVENT_ERROR, /* close_code to send (1002, 1007, 1009), problem. The connection must be failed */
};

struct ws_event {
    enum ws_event_kind kind;
    uint8_t opcode;  /* WS_TEXT or WS_BINARY: of the message, also for its later pieces */
    bool first;      /* first piece of the message */
    bool last;       /* last piece of the message; data may be empty */
    bool compressed; /* the message is deflated: inflate it when whole, then check UTF-8 (it was not checked here) */
    uint16_t close_code;
    struct span data;
    const char *problem; /* static */
};

/* Reader of the frames of one peer. A plain record; all fields belong to ws_frame.c. */
struct ws_reader {
    uint64_t payload_left;              /* of the frame being read */
    uint64_t message_bytes;             /* of the message being read, in all frames announced so far */
    uint64_t message_bytes_max;         /* more is a 1009 */
    uint32_t key;                       /* of the frame being read; 0: not masked */
    uint32_t utf8;                      /* state of the text being read */
    uint8_t stage;                      /* enum reader_stage in ws_frame.c */
    uint8_t role;                       /* enum ws_role */
    uint8_t frame;                      /* first byte of the frame being read: FIN, RSV, opcode */
    uint8_t message;                    /* opcode of the message being read; 0: none */
    uint8_t phase;                      /* how many payload bytes came before, mod 4 */
    uint8_t stored;                     /* bytes in store */
    bool deflate;                       /* permessage-deflate was agreed on: RSV1 has a meaning */
    bool compressed;                    /* the message being read is deflated */
    bool begun;                         /* an event of the message being read was given */
    char store[WS_CONTROL_PAYLOAD_MAX]; /* a header cut in two, or a control frame's payload */
};

_Static_assert(sizeof(struct ws_reader) <= 192, "lives in a side table of connections inside a frame or message");

void ws_reader_init(struct ws_reader *reader, enum ws_role role, uint64_t message_bytes_max, bool deflate);

/*
 * Takes bytes of the stream, at least one, and gives at most one event. Returns how many it took: call again with the
 * rest until none is left. `bytes` are changed (unmasked); the event's data may point into them.
 *
 *  - Each message ends with exactly one DATA event that has `last`; an unfragmented one that is wholly in `bytes`
 *    is one event with first and last.
 *  - Text that is not compressed is checked as it comes: 1007 at the first byte that can't be UTF-8 (RFC 6455 8.1).
 *  - A message over message_bytes_max is a 1009 as soon as a header announces it. A compressed one may have an eighth
 *    more, as what can't be compressed grows: whoever inflates it sees what it really has.
 *  - After WS_EVENT_CLOSE all that follows is taken and ignored (5.5.1); after WS_EVENT_ERROR, the same error again.
 */
size_t ws_reader_feed(struct ws_reader *reader, char *bytes, size_t size, struct ws_event *event);

/* Between messages, with nothing partial kept: a new reader would do the same, so that this one can be thrown away. */
bool ws_reader_idle(const struct ws_reader *reader);

#endif
