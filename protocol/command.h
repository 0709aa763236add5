/*
 * command and reply: what a client asks, and what it is told, free of any dialect.
 *
 * A dialect (raw, json, bin; see dialect.h) turns bytes into a command and a reply into bytes. Everything behind it
 * works on these two structs alone, so a new dialect is one file and changes nothing else.
 *
 *      frame ──▶ dialect.parse ──▶ struct command ──▶ conn/execute ──▶ struct reply ──▶ dialect.encode ──▶ frame
 *
 * All spans borrow from the buffer that was parsed (command) or from the caller (reply).
 */
#ifndef SHOAL_PROTOCOL_COMMAND_H
#define SHOAL_PROTOCOL_COMMAND_H

#include <stdint.h>

#include "protocol/span.h"

/* What a payload is, which decides how each dialect shows it. */
enum payload_kind {
    PAYLOAD_BINARY, /* any bytes */
    PAYLOAD_TEXT,   /* valid UTF-8 */
    PAYLOAD_JSON,   /* one valid JSON value, valid UTF-8 */
};

enum command_verb {
    COMMAND_SUBSCRIBE,   /* id, topic (a filter), from */
    COMMAND_UNSUBSCRIBE, /* id, topic (a filter) */
    COMMAND_PUBLISH,     /* id, topic, payload, kind, key, again */
    COMMAND_AUTH,        /* id, token */
    COMMAND_PING,        /* id */
};

/* Where a subscription begins. */
enum from_kind {
    FROM_NEW,       /* with the next message */
    FROM_LAST,      /* with the last message of the history, if there is one */
    FROM_POSITION,  /* after `epoch`, `offset`: the first message delivered is offset + 1 */
    FROM_POSITIONS, /* a filter's: `positions` a topic, all others from since_ms */
};

struct from {
    enum from_kind kind;
    uint64_t epoch;
    uint64_t offset;
    struct span positions; /* FROM_POSITIONS: the dialect's own bytes, read by dialect.next_position */
    uint64_t since_ms;     /* broker's wall clock, ms since 1970 */
};

struct command {
    enum command_verb verb;
    struct span id;    /* as the dialect wrote it (JSON: a number or a quoted string), empty: none given */
    struct span topic; /* decoded: no JSON escapes */
    struct span payload;
    enum payload_kind kind;
    struct span key; /* idempotency key, empty: none */
    bool again; /* PUBLISH: another broker was sent it, so it is one of a topic whose keys all hosts know, or refused */
    struct span token;
    struct from from;
};

/*
 * Every error that a client can be told. X(NAME, "code", retry, "message": what is wrong and what to do). Rows are only
 * ever added at the end: their numbers are on the wire (bin).
 */
#define REPLY_ERRORS(X)                                                                                                \
    X(MESSAGE_INVALID, "message_invalid", false, "This is not a valid message of the dialect.")                        \
    X(OP_UNKNOWN, "op_unknown", false, "Unknown op. Known are subscribe, unsubscribe, publish, auth and ping.")        \
    X(FIELD_MISSING, "field_missing", false, "A required field is missing.")                                           \
    X(FIELD_INVALID, "field_invalid", false, "A field has the wrong type or an invalid value.")                        \
    X(TOPIC_INVALID, "topic_invalid", false,                                                                           \
      "Topics are 1 to 255 bytes of UTF-8 in levels separated by /, with no empty level and no control character.")    \
    X(FILTER_INVALID, "filter_invalid", false, "In a filter + stands for one whole level, # for all the last levels.") \
    X(TOPIC_RESERVED, "topic_reserved", false, "Topics that start with $ belong to the broker.")                       \
    X(NOT_A_TOPIC, "not_a_topic", false, "A filter can't be published to or read: name one topic.")                    \
    X(FORBIDDEN, "forbidden", false, "The token does not allow this topic.")                                           \
    X(AUTH_REQUIRED, "auth_required", false, "Send a token first.")                                                    \
    X(TOKEN_INVALID, "token_invalid", false, "The token's signature, form or claims are not valid.")                   \
    X(TOKEN_EXPIRED, "token_expired", false, "The token has expired: get a new one.")                                  \
    X(ALREADY_SUBSCRIBED, "already_subscribed", false, "This connection already follows this topic.")                  \
    X(NOT_SUBSCRIBED, "not_subscribed", false, "This connection does not follow this topic.")                          \
    X(SUBSCRIPTIONS_LIMIT, "subscriptions_limit", false, "This connection has as many subscriptions as it may have.")  \
    X(TOPICS_LIMIT, "topics_limit", true, "The broker has as many topics as it may have.")                             \
    X(PAYLOAD_TOO_LARGE, "payload_too_large", false, "The payload is larger than its namespace allows.")               \
    X(KEY_TOO_LONG, "key_too_long", false, "An idempotency key has at most 128 bytes.")                                \
    X(POSITION_INVALID, "position_invalid", false, "The position is ahead of the topic.")                              \
    X(BUSY, "busy", true, "The broker is short of room for this now: try again.")                                      \
    X(DRAINING, "draining", true, "The broker is shutting down: connect again.")                                       \
    X(UNSUPPORTED, "unsupported", false, "This dialect or mode does not offer this.")                                  \
    X(UNAVAILABLE, "unavailable", true, "The log that the broker's hosts share can't be reached now: try again.")      \
    X(UNCERTAIN, "uncertain", false,                                                                                   \
      "Another broker was sent this before, and its keys are not known here: it may be published, or not.")

enum reply_error {
    REPLY_OK = 0,
#define X(name, code, retry, message) REPLY_##name,
    REPLY_ERRORS(X)
#undef X
        REPLY_ERROR_COUNT
};

/* code, retry and message of an error other than REPLY_OK. Borrowed, static. Any thread. */
const char *reply_error_code(enum reply_error error);
bool reply_error_retry(enum reply_error error);
const char *reply_error_message(enum reply_error error);

enum gap_reason {
    GAP_SLOW,    /* the reader was too slow for the topic's backlog */
    GAP_EXPIRED, /* the history no longer reaches back so far */
    GAP_EPOCH,   /* the topic lost its history: positions before are void */
};

const char *gap_reason_name(enum gap_reason reason);

enum reply_kind {
    REPLY_KIND_HELLO,   /* server, node, session, instance, federation, time_ms, limits */
    REPLY_KIND_OK,      /* id, time_ms, and of subscribe: epoch, offset, recovered */
    REPLY_KIND_ACK,     /* id, epoch, offset, count: published */
    REPLY_KIND_ERROR,   /* id, error */
    REPLY_KIND_PONG,    /* id, time_ms */
    REPLY_KIND_MESSAGE, /* topic, epoch, offset, payload, kind */
    REPLY_KIND_GAP,     /* topic, from_offset, to_offset (both inclusive), reason, epoch (the one now valid) */
};

struct reply {
    enum reply_kind kind;
    struct span id;
    bool has_position;  /* OK: epoch and offset are valid */
    bool has_recovered; /* OK: recovered is valid */
    bool recovered;
    enum reply_error error;
    enum payload_kind payload_kind;
    enum gap_reason reason;
    uint64_t epoch;
    uint64_t offset;
    uint64_t from_offset;
    uint64_t to_offset;
    uint32_t count;   /* ACK: so many ids, and offsets, from these on; the broker's own are 1 */
    uint64_t time_ms; /* broker's wall clock (MESSAGE: when it was published); 0: not told */
    struct span topic;
    struct span payload;
    struct span server;             /* HELLO: "shoald/0.1.0" */
    struct span node;               /* HELLO: name of the host */
    struct span session;            /* HELLO: name of the connection */
    uint64_t instance;              /* HELLO: another one means that the broker has forgotten all it knew */
    uint64_t federation;            /* HELLO: brokers with the same one know the same keys of logged topics; 0: none */
    uint32_t payload_bytes_max;     /* HELLO limits */
    uint32_t subscriptions_max;     /* HELLO limits */
    uint32_t heartbeat_interval_ms; /* HELLO limits: the broker pings a silent connection this often */
    uint32_t idempotency_ms;        /* HELLO limits: how long an idempotency key is remembered; 0: not at all */
};

#endif
