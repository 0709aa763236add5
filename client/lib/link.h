/*
 * link: one connection to the broker, from the host's name to whole messages. It never waits (but for the name
 * service), knows nothing of records, and takes no lock: it belongs to the thread that drives the client.
 *
 *      DOWN ── link_open ──▶ CONNECTING ── the socket is writable ──▶ HANDSHAKE ── 101 ──▶ OPEN
 *        ▲                    │  ▲ next address ◀── silent, or ended ── │                   │
 *        └────────────────────┴──┴──────────── link_close, or LINK_LOST ┴───────────────────┘
 *
 * What happens comes out of link_next(), one event a call, so that there is no callback and nothing is ever in the
 * middle of something. Silence is watched too: a broker that says nothing for heartbeat_ms is pinged, after twice the
 * time it is lost.
 */
#ifndef SHOAL_CLIENT_LINK_H
#define SHOAL_CLIENT_LINK_H

#include <netdb.h>

#include "client/bytes.h"
#include "client/options.h"
#include "protocol/span.h"
#include "protocol/ws_frame.h"

enum link_stage {
    LINK_DOWN,
    LINK_CONNECTING, /* address: the one that is tried */
    LINK_HANDSHAKE,  /* key, `in`: the answer so far */
    LINK_OPEN,       /* reader, message */
};

enum link_event {
    LINK_IDLE,    /* nothing more to do now */
    LINK_OPENED,  /* messages may be sent */
    LINK_MESSAGE, /* *message: a whole one, borrowed until the next call */
    LINK_LOST,    /* error, final, detail: why. The link is DOWN */
};

#define LINK_DETAIL_BYTES 384 /* a host of 255, and what is wrong with it */

struct link {
    enum link_stage stage;
    int fd;                         /* -1: none */
    bool final;                     /* LOST: trying again would not help */
    bool soon;                      /* LOST: the broker asked to come back and resume */
    uint32_t after_ms;              /* LOST: and not before so long, 0: it did not say */
    bool pinged;                    /* the broker has been silent and was pinged */
    enum shoal_error error;         /* LOST */
    char detail[LINK_DETAIL_BYTES]; /* LOST: for people */
    int64_t deadline_ms;            /* CONNECTING, HANDSHAKE: given up then */
    int64_t turn_ends_ms;           /* of the address; then the next one is tried, if there is one */
    int64_t heard_ms;               /* OPEN: when bytes last came */
    int64_t heartbeat_ms;
    uint64_t random;            /* state of the masking keys' generator */
    struct addrinfo *addresses; /* CONNECTING, HANDSHAKE */
    struct addrinfo *address;
    char host[HOST_BYTES_MAX + 16]; /* of the Host header */
    const char *token;              /* borrowed from link_open() until OPEN */
    char key[24];
    struct ws_reader reader;
    struct bytes in;      /* received, not looked at yet */
    struct bytes message; /* pieces of a message so far */
    bool message_given;   /* the last event gave `message`: it is done with at the next call */
    bool ended;           /* the peer has sent all it will */
    struct bytes out;     /* frames to be sent */
};

void link_init(struct link *link, uint64_t seed);
void link_free(struct link *link);

/* Begins to connect. May wait for the name service. What fails comes out of link_next(). */
void link_open(struct link *link, const struct shoal_options *options, const char *token, int64_t now_ms);

/* Sends a close frame, as far as that goes without waiting, and closes. */
void link_close(struct link *link);

/* What to wait for: events of poll(), and until when (INT64_MAX: no limit). */
short link_events(const struct link *link);
int64_t link_wakes_ms(const struct link *link);

/* Goes on until there is something to tell. */
enum link_event link_next(struct link *link, int64_t now_ms, struct span *message);

/* Queues a binary message. False: no memory; the link will be LOST. OPEN only. */
bool link_send(struct link *link, struct span body);

/* Bytes that are queued and not taken by the system yet. */
static inline size_t link_unsent(const struct link *link)
{
    return bytes_waiting(&link->out);
}

/* Gives up a connection, as if it had been LOST: error and detail are set, the link is DOWN. */
void link_lose(struct link *link, enum shoal_error error, const char *detail);

/* Gives the system what it takes. What fails comes out of link_next(). */
void link_flush(struct link *link);

#endif
