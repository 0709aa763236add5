/*
 * messages: pub and sub, by libshoal. See commands.h.
 *
 * The library has a thread of its own, on which all callbacks run; the program's thread reads standard input, or waits.
 * What ends the waiting (the last message that was wanted, a refusal, Ctrl-C) posts one semaphore.
 */
#include <errno.h>
#include <jansson.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/commands.h"
#include "protocol/base64.h"
#include "protocol/utf8.h"
#include <shoal.h>

#define INPUT_BYTES_MAX (64u << 20)

/* What a command and the callbacks share. */
struct session {
    const char *command;
    const struct options *options;
    struct shoal_client *client;
    _Atomic int status; /* of the first thing that failed; EXIT_DONE: nothing has */
    bool connected;     /* callbacks': once at least */
    bool cut;           /* callbacks': and told so */
    uint64_t seen;      /* callbacks': messages printed */
    _Atomic uint64_t lines_failed;
    bool terminal;
};

static sem_t ended;

static int status_of(enum shoal_error error)
{
    switch (error) {
    case SHOAL_OK:
        return EXIT_DONE;
    case SHOAL_ERROR_ARGUMENT:
    case SHOAL_ERROR_URL:
    case SHOAL_ERROR_MESSAGE_INVALID:
    case SHOAL_ERROR_TOPIC_INVALID:
    case SHOAL_ERROR_FILTER_INVALID:
    case SHOAL_ERROR_NOT_A_TOPIC:
    case SHOAL_ERROR_KEY_TOO_LONG:
    case SHOAL_ERROR_POSITION_INVALID:
    case SHOAL_ERROR_OVERLAP:
        return EXIT_USAGE;
    case SHOAL_ERROR_RESOLVE:
    case SHOAL_ERROR_CONNECT:
    case SHOAL_ERROR_HANDSHAKE:
    case SHOAL_ERROR_DISCONNECTED:
        return EXIT_UNREACHABLE;
    case SHOAL_ERROR_FORBIDDEN:
    case SHOAL_ERROR_TOPIC_RESERVED:
    case SHOAL_ERROR_AUTH_REQUIRED:
    case SHOAL_ERROR_TOKEN_INVALID:
    case SHOAL_ERROR_TOKEN_EXPIRED:
        return EXIT_FORBIDDEN;
    case SHOAL_ERROR_TIMEOUT:
        return EXIT_TIMEOUT;
    default:
        return EXIT_FAILED;
    }
}

/* The first failure decides how the program ends. */
/* The first failure decides how the program ends. */
static void note_status(struct session *session, int status)
{
    int done = EXIT_DONE;
    atomic_compare_exchange_strong(&session->status, &done, status);
}

static void note_failure(struct session *session, enum shoal_error error, const char *what)
{
    note_status(session, fail(status_of(error), session->command, "%s%s%s", what, what[0] ? ": " : "",
                              shoal_error_message(error)));
    sem_post(&ended);
}

/* A cut is told, and that it is over: the library goes on by itself. */
static void on_state(struct shoal_client *client, const struct shoal_state_change *change, void *context)
{
    (void)client;
    struct session *session = context;
    if (change->state == SHOAL_FAILED) {
        if (session->connected) {
            note_failure(session, change->error, change->detail);
        }
    } else if (change->state == SHOAL_DISCONNECTED && session->connected && !session->cut) {
        fprintf(stderr, "shoal %s: the connection was lost%s%s; trying again until it is back\n", session->command,
                change->detail[0] ? ": " : "", change->detail);
        session->cut = true;
    } else if (change->state == SHOAL_CONNECTED) {
        if (session->cut) {
            fprintf(stderr, "shoal %s: connected again\n", session->command);
        }
        session->connected = true;
        session->cut = false;
    }
}

static enum shoal_error options_fill(struct shoal_options *options, struct session *session)
{
    enum shoal_error error = shoal_options_set_on_state(options, on_state, session);
    if (!error) {
        error = shoal_options_set_url(options, session->options->url);
    }
    if (!error && session->options->token) {
        error = shoal_options_set_token(options, session->options->token);
    }
    if (!error && session->options->timeout_ms <= 600000) {
        error = shoal_options_set_connect_timeout(options, session->options->timeout_ms);
    }
    return error;
}

/* EXIT_DONE: session->client is connected. */
static int session_open(struct session *session)
{
    struct shoal_options *options = shoal_options_create();
    enum shoal_error error = options ? options_fill(options, session) : SHOAL_ERROR_MEMORY;
    if (!error) {
        error = shoal_connect(options, &session->client);
    }
    shoal_options_destroy(options);
    return error ? fail(status_of(error), session->command, "%s: %s", session->options->url, shoal_error_message(error))
                 : EXIT_DONE;
}

/* --- pub --- */

static enum shoal_kind kind_of(const struct options *options, const char *payload, size_t size)
{
    if (!options->type) {
        return utf8_valid(payload, size) ? SHOAL_TEXT : SHOAL_BINARY;
    }
    return strcmp(options->type, "json") == 0   ? SHOAL_JSON
           : strcmp(options->type, "text") == 0 ? SHOAL_TEXT
                                                : SHOAL_BINARY;
}

/* What a publish was, until it is acknowledged. */
struct published {
    struct session *session;
    uint64_t line; /* of standard input; 0: it was none */
};

/* Takes it. Of lines only the first that failed is told of by itself: one cut may be the end of many. */
static void publish_failed(struct published *published, enum shoal_error error)
{
    char what[32] = "";
    if (published->line) {
        snprintf(what, sizeof what, "line %llu", (unsigned long long)published->line);
    }
    if (!published->line || atomic_fetch_add(&published->session->lines_failed, 1) == 0) {
        note_failure(published->session, error, what);
    }
    free(published);
}

static void on_ack(struct shoal_client *client, enum shoal_error error, struct shoal_position position, void *context)
{
    (void)client;
    struct published *published = context;
    const struct session *session = published->session;
    if (error) {
        publish_failed(published, error);
        return;
    }
    free(published);
    char text[SHOAL_POSITION_TEXT_SIZE];
    shoal_position_write(position, text);
    if (session->options->json) {
        printf("{\"epoch\":\"%.16s\",\"offset\":%llu}\n", text, (unsigned long long)position.offset);
    } else {
        puts(text);
    }
}

static void publish(struct session *session, const char *payload, size_t size, uint64_t line)
{
    struct published *published = malloc(sizeof *published);
    if (!published) {
        note_failure(session, SHOAL_ERROR_MEMORY, "");
        return;
    }
    *published = (struct published){session, line};
    const struct options *options = session->options;
    const char *topic = options->arguments[0];
    enum shoal_kind kind = kind_of(options, payload, size);
    enum shoal_error error = options->key
                                 ? shoal_publish_keyed(session->client, topic, options->key, strlen(options->key),
                                                       payload, size, kind, on_ack, published)
                                 : shoal_publish(session->client, topic, payload, size, kind, on_ack, published);
    if (error) {
        publish_failed(published, error);
    }
}

/* All of standard input is one message. */
static void publish_input(struct session *session)
{
    char *bytes = NULL;
    size_t size = 0, room = 0, got;
    do {
        if (size == room) {
            room = room ? room * 2 : 65536;
            char *grown = room <= INPUT_BYTES_MAX ? realloc(bytes, room) : NULL;
            if (!grown) {
                note_failure(session, SHOAL_ERROR_PAYLOAD_TOO_LARGE, "");
                free(bytes);
                return;
            }
            bytes = grown;
        }
        got = fread(bytes + size, 1, room - size, stdin);
        size += got;
    } while (got > 0);
    publish(session, bytes, size, 0);
    free(bytes);
}

/* Each position is shown as soon as it is known, also to a pipe: who publishes by lines may do so for days. */
static void publish_lines(struct session *session)
{
    char *text = NULL;
    size_t room = 0;
    ssize_t size;
    uint64_t line = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    while (atomic_load(&session->status) == EXIT_DONE && (size = getline(&text, &room, stdin)) >= 0) {
        publish(session, text, (size_t)size - (size > 0 && text[size - 1] == '\n'), ++line);
    }
    free(text);
}

int command_pub(const struct options *options)
{
    struct session session = {.command = "pub", .options = options};
    if (options->lines && (options->argument_count > 1 || options->key)) {
        return fail(EXIT_USAGE, "pub", "--lines reads standard input: it takes no PAYLOAD and no --key");
    }
    sem_init(&ended, 0, 0);
    int status = session_open(&session);
    if (status != EXIT_DONE) {
        return status;
    }
    if (options->lines) {
        publish_lines(&session);
    } else if (options->argument_count > 1) {
        publish(&session, options->arguments[1], strlen(options->arguments[1]), 0);
    } else {
        publish_input(&session);
    }
    enum shoal_error error = shoal_flush(session.client, options->timeout_ms);
    bool first = atomic_load(&session.status) == EXIT_DONE;
    if (error == SHOAL_ERROR_TIMEOUT && first) {
        const char *what = "not all was acknowledged within %g s (--timeout)";
        note_status(&session, fail(EXIT_TIMEOUT, "pub", what, options->timeout_ms / 1e3));
    } else if (error && first) {
        note_failure(&session, error, "");
    }
    shoal_close(session.client);
    uint64_t more = atomic_load(&session.lines_failed);
    if (more > 1) {
        fprintf(stderr, "shoal pub: %llu more %s not acknowledged\n", (unsigned long long)(more - 1),
                more == 2 ? "line was" : "lines were");
    }
    return atomic_load(&session.status);
}

/* --- sub --- */

static void print_json_text(const char *text, size_t size)
{
    json_t *string = json_stringn(text, size);
    if (string) {
        json_dumpf(string, stdout, JSON_ENCODE_ANY);
        json_decref(string);
    } else {
        fputs("null", stdout);
    }
}

static void print_base64(const void *bytes, size_t size)
{
    char *text = malloc(base64_size(size) + 1);
    if (text) {
        base64_write(text, (struct span){bytes, size});
        printf("\"%.*s\"", (int)base64_size(size), text);
        free(text);
    } else {
        fputs("null", stdout);
    }
}

/* Line ends in JSON can only be space between values: so a message stays one line. */
static void print_value(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        putchar(text[i] == '\n' || text[i] == '\r' ? ' ' : text[i]);
    }
}

static void print_as_json(const struct shoal_message *message)
{
    static const char *const kinds[] = {"binary", "text", "json"};
    char position[SHOAL_POSITION_TEXT_SIZE];
    shoal_position_write(message->position, position);
    fputs("{\"topic\":", stdout);
    print_json_text(message->topic, message->topic_size);
    printf(",\"epoch\":\"%.16s\",\"offset\":%llu,\"time_ms\":%llu,\"kind\":\"%s\",", position,
           (unsigned long long)message->position.offset, (unsigned long long)message->time_ms, kinds[message->kind]);
    if (message->kind == SHOAL_BINARY) {
        fputs("\"data_base64\":", stdout);
        print_base64(message->payload, message->payload_size);
    } else if (message->kind == SHOAL_JSON) {
        fputs("\"data\":", stdout);
        print_value(message->payload, message->payload_size);
    } else {
        fputs("\"data\":", stdout);
        print_json_text(message->payload, message->payload_size);
    }
    puts("}");
}

/* A terminal is not told to do what a payload says. */
static void print_for_people(const struct session *session, const struct shoal_message *message)
{
    printf("%s  %llu  ", message->topic, (unsigned long long)message->position.offset);
    if (message->kind == SHOAL_BINARY) {
        printf("(%zu bytes, binary)\n", message->payload_size);
        return;
    }
    const char *text = message->payload;
    for (size_t i = 0; i < message->payload_size; i++) {
        unsigned char byte = (unsigned char)text[i];
        bool control = (byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7F;
        putchar(session->terminal && control ? '?' : byte);
    }
    putchar('\n');
}

static void on_message(struct shoal_subscription *subscription, const struct shoal_message *message, void *context)
{
    (void)subscription;
    struct session *session = context;
    if (session->options->count && session->seen == session->options->count) {
        return;
    }
    if (session->options->raw) {
        fwrite(message->payload, 1, message->payload_size, stdout);
        putchar('\n');
    } else if (session->options->json) {
        print_as_json(message);
    } else {
        print_for_people(session, message);
    }
    fflush(stdout);
    session->seen++;
    if (session->seen == session->options->count || ferror(stdout)) {
        sem_post(&ended);
    }
}

static void on_gap(struct shoal_subscription *subscription, const struct shoal_gap *gap, void *context)
{
    (void)subscription;
    const struct session *session = context;
    const char *reason = shoal_gap_reason_name(gap->reason);
    if (session->options->json) {
        fputs("{\"gap\":true,\"topic\":", stdout);
        print_json_text(gap->topic, strlen(gap->topic));
        printf(",\"from\":%llu,\"to\":%llu,\"reason\":\"%s\"}\n", (unsigned long long)gap->from,
               (unsigned long long)gap->to, reason);
        fflush(stdout);
    } else {
        fprintf(stderr, "shoal sub: %s: missed %llu to %llu (%s)\n", gap->topic, (unsigned long long)gap->from,
                (unsigned long long)gap->to, reason);
    }
}

static void on_status(struct shoal_subscription *subscription, enum shoal_error error, struct shoal_position position,
                      void *context)
{
    (void)position;
    if (error) {
        note_failure(context, error, shoal_subscription_filter(subscription));
    }
}

/* False: not a place. */
static bool from_read(const char *text, struct shoal_from *from)
{
    *from = (struct shoal_from){.kind = SHOAL_FROM_NEW};
    if (!text || strcmp(text, "new") == 0) {
        return true;
    }
    if (strcmp(text, "last") == 0) {
        from->kind = SHOAL_FROM_LAST;
        return true;
    }
    from->kind = SHOAL_FROM_POSITION;
    return shoal_position_read(text, &from->position) == SHOAL_OK;
}

static void on_signal(int signal)
{
    (void)signal;
    sem_post(&ended);
}

static void signals_take(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* True: something has ended it; false: the time is over. */
static bool wait_for_end(const struct options *options)
{
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += options->timeout_ms / 1000;
    end.tv_nsec += options->timeout_ms % 1000 * 1000000;
    if (end.tv_nsec >= 1000000000) {
        end.tv_sec++;
        end.tv_nsec -= 1000000000;
    }
    int result;
    do {
        result = options->timeout_given ? sem_clockwait(&ended, CLOCK_MONOTONIC, &end) : sem_wait(&ended);
    } while (result != 0 && errno == EINTR);
    return result == 0;
}

static void subscribe_all(struct session *session, const struct shoal_from *from)
{
    const struct shoal_subscriber subscriber = {
        .on_message = on_message,
        .on_gap = on_gap,
        .on_status = on_status,
        .context = session,
    };
    for (int i = 0; i < session->options->argument_count; i++) {
        const char *filter = session->options->arguments[i];
        enum shoal_error error = shoal_subscribe(session->client, filter, from, &subscriber, NULL);
        if (error) {
            note_failure(session, error, filter);
        }
    }
}

int command_sub(const struct options *options)
{
    struct session session = {.command = "sub", .options = options, .terminal = isatty(STDOUT_FILENO)};
    struct shoal_from from;
    if (!from_read(options->from, &from)) {
        return fail(EXIT_USAGE, "sub", "--from takes new, last or EPOCH:OFFSET, not '%s'", options->from);
    }
    sem_init(&ended, 0, 0);
    signals_take();
    int status = session_open(&session);
    if (status != EXIT_DONE) {
        return status;
    }
    subscribe_all(&session, &from);
    bool in_time = wait_for_end(options);
    shoal_close(session.client);
    status = atomic_load(&session.status);
    if (status == EXIT_DONE && !in_time && options->count) {
        status = fail(EXIT_TIMEOUT, "sub", "%llu of %llu messages came in time", (unsigned long long)session.seen,
                      (unsigned long long)options->count);
    }
    return status;
}
