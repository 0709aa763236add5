/*
 * shoal.h: libshoal, the client library of the Shoal broker.
 *
 *      struct shoal_client *client;
 *      enum shoal_error error = shoal_connect(NULL, &client);
 *      if (!error)
 *          error = shoal_publish_wait(client, "demo/hello", "hello", 5, SHOAL_TEXT, 5000, NULL);
 *      if (error)
 *          fprintf(stderr, "%s\n", shoal_error_message(error));
 *      shoal_close(client);
 *
 * A client is one connection to a broker that is made again whenever it is lost: subscriptions resume after the last
 * message that was delivered, and what was published and not acknowledged is published again, with keys by which the
 * broker knows what it has already. So within the broker's history nothing is missed or doubled; what could not be
 * kept is told, never left to guess: messages by the gap callback, publishes by the error of their acknowledgement.
 *
 * Two ways of use, chosen by shoal_options_set_poll():
 *
 * By its own thread, the default: the library runs a thread. Every function may be called from any thread at any time.
 * Callbacks run on the library's thread, one at a time.
 *
 * Poll-driven: there is no thread. The program waits for shoal_fd() to have shoal_events(), at most for
 * shoal_timeout_ms(), and then calls shoal_poll(), in which all callbacks run. The functions of one client are called
 * by one thread at a time.
 *
 * Callbacks are never called under a lock of the library, and may call every function of the library, shoal_close()
 * included, but for those that wait (…_wait, shoal_flush, shoal_run): these answer SHOAL_ERROR_IN_CALLBACK there. While
 * a callback runs, nothing else of its client is read: who is slow for long is in the end slow to the broker.
 *
 * Every string is UTF-8, every size is in bytes, every time span is in milliseconds, every point in time is in
 * milliseconds since 1970. Functions that fail have changed nothing. Pointers given to a function are borrowed until it
 * returns unless it says otherwise; pointers given to a callback are borrowed until the callback returns.
 */
#ifndef SHOAL_H
#define SHOAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define SHOAL_API __attribute__((visibility("default")))
#else
#define SHOAL_API
#endif

#define SHOAL_WAIT_FOREVER (-1)

/* Version of the library that runs, such as "0.1.0". Static. Any thread. */
SHOAL_API const char *shoal_version(void);

/* ---- errors ---- */

/* When trying the same again makes sense. */
enum shoal_retry {
    SHOAL_RETRY_NEVER, /* not before something has been changed */
    SHOAL_RETRY_LATER, /* the same may succeed after a while */
    SHOAL_RETRY_CHECK, /* it may have succeeded already: only with a key, or if doing it twice does no harm */
};

/* X(NAME, retry, "name", "sentence": what is wrong and what to do). Rows are only ever added at the end. */
#define SHOAL_ERRORS(X)                                                                                                \
    X(ARGUMENT, NEVER, "argument", "An argument is not valid: see the function's description in shoal.h.")             \
    X(URL, NEVER, "url",                                                                                               \
      "This is not a broker's URL: write ws://HOST:PORT, such as ws://127.0.0.1:7070; wss:// is not spoken yet.")      \
    X(MEMORY, LATER, "memory", "There is no memory left.")                                                             \
    X(RESOLVE, LATER, "resolve", "The host's name could not be resolved: check the URL and the name service.")         \
    X(CONNECT, LATER, "connect",                                                                                       \
      "Nobody answers at this address: is shoald running, and is the URL its listen.address?")                         \
    X(HANDSHAKE, NEVER, "handshake", "What answers there is no Shoal broker that speaks shoal.v1.bin: check the URL.") \
    X(TIMEOUT, LATER, "timeout",                                                                                       \
      "It was not done in time; it goes on, or was given up where the description says so.")                           \
    X(DISCONNECTED, LATER, "disconnected", "The connection to the broker was lost; the client is connecting again.")   \
    X(CLOSED, NEVER, "closed", "The client was closed before this was done.")                                          \
    X(FULL, LATER, "full", "Too much is unacknowledged: wait for acknowledgements, or set a larger window.")           \
    X(IN_CALLBACK, NEVER, "in_callback",                                                                               \
      "A function that waits was called in a callback: use the one with a callback.")                                  \
    X(UNCERTAIN, CHECK, "uncertain",                                                                                   \
      "The broker restarted, is another one, or was away too long: perhaps the message was published, perhaps not.")   \
    X(PROTOCOL, NEVER, "protocol", "The broker sent what the protocol does not allow: check that versions match.")     \
    X(MESSAGE_INVALID, NEVER, "message_invalid", "The payload is not what its kind says: check the JSON or UTF-8.")    \
    X(TOPIC_INVALID, NEVER, "topic_invalid",                                                                           \
      "Topics are 1 to 255 bytes of UTF-8 in levels separated by /, with no empty level and no control character.")    \
    X(FILTER_INVALID, NEVER, "filter_invalid", "In a filter + stands for one whole level, # for all the last levels.") \
    X(TOPIC_RESERVED, NEVER, "topic_reserved", "Topics that start with $ belong to the broker: choose another.")       \
    X(NOT_A_TOPIC, NEVER, "not_a_topic", "A filter can't be published to: name one topic.")                            \
    X(FORBIDDEN, NEVER, "forbidden", "The token does not allow this topic: get one that does.")                        \
    X(AUTH_REQUIRED, NEVER, "auth_required", "The broker wants a token: set one.")                                     \
    X(TOKEN_INVALID, NEVER, "token_invalid", "The broker does not accept the token: check its signature and claims.")  \
    X(TOKEN_EXPIRED, NEVER, "token_expired", "The token has expired: get a new one, and call shoal_set_token().")      \
    X(ALREADY_SUBSCRIBED, NEVER, "already_subscribed", "This client follows this topic or filter already.")            \
    X(NOT_SUBSCRIBED, NEVER, "not_subscribed", "This client does not follow this topic or filter.")                    \
    X(SUBSCRIPTIONS_LIMIT, NEVER, "subscriptions_limit",                                                               \
      "One connection may not follow more: use a filter or a second client.")                                          \
    X(TOPICS_LIMIT, LATER, "topics_limit", "The broker has as many topics as it may have: raise limits.topics.")       \
    X(PAYLOAD_TOO_LARGE, NEVER, "payload_too_large",                                                                   \
      "The payload is larger than the broker allows: send less, or raise its limit.")                                  \
    X(KEY_TOO_LONG, NEVER, "key_too_long", "An idempotency key has at most 128 bytes.")                                \
    X(POSITION_INVALID, NEVER, "position_invalid",                                                                     \
      "The position is ahead of the topic: it was never given out by it.")                                             \
    X(BUSY, LATER, "busy", "The broker is short of room now: try again after a while.")                                \
    X(UNAVAILABLE, CHECK, "unavailable",                                                                               \
      "The log that the broker's hosts share can't be reached now; a message may have been published all the same.")   \
    X(DRAINING, LATER, "draining", "The broker is shutting down: the client connects again by itself.")                \
    X(UNSUPPORTED, NEVER, "unsupported", "The broker does not offer this: check its version.")                         \
    X(OVERLAP, NEVER, "overlap",                                                                                       \
      "Another subscription of this client may match the same topics: use a client of its own for it.")                \
    X(BROKER, NEVER, "broker", "The broker refused with a code that this library does not know: use a newer library.")

enum shoal_error {
    SHOAL_OK = 0,
#define SHOAL_ERROR_ROW(name, retry, text, sentence) SHOAL_ERROR_##name,
    SHOAL_ERRORS(SHOAL_ERROR_ROW)
#undef SHOAL_ERROR_ROW
        SHOAL_ERROR_COUNT
};

/* "ok", or the row's name, sentence and retry. Static; never NULL, whatever the number. Any thread. */
SHOAL_API const char *shoal_error_name(enum shoal_error error);
SHOAL_API const char *shoal_error_message(enum shoal_error error);
SHOAL_API enum shoal_retry shoal_error_retry(enum shoal_error error);

/* ---- positions and messages ---- */

/* What a payload is, which decides how subscribers of other dialects are shown it. */
enum shoal_kind {
    SHOAL_BINARY, /* any bytes */
    SHOAL_TEXT,   /* valid UTF-8 */
    SHOAL_JSON,   /* one valid JSON value */
};

/* A place in one topic: that of the message with this offset. Offsets mean something within their epoch only. */
struct shoal_position {
    uint64_t epoch;
    uint64_t offset;
};

/* "EPOCH:OFFSET", the epoch as 16 hex digits: the form that URLs, SSE and the command line use. */
#define SHOAL_POSITION_TEXT_SIZE 40 /* with its NUL */
SHOAL_API void shoal_position_write(struct shoal_position position, char text[SHOAL_POSITION_TEXT_SIZE]);
/* SHOAL_ERROR_ARGUMENT: not such a text. */
SHOAL_API enum shoal_error shoal_position_read(const char *text, struct shoal_position *position);

struct shoal_message {
    const char *topic; /* where it was published, also if a filter is followed; with a NUL */
    size_t topic_size; /* without the NUL */
    const void *payload;
    size_t payload_size;
    enum shoal_kind kind;
    struct shoal_position position; /* keep it to resume after this message */
    uint64_t time_ms;               /* when the broker took it in, by the broker's clock */
};

enum shoal_gap_reason {
    SHOAL_GAP_SLOW,    /* this client read too slowly for the topic's backlog */
    SHOAL_GAP_EXPIRED, /* the history no longer reaches back to where the client was */
    SHOAL_GAP_EPOCH,   /* the topic lost its history: how much was missed nobody knows */
    SHOAL_GAP_FILTER,  /* a filter could not resume, or can't know of all topics since the broker restarted: what else
                          matched meanwhile, if anything, was missed (from, to: 0) */
};

/* Messages that should have been delivered, and will not be. */
struct shoal_gap {
    const char *topic; /* the topic or filter that is followed */
    uint64_t from;     /* offsets of the first and last message missed, as far as known: see docs/PROTOCOL.md, gap */
    uint64_t to;
    enum shoal_gap_reason reason;
    uint64_t epoch; /* the one that holds from now on */
};

SHOAL_API const char *shoal_gap_reason_name(enum shoal_gap_reason reason);

/* ---- options ---- */

struct shoal_options;
struct shoal_client;
struct shoal_subscription;

enum shoal_state {
    SHOAL_CONNECTING,   /* for the first time or again */
    SHOAL_CONNECTED,    /* subscriptions have been asked for again, and what was not acknowledged is under way */
    SHOAL_DISCONNECTED, /* tries again after retry_ms */
    SHOAL_FAILED,       /* gave up, as trying again would not help. Publishes fail, subscriptions wait for
                           shoal_set_token(), which connects again; else there is only shoal_close() */
};

struct shoal_state_change {
    enum shoal_state state;
    enum shoal_error error; /* DISCONNECTED, FAILED: why */
    const char *detail;     /* the same for people, with the system's own words: never NULL, may be empty */
    int64_t retry_ms;       /* DISCONNECTED: until the next attempt */
    const char *server;     /* CONNECTED: "shoald/0.1.0", else "" */
    const char *node;       /* CONNECTED: the broker's host, else "" */
};

/* Options with their defaults; the URL is SHOAL_URL of the environment if that is set. NULL: no memory. Gives it. */
SHOAL_API struct shoal_options *shoal_options_create(void);
SHOAL_API void shoal_options_destroy(struct shoal_options *options); /* takes it; NULL is allowed */

/*
 * Each setter checks what it is given: SHOAL_OK, or SHOAL_ERROR_ARGUMENT (SHOAL_ERROR_URL, SHOAL_ERROR_MEMORY) and the
 * option stays as it was. Strings are copied.
 */

/* ws://HOST[:PORT][/], IPv6 in brackets; the port is 7070 if not given. Default: ws://127.0.0.1:7070. */
SHOAL_API enum shoal_error shoal_options_set_url(struct shoal_options *options, const char *url);
/* JSON Web Token, at most 8192 bytes of visible ASCII; NULL: none. Default: none. */
SHOAL_API enum shoal_error shoal_options_set_token(struct shoal_options *options, const char *token);
/* true: poll-driven use, no thread. Default: false. */
SHOAL_API enum shoal_error shoal_options_set_poll(struct shoal_options *options, bool poll);
/*
 * true: shoal_connect() does not wait, and a broker that is not there yet is waited for. Default: false: it makes one
 * attempt and answers with its error. (Poll-driven clients never wait in shoal_connect().)
 */
SHOAL_API enum shoal_error shoal_options_set_patient(struct shoal_options *options, bool patient);
/* How long one attempt to connect may take: 1 to 600,000 ms. Default: 10,000. */
SHOAL_API enum shoal_error shoal_options_set_connect_timeout(struct shoal_options *options, int64_t timeout_ms);
/*
 * Pauses between attempts: the first is somewhere below `first_ms`, each further one below twice that, at most
 * `most_ms`; chance spreads clients that were cut at once. 1 to 600,000 ms, first <= most. Default: 100, 10,000.
 */
SHOAL_API enum shoal_error shoal_options_set_backoff(struct shoal_options *options, int64_t first_ms, int64_t most_ms);
/*
 * A broker that is silent for so long is pinged, and after twice the time taken for dead: 100 to 600,000 ms.
 * Default: 15,000.
 */
SHOAL_API enum shoal_error shoal_options_set_heartbeat(struct shoal_options *options, int64_t silence_ms);
/*
 * What may be published and not acknowledged yet, also while there is no connection: messages (1 to 1,048,576), bytes
 * (1024 to 1 GiB). Default: 16,384 messages, 16 MiB.
 */
SHOAL_API enum shoal_error shoal_options_set_window(struct shoal_options *options, uint32_t messages, size_t bytes);
/*
 * What shoal_publish() does when the window is full. true: wait for room (own thread only; not in a callback).
 * false: SHOAL_ERROR_FULL at once. Default: true.
 */
SHOAL_API enum shoal_error shoal_options_set_window_waits(struct shoal_options *options, bool waits);
/*
 * What becomes of publishes of which nobody knows whether they arrived, when the broker has restarted (it has forgotten
 * the keys; those of logged topics are in Redis, so these are published again safely), or is another one: false: they
 * fail with SHOAL_ERROR_UNCERTAIN, and nothing is ever doubled. true: they are published again, and nothing is ever
 * lost. Default: false.
 */
SHOAL_API enum shoal_error shoal_options_set_republish(struct shoal_options *options, bool republish);
/* Called at each change of state. NULL: nobody. */
typedef void shoal_on_state(struct shoal_client *client, const struct shoal_state_change *change, void *context);
SHOAL_API enum shoal_error shoal_options_set_on_state(struct shoal_options *options, shoal_on_state *on_state,
                                                      void *context);

/* ---- the client ---- */

/*
 * Makes a client and gives it to *client (NULL if it fails). `options`: NULL for the defaults; copied, to be destroyed
 * by the caller at any time. Own thread: waits for the connection, unless the options are patient; SHOAL_ERROR_CONNECT,
 * _RESOLVE, _TIMEOUT, _HANDSHAKE, _TOKEN_INVALID and so on tell why there is none.
 */
SHOAL_API enum shoal_error shoal_connect(const struct shoal_options *options, struct shoal_client **client);

/*
 * Ends the connection and takes the client; NULL is allowed. What is not acknowledged yet fails with
 * SHOAL_ERROR_UNCERTAIN if it was sent, else with SHOAL_ERROR_CLOSED (its callbacks run before this function returns):
 * call shoal_flush() before if that matters. No callback runs after it. In a callback: returns at once, the rest is
 * done when the callback has returned; the client must not be used any more.
 */
SHOAL_API void shoal_close(struct shoal_client *client);

/* The present state, for people and for tests: it may change at any time. */
SHOAL_API enum shoal_state shoal_client_state(struct shoal_client *client);

/* The program's own pointer, which the library only keeps. */
SHOAL_API void shoal_set_user(struct shoal_client *client, void *user);
SHOAL_API void *shoal_user(struct shoal_client *client);

/*
 * Another token: shown to the broker at once, and at each connection from now on. A client that has FAILED
 * connects again. SHOAL_ERROR_ARGUMENT: not a token.
 */
SHOAL_API enum shoal_error shoal_set_token(struct shoal_client *client, const char *token);

/* ---- poll-driven use ---- */

/*
 * What to wait for before shoal_poll(): ask again before each wait, the descriptor changes with the connection. fd: -1
 * between connections (poll() ignores it). events: of poll(): POLLIN, POLLOUT. timeout_ms: 0: call shoal_poll() at
 * once.
 */
SHOAL_API int shoal_fd(struct shoal_client *client);
SHOAL_API short shoal_events(struct shoal_client *client);
SHOAL_API int shoal_timeout_ms(struct shoal_client *client);
/*
 * Does what can be done without waiting (but for looking up a host's name), and calls the callbacks. SHOAL_OK;
 * SHOAL_ERROR_CLOSED: a callback has closed the client, which is gone now; the error of a client that has FAILED;
 * SHOAL_ERROR_IN_CALLBACK.
 */
SHOAL_API enum shoal_error shoal_poll(struct shoal_client *client);
/* poll() and shoal_poll() until `timeout_ms` have passed (or SHOAL_WAIT_FOREVER). Returns as shoal_poll(). */
SHOAL_API enum shoal_error shoal_run(struct shoal_client *client, int64_t timeout_ms);

/* ---- publishing ---- */

/*
 * Called once for each publish that shoal_publish() took. SHOAL_OK: published, at this position. Else why not:
 * shoal_error_retry() tells whether trying again makes sense; a publish that failed is not tried again by itself.
 */
typedef void shoal_on_ack(struct shoal_client *client, enum shoal_error error, struct shoal_position position,
                          void *context);

/*
 * Publishes: takes a copy of the payload (NULL is allowed if size is 0) and sends it in the order of the calls, again
 * after a cut, until it is acknowledged. `on_ack` may be NULL. SHOAL_OK: taken. Else nothing will be called:
 * SHOAL_ERROR_ARGUMENT, _TOPIC_INVALID, _NOT_A_TOPIC, _TOPIC_RESERVED, _PAYLOAD_TOO_LARGE (larger than the window, or
 * than the broker has said), _FULL, _MEMORY, _CLOSED, or the error of a client that has FAILED.
 */
SHOAL_API enum shoal_error shoal_publish(struct shoal_client *client, const char *topic, const void *payload,
                                         size_t size, enum shoal_kind kind, shoal_on_ack *on_ack, void *context);

/*
 * The same with an idempotency key of the program's own (1 to 128 bytes, else SHOAL_ERROR_KEY_TOO_LONG; size 0: none,
 * as shoal_publish()) instead of the library's: repeated with the same key, by whatever client, the message is
 * published once (docs/PROTOCOL.md, idempotency).
 */
SHOAL_API enum shoal_error shoal_publish_keyed(struct shoal_client *client, const char *topic, const void *key,
                                               size_t key_size, const void *payload, size_t size, enum shoal_kind kind,
                                               shoal_on_ack *on_ack, void *context);

/*
 * Publishes and waits for the acknowledgement. *position (if not NULL) is the message's. SHOAL_ERROR_TIMEOUT: there was
 * none in time; the message is still under way, and may arrive.
 */
SHOAL_API enum shoal_error shoal_publish_wait(struct shoal_client *client, const char *topic, const void *payload,
                                              size_t size, enum shoal_kind kind, int64_t timeout_ms,
                                              struct shoal_position *position);

/*
 * Waits until everything asked for so far is answered: publishes acknowledged (or failed), subscriptions established
 * (or refused), and their callbacks have returned. SHOAL_OK, SHOAL_ERROR_TIMEOUT, or the error of a client that has
 * FAILED.
 */
SHOAL_API enum shoal_error shoal_flush(struct shoal_client *client, int64_t timeout_ms);

/* Publishes that are not acknowledged yet. */
SHOAL_API uint32_t shoal_unacknowledged(struct shoal_client *client);

/* ---- subscribing ---- */

enum shoal_from_kind {
    SHOAL_FROM_NEW,      /* with the next message */
    SHOAL_FROM_LAST,     /* with the last message of the history, if there is one (topics only) */
    SHOAL_FROM_POSITION, /* with the message after `position` (topics only) */
};

struct shoal_from {
    enum shoal_from_kind kind;
    struct shoal_position position; /* SHOAL_FROM_POSITION */
};

/* What a subscription calls. What is NULL is not called. Set what is not used to zero: = {.on_message = …}. */
struct shoal_subscriber {
    void (*on_message)(struct shoal_subscription *subscription, const struct shoal_message *message, void *context);
    void (*on_gap)(struct shoal_subscription *subscription, const struct shoal_gap *gap, void *context);
    /*
     * SHOAL_OK: established, at the first time and after each cut; messages after `position` follow (a filter's
     * position only informs). Else: refused, and the subscription has ended: it must not be used after the callback.
     */
    void (*on_status)(struct shoal_subscription *subscription, enum shoal_error error, struct shoal_position position,
                      void *context);
    void *context;
    void *reserved[4];
};

/*
 * Follows a topic or a filter. No two subscriptions of one client may match the same topic: a message would come twice,
 * and nobody could say for which of them. `from` NULL: new. Gives *subscription (may be NULL if nobody needs it), which
 * is valid until shoal_unsubscribe(), a refusal, or shoal_close(). Goes out at once, or as soon as there is a
 * connection, and again after each cut: from the last message delivered of each topic. SHOAL_ERROR_TOPIC_INVALID,
 * _FILTER_INVALID, _ALREADY_SUBSCRIBED, _OVERLAP, _ARGUMENT (a filter from a position), _MEMORY, _CLOSED, or the error
 * of a client that has FAILED.
 */
SHOAL_API enum shoal_error shoal_subscribe(struct shoal_client *client, const char *filter,
                                           const struct shoal_from *from, const struct shoal_subscriber *subscriber,
                                           struct shoal_subscription **subscription);

/*
 * Ends a subscription, and takes it. No further callback of it begins; called on another thread than the callbacks',
 * one that runs already may still be running when this returns.
 */
SHOAL_API enum shoal_error shoal_unsubscribe(struct shoal_subscription *subscription);

/* The topic or filter. Borrowed, as long as the subscription is valid. */
SHOAL_API const char *shoal_subscription_filter(const struct shoal_subscription *subscription);

/* The position of the last message delivered (a topic's), to resume from: epoch 0 if there is none yet. */
SHOAL_API struct shoal_position shoal_subscription_position(struct shoal_subscription *subscription);

#ifdef __cplusplus
}
#endif

#endif
