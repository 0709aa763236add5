/*
 * crew: client processes that hold many WebSocket subscribers between them.
 *
 *      idle ── targets ──▶ ┌ member: 19,000 plain descriptors, one epoll ┐ ──▶ broker
 *           ◀── counts ─── └ member …                                    ┘
 *
 * A process has only so many descriptors, so subscribers are spread over as many processes as it takes. They are told
 * what to hold, and tell what they hold, in memory that all share: a line for each member, written by one side a field.
 * A member opens at most CREW_PENDING handshakes at a time, answers pings, and notes the delay of each message, whose
 * first eight bytes are the time of its publish (now_us()).
 *
 * The first `few` subscribers follow the topic bench/few, all others bench/all, or with `topics` > 1 one of bench/t/0,
 * bench/t/1, …
 *
 * A member that the broker cuts off does not come back: it counts as lost.
 */
#ifndef SHOAL_BENCH_CREW_H
#define SHOAL_BENCH_CREW_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/histogram.h"
#include "base/limits.h"

#define CREW_MEMBERS_MAX 512u
#define CREW_PENDING     64u

struct crew_options {
    uint16_t port;
    uint32_t connections; /* at most */
    uint32_t per_member;  /* at most */
    uint32_t topics;
    uint32_t few;
    const char *path;  /* all follow this, whatever it is: another broker's. NULL: Shoal's topics as above */
    const char *hello; /* with a path: sent in a binary frame after the upgrade, to subscribe. NULL: nothing */
};

/* What a member and its captain share. */
struct member {
    /* written by the captain */
    _Alignas(CACHE_LINE) _Atomic uint32_t target;
    _Atomic uint32_t churn_per_s; /* connections to drop, and to open anew, in a second */
    _Atomic bool quit;
    /* written by the member */
    _Alignas(CACHE_LINE) _Atomic uint32_t open;
    _Atomic uint32_t failed; /* handshakes that did not become a WebSocket */
    _Atomic uint32_t lost;   /* WebSockets that the broker ended */
    _Atomic uint64_t opened; /* in all */
    _Atomic uint64_t received;
    struct histogram delay_us;
};

struct crew {
    struct crew_options options;
    uint32_t size;
    struct member *members; /* shared */
    pid_t *pids;
};

struct crew_sum {
    uint64_t open, failed, lost, opened, received;
};

/* Forks the members; dies if it can't. */
void crew_start(struct crew *crew, const struct crew_options *options);

/* How many subscribers there are to be, spread evenly. Returns at once. */
void crew_set_target(struct crew *crew, uint32_t connections);
void crew_set_churn(struct crew *crew, uint32_t per_second);

struct crew_sum crew_sum(const struct crew *crew);

/* Forgets the delays so far. While nothing is under way. */
void crew_delays_reset(struct crew *crew);

/* The delay in us that `share` (0 to 1) of the messages did not exceed, at most a quarter too large. */
uint32_t crew_delay_us(const struct crew *crew, double share);

/* Ends the members, and with them their connections. */
void crew_stop(struct crew *crew);

/* The work of a member, until it is told to quit (member.c). */
void member_work(const struct crew_options *options, struct member *member, uint32_t number);

#endif
