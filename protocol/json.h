/*
 * json: reads JSON where it lies, and writes the few pieces that a reply needs.
 *
 * Why not a library that builds a tree: what a client publishes must come out byte for byte as it went in (numbers of
 * any size, the order of members, its spaces), and a frame is parsed on the message's path, where nothing allocates. So
 * this reader only finds out where a value begins and ends, and hands out spans of the text:
 *
 *      { "op" : "publish", "data" : {"a": [1, 2.50]} }
 *        ^^^^   ^^^^^^^^^           ^^^^^^^^^^^^^^^^^^
 *        key    value, a string     value, an object: raw, verbatim, known to be valid
 *
 * It is strict: RFC 8259 and nothing else, in valid UTF-8, with no lone surrogates among the escapes, and nested at
 * most JSON_DEPTH_MAX deep (no recursion: the open brackets are bits of one word). Raw spans of strings include their
 * quotes.
 *
 * Pure; any thread.
 */
#ifndef SHOAL_PROTOCOL_JSON_H
#define SHOAL_PROTOCOL_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/span.h"

/* Arrays and objects inside of each other. */
#define JSON_DEPTH_MAX 64

enum json_type {
    JSON_NONE, /* no value: what a zeroed json_value is */
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT,
};

struct json_value {
    enum json_type type;
    struct span raw; /* verbatim, no space around it */
};

struct json_member {
    struct span key; /* raw, with its quotes: compare with json_string_is() */
    struct json_value value;
};

enum json_walk {
    JSON_MEMBER,  /* *member is set, its value valid throughout */
    JSON_END,     /* the object is complete, and nothing but space follows it */
    JSON_INVALID, /* this is not a JSON object */
};

/* Whether the text is one JSON value, with space around it at most. */
bool json_valid(struct span text);

/* The same, and gives the value; its type is JSON_NONE if the text is not valid. */
struct json_value json_read(struct span text);

/*
 * Walks the members of an object: *at is 0 at first, then belongs to the walk. Each member is checked when it is come
 * to; a walk that reaches JSON_END has seen a valid text. Members with equal keys are all given.
 */
enum json_walk json_object_next(struct span object, size_t *at, struct json_member *member);

/*
 * Strings: `raw` is the span of a valid one.
 */

/* Whether the string's value is `text`, however it is escaped. */
bool json_string_is(struct span raw, struct span text);

/*
 * The string's value. Without escapes it borrows from `raw`; else it is decoded to `scratch` (raw.size bytes are always
 * enough). False: it does not fit into `room`.
 */
bool json_string_read(struct span raw, char *scratch, size_t room, struct span *text);

/* Writes `text` (valid UTF-8) as a JSON string, if it fits into `room`. Returns its exact size in any case. */
size_t json_string_write(char *out, size_t room, struct span text);

/* Reads a number that is a plain integer from 0 to 2^64 - 1: only digits, no leading zero. False: it is not. */
bool json_u64_read(struct span raw, uint64_t *value);

#endif
