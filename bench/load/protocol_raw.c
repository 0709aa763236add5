/*
 * protocol_raw: a frame is a payload, plain or deflated.
 *
 * A plain message is known by its stamp, and its rest skipped as it comes: a subscriber keeps at most a header and a
 * stamp of it, however large it is. A deflated one is kept until it is whole. Its window does not go on from message
 * to message: both servers that deflate here agree to that (server_no_context_takeover).
 */
#include <string.h>
#include <zlib.h>

#include "frames.h"
#include "process.h"
#include "protocol.h"
#include "protocol/ws_frame.h"
#include "subscriber.h"
#include "workload.h"

/* The stamp is at the beginning: more need not be inflated. */
static void inflated(struct subscriber *subscriber, char *payload, size_t size)
{
    static z_stream stream;
    static bool is_ready;
    char stamp[STAMP_BYTES];
    if (is_ready ? inflateReset(&stream) != Z_OK : inflateInit2(&stream, -15) != Z_OK) {
        die("zlib can't begin");
    }
    is_ready = true;
    stream.next_in = (Bytef *)payload;
    stream.avail_in = (uInt)size;
    stream.next_out = (Bytef *)stamp;
    stream.avail_out = sizeof stamp;
    int status = inflate(&stream, Z_SYNC_FLUSH);
    if ((status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR) || stream.avail_out > 0) {
        die("a message that can't be inflated");
    }
    subscriber_had(subscriber, stamp);
}

static void whole(struct subscriber *subscriber, const struct frame *frame, char *payload)
{
    if (frame->opcode >= WS_CLOSE) {
        frame_control(subscriber, frame, payload);
    } else if (frame->deflated) {
        inflated(subscriber, payload, (size_t)frame->payload_size);
    } else if (frame->payload_size < STAMP_BYTES) {
        die("a message of %lu bytes", frame->payload_size);
    } else {
        subscriber_had(subscriber, payload);
    }
}

static size_t receive(struct subscriber *subscriber, char *bytes, size_t size)
{
    size_t at = 0;
    struct frame frame;
    while (frame_read(bytes + at, size - at, &frame)) {
        char *payload = bytes + at + frame.header_size;
        size_t there = size - at - frame.header_size;
        if (there >= frame.payload_size) {
            whole(subscriber, &frame, payload);
            at += frame.header_size + (size_t)frame.payload_size;
        } else if (there >= STAMP_BYTES && frame.opcode < WS_CLOSE && !frame.deflated) {
            subscriber_had_begin(subscriber, payload, frame.payload_size - there);
            return size;
        } else {
            break;
        }
    }
    return at;
}

const struct protocol protocol_raw = {.name = "raw", .websocket = true, .lines = "", .receive = receive};

const struct protocol protocol_deflate = {
    .name = "deflate",
    .websocket = true,
    .lines = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n",
    .receive = receive,
};

static const struct protocol *const protocols[] = {&protocol_raw, &protocol_deflate, &protocol_json,
                                                   &protocol_bin, &protocol_nats,    &protocol_redis};

const struct protocol *protocol_find(const char *name)
{
    for (size_t i = 0; i < sizeof protocols / sizeof protocols[0]; i++) {
        if (strcmp(protocols[i]->name, name) == 0) {
            return protocols[i];
        }
    }
    die("there is no protocol %s", name);
}
