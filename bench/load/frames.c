/* frames: see frames.h. */
#include "frames.h"

#include <string.h>

#include "process.h"
#include "protocol/ws_frame.h"
#include "subscriber.h"

bool frame_read(const char *bytes, size_t size, struct frame *frame)
{
    const uint8_t *header = (const uint8_t *)bytes;
    if (size < 2) {
        return false;
    }
    if (header[1] & 0x80 || !(header[0] & 0x80)) {
        die("a server's frame that is masked, or a fragment: %02x %02x", header[0], header[1]);
    }
    uint64_t length = header[1] & 0x7F;
    uint32_t bytes_more = length < 126 ? 0 : length == 126 ? 2 : 8;
    if (size < 2 + bytes_more) {
        return false;
    }
    length = bytes_more ? 0 : length;
    for (uint32_t i = 0; i < bytes_more; i++) {
        length = length << 8 | header[2 + i];
    }
    *frame = (struct frame){.opcode = header[0] & 0x0F,
                            .deflated = header[0] & 0x40,
                            .header_size = 2 + bytes_more,
                            .payload_size = length};
    return true;
}

void frame_control(struct subscriber *subscriber, const struct frame *frame, const char *payload)
{
    char pong[FRAME_HEADER_MAX + WS_CONTROL_PAYLOAD_MAX];
    if (frame->opcode == WS_PING && frame->payload_size <= WS_CONTROL_PAYLOAD_MAX) {
        subscriber_send(subscriber, pong, frame_write(pong, WS_PONG, payload, (size_t)frame->payload_size));
    } else if (frame->opcode == WS_CLOSE && !subscriber->slow) {
        uint32_t code = frame->payload_size >= 2 ? (uint32_t)((uint8_t)payload[0] << 8 | (uint8_t)payload[1]) : 0;
        die("the server closed a connection, with code %u", code);
    } else if (frame->opcode != WS_PONG && frame->opcode != WS_CLOSE) {
        die("a frame of an unknown kind: %u", frame->opcode);
    }
}

size_t frames_receive(struct subscriber *subscriber, char *bytes, size_t size,
                      void (*message)(struct subscriber *subscriber, char *payload, size_t size))
{
    size_t at = 0;
    struct frame frame;
    while (frame_read(bytes + at, size - at, &frame) && size - at - frame.header_size >= frame.payload_size) {
        char *payload = bytes + at + frame.header_size;
        if (frame.opcode >= WS_CLOSE) {
            frame_control(subscriber, &frame, payload);
        } else {
            message(subscriber, payload, (size_t)frame.payload_size);
        }
        at += frame.header_size + (size_t)frame.payload_size;
    }
    return at;
}

size_t frame_write(char *out, uint8_t opcode, const char *payload, size_t size)
{
    size_t header = ws_masked_header_write(out, (enum ws_opcode)opcode, true, false, size, 0);
    memcpy(out + header, payload, size);
    return header + size;
}
