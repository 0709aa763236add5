/*
 * client_json: the client's half of the JSON dialect, as simple as it can be: our texts have nothing to be escaped. See
 * clients.h.
 */
#ifndef SHOAL_TESTS_CLIENT_JSON_H
#define SHOAL_TESTS_CLIENT_JSON_H

#include "conn/buffer.h"
#include "protocol/command.h"

/*
 * What the broker says. `reply` borrows from the object or from room of this file's, until the next call; *id is 0 if
 * there is none. False: it is no object, or has no op that is known.
 */
bool json_reply_read(struct span object, struct reply *reply, uint32_t *id);

/* Payload and its kind from an object with data or data_base64. */
void json_payload_read(struct span object, struct reply *reply);

/* Adds a command. `from.positions` is the object that goes there. */
void json_command_write(const struct command *command, uint32_t id, struct buffer *out);

#endif
