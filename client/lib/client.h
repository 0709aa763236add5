/*
 * client: what the files of the library share.
 *
 *      program's threads                    the worker (own thread, or whoever calls shoal_poll)
 *      shoal_publish ───▶ window ─────────▶ worker_step ──▶ link ──▶ broker
 *      shoal_subscribe ─▶ subscriptions ──▶     │    ◀── records ◀── link
 *      callbacks ◀──────────────────────────────┘
 *
 * One lock covers what both sides touch, and is never held while a callback, the name service or a socket is used. The
 * link and all else of the connection belong to the worker. What a program's thread has for the worker it leaves under
 * the lock, and wakes it if it sleeps.
 *
 * Ends: shoal_close() only asks. The worker, when no callback runs any more, lets everything fail that is left
 * (client_end), and frees the client.
 *
 * Files: client.c (made, ended, waiting), worker.c (the step), records.c (what the broker says), publish.c,
 * subscribe.c, thread.c.
 */
#ifndef SHOAL_CLIENT_CLIENT_H
#define SHOAL_CLIENT_CLIENT_H

#include <pthread.h>
#include <stdatomic.h>

#include "client/link.h"
#include "client/options.h"
#include "client/subscriptions.h"
#include "client/window.h"

/*
 * A batch of records is one WebSocket message of at most so many bytes, unless one record alone is larger. The broker
 * works whole messages only, so a connection begins with small ones and doubles with each acknowledgement: on one that
 * never lives for long there is still some progress.
 */
#define BATCH_BYTES_FIRST (4u << 10)
#define BATCH_BYTES_MAX   (64u << 10)
/* No further batch is made while more than this waits for the socket. */
#define OUT_BYTES_HIGH (256u << 10)
/* Messages that one step reads at most: writing, and the caller of shoal_poll(), get their turn. */
#define STEP_MESSAGES_MAX 1024
/* A subscription that the broker was too busy for is asked for again after so long. */
#define BUSY_RETRY_MS 1000
/* A connection that lasted so long was a good one: the next pause is short again. */
#define GOOD_CONNECTION_MS 1000

struct shoal_client {
    /* fixed after start */
    struct shoal_options options;
    int wake[2]; /* pipe to the own thread; -1: poll-driven */
    pthread_mutex_t lock;
    pthread_cond_t changed; /* something that a waiting thread may wait for has changed */
    _Atomic(void *) user;

    /* the worker's alone */
    struct link link;
    struct bytes batch;
    size_t batch_bytes_max;   /* on this connection, so far */
    uint32_t failed_attempts; /* since the last good connection */
    int64_t connected_ms;
    int64_t retry_ms; /* DISCONNECTED: when the next attempt is due */
    uint64_t backoff_random;
    char link_token[TOKEN_BYTES_MAX + 1]; /* the last one that was shown; written with the lock */
    bool greeted;                         /* the broker's hello has come */
    bool more;                            /* the step ended with messages still to be read */

    /* under the lock */
    pthread_t worker; /* valid while `working` */
    bool working;     /* a step is under way: its thread may be in a callback */
    bool reporting;   /* answers are being told: shoal_flush() waits until the callbacks have returned */
    bool closing;
    bool asleep;    /* own thread: waits in poll(); a byte in the pipe wakes it */
    bool revived;   /* FAILED, and there is a new token */
    bool attempted; /* an attempt to connect has failed since the start */
    uint32_t waiters;
    enum shoal_state state;
    enum shoal_error failure; /* FAILED; or of the last attempt */
    char token[TOKEN_BYTES_MAX + 1];
    struct window window;
    struct subscriptions subscriptions;
    struct bytes control; /* records that go out before all others: auth */
    /* of the broker that was connected last */
    struct window_broker broker; /* instance 0: none yet */
    uint64_t hello_ms;           /* its time then, ms since 1970 */
    uint32_t payload_bytes_max;
};

/* --- client.c --- */

int64_t clock_ms(void);
uint64_t random_u64(void);

static inline void client_lock(struct shoal_client *client)
{
    pthread_mutex_lock(&client->lock);
}

static inline void client_unlock(struct shoal_client *client)
{
    pthread_mutex_unlock(&client->lock);
}

/* Whether the calling thread is in a callback of this client. With the lock. */
static inline bool client_in_callback(const struct shoal_client *client)
{
    return client->working && pthread_equal(client->worker, pthread_self());
}

/* Why nothing can be asked of the client; SHOAL_OK: it can. With the lock. */
enum shoal_error client_usable(const struct shoal_client *client);

/* Shows the token on the connection that there is. SHOAL_OK, _MEMORY. With the lock. */
enum shoal_error client_show_token(struct shoal_client *client);

/* Wakes the own thread if it sleeps. With the lock. */
void client_wake(struct shoal_client *client);

/* Something has changed that threads may wait for. With the lock. */
static inline void client_changed(struct shoal_client *client)
{
    if (client->waiters)
        pthread_cond_broadcast(&client->changed);
}

/* Until client_changed(), or until then. INT64_MAX: however long. With the lock, which is let go meanwhile. */
void client_wait_changed(struct shoal_client *client, int64_t deadline_ms);

/*
 * Waits until `is_done(what)` (called with the lock) or the deadline (clock_ms(); INT64_MAX: none), by condition
 * variable or, poll-driven, by driving the client. SHOAL_OK, _TIMEOUT, _IN_CALLBACK, _CLOSED (the client may be gone),
 * or the error of a client that FAILED.
 */
enum shoal_error client_wait(struct shoal_client *client, bool (*is_done)(struct shoal_client *client, void *what),
                             void *what, int64_t deadline_ms);

/* clock_ms() plus a span, or INT64_MAX. */
int64_t deadline_of(int64_t timeout_ms);

/* Everything that is left fails, the client is freed. The worker's; nobody else uses the client any more. */
void client_end(struct shoal_client *client);

/* The worker has something to tell (with the lock), and has told it (without). */
static inline void client_reports(struct shoal_client *client)
{
    client->reporting = true;
}
void client_reported(struct shoal_client *client);

/* Calls the callbacks of a list, in order, and frees it; then it is reported. Without the lock. */
void publishes_report(struct shoal_client *client, struct publish_list *list);

/* --- worker.c --- */

/* Does all that can be done without waiting. False: the client is closing, and its worker must end it. */
bool worker_step(struct shoal_client *client);

/* Until when the worker may wait, in ms from now (at most INT_MAX). With the lock. */
int worker_timeout_ms(const struct shoal_client *client);
/* Events of poll() on the link's descriptor. With the lock. */
short worker_events(const struct shoal_client *client);

/* Moves to another state, and tells. Without the lock. */
void worker_set_state(struct shoal_client *client, const struct shoal_state_change *change);

/* Gives up: trying again would not help. Without the lock. */
void worker_fail(struct shoal_client *client, enum shoal_error error, const char *detail);

/* --- records.c --- */

/* Works the records of one message. False: the broker broke the protocol, or the client gave up or is closing. */
bool records_work(struct shoal_client *client, struct span message);

/* The program wants a subscription no more. With the lock. */
void subscription_end(struct shoal_client *client, struct shoal_subscription *subscription);

/* The connection is gone: what was under way is to be asked for again. Without the lock. */
void records_disconnected(struct shoal_client *client);

/* --- thread.c --- */

/* Starts the own thread. False: there is none. */
bool thread_start(struct shoal_client *client);

#endif
