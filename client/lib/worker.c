/*
 * worker: one step of a client: connect if that is due, read, call back, write. See client.h.
 *
 * Pauses between attempts double from backoff_first to backoff_most, and chance takes a part of each ("full jitter"):
 * ten thousand clients that lose their broker together do not come back together. Where the broker told a time (the
 * close reason's after_ms, Retry-After), none is shorter than that.
 */
#include <limits.h>
#include <stdio.h>

#include "client/client.h"
#include "client/ids.h"
#include "protocol/dialect_bin.h"

/* --- states --- */

void worker_set_state(struct shoal_client *client, const struct shoal_state_change *change)
{
    client_lock(client);
    client->state = change->state;
    if (change->error)
        client->failure = change->error;
    if (change->state == SHOAL_DISCONNECTED || change->state == SHOAL_FAILED)
        client->attempted = true;
    client_changed(client);
    bool closing = client->closing;
    client_unlock(client);
    if (client->options.on_state && !closing)
        client->options.on_state(client, change, client->options.on_state_context);
}

static void tell_state(struct shoal_client *client, enum shoal_state state, enum shoal_error error, const char *detail,
                       int64_t retry_ms)
{
    worker_set_state(
        client, &(struct shoal_state_change){
                    .state = state, .error = error, .detail = detail, .retry_ms = retry_ms, .server = "", .node = ""});
}

void worker_fail(struct shoal_client *client, enum shoal_error error, const char *detail)
{
    struct publish_list lost = {0};
    char kept[sizeof client->link.detail]; /* `detail` may be the link's */
    snprintf(kept, sizeof kept, "%s", detail);
    link_close(&client->link);
    records_disconnected(client);
    client_lock(client);
    client->revived = false;
    client->state = SHOAL_FAILED; /* who publishes in its on_ack, or waited for room, is refused */
    client->failure = error;
    window_fail_all(&client->window, error, &lost);
    client_reports(client);
    client_unlock(client);
    publishes_report(client, &lost);
    tell_state(client, SHOAL_FAILED, error, kept, 0);
    client_lock(client);
    client->revived |= strcmp(client->token, client->link_token) != 0; /* set while the other was being refused */
    client_unlock(client);
}

/* --- connecting --- */

static int64_t backoff(struct shoal_client *client)
{
    int64_t ceiling = client->options.backoff_first_ms;
    for (uint32_t i = 0; i < client->failed_attempts && ceiling < client->options.backoff_most_ms; i++)
        ceiling *= 2;
    if (ceiling > client->options.backoff_most_ms)
        ceiling = client->options.backoff_most_ms;
    client->backoff_random = client->backoff_random * 6364136223846793005u + 1442695040888963407u;
    return (int64_t)((client->backoff_random >> 33) % (uint64_t)ceiling) + 1;
}

static void lost(struct shoal_client *client, int64_t now_ms)
{
    bool good = client->greeted && now_ms - client->connected_ms >= GOOD_CONNECTION_MS;
    client->failed_attempts = good || client->link.soon ? 0 : client->failed_attempts;
    records_disconnected(client);
    if (client->link.final) {
        worker_fail(client, client->link.error, client->link.detail);
        return;
    }
    int64_t pause_ms = backoff(client);
    pause_ms = client->link.after_ms > pause_ms ? client->link.after_ms : pause_ms; /* the broker spreads its clients */
    client->failed_attempts++;
    client->retry_ms = now_ms + pause_ms;
    tell_state(client, SHOAL_DISCONNECTED, client->link.error, client->link.detail, pause_ms);
}

/* Whether an attempt to connect is due, which then begins. */
static bool attempt(struct shoal_client *client, int64_t now_ms)
{
    client_lock(client);
    bool due = client->state == SHOAL_CONNECTING || client->revived ||
               (client->state == SHOAL_DISCONNECTED && now_ms >= client->retry_ms);
    bool again = client->state != SHOAL_CONNECTING;
    client->revived = false;
    memcpy(client->link_token, client->token, sizeof client->link_token);
    client_unlock(client);
    if (!due)
        return false;
    if (again)
        tell_state(client, SHOAL_CONNECTING, SHOAL_OK, "", 0);
    client->greeted = false;
    link_open(&client->link, &client->options, client->link_token, now_ms);
    return true;
}

/* --- writing --- */

/* Adds a command to the batch, unless that would become larger than `most`. False: it would, or there is no memory. */
static bool batch_command(struct shoal_client *client, const struct command *command, size_t most)
{
    size_t size = bin_command_write(command, NULL, 0), waiting = bytes_waiting(&client->batch);
    bool fits = waiting == 0 || waiting + size <= most;
    char *place = fits ? bytes_reach(&client->batch, size) : NULL;
    if (!place)
        return false;
    bin_command_write(command, place, size);
    client->batch.size += size;
    return true;
}

/* What a filter resumes from. False: it can't: too much is known, or not all. */
static bool positions_take(struct shoal_client *client, struct shoal_subscription *subscription, struct bytes *out)
{
    size_t size = positions_write(&subscription->positions, NULL, 0);
    char *place = NULL;
    if (!subscription->positions.incomplete && size <= client->payload_bytes_max)
        place = bytes_reach(out, size + 1);
    if (place)
        out->size += positions_write(&subscription->positions, place, size);
    return place != NULL;
}

/* Asks for one that is wanted. False: as batch_command(). With the lock. */
static bool batch_subscription(struct shoal_client *client, struct shoal_subscription *subscription, size_t most)
{
    char id[BIN_ID_SIZE];
    struct bytes positions = {0};
    struct command command;
    bool resumes = subscription->wild && subscription->established && !subscription->restarts;
    if (resumes && !positions_take(client, subscription, &positions))
        subscription->restarts = true;
    subscription_command(&client->subscriptions, subscription, id, bytes_span(&positions), &command);
    bool asked = batch_command(client, &command, most);
    if (asked)
        subscription_set_state(&client->subscriptions, subscription, SUBSCRIPTION_ASKED);
    bytes_free(&positions);
    return asked;
}

/* Tells of one that has ended. False: as batch_command(). With the lock. */
static bool batch_unsubscribe(struct shoal_client *client, struct shoal_subscription *subscription, size_t most)
{
    char id[BIN_ID_SIZE];
    bin_id_write(ID_UNSUBSCRIBE, id);
    struct command command = {
        .verb = COMMAND_UNSUBSCRIBE, .id = {id, sizeof id}, .topic = {subscription->filter, subscription->filter_size}};
    bool told = batch_command(client, &command, most);
    if (told)
        subscription_set_state(&client->subscriptions, subscription, SUBSCRIPTION_DEAD);
    return told;
}

/* The next one that the broker is to be told of, or asked for. NULL: none, for now. */
static struct shoal_subscription *next_to_say(const struct subscriptions *table)
{
    if (table->unanswered >= COMMANDS_UNANSWERED_MAX)
        return NULL;
    if (subscriptions_are_ending(table))
        return subscriptions_first(table, SUBSCRIPTION_LEAVING);
    return subscriptions_first(table, SUBSCRIPTION_WANTED);
}

/* What is to be said of subscriptions, as far as the batch and the memory go. With the lock. */
static void batch_subscriptions(struct shoal_client *client, size_t most, int64_t now_ms)
{
    struct subscriptions *table = &client->subscriptions;
    struct shoal_subscription *next;
    bool goes_on = true;
    subscriptions_retry(table, now_ms);
    while (goes_on && (next = next_to_say(table)) != NULL) {
        goes_on = next->state == SUBSCRIPTION_LEAVING ? batch_unsubscribe(client, next, most)
                                                      : batch_subscription(client, next, most);
        table->unanswered += goes_on;
    }
}

/* With the lock. */
static void batch_publishes(struct shoal_client *client, size_t most, int64_t now_ms)
{
    const struct publish *publish;
    size_t waiting = bytes_waiting(&client->batch);
    size_t room = waiting == 0 ? SIZE_MAX : waiting < most ? most - waiting : 0;
    while ((publish = window_send(&client->window, room, now_ms, &client->broker)) != NULL) {
        if (!bytes_add(&client->batch, publish->record, publish->size)) {
            window_rewind(&client->window); /* no memory: again later, the keys keep it from being doubled */
            return;
        }
        waiting = bytes_waiting(&client->batch);
        room = waiting < most ? most - waiting : 0;
    }
}

/* One batch of what is to be sent. False: nothing is. */
static bool send_batch(struct shoal_client *client, int64_t now_ms)
{
    bytes_clear(&client->batch);
    client_lock(client);
    size_t most = client->batch_bytes_max;
    if (most > client->payload_bytes_max)
        most = client->payload_bytes_max;
    struct span control = bytes_span(&client->control);
    if (bytes_add(&client->batch, control.data, control.size))
        bytes_clear(&client->control);
    batch_subscriptions(client, most, now_ms);
    batch_publishes(client, most, now_ms);
    client_unlock(client);
    struct span body = bytes_span(&client->batch);
    return body.size > 0 && link_send(&client->link, body);
}

static void write_all(struct shoal_client *client, int64_t now_ms)
{
    while (client->greeted && client->link.stage == LINK_OPEN && link_unsent(&client->link) < OUT_BYTES_HIGH &&
           send_batch(client, now_ms))
        link_flush(&client->link);
    link_flush(&client->link);
}

/* --- the step --- */

/* Whoever shook hands but does not say hello is no better than one who does not answer. */
static int64_t hello_deadline_ms(const struct shoal_client *client)
{
    bool awaited = client->link.stage == LINK_OPEN && !client->greeted;
    return awaited ? client->connected_ms + client->options.connect_timeout_ms : INT64_MAX;
}

static void watch_hello(struct shoal_client *client, int64_t now_ms)
{
    if (now_ms < hello_deadline_ms(client))
        return;
    link_lose(&client->link, SHOAL_ERROR_TIMEOUT, "the broker did not say hello in time");
    lost(client, now_ms);
}

static bool is_closing(struct shoal_client *client)
{
    client_lock(client);
    bool closing = client->closing;
    client_unlock(client);
    return closing;
}

/* Works what the link tells. False: nothing more, for now. */
static bool work_event(struct shoal_client *client, int64_t now_ms)
{
    struct span message;
    if (client->link.stage == LINK_DOWN && !attempt(client, now_ms))
        return false;
    switch (link_next(&client->link, now_ms, &message)) {
    case LINK_IDLE:
        return false;
    case LINK_OPENED:
        client->connected_ms = now_ms;
        return true;
    case LINK_MESSAGE:
        return records_work(client, message);
    case LINK_LOST:
        lost(client, now_ms);
        return true;
    }
    return false;
}

/* False: the client is closing. */
static bool step_begin(struct shoal_client *client)
{
    client_lock(client);
    client->worker = pthread_self();
    client->working = true;
    subscriptions_reap(&client->subscriptions);
    bool closing = client->closing;
    client_unlock(client);
    return !closing;
}

bool worker_step(struct shoal_client *client)
{
    if (!step_begin(client))
        return false;
    int64_t now_ms = clock_ms();
    int events = 0;
    while (!is_closing(client) && work_event(client, now_ms) && ++events < STEP_MESSAGES_MAX) {
    }
    client->more = events == STEP_MESSAGES_MAX;
    watch_hello(client, now_ms);
    if (is_closing(client))
        return false; /* `working` stays: client_end() calls back */
    write_all(client, now_ms);
    client_lock(client);
    client->working = false;
    bool closing = client->closing;
    client_unlock(client);
    return !closing;
}

/* --- waiting --- */

static bool has_unsent(const struct shoal_client *client)
{
    return client->state == SHOAL_CONNECTED &&
           (client->window.unsent < client->window.next || bytes_waiting(&client->control) > 0);
}

/* When the broker is to be told of a subscription, or asked (again), ms. INT64_MAX: not before it has answered. */
static int64_t subscriptions_due_ms(const struct shoal_client *client)
{
    const struct subscriptions *table = &client->subscriptions;
    const struct shoal_subscription *delayed = subscriptions_first(table, SUBSCRIPTION_DELAYED);
    if (client->state != SHOAL_CONNECTED)
        return INT64_MAX;
    if (next_to_say(table))
        return 0;
    return delayed && !subscriptions_are_ending(table) ? delayed->not_before_ms : INT64_MAX;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int worker_timeout_ms(const struct shoal_client *client)
{
    if (client->more || client->closing || client->revived)
        return 0;
    int64_t until = earlier(link_wakes_ms(&client->link), hello_deadline_ms(client));
    if (client->link.stage == LINK_DOWN)
        until = client->state == SHOAL_DISCONNECTED ? client->retry_ms : client->state == SHOAL_CONNECTING ? 0 : until;
    else if (link_unsent(&client->link) < OUT_BYTES_HIGH)
        until = earlier(has_unsent(client) ? 0 : until, subscriptions_due_ms(client));
    if (until == INT64_MAX)
        return -1;
    int64_t left = until - clock_ms();
    return left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

short worker_events(const struct shoal_client *client)
{
    return link_events(&client->link);
}
