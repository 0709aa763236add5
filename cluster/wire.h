/*
 * wire: a message as it goes through a channel of Redis.
 *
 *   | offset | size | meaning                                                                                  |
 *   |-------:|-----:|------------------------------------------------------------------------------------------|
 *   |      0 |    1 | version: 1. A link drops and counts what has another one                                 |
 *   |      1 |    1 | class: 0 live, 1 logged                                                                  |
 *   |      2 |    1 | kind of the payload (enum payload_kind)                                                  |
 *   |      3 |    1 | size of the topic, 1 to 255                                                              |
 *   |      4 |    8 | instance: the run of the host that published it                                          |
 *   |     12 |    8 | sequence: of that instance's messages to this server, never twice the same               |
 *   |     20 |    8 | time: wall clock of the publishing host, ms since 1970                                   |
 *   |     28 |   16 | epoch, as 16 hex digits; live: zeros                                                     |
 *   |     44 |   16 | offset, as 16 hex digits; live: zeros                                                    |
 *   |     60 |    … | topic, then the payload up to the end                                                    |
 *
 * Numbers are big-endian. Epoch and offset are text because a script of Redis sets them: its numbers are doubles, and
 * text is what it can write exactly and fast. The topic is inside, so that what a pattern has delivered needs no
 * parsing of channels.
 *
 * A probe, on a channel of its link's own, is the probe's number as decimal text. A fence there is an f and its number.
 */
#ifndef SHOAL_CLUSTER_WIRE_H
#define SHOAL_CLUSTER_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/span.h"

#define WIRE_VERSION     1
#define WIRE_HEADER_SIZE 60
/* Of the header, what a script of Redis leaves as it is; epoch and offset follow. */
#define WIRE_STAMP_AT 28
#define WIRE_HEX_SIZE 16
#define WIRE_FENCE    'f'
/* What a script's numbers, which are doubles, can count to. */
#define WIRE_OFFSET_MAX (1ull << 53)

struct wire {
    bool logged;
    uint8_t kind;
    uint64_t instance;
    uint64_t sequence;
    int64_t time_ms;
    uint64_t epoch;
    uint64_t offset;
    struct span topic;   /* borrowed */
    struct span payload; /* borrowed */
};

/* Writes the header: all but topic and payload themselves, which the caller puts behind it. */
void wire_write(const struct wire *wire, char header[WIRE_HEADER_SIZE]);

/*
 * False: not a message of this version, or of no topic that hosts share, or at no position that a script gives. Who can
 * write to Redis is trusted as a host is: what the payload is said to be (JSON, text) is not checked again.
 */
bool wire_parse(struct span bytes, struct wire *wire);

/* Whether a logged message can have this offset: there is one before it, and one after it. */
static inline bool wire_is_offset(uint64_t offset)
{
    return offset >= 1 && offset <= WIRE_OFFSET_MAX;
}

/* 16 hex digits, lower case; without a NUL. */
void wire_hex_write(uint64_t value, char hex[WIRE_HEX_SIZE]);
/* False: not 16 hex digits, lower case. */
bool wire_hex_parse(struct span hex, uint64_t *value);

#endif
