/*
 * subscriber: one connection that follows topics, and what it has had of them.
 *
 * Bytes come in (subscriber_receive), the protocol cuts them into messages (protocol.h), and each message's stamp is
 * checked here: it must be the next of its topic. A reader that is slow on purpose may miss some; every other
 * difference ends the run.
 *
 *      bytes ─▶ skip what is left of a message whose stamp is known ─▶ stash + bytes ─▶ protocol ─▶ had(stamp)
 *                                                                       ▲ what it did not take, a unit cut in two, is
 *                                                                         stashed until more comes
 *
 * Belongs to one worker.
 */
#ifndef SHOAL_BENCH_SUBSCRIBER_H
#define SHOAL_BENCH_SUBSCRIBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct protocol;
struct worker;

struct subscriber {
    const struct protocol *protocol;
    struct worker *worker; /* NULL: a publisher's connection, to which no messages come */
    int socket;
    uint32_t awaited;  /* answers to its subscriptions still to come */
    uint32_t segments; /* that it had received when it was ready */
    uint8_t group;
    bool slow;
    uint32_t topic; /* of a subscriber that follows one */
    union {
        uint64_t next;   /* number that it has to get next */
        uint64_t *nexts; /* the same by topic, of one that follows all */
    };
    uint64_t skip;        /* bytes still to come of the message with this stamp: */
    uint64_t skip_number; /* its number */
    char *stash;
    size_t stash_size;
    size_t stash_room;
};

/* Works bytes of the stream; they may be changed. */
void subscriber_receive(struct subscriber *subscriber, char *bytes, size_t size);

/* --- what a protocol tells --- */

/* A message has come, and its payload begins here with its stamp. */
void subscriber_had(struct subscriber *subscriber, const char *stamp);

/* The same, but `rest` bytes of it are still to come, and are to be skipped. */
void subscriber_had_begin(struct subscriber *subscriber, const char *stamp, uint64_t rest);

/* One of its subscriptions stands. */
void subscriber_answered(struct subscriber *subscriber);

/* Sends bytes, now: of an answer to a ping. */
void subscriber_send(struct subscriber *subscriber, const char *bytes, size_t size);

#endif
