/*
 * record: the truth of a run: what was published, and what became known of it.
 *
 * Topics and filters are few and fixed, so that they meet often. Each publish has a number, which its payload names and
 * from which its bytes follow: so whoever receives it can tell which it is, and that it is whole, the same for all.
 * Where a publish ended up (epoch, offset) is learned from whoever tells first, its answer or a subscriber, and all
 * others must agree.
 *
 * Matching is the slow, obvious kind.
 */
#ifndef SHOAL_TESTS_RECORD_H
#define SHOAL_TESTS_RECORD_H

#include "protocol/command.h"
#include "verdict.h"

enum { TOPIC_COUNT = 16, FILTER_COUNT = 9, PAYLOAD_ROOM = 65536, RECORD_HOSTS_MAX = 4 };

extern const char *const topic_names[TOPIC_COUNT];
extern const char *const filter_names[FILTER_COUNT];

/* A topic (number below TOPIC_COUNT) or a filter (number - TOPIC_COUNT). */
static inline const char *name_of(uint32_t number)
{
    return number < TOPIC_COUNT ? topic_names[number] : filter_names[number - TOPIC_COUNT];
}

/* Whether the topic is this one, or matches this filter. */
bool name_covers(uint32_t number, uint32_t topic);

/* Whether some topic is covered by both. */
bool names_overlap(uint32_t a, uint32_t b);

/* TOPIC_COUNT: unknown. */
uint32_t topic_number(struct span text);

enum publish_state { PUBLISH_SENT, PUBLISH_ACKNOWLEDGED, PUBLISH_REFUSED };

struct publish_place {
    bool known;
    uint64_t epoch; /* 0: only the offset was shown so far */
    uint64_t offset;
};

struct publish {
    uint8_t topic;
    uint8_t kind; /* enum payload_kind */
    uint8_t state;
    bool repeated;                                 /* sent more than once, with its key */
    uint32_t pad;                                  /* decides its size */
    uint64_t sent_at;                              /* step */
    struct publish_place places[RECORD_HOSTS_MAX]; /* see record_place() */
};

/* One life of a topic: publish by offset. */
struct life {
    uint64_t epoch;
    uint32_t *publishes; /* number + 1; 0: not known */
    uint32_t room;
    uint64_t tail; /* the largest offset known */
};

struct record {
    struct verdict *verdict;
    uint64_t step;
    struct publish *publishes;
    uint32_t publish_count, publish_room;
    struct {
        struct life *lives;
        uint32_t life_count;
        uint32_t sent;             /* publishes ever sent: at least its tail */
        uint32_t history_messages; /* surely kept; 0: no promise */
        bool logged;               /* in Redis: one order for all hosts */
    } topics[TOPIC_COUNT];
    bool federated;     /* several hosts */
    bool restarts;      /* Redis servers do: topics change their epochs */
    bool amnesia;       /* Redis has lost what it had acknowledged: what was repeated may be there twice */
    uint64_t delivered; /* messages that subscribers have read */
    uint64_t digest;    /* of all of them: two runs of a seed must agree */
};

void record_init(struct record *record, struct verdict *verdict);
void record_free(struct record *record);

/* A new publish. Gives its number. */
uint32_t record_publish(struct record *record, uint32_t topic, enum payload_kind kind, uint32_t pad);

/* Its bytes. Returns the size, at most PAYLOAD_ROOM. */
size_t payload_write(const struct record *record, uint32_t publish, char *out);

/* The publish whose payload this is; UINT32_MAX: of none, and the verdict knows. */
uint32_t payload_read(struct record *record, struct span payload);

/* Where it is on a host. Hosts have a log of their own of each live topic, and one for all of a logged one. */
static inline struct publish_place *record_place(const struct record *record, uint32_t publish, uint32_t host)
{
    struct publish *of = &record->publishes[publish];
    return &of->places[record->topics[of->topic].logged ? 0 : host];
}

/* It was answered, by this host. */
void record_acknowledged(struct record *record, uint32_t publish, uint32_t host, uint64_t epoch, uint64_t offset);
void record_refused(struct record *record, uint32_t publish);

/* Somebody received it from this host, at this place. `epoch` 0: not shown. */
void record_received(struct record *record, uint32_t publish, uint32_t host, uint64_t epoch, uint64_t offset);

/* The life of this epoch, made if need be. */
struct life *record_life(struct record *record, uint32_t topic, uint64_t epoch);

#endif
