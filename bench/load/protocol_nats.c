/*
 * protocol_nats: the client protocol of NATS, inside of WebSocket frames.
 *
 *      INFO {…}                        first
 *      +OK, PING, PONG, -ERR …
 *      MSG subject sid size            and the payload, each with a line end
 *
 * A frame of nats-server holds whole lines and payloads; should one not, the run ends.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frames.h"
#include "process.h"
#include "protocol.h"
#include "protocol/ws_frame.h"
#include "subscriber.h"
#include "workload.h"

void nats_subject(const char *topic, char *out, size_t room)
{
    snprintf(out, room, "%s", topic);
    for (char *slash = strchr(out, '/'); slash; slash = strchr(slash, '/')) {
        *slash = '.';
    }
}

/* INFO comes by itself; PONG tells that what was before has been worked. */
static size_t greet(char out[COMMAND_MAX], uint32_t *answers)
{
    static const char connect[] = "CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"c\",\"version\":\"1\","
                                  "\"protocol\":1,\"headers\":false}\r\n";
    *answers = 1;
    return frame_write(out, WS_BINARY, connect, sizeof connect - 1);
}

static size_t subscribe(char out[COMMAND_MAX], uint32_t id, const char *topic, bool all)
{
    char subject[TOPIC_NAME], command[COMMAND_MAX - FRAME_HEADER_MAX];
    nats_subject(topic, subject, sizeof subject);
    if (all) {
        strrchr(subject, '.')[1] = '*';
        strrchr(subject, '.')[2] = '\0';
    }
    int size = snprintf(command, sizeof command, "SUB %s %u\r\nPING\r\n", subject, id);
    return frame_write(out, WS_BINARY, command, (size_t)size);
}

/* A message whose first line is this. Returns how many bytes it has in all. */
static size_t message(struct subscriber *subscriber, const char *line, size_t line_size, size_t left)
{
    const char *last = memrchr(line, ' ', line_size);
    size_t size = last ? strtoul(last + 1, NULL, 10) : 0;
    if (size < STAMP_BYTES || left < line_size + size + 4) {
        die("a message without a stamp, or cut in two");
    }
    subscriber_had(subscriber, line + line_size + 2);
    return line_size + 2 + size + 2;
}

static bool is(const char *line, size_t size, const char *word)
{
    return size >= strlen(word) && memcmp(line, word, strlen(word)) == 0;
}

/* INFO may come again later. */
static void answered(struct subscriber *subscriber)
{
    if (subscriber->awaited > 0) {
        subscriber_answered(subscriber);
    }
}

static void lines(struct subscriber *subscriber, char *bytes, size_t size)
{
    char pong[FRAME_HEADER_MAX + 6];
    size_t at = 0;
    while (at < size) {
        const char *line = bytes + at, *end = memmem(line, size - at, "\r\n", 2);
        size_t line_size = end ? (size_t)(end - line) : 0;
        if (!end) {
            die("a line that is cut in two");
        } else if (is(line, line_size, "MSG ")) {
            at += message(subscriber, line, line_size, size - at);
            continue;
        } else if (is(line, line_size, "INFO ") || is(line, line_size, "PONG")) {
            answered(subscriber);
        } else if (is(line, line_size, "PING")) {
            subscriber_send(subscriber, pong, frame_write(pong, WS_BINARY, "PONG\r\n", 6));
        } else {
            die("not what was asked for: %.*s", (int)line_size, line);
        }
        at += line_size + 2;
    }
}

static size_t receive(struct subscriber *subscriber, char *bytes, size_t size)
{
    return frames_receive(subscriber, bytes, size, lines);
}

const struct protocol protocol_nats = {
    .name = "nats",
    .websocket = true,
    .path = "/",
    .lines = "",
    .greet = greet,
    .subscribe = subscribe,
    .receive = receive,
};
