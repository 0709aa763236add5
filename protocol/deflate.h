/*
 * deflate: message-wise permessage-deflate (RFC 7692 7.2) without context takeover, over zlib.
 *
 * Each message is deflated alone, so that one copy serves all subscribers and no connection has any state: a shard has
 * one deflater (for each window size that it serves) and one inflater, whatever the number of connections.
 *
 * The one exception to "no allocation in protocol/": zlib allocates in the two init functions, and only there (a
 * deflater at most some 268 KB, an inflater some 40 KB). A message only resets. A deflater or inflater belongs to one
 * thread.
 */
#ifndef SHOAL_PROTOCOL_DEFLATE_H
#define SHOAL_PROTOCOL_DEFLATE_H

#include <stdbool.h>
#include <stddef.h>

#include <zlib.h>

#include "protocol/span.h"

#define DEFLATE_WINDOW_BITS_MIN                                                                                        \
    9 /* the RFC has 8, but zlib's deflate quietly takes 9 for it: ws_handshake declines it */
#define DEFLATE_WINDOW_BITS_MAX 15
#define DEFLATE_LEVEL_DEFAULT   6

struct deflater {
    z_stream stream;
};

struct inflater {
    z_stream stream;
};

/* window_bits: 9 to 15; level: 1 (fast) to 9 (small). False: no memory, nothing to give back. */
bool deflater_init(struct deflater *deflater, int window_bits, int level);
void deflater_free(struct deflater *deflater);

/* Inflates what was deflated with any window. False: no memory, nothing to give back. */
bool inflater_init(struct inflater *inflater);
void inflater_free(struct inflater *inflater);

/* A room that deflate_message never finds too small for a message of `size` bytes. */
size_t deflate_room(struct deflater *deflater, size_t size);

/*
 * Deflates one message into `out`: *size bytes, without the last 00 00 FF FF (7.2.1), for frames with RSV1 on the
 * first. False: it does not fit into `room`; send it plain. A room of in.size is thus a good way to ask "only if it
 * gets smaller".
 */
bool deflate_message(struct deflater *deflater, struct span in, char *out, size_t room, size_t *size);

enum inflate_result {
    INFLATE_OK,
    INFLATE_TOO_LARGE, /* more than `room` bytes: close with 1009 */
    INFLATE_CORRUPT,   /* not a deflated message: close with 1007 */
};

/* Inflates one whole message (7.2.2) into `out`, at least 1 byte of room. Writes never more than `room` bytes. */
enum inflate_result inflate_message(struct inflater *inflater, struct span in, char *out, size_t room, size_t *size);

#endif
