/*
 * publish: from the program's threads into the window.
 */
#include "client/client.h"
#include "protocol/dialect_bin.h"
#include "protocol/topic.h"

#define KEY_BYTES_MAX 128

/* What can be said without the broker. */
static enum shoal_error check(const struct command *command, enum shoal_kind kind)
{
    if ((unsigned)kind > SHOAL_JSON || (!command->payload.data && command->payload.size))
        return SHOAL_ERROR_ARGUMENT;
    if (topic_name_check(command->topic) != TOPIC_OK)
        return topic_filter_check(command->topic) == TOPIC_OK ? SHOAL_ERROR_NOT_A_TOPIC : SHOAL_ERROR_TOPIC_INVALID;
    if (topic_is_reserved(command->topic))
        return SHOAL_ERROR_TOPIC_RESERVED;
    return SHOAL_OK;
}

/*
 * Waits for room, if that is wanted and possible, until then at most. False: there is none. With the lock, which is let
 * go while it waits.
 */
static bool wait_for_room(struct shoal_client *client, size_t size, int64_t deadline_ms)
{
    bool waits = client->options.window_waits && !client->options.poll && !client_in_callback(client);
    while (waits && !window_fits(&client->window, size) && !client_usable(client) && clock_ms() < deadline_ms)
        client_wait_changed(client, deadline_ms);
    return window_fits(&client->window, size);
}

/* With the lock. */
static enum shoal_error put(struct shoal_client *client, struct command *command, shoal_on_ack *on_ack, void *context,
                            int64_t deadline_ms)
{
    size_t size = window_size_of(command);
    bool told = client->payload_bytes_max > 0;
    if (size > client->options.window_bytes || (told && command->payload.size > client->payload_bytes_max))
        return SHOAL_ERROR_PAYLOAD_TOO_LARGE;
    bool fits = wait_for_room(client, size, deadline_ms);
    enum shoal_error error = client_usable(client);
    if (error)
        return error;
    if (!fits)
        return client->options.window_waits && clock_ms() >= deadline_ms ? SHOAL_ERROR_TIMEOUT : SHOAL_ERROR_FULL;
    if (!window_put(&client->window, command, on_ack, context))
        return SHOAL_ERROR_MEMORY;
    client_wake(client);
    return SHOAL_OK;
}

/* The command for it, if it is one. */
static enum shoal_error make(struct command *command, const char *topic, const void *payload, size_t size,
                             enum shoal_kind kind)
{
    if (!topic || size > BIN_BODY_BYTES_MAX / 2)
        return SHOAL_ERROR_ARGUMENT;
    *command = (struct command){
        .verb = COMMAND_PUBLISH,
        .topic = {topic, strlen(topic)},
        .payload = {payload, size},
        .kind = (enum payload_kind)kind,
    };
    return check(command, kind);
}

enum shoal_error shoal_publish_keyed(struct shoal_client *client, const char *topic, const void *key, size_t key_size,
                                     const void *payload, size_t size, enum shoal_kind kind, shoal_on_ack *on_ack,
                                     void *context)
{
    if (!client || (key_size > 0 && !key))
        return SHOAL_ERROR_ARGUMENT;
    if (key_size > KEY_BYTES_MAX)
        return SHOAL_ERROR_KEY_TOO_LONG;
    struct command command;
    enum shoal_error error = make(&command, topic, payload, size, kind);
    if (error)
        return error;
    command.key = (struct span){key, key_size};
    client_lock(client);
    error = put(client, &command, on_ack, context, INT64_MAX);
    client_unlock(client);
    return error;
}

enum shoal_error shoal_publish(struct shoal_client *client, const char *topic, const void *payload, size_t size,
                               enum shoal_kind kind, shoal_on_ack *on_ack, void *context)
{
    return shoal_publish_keyed(client, topic, NULL, 0, payload, size, kind, on_ack, context);
}

uint32_t shoal_unacknowledged(struct shoal_client *client)
{
    client_lock(client);
    uint32_t count = client->window.count;
    client_unlock(client);
    return count;
}

/* --- waiting --- */

/* Shared by who waits and the acknowledgement, of which either may be the last to need it. */
struct receipt {
    atomic_int users;
    bool done; /* the fields below are set; with the lock */
    enum shoal_error error;
    struct shoal_position position;
};

static void receipt_drop(struct receipt *receipt)
{
    if (atomic_fetch_sub(&receipt->users, 1) == 1)
        free(receipt);
}

static void receipt_ack(struct shoal_client *client, enum shoal_error error, struct shoal_position position,
                        void *context)
{
    struct receipt *receipt = context;
    client_lock(client);
    receipt->error = error;
    receipt->position = position;
    receipt->done = true;
    client_changed(client);
    client_unlock(client);
    receipt_drop(receipt);
}

static bool receipt_done(struct shoal_client *client, void *what)
{
    (void)client;
    return ((struct receipt *)what)->done;
}

enum shoal_error shoal_publish_wait(struct shoal_client *client, const char *topic, const void *payload, size_t size,
                                    enum shoal_kind kind, int64_t timeout_ms, struct shoal_position *position)
{
    if (!client)
        return SHOAL_ERROR_ARGUMENT;
    int64_t deadline_ms = deadline_of(timeout_ms);
    struct command command;
    enum shoal_error error = make(&command, topic, payload, size, kind);
    struct receipt *receipt = error ? NULL : calloc(1, sizeof *receipt);
    if (!receipt)
        return error ? error : SHOAL_ERROR_MEMORY;
    atomic_init(&receipt->users, 2);
    client_lock(client);
    error =
        client_in_callback(client) ? SHOAL_ERROR_IN_CALLBACK : put(client, &command, receipt_ack, receipt, deadline_ms);
    client_unlock(client);
    if (error) {
        free(receipt);
        return error;
    }
    error = client_wait(client, receipt_done, receipt, deadline_ms);
    if (error == SHOAL_OK) {
        error = receipt->error;
        if (position)
            *position = receipt->position;
    }
    receipt_drop(receipt);
    return error;
}

struct flush {
    uint64_t until; /* all publishes before this one */
};

static bool is_flushed(struct shoal_client *client, void *what)
{
    const struct flush *flush = what;
    return client->window.first >= flush->until && subscriptions_are_settled(&client->subscriptions) &&
           bytes_waiting(&client->control) == 0 && !client->reporting;
}

enum shoal_error shoal_flush(struct shoal_client *client, int64_t timeout_ms)
{
    if (!client)
        return SHOAL_ERROR_ARGUMENT;
    client_lock(client);
    struct flush flush = {.until = client->window.next};
    client_unlock(client);
    return client_wait(client, is_flushed, &flush, deadline_of(timeout_ms));
}
