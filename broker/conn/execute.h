/*
 * execute: what a client asks for is done, or refused with its reason.
 */
#ifndef SHOAL_CONN_EXECUTE_H
#define SHOAL_CONN_EXECUTE_H

#include "conn/conn.h"

enum execute_result {
    EXECUTE_DONE,  /* done or refused */
    EXECUTE_RETRY, /* a mesh ring is full: the same again in the next turn */
    EXECUTE_WAIT,  /* too much is unanswered: the rest when enough is answered */
};

/*
 * The commands of a whole message of a WebSocket, from *at on, which is moved to the first one that is not done.
 * `compressed`: it came deflated (an echo is deflated, too).
 */
enum execute_result execute_message(struct conns *conns, uint32_t slot, struct span body, bool text, bool compressed,
                                    size_t *at);

/* A publish, from whatever it came. *error tells why it was refused. */
enum execute_result execute_publish(struct conns *conns, uint32_t slot, const struct command *command,
                                    enum reply_error *error);

/* A subscription to `topic`; `id` comes back in the reply. Gives its number, or 0: *error tells why it was refused. */
uint32_t execute_subscribe(struct conns *conns, uint32_t slot, const struct command *command, enum reply_error *error);

/* Shows a token: REPLY_OK, and the connection has its rights. */
enum reply_error execute_auth(struct conns *conns, uint32_t slot, struct span token);

/* A request for history (GET); the ticket comes back. */
enum execute_result execute_read(struct conns *conns, uint32_t slot, struct name *topic, const struct from *from,
                                 uint32_t messages_max);

#endif
