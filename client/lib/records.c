/*
 * records: what the broker says, one record at a time: the lock is taken to change what both sides touch, and given
 * back before a callback is called.
 */
#include <stdio.h>

#include "client/client.h"
#include "client/ids.h"
#include "protocol/dialect_bin.h"

/* What a subscription is told, looked up under the lock and called without it. */
struct told {
    struct shoal_subscription *subscription; /* NULL: nobody */
    struct shoal_subscriber subscriber;
};

static struct told told_of(struct shoal_subscription *subscription)
{
    return subscription ? (struct told){subscription, subscription->subscriber} : (struct told){0};
}

/* --- words of the broker --- */

static enum shoal_error error_of(enum reply_error error)
{
    static const enum shoal_error errors[] = {
        [REPLY_MESSAGE_INVALID] = SHOAL_ERROR_MESSAGE_INVALID,
        [REPLY_OP_UNKNOWN] = SHOAL_ERROR_UNSUPPORTED,
        [REPLY_FIELD_MISSING] = SHOAL_ERROR_PROTOCOL,
        [REPLY_FIELD_INVALID] = SHOAL_ERROR_PROTOCOL,
        [REPLY_TOPIC_INVALID] = SHOAL_ERROR_TOPIC_INVALID,
        [REPLY_FILTER_INVALID] = SHOAL_ERROR_FILTER_INVALID,
        [REPLY_TOPIC_RESERVED] = SHOAL_ERROR_TOPIC_RESERVED,
        [REPLY_NOT_A_TOPIC] = SHOAL_ERROR_NOT_A_TOPIC,
        [REPLY_FORBIDDEN] = SHOAL_ERROR_FORBIDDEN,
        [REPLY_AUTH_REQUIRED] = SHOAL_ERROR_AUTH_REQUIRED,
        [REPLY_TOKEN_INVALID] = SHOAL_ERROR_TOKEN_INVALID,
        [REPLY_TOKEN_EXPIRED] = SHOAL_ERROR_TOKEN_EXPIRED,
        [REPLY_ALREADY_SUBSCRIBED] = SHOAL_ERROR_ALREADY_SUBSCRIBED,
        [REPLY_NOT_SUBSCRIBED] = SHOAL_ERROR_NOT_SUBSCRIBED,
        [REPLY_SUBSCRIPTIONS_LIMIT] = SHOAL_ERROR_SUBSCRIPTIONS_LIMIT,
        [REPLY_TOPICS_LIMIT] = SHOAL_ERROR_TOPICS_LIMIT,
        [REPLY_PAYLOAD_TOO_LARGE] = SHOAL_ERROR_PAYLOAD_TOO_LARGE,
        [REPLY_KEY_TOO_LONG] = SHOAL_ERROR_KEY_TOO_LONG,
        [REPLY_POSITION_INVALID] = SHOAL_ERROR_POSITION_INVALID,
        [REPLY_BUSY] = SHOAL_ERROR_BUSY,
        [REPLY_DRAINING] = SHOAL_ERROR_DRAINING,
        [REPLY_UNSUPPORTED] = SHOAL_ERROR_UNSUPPORTED,
        [REPLY_UNAVAILABLE] = SHOAL_ERROR_UNAVAILABLE,
        [REPLY_UNCERTAIN] = SHOAL_ERROR_UNCERTAIN,
    };
    bool known = error < sizeof errors / sizeof errors[0] && errors[error] != SHOAL_OK;
    return known ? errors[error] : SHOAL_ERROR_BROKER;
}

/* --- hello --- */

/* What is known of a publish when a connection begins. */
struct greeting {
    struct window_broker broker;
    int64_t now_ms;
    int64_t remembered_ms; /* for how long the broker surely remembers a key */
    size_t record_bytes_max;
};

/*
 * It may have been published, and the broker would not know it again: but for one of the same federation, which knows
 * what was published to logged topics, and refuses the others.
 */
static bool is_uncertain(const struct publish *publish, const void *what)
{
    const struct greeting *greeting = what;
    bool same = publish->broker.instance == greeting->broker.instance;
    bool joined = greeting->broker.federation && publish->broker.federation == greeting->broker.federation;
    return publish->sent_ms != 0 &&
           (!(same || joined) || greeting->now_ms - publish->sent_ms >= greeting->remembered_ms);
}

static bool is_too_large(const struct publish *publish, const void *what)
{
    return publish->size > ((const struct greeting *)what)->record_bytes_max;
}

static void hello(struct shoal_client *client, const struct reply *reply)
{
    struct publish_list failed = {0};
    struct greeting greeting = {
        .broker = {reply->instance, reply->federation},
        .now_ms = clock_ms(),
        .remembered_ms = reply->idempotency_ms - reply->idempotency_ms / 10,
        .record_bytes_max = (size_t)reply->payload_bytes_max + BIN_OVERHEAD_BYTES_MAX,
    };
    client_lock(client);
    if (!client->options.republish)
        window_fail(&client->window, is_uncertain, &greeting, SHOAL_ERROR_UNCERTAIN, &failed);
    window_fail(&client->window, is_too_large, &greeting, SHOAL_ERROR_PAYLOAD_TOO_LARGE, &failed);
    window_rewind(&client->window);
    client_reports(client);
    client->broker = greeting.broker;
    client->hello_ms = reply->time_ms;
    client->payload_bytes_max = reply->payload_bytes_max;
    client_unlock(client);
    client->greeted = true;
    client->batch_bytes_max = BATCH_BYTES_FIRST;
    publishes_report(client, &failed);
    char server[256], node[256];
    snprintf(server, sizeof server, "%.*s", (int)reply->server.size, reply->server.size ? reply->server.data : "");
    snprintf(node, sizeof node, "%.*s", (int)reply->node.size, reply->node.size ? reply->node.data : "");
    worker_set_state(
        client, &(struct shoal_state_change){.state = SHOAL_CONNECTED, .detail = "", .server = server, .node = node});
    client_lock(client);
    if (strcmp(client->token, client->link_token) !=
        0) /* set since the handshake began. No memory: with the next one */
        client_show_token(client);
    client_unlock(client);
}

/* --- publishes --- */

static void ack(struct shoal_client *client, const struct reply *reply)
{
    struct publish_list done = {0};
    uint32_t id = bin_id_read(reply->id);
    client_lock(client);
    for (uint32_t i = 0; i < reply->count && id >= 1 && id <= PUBLISH_IDS - i && i <= client->window.capacity; i++) {
        struct shoal_position position = {reply->epoch, reply->offset + i};
        window_done(&client->window, id + i, SHOAL_OK, position, &done);
    }
    client_reports(client);
    client_changed(client); /* there is room */
    client_unlock(client);
    if (client->batch_bytes_max < BATCH_BYTES_MAX)
        client->batch_bytes_max *= 2;
    publishes_report(client, &done);
}

static void publish_refused(struct shoal_client *client, uint32_t id, enum shoal_error error)
{
    struct publish_list done = {0};
    client_lock(client);
    if (error == SHOAL_ERROR_DRAINING)
        window_postpone(&client->window, id);
    else
        window_done(&client->window, id, error, (struct shoal_position){0}, &done);
    client_reports(client);
    client_changed(client);
    client_unlock(client);
    publishes_report(client, &done);
}

/* --- subscriptions --- */

void subscription_end(struct shoal_client *client, struct shoal_subscription *subscription)
{
    enum subscription_state next = SUBSCRIPTION_DEAD;
    if (subscription->state == SUBSCRIPTION_LIVE)
        next = SUBSCRIPTION_LEAVING;
    else if (subscription->state == SUBSCRIPTION_ASKED)
        next = SUBSCRIPTION_ENDING; /* the broker does not take an UNSUBSCRIBE before it has answered */
    subscription_set_state(&client->subscriptions, subscription, next);
}

static void tell_gap(const struct told *told, const struct shoal_gap *gap)
{
    if (told->subscriber.on_gap)
        told->subscriber.on_gap(told->subscription, gap, told->subscriber.context);
}

/*
 * A subscription stands. Returns whether more may be missed than the broker can know: it could only begin anew, or it
 * is a filter's and the broker another one, that has never heard of topics that this client has not heard of. With the
 * lock.
 */
static bool establish(struct shoal_client *client, struct shoal_subscription *subscription, const struct reply *reply)
{
    bool anew = !subscription->established || subscription->restarts;
    bool unknown =
        subscription->restarts || (!anew && subscription->wild && subscription->instance != client->broker.instance);
    if (anew) {
        positions_free(&subscription->positions);
        subscription->since_ms = reply->time_ms ? reply->time_ms : client->hello_ms; /* older messages are to come */
    }
    bool gap_follows = !anew && reply->has_recovered && !reply->recovered;
    if (!subscription->wild && !gap_follows) /* else the gap moves it: if the link is cut before, it is told again */
        subscription->position = (struct shoal_position){reply->epoch, reply->offset};
    subscription->established = true;
    subscription->restarts = false;
    subscription->instance = client->broker.instance;
    subscription_set_state(&client->subscriptions, subscription, SUBSCRIPTION_LIVE);
    return unknown;
}

/* The one that a reply is about; NULL: none, or it was an UNSUBSCRIBE. With the lock. */
static struct shoal_subscription *answered(struct subscriptions *table, uint32_t id)
{
    if (id == ID_AUTH)
        return NULL;
    table->unanswered -= table->unanswered > 0;
    return id == ID_UNSUBSCRIBE ? NULL : subscriptions_asked(table, id);
}

static void ok(struct shoal_client *client, const struct reply *reply)
{
    client_lock(client);
    struct shoal_subscription *subscription = answered(&client->subscriptions, bin_id_read(reply->id));
    struct told told = {0};
    bool unknown = false;
    struct shoal_position position = {reply->epoch, reply->offset};
    if (subscription && subscription->state == SUBSCRIPTION_ENDING) {
        subscription_set_state(&client->subscriptions, subscription, SUBSCRIPTION_LEAVING);
    } else if (subscription) {
        unknown = establish(client, subscription, reply);
        told = told_of(subscription);
    }
    client_reports(client);
    client_unlock(client);
    if (told.subscription && told.subscriber.on_status)
        told.subscriber.on_status(told.subscription, SHOAL_OK, position, told.subscriber.context);
    if (told.subscription && unknown) {
        bool wild = told.subscription->wild;
        tell_gap(&told, &(struct shoal_gap){.topic = told.subscription->filter,
                                            .reason = wild ? SHOAL_GAP_FILTER : SHOAL_GAP_EPOCH,
                                            .epoch = reply->epoch});
    }
    client_reported(client);
}

/* The broker can't resume it, but may be able to begin it anew. */
static bool begins_anew(const struct shoal_subscription *subscription, enum reply_error error)
{
    bool resumes = subscription->established && !subscription->restarts;
    return resumes && (error == REPLY_POSITION_INVALID || error == REPLY_UNSUPPORTED || error == REPLY_FIELD_INVALID);
}

static void subscribe_refused(struct shoal_client *client, uint32_t id, const struct reply *reply)
{
    enum shoal_error error = error_of(reply->error);
    client_lock(client);
    struct subscriptions *table = &client->subscriptions;
    struct shoal_subscription *subscription = answered(table, id);
    struct told told = {0};
    if (subscription && subscription->state == SUBSCRIPTION_ENDING) {
        subscription_set_state(table, subscription, SUBSCRIPTION_DEAD);
    } else if (subscription && begins_anew(subscription, reply->error)) {
        subscription->restarts = true;
        subscription_set_state(table, subscription, SUBSCRIPTION_WANTED);
    } else if (subscription && shoal_error_retry(error) != SHOAL_RETRY_NEVER) {
        subscription->not_before_ms = clock_ms() + BUSY_RETRY_MS;
        subscription_set_state(table, subscription, SUBSCRIPTION_DELAYED);
    } else if (subscription) {
        told = told_of(subscription);
        subscription_set_state(table, subscription, SUBSCRIPTION_DEAD);
    }
    client_reports(client);
    client_unlock(client);
    if (told.subscription && told.subscriber.on_status)
        told.subscriber.on_status(told.subscription, error, (struct shoal_position){0}, told.subscriber.context);
    client_reported(client);
}

static void refused(struct shoal_client *client, const struct reply *reply)
{
    uint32_t id = bin_id_read(reply->id);
    if (id == ID_AUTH)
        worker_fail(client, error_of(reply->error), "the broker refused the new token");
    else if (id > PUBLISH_IDS)
        subscribe_refused(client, id, reply);
    else if (id > 0)
        publish_refused(client, id, error_of(reply->error));
}

/* --- messages --- */

/*
 * Takes a message into the position of its topic. False: it was delivered before. *missed_from is set if others should
 * have come before it, and the broker has not said so.
 */
static bool advance(struct shoal_position *position, const struct reply *reply, uint64_t *missed_from)
{
    bool same = position->epoch == reply->epoch;
    if (same && reply->offset <= position->offset)
        return false;
    *missed_from = same && reply->offset > position->offset + 1 ? position->offset + 1 : 0;
    *position = (struct shoal_position){reply->epoch, reply->offset};
    return true;
}

static void message(struct shoal_client *client, const struct reply *reply)
{
    char topic[256];
    memcpy(topic, reply->topic.data, reply->topic.size); /* at most 255: its size has one byte */
    topic[reply->topic.size] = '\0';
    uint64_t missed_from = 0;
    client_lock(client);
    struct shoal_subscription *subscription = subscriptions_for(&client->subscriptions, reply->topic);
    struct shoal_position *position = NULL, unknown = {0};
    if (subscription)
        position = subscription->wild ? positions_of(&subscription->positions, reply->topic) : &subscription->position;
    bool fresh = subscription && advance(position ? position : &unknown, reply, &missed_from);
    struct told told = told_of(fresh ? subscription : NULL);
    client_unlock(client);
    if (missed_from && told.subscription)
        tell_gap(&told, &(struct shoal_gap){topic, missed_from, reply->offset - 1, SHOAL_GAP_SLOW, reply->epoch});
    if (told.subscriber.on_message)
        told.subscriber.on_message(told.subscription,
                                   &(struct shoal_message){
                                       .topic = topic,
                                       .topic_size = reply->topic.size,
                                       .payload = reply->payload.data,
                                       .payload_size = reply->payload.size,
                                       .kind = (enum shoal_kind)reply->payload_kind,
                                       .position = {reply->epoch, reply->offset},
                                       .time_ms = reply->time_ms,
                                   },
                                   told.subscriber.context);
}

/* Moves the position over what is missed. With the lock. */
static void pass_over(struct shoal_subscription *subscription, const struct reply *reply)
{
    struct span filter = {subscription->filter, subscription->filter_size};
    if (subscription->wild && span_equal(filter, reply->topic))
        return; /* counts the filter's own messages: each topic's gap shows by its offsets */
    struct shoal_position *position =
        subscription->wild ? positions_of(&subscription->positions, reply->topic) : &subscription->position;
    if (position)
        *position = (struct shoal_position){reply->epoch, reply->to_offset};
}

static void gap(struct shoal_client *client, const struct reply *reply)
{
    static const enum shoal_gap_reason reasons[] = {
        [GAP_SLOW] = SHOAL_GAP_SLOW, [GAP_EXPIRED] = SHOAL_GAP_EXPIRED, [GAP_EPOCH] = SHOAL_GAP_EPOCH};
    char topic[256];
    memcpy(topic, reply->topic.data, reply->topic.size);
    topic[reply->topic.size] = '\0';
    client_lock(client);
    struct shoal_subscription *subscription = subscriptions_named(&client->subscriptions, reply->topic);
    if (!subscription || subscription->state != SUBSCRIPTION_LIVE)
        subscription = subscriptions_for(&client->subscriptions, reply->topic);
    if (subscription)
        pass_over(subscription, reply);
    struct told told = told_of(subscription);
    client_unlock(client);
    if (told.subscription)
        tell_gap(&told, &(struct shoal_gap){topic, reply->from_offset, reply->to_offset, reasons[reply->reason],
                                            reply->epoch});
}

/* --- all of them --- */

static void work(struct shoal_client *client, const struct reply *reply)
{
    switch (reply->kind) {
    case REPLY_KIND_HELLO:
        hello(client, reply);
        break;
    case REPLY_KIND_OK:
        ok(client, reply);
        break;
    case REPLY_KIND_ACK:
        ack(client, reply);
        break;
    case REPLY_KIND_ERROR:
        refused(client, reply);
        break;
    case REPLY_KIND_MESSAGE:
        message(client, reply);
        break;
    case REPLY_KIND_GAP:
        gap(client, reply);
        break;
    case REPLY_KIND_PONG:
        break;
    }
}

static bool goes_on(struct shoal_client *client)
{
    client_lock(client);
    bool closing = client->closing;
    client_unlock(client);
    return !closing && client->link.stage == LINK_OPEN;
}

bool records_work(struct shoal_client *client, struct span body)
{
    struct reply reply;
    enum bin_read read = BIN_READ_REPLY;
    for (size_t at = 0; read == BIN_READ_REPLY && goes_on(client);) {
        read = bin_reply_read(body, &at, &reply);
        if (read == BIN_READ_REPLY)
            work(client, &reply);
    }
    if (read == BIN_READ_INVALID)
        worker_fail(client, SHOAL_ERROR_PROTOCOL, "the broker sent a record that is not valid");
    return true;
}

void records_disconnected(struct shoal_client *client)
{
    client_lock(client);
    subscriptions_disconnected(&client->subscriptions);
    bytes_clear(&client->control);
    client_unlock(client);
    client->greeted = false;
}
