/*
 * protocol_redis: Redis Pub/Sub, in RESP2 on plain TCP.
 *
 *      *3 $7 message $9 bench/0/7 $128 PAYLOAD                      an array of strings, each $SIZE and the bytes,
 *      *4 $8 pmessage $9 bench/0/? $9 bench/0/7 $128 PAYLOAD        all with line ends
 *      *3 $9 subscribe $9 bench/0/7 :1                              the answer
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "process.h"
#include "protocol.h"
#include "subscriber.h"
#include "workload.h"

static size_t subscribe(char out[COMMAND_MAX], uint32_t id, const char *topic, bool all)
{
    (void)id;
    const char *last = strrchr(topic, '/');
    char name[TOPIC_NAME];
    int size = snprintf(name, sizeof name, "%.*s%s", all ? (int)(last - topic) + 1 : (int)strlen(topic), topic,
                        all ? "*" : "");
    const char *command = all ? "PSUBSCRIBE" : "SUBSCRIBE";
    return (size_t)snprintf(out, COMMAND_MAX, "*2\r\n$%zu\r\n%s\r\n$%d\r\n%s\r\n", strlen(command), command, size,
                            name);
}

/* A line at *at: its first character and the number behind it. False: not all there. */
static bool line_read(const char *bytes, size_t size, size_t *at, char *sign, size_t *number)
{
    const char *end = memmem(bytes + *at, size - *at, "\r\n", 2);
    if (!end) {
        return false;
    }
    *sign = bytes[*at];
    *number = strtoul(bytes + *at + 1, NULL, 10);
    *at = (size_t)(end - bytes) + 2;
    return true;
}

/* An array at *at. False: not all there. *first and *last are its first and last string. */
static bool array_read(const char *bytes, size_t size, size_t *at, const char **first, const char **last)
{
    char sign;
    size_t elements, number, position = *at;
    if (!line_read(bytes, size, &position, &sign, &elements)) {
        return false;
    }
    if (sign != '*') {
        die("not what was asked for: %.*s", (int)(position - *at), bytes + *at);
    }
    for (size_t i = 0; i < elements; i++) {
        if (!line_read(bytes, size, &position, &sign, &number)) {
            return false;
        }
        if (sign == '$') {
            if (size - position < number + 2) {
                return false;
            }
            *first = i == 0 ? bytes + position : *first;
            *last = number >= STAMP_BYTES ? bytes + position : NULL;
            position += number + 2;
        }
    }
    *at = position;
    return true;
}

static size_t receive(struct subscriber *subscriber, char *bytes, size_t size)
{
    size_t at = 0;
    const char *kind = NULL, *payload = NULL;
    while (at < size && array_read(bytes, size, &at, &kind, &payload)) {
        if (kind && (kind[0] == 's' || kind[1] == 's')) { /* subscribe, psubscribe */
            subscriber_answered(subscriber);
        } else if (payload) {
            subscriber_had(subscriber, payload);
        } else {
            die("a message without a stamp");
        }
    }
    return at;
}

const struct protocol protocol_redis = {.name = "redis", .subscribe = subscribe, .receive = receive};
