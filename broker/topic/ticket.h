/*
 * ticket: a client's request on its way to the owner of a topic, and back.
 *
 * It carries what the owner needs and cannot borrow (the frame that it came in is gone by then), and what the shard
 * needs when the answer is there: whose it was, and under which id. The shard that made it frees it: it always
 * comes back, also when its connection has gone.
 *
 *   conn/execute ── ASK_PUBLISH ──▶ owner: appends, sets status, epoch, offset ── TELL_PUBLISHED ──▶ conn/execute
 */
#ifndef SHOAL_TOPIC_TICKET_H
#define SHOAL_TOPIC_TICKET_H

#include <stdlib.h>

#include "protocol/command.h"
#include "topic/idempotency.h"

struct chunk;

struct ticket {
    /* set by the shard that makes it */
    uint64_t hash;                /* of the topic */
    struct idempotency_id key_id; /* valid if there is a key */
    uint32_t conn;                /* whose it is */
    uint16_t generation;          /* of that connection: if it differs when the ticket is back, nobody waits any more */
    uint8_t shard;
    uint8_t kind; /* enum payload_kind */
    bool again;   /* the publish was sent to another broker before */
    uint8_t topic_size;
    uint8_t key_size;
    uint8_t id_size;
    uint32_t payload_size;
    uint32_t read_max; /* ASK_READ: messages wanted */
    /* set by the owner */
    uint8_t status; /* enum reply_error */
    uint64_t epoch;
    uint64_t offset;
    struct chunk *chunk;    /* ASK_READ: reference given on the chunk that holds the first message; NULL: none */
    uint64_t first;         /* ASK_READ: offset of the first message */
    uint64_t position;      /* ASK_READ: the same in the log (topic/chunk.h) */
    uint64_t position_last; /* ASK_READ: of the last message */
    struct ticket *next;    /* in the line of whoever holds it */
    char bytes[];           /* topic, key, id, payload */
};

/* Tickets in a line, first in, first out. */
struct tickets {
    struct ticket *first; /* NULL: none */
    struct ticket *last;  /* valid if there is a first */
};

static inline void tickets_push(struct tickets *tickets, struct ticket *ticket)
{
    ticket->next = NULL;
    *(tickets->first ? &tickets->last->next : &tickets->first) = ticket;
    tickets->last = ticket;
}

/* Takes the first out of the line, NULL: there is none. Gives it. */
static inline struct ticket *tickets_take(struct tickets *tickets)
{
    struct ticket *ticket = tickets->first;
    if (ticket) {
        tickets->first = ticket->next;
    }
    return ticket;
}

static inline size_t ticket_size(size_t topic, size_t key, size_t id, size_t payload)
{
    return sizeof(struct ticket) + topic + key + id + payload;
}

/* Copies what is given into a new ticket. NULL: no memory. Gives it. */
static inline struct ticket *ticket_create(struct span topic, struct span key, struct span id, struct span payload)
{
    struct ticket *ticket = malloc(ticket_size(topic.size, key.size, id.size, payload.size));
    if (ticket) {
        *ticket = (struct ticket){
            .topic_size = (uint8_t)topic.size,
            .key_size = (uint8_t)key.size,
            .id_size = (uint8_t)id.size,
            .payload_size = (uint32_t)payload.size,
        };
        char *at = ticket->bytes;
        const struct span parts[] = {topic, key, id, payload};
        for (int i = 0; i < 4; i++) {
            if (parts[i].size) {
                memcpy(at, parts[i].data, parts[i].size);
            }
            at += parts[i].size;
        }
    }
    return ticket;
}

static inline struct span ticket_topic(const struct ticket *ticket)
{
    return (struct span){ticket->bytes, ticket->topic_size};
}

static inline struct span ticket_key(const struct ticket *ticket)
{
    return (struct span){ticket->bytes + ticket->topic_size, ticket->key_size};
}

static inline struct span ticket_id(const struct ticket *ticket)
{
    return (struct span){ticket->bytes + ticket->topic_size + ticket->key_size, ticket->id_size};
}

static inline struct span ticket_payload(const struct ticket *ticket)
{
    return (struct span){ticket->bytes + ticket->topic_size + ticket->key_size + ticket->id_size, ticket->payload_size};
}

#endif
