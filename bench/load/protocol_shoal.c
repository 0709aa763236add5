/*
 * protocol_shoal: the multiplexed WebSocket of Shoal, in both dialects (docs/PROTOCOL.md).
 *
 * Only as much of them is read as the benchmark needs: hello and ok count as answers, a message gives its stamp, and
 * all else ends the run.
 */
#include <stdio.h>
#include <string.h>

#include "frames.h"
#include "process.h"
#include "protocol.h"
#include "protocol/ws_frame.h"
#include "subscriber.h"
#include "workload.h"

/* Only hello is awaited; nothing is sent. */
static size_t greet(char out[COMMAND_MAX], uint32_t *answers)
{
    (void)out;
    *answers = 1;
    return 0;
}

/* "bench/0/" of "bench/0/7", as a filter for all. */
static void filter_of(const char *topic, bool all, char out[TOPIC_NAME])
{
    const char *last = strrchr(topic, '/');
    snprintf(out, TOPIC_NAME, "%.*s%s", all ? (int)(last - topic) + 1 : (int)strlen(topic), topic, all ? "+" : "");
}

/* --- json --- */

static size_t json_subscribe(char out[COMMAND_MAX], uint32_t id, const char *topic, bool all)
{
    char filter[TOPIC_NAME], command[COMMAND_MAX - FRAME_HEADER_MAX];
    filter_of(topic, all, filter);
    int size = snprintf(command, sizeof command, "{\"op\":\"subscribe\",\"id\":%u,\"topic\":\"%s\"}", id, filter);
    return frame_write(out, WS_TEXT, command, (size_t)size);
}

static bool begins(const char *payload, size_t size, const char *with)
{
    return size >= strlen(with) && memcmp(payload, with, strlen(with)) == 0;
}

static void json_message(struct subscriber *subscriber, char *payload, size_t size)
{
    static const char data[] = "\"data\":\"";
    if (begins(payload, size, "{\"op\":\"message\"")) {
        const char *stamp = memmem(payload, size, data, sizeof data - 1);
        if (!stamp || (size_t)(payload + size - stamp) < sizeof data - 1 + STAMP_BYTES) {
            die("a message without a stamp: %.*s", (int)size, payload);
        }
        subscriber_had(subscriber, stamp + sizeof data - 1);
    } else if (begins(payload, size, "{\"op\":\"hello\"") || begins(payload, size, "{\"op\":\"ok\"")) {
        subscriber_answered(subscriber);
    } else if (!subscriber->slow || !begins(payload, size, "{\"op\":\"gap\"")) {
        die("not what was asked for: %.*s", (int)size, payload);
    }
}

static size_t json_receive(struct subscriber *subscriber, char *bytes, size_t size)
{
    return frames_receive(subscriber, bytes, size, json_message);
}

const struct protocol protocol_json = {
    .name = "json",
    .websocket = true,
    .path = "/v1/ws",
    .lines = "Sec-WebSocket-Protocol: shoal.v1.json\r\n",
    .text = true,
    .greet = greet,
    .subscribe = json_subscribe,
    .receive = json_receive,
};

/* --- bin --- */

enum record_type {
    RECORD_SUBSCRIBE = 0x01,
    RECORD_HELLO = 0x81,
    RECORD_OK = 0x82,
    RECORD_MESSAGE = 0x85,
    RECORD_GAP = 0x86,
};

#define MESSAGE_TOPIC_SIZE_AT 25 /* of a message's body: the size of its topic, which follows, and then the payload */

static size_t bin_subscribe(char out[COMMAND_MAX], uint32_t id, const char *topic, bool all)
{
    char filter[TOPIC_NAME], record[2 + 6 + TOPIC_NAME];
    filter_of(topic, all, filter);
    size_t size = strlen(filter);
    record[0] = RECORD_SUBSCRIBE;
    record[1] = (char)(6 + size); /* below 128: one byte */
    memcpy(record + 2, &id, sizeof id);
    record[6] = 0; /* from: new */
    record[7] = (char)size;
    memcpy(record + 8, filter, size);
    return frame_write(out, WS_BINARY, record, 8 + size);
}

static void bin_record(struct subscriber *subscriber, uint8_t type, const char *body, size_t size)
{
    if (type == RECORD_MESSAGE) {
        size_t payload = MESSAGE_TOPIC_SIZE_AT + 1 + (size_t)(uint8_t)body[MESSAGE_TOPIC_SIZE_AT];
        if (size < payload + STAMP_BYTES) {
            die("a message without a stamp");
        }
        subscriber_had(subscriber, body + payload);
    } else if (type == RECORD_HELLO || type == RECORD_OK) {
        subscriber_answered(subscriber);
    } else if (!subscriber->slow || type != RECORD_GAP) {
        die("a record that was not asked for: %02x", type);
    }
}

/* The size of a record's body, 7 bits a byte; *at moves behind it. */
static size_t bin_size(const char *payload, size_t size, size_t *at)
{
    size_t value = 0;
    for (uint32_t shift = 0; shift < 28 && *at < size; shift += 7) {
        uint8_t byte = (uint8_t)payload[(*at)++];
        value |= (size_t)(byte & 0x7F) << shift;
        if (!(byte & 0x80)) {
            return value;
        }
    }
    die("a record without a size");
}

static void bin_message(struct subscriber *subscriber, char *payload, size_t size)
{
    size_t at = 0;
    while (at < size) {
        uint8_t type = (uint8_t)payload[at++];
        size_t body = bin_size(payload, size, &at);
        if (body > size - at) {
            die("a record that is longer than its message");
        }
        bin_record(subscriber, type, payload + at, body);
        at += body;
    }
}

static size_t bin_receive(struct subscriber *subscriber, char *bytes, size_t size)
{
    return frames_receive(subscriber, bytes, size, bin_message);
}

const struct protocol protocol_bin = {
    .name = "bin",
    .websocket = true,
    .path = "/v1/ws",
    .lines = "Sec-WebSocket-Protocol: shoal.v1.bin\r\n",
    .greet = greet,
    .subscribe = bin_subscribe,
    .receive = bin_receive,
};
