/*
 * dialect_bin: the binary dialect shoal.v1.bin, which libshoal speaks. Both ends of it: the broker's stands in the
 * table of dialects (dialect.h), the client's is here.
 *
 * A WebSocket binary message carries one or more records:
 *
 *      offset  size      meaning
 *      0       1         type (enum bin_type)
 *      1       1 to 4    size of the body, 7 bits a byte, low ones first; 0x80: another byte follows (LEB128)
 *      …       size      body, by the tables in dialect_bin.c and docs/PROTOCOL.md
 *
 * Numbers are little-endian and not aligned. The body of every command begins with an id (32 bits, chosen by the
 * client, not 0), which comes back in its reply; 0 in an ERROR: the id could not be read.
 *
 * How it may grow: whoever reads a record ignores what its body has behind the fields that he knows, and a client
 * ignores records of types that he does not know. What must be understood gets another subprotocol.
 *
 * Pure; any thread.
 */
#ifndef SHOAL_PROTOCOL_DIALECT_BIN_H
#define SHOAL_PROTOCOL_DIALECT_BIN_H

#include "protocol/dialect.h"

#define BIN_SUBPROTOCOL      "shoal.v1.bin"
#define BIN_VERSION          1
#define BIN_ID_SIZE          4
#define BIN_HEADER_BYTES_MAX 5
#define BIN_BODY_BYTES_MAX   ((1u << 28) - 1) /* what 4 bytes of size can say */

/* What the largest record has beside its payload: header, fields, topic and key. */
#define BIN_OVERHEAD_BYTES_MAX 512

/* Bit 7: from the broker. */
enum bin_type {
    BIN_SUBSCRIBE = 0x01,
    BIN_UNSUBSCRIBE = 0x02,
    BIN_PUBLISH = 0x03,
    BIN_AUTH = 0x04,
    BIN_PING = 0x05,
    BIN_HELLO = 0x81,
    BIN_OK = 0x82,
    BIN_ACK = 0x83,
    BIN_ERROR = 0x84,
    BIN_MESSAGE = 0x85,
    BIN_GAP = 0x86,
    BIN_PONG = 0x87,
};

/* ---- the client's half ---- */

/* Ids as they stand in command.id and reply.id. */
void bin_id_write(uint32_t id, char out[BIN_ID_SIZE]);
/* 0 if it is not one. */
uint32_t bin_id_read(struct span id);

/*
 * Writes a command as one record if it fits into `room`. Returns its exact size in any case, so that a first call with
 * room 0 measures. command.id has BIN_ID_SIZE bytes; from.positions is what bin_position_write() wrote.
 */
size_t bin_command_write(const struct command *command, char *out, size_t room);

/* Sets, or takes out, command.again in what bin_command_write() has written of one publish. */
void bin_publish_again(char *record, size_t size, bool again);

/* Writes one element of from.positions; as bin_command_write(). */
size_t bin_position_write(struct span topic, uint64_t epoch, uint64_t offset, char *out, size_t room);

enum bin_read {
    BIN_READ_END,     /* no more records in this message */
    BIN_READ_REPLY,   /* *reply is set */
    BIN_READ_INVALID, /* not a record, or one that lacks a field: the connection can't be trusted any more */
};

/*
 * Reads the record at *at of a broker's message, and moves *at behind it. Records of unknown types are passed over. The
 * reply borrows from `body`. An error whose number is not known here is REPLY_ERROR_COUNT.
 */
enum bin_read bin_reply_read(struct span body, size_t *at, struct reply *reply);

#endif
