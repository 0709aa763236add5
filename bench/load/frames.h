/*
 * frames: the WebSocket frames that a server sends, cut out of a stream, for the protocols that are made of them.
 *
 * Pings are answered; a close frame, a fragment and a masked frame end the run. See RFC 6455 5.
 */
#ifndef SHOAL_BENCH_FRAMES_H
#define SHOAL_BENCH_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct subscriber;

struct frame {
    uint8_t opcode;
    bool deflated;
    size_t header_size;
    uint64_t payload_size;
};

/* Reads a frame's header. False: it is not all there. */
bool frame_read(const char *bytes, size_t size, struct frame *frame);

/* Works a control frame (opcode 8 and above) that is wholly there. */
void frame_control(struct subscriber *subscriber, const struct frame *frame, const char *payload);

/*
 * Hands each whole message to `message`, whose bytes it may change; control frames are worked. Returns how many bytes
 * it took.
 */
size_t frames_receive(struct subscriber *subscriber, char *bytes, size_t size,
                      void (*message)(struct subscriber *subscriber, char *payload, size_t size));

#define FRAME_HEADER_MAX 14u

/* Writes a client's frame around a payload, masked with zeros. Returns its size: at most FRAME_HEADER_MAX more. */
size_t frame_write(char *out, uint8_t opcode, const char *payload, size_t size);

#endif
