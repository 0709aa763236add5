/*
 * dialect: how commands, replies and messages look on the wire.
 *
 *   dialect   carried by              client sends              message is shown as
 *   raw       WebSocket, topic URL    the payload itself        the payload itself
 *   json      WebSocket, /v1/ws       one object a text frame   {"op":"message",…}
 *   sse       HTTP response           nothing                   id:, event:, data: lines
 *   bin       WebSocket, /v1/ws       length-prefixed records   length-prefixed record
 *
 * A dialect makes the body of a frame; the WebSocket header around it (none for sse) is ws_frame's. Dialects are
 * constant tables: no state, no allocation. What they write is a function of the reply alone, so a message is encoded
 * once for all subscribers. Any thread.
 */
#ifndef SHOAL_PROTOCOL_DIALECT_H
#define SHOAL_PROTOCOL_DIALECT_H

#include "protocol/command.h"

enum dialect_id {
    DIALECT_RAW,
    DIALECT_JSON,
    DIALECT_BIN,
    DIALECT_SSE,
    DIALECT_COUNT,
};

struct dialect {
    enum dialect_id id;
    const char *name;        /* "raw": logs, metrics */
    const char *subprotocol; /* Sec-WebSocket-Protocol, NULL: none */

    /*
     * Reads the command at *at of a client's message, and moves *at behind it; there is another if it is then less than
     * body.size (bin only: elsewhere a message is one command). Call with *at = 0 first, whatever the size. `text`: it
     * came in a text frame (already known to be UTF-8). `scratch` is room for decoded strings and must hold at least
     * `body.size` bytes; the command borrows from body and scratch. Returns REPLY_OK, or the error to tell (command.id
     * is set if it could be read: the error carries it).
     */
    enum reply_error (*parse)(struct span body, bool text, size_t *at, char *scratch, struct command *command);

    /*
     * Writes a reply's body to `out` if it fits into `room` bytes. Returns the body's exact size in any case, so that
     * a first call with room 0 measures. 0: this dialect does not show this kind of reply (raw shows messages only;
     * there an empty message is 0 bytes, too, and is shown).
     */
    size_t (*encode)(const struct reply *reply, char *out, size_t room);

    /*
     * Adds a reply to the body of the one that was written last and is not sent yet, without a change of its size.
     * False: the two don't go together; nothing was changed. NULL: they never do.
     */
    bool (*merge)(const struct reply *reply, char *last, size_t size);

    /* Whether the reply's frame is a text frame (else binary). */
    bool (*is_text)(const struct reply *reply);

    /*
     * Walks from.positions: call with *at = 0 first; true: topic, epoch (0: not told) and offset are set and *at moved
     * on; false: no more. `scratch` (at least 256 bytes) takes a topic that had to be decoded. NULL: the dialect has no
     * positions.
     */
    bool (*next_position)(struct span positions, size_t *at, char *scratch, struct span *topic, uint64_t *epoch,
                          uint64_t *offset);
};

extern const struct dialect dialect_raw;
extern const struct dialect dialect_json;
extern const struct dialect dialect_bin;
extern const struct dialect dialect_sse;

/* The dialect of an id. Borrowed, static. */
const struct dialect *dialect_of(enum dialect_id id);

/* Epochs are shown as 16 lower-case hex digits. Writes 16 characters (no NUL). */
#define EPOCH_TEXT_SIZE 16
void epoch_write(uint64_t epoch, char out[EPOCH_TEXT_SIZE]);
/* False: not an epoch (1 to 16 hex digits). */
bool epoch_read(struct span text, uint64_t *epoch);
/* "EPOCH:OFFSET", as in ?from= and Last-Event-ID. False: not such a position. */
bool position_read(struct span text, uint64_t *epoch, uint64_t *offset);

#endif
