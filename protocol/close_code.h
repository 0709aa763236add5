/*
 * close_code: the one table of the reasons for which a WebSocket is closed.
 *
 * The standard's codes (RFC 6455 7.4.1 and the IANA registry) and Shoal's own. A client need only know the ranges:
 *
 *      4000 to 4099   reconnect now, and resume
 *      4100 to 4199   reconnect after a delay
 *      4400 to 4499   do not come back as you are: the same request would fail again
 *
 * Code, documents and clients are all written from this table. The sentence goes on the wire as the close reason, so it
 * has at most 123 bytes. Where many are told to come back, it ends with ` after_ms=N`: when, in ms, so that not all
 * come at once. Pure; any thread.
 */
#ifndef SHOAL_PROTOCOL_CLOSE_CODE_H
#define SHOAL_PROTOCOL_CLOSE_CODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a client should do next. */
enum close_class {
    CLOSE_CLASS_RESUME, /* reconnect now, and resume */
    CLOSE_CLASS_LATER,  /* reconnect after a delay, and resume */
    CLOSE_CLASS_NEVER,  /* do not reconnect before something has changed */
};

/* X(NAME, code, "name", class, "sentence") */
#define CLOSE_CODES(X)                                                                                                 \
    X(NORMAL, 1000, "normal", NEVER, "The connection has done what it was for.")                                       \
    X(GOING_AWAY, 1001, "going_away", RESUME, "This end is going away.")                                               \
    X(PROTOCOL_ERROR, 1002, "protocol_error", NEVER, "The WebSocket protocol was broken.")                             \
    X(UNSUPPORTED_DATA, 1003, "unsupported_data", NEVER, "This kind of message is not accepted here.")                 \
    X(INVALID_PAYLOAD, 1007, "invalid_payload", NEVER, "The payload is not what its type says.")                       \
    X(POLICY, 1008, "policy", NEVER, "The message is against this end's policy.")                                      \
    X(TOO_BIG, 1009, "too_big", NEVER, "The message is too big.")                                                      \
    X(EXTENSION_MISSING, 1010, "extension_missing", NEVER, "An extension that was needed was not agreed on.")          \
    X(INTERNAL_ERROR, 1011, "internal_error", LATER, "Something unexpected happened at this end.")                     \
    X(SERVICE_RESTART, 1012, "service_restart", RESUME, "The service restarts.")                                       \
    X(TRY_AGAIN_LATER, 1013, "try_again_later", LATER, "The service is overloaded: try again later.")                  \
    X(BAD_GATEWAY, 1014, "bad_gateway", LATER, "A gateway got an invalid answer.")                                     \
    X(DRAINING, 4000, "draining", RESUME, "The broker is going away: reconnect and resume.")                           \
    X(SLOW, 4001, "slow", RESUME, "Fell behind the topic's backlog: reconnect and resume.")                            \
    X(HEARTBEAT_TIMEOUT, 4002, "heartbeat_timeout", RESUME, "No sign of life in time: reconnect and resume.")          \
    X(KICKED, 4003, "kicked", RESUME, "An operator closed this connection: reconnecting is allowed.")                  \
    X(REPLY_OVERFLOW, 4004, "reply_overflow", RESUME, "Replies were not read: reconnect, and read them.")              \
    X(MESSAGE_TIMEOUT, 4005, "message_timeout", RESUME, "A message was not whole in time: reconnect and resume.")      \
    X(OVERLOADED, 4100, "overloaded", LATER, "The broker is short of room: reconnect after a delay.")                  \
    X(CONNECTIONS_LIMIT, 4101, "connections_limit", LATER, "The broker has as many connections as it may have.")       \
    X(ADDRESS_LIMIT, 4102, "address_limit", LATER, "Your address has as many connections as it may have.")             \
    X(MESSAGE_INVALID, 4400, "message_invalid", NEVER, "This is not a valid message of the dialect.")                  \
    X(TOKEN_REQUIRED, 4401, "token_required", NEVER, "A token is needed and none came in time.")                       \
    X(TOKEN_EXPIRED, 4402, "token_expired", NEVER, "The token has expired: get a new one.")                            \
    X(FORBIDDEN, 4403, "forbidden", NEVER, "The token does not allow this.")                                           \
    X(TOPIC_INVALID, 4404, "topic_invalid", NEVER, "This is not a valid topic or filter.")                             \
    X(TOKEN_INVALID, 4405, "token_invalid", NEVER, "The token's signature, form or claims are not valid.")             \
    X(POSITION_LOST, 4409, "position_lost", NEVER,                                                                     \
      "The position asked for is not in the history: connect again from new or last.")                                 \
    X(PAYLOAD_TOO_LARGE, 4413, "payload_too_large", NEVER, "The payload is larger than its namespace allows.")

enum close_code {
    CLOSE_NONE = 0,        /* no code: an empty close frame */
    CLOSE_NO_CODE = 1005,  /* only told locally, never sent: the peer's close frame was empty */
    CLOSE_ABNORMAL = 1006, /* only told locally, never sent: the connection ended without a close frame */
#define X(name, code, text, class, sentence) CLOSE_##name = (code),
    CLOSE_CODES(X)
#undef X
};

#define CLOSE_REASON_BYTES_MAX 123 /* RFC 6455 5.5: a control frame's 125 less the code's 2 */

/* The code's name for logs and metrics; "unknown" if it is not in the table. Borrowed, static. */
const char *close_code_name(uint16_t code);

/* What goes on the wire as the reason; "" if it is not in the table. Borrowed, static. */
const char *close_code_sentence(uint16_t code);

/* The longest that anybody is told, or believes, in ms. */
#define CLOSE_AFTER_MS_MAX 600000

/*
 * Writes the reason of a code: its sentence, and with after_ms > 0, if it is a code to come back after, when. Returns
 * its size.
 */
size_t close_reason_write(char reason[CLOSE_REASON_BYTES_MAX], uint16_t code, uint32_t after_ms);

/* When the reason says to come back, in ms, at most CLOSE_AFTER_MS_MAX. 0: it does not say. Borrows. */
uint32_t close_reason_after_ms(const char *reason, size_t size);

/* What a client should do next. A code that is not in the table is classed by its range; outside of all, LATER. */
enum close_class close_code_class(uint16_t code);

/* "resume", "later" or "never". Borrowed, static. */
const char *close_class_name(enum close_class class);

/* Whether a peer may send this code in a close frame (RFC 6455 7.4.1, 7.4.2). If not, it is a 1002. */
bool close_code_may_be_received(uint16_t code);

#endif
