/* subscriber: see subscriber.h. */
#include "subscriber.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "process.h"
#include "protocol.h"
#include "worker.h"

/* --- the checks --- */

static uint64_t *next_of(struct subscriber *subscriber, uint64_t number)
{
    const struct group *group = worker_group(subscriber);
    uint32_t topic = (uint32_t)(number % group->topics);
    if (group->follow != FOLLOW_ONE) {
        return &subscriber->nexts[topic];
    }
    if (topic != subscriber->topic) {
        die("message %lu came to a subscriber of topic %u of %s", number, subscriber->topic, group->name);
    }
    return &subscriber->next;
}

static void had(struct subscriber *subscriber, uint64_t number)
{
    uint64_t *next = next_of(subscriber, number);
    if (number != *next) {
        if (!subscriber->slow || number < *next) {
            die("%s: message %lu came, %lu was next", worker_group(subscriber)->name, number, *next);
        }
        worker_skipped(subscriber, (number - *next) / worker_group(subscriber)->topics);
    }
    *next = number + worker_group(subscriber)->topics;
    worker_had(subscriber, number);
}

static uint64_t number_of(struct subscriber *subscriber, const char *stamp)
{
    uint32_t group;
    uint64_t number = stamp_read(stamp, &group);
    if (group != subscriber->group) {
        die("a message of another group came: %.*s", (int)STAMP_BYTES, stamp);
    }
    return number;
}

static void expect_subscriber(const struct subscriber *subscriber)
{
    if (!subscriber->worker) {
        die("a message came to a publisher");
    }
}

void subscriber_had(struct subscriber *subscriber, const char *stamp)
{
    expect_subscriber(subscriber);
    had(subscriber, number_of(subscriber, stamp));
}

void subscriber_had_begin(struct subscriber *subscriber, const char *stamp, uint64_t rest)
{
    expect_subscriber(subscriber);
    subscriber->skip = rest;
    subscriber->skip_number = number_of(subscriber, stamp);
}

void subscriber_answered(struct subscriber *subscriber)
{
    if (subscriber->awaited == 0) {
        die("an answer that nobody asked for");
    }
    if (--subscriber->awaited == 0 && subscriber->worker) {
        worker_ready(subscriber);
    }
}

void subscriber_send(struct subscriber *subscriber, const char *bytes, size_t size)
{
    ssize_t sent = send(subscriber->socket, bytes, size, MSG_NOSIGNAL);
    if (sent != (ssize_t)size && !subscriber->slow) {
        die("an answer could not be sent: %s", strerror(errno));
    }
}

/* --- the stream --- */

static void stash(struct subscriber *subscriber, const char *bytes, size_t size)
{
    size_t needed = subscriber->stash_size + size;
    if (needed > subscriber->stash_room) {
        subscriber->stash_room = 2 * needed;
        subscriber->stash = realloc(subscriber->stash, subscriber->stash_room);
        if (!subscriber->stash) {
            die("no memory");
        }
    }
    memcpy(subscriber->stash + subscriber->stash_size, bytes, size);
    subscriber->stash_size = needed;
}

static size_t skip(struct subscriber *subscriber, size_t size)
{
    size_t count = subscriber->skip < size ? (size_t)subscriber->skip : size;
    subscriber->skip -= count;
    if (count > 0 && subscriber->skip == 0) {
        had(subscriber, subscriber->skip_number);
    }
    return count;
}

void subscriber_receive(struct subscriber *subscriber, char *bytes, size_t size)
{
    size_t skipped = skip(subscriber, size);
    bytes += skipped;
    size -= skipped;
    if (subscriber->stash_size > 0) {
        stash(subscriber, bytes, size);
        size_t taken = subscriber->protocol->receive(subscriber, subscriber->stash, subscriber->stash_size);
        subscriber->stash_size -= taken;
        memmove(subscriber->stash, subscriber->stash + taken, subscriber->stash_size);
    } else if (size > 0) {
        size_t taken = subscriber->protocol->receive(subscriber, bytes, size);
        if (taken < size) {
            stash(subscriber, bytes + taken, size - taken);
        }
    }
    if (subscriber->stash_size == 0 && subscriber->stash) {
        free(subscriber->stash); /* a hundred thousand of them are not to keep what one needed once */
        subscriber->stash = NULL;
        subscriber->stash_room = 0;
    }
}
