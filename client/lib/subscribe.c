/*
 * subscribe: what a program follows, and the token that it shows.
 */
#include "client/client.h"
#include "client/ids.h"
#include "protocol/dialect_bin.h"
#include "protocol/topic.h"

static enum shoal_error check(struct span filter, const struct shoal_from *from)
{
    enum topic_problem problem = topic_filter_check(filter);
    if (problem == TOPIC_WILDCARD_NOT_ALONE || problem == TOPIC_WILDCARD_NOT_LAST)
        return SHOAL_ERROR_FILTER_INVALID;
    if (problem != TOPIC_OK)
        return SHOAL_ERROR_TOPIC_INVALID;
    if ((unsigned)from->kind > SHOAL_FROM_POSITION)
        return SHOAL_ERROR_ARGUMENT;
    return topic_filter_is_wild(filter) && from->kind != SHOAL_FROM_NEW ? SHOAL_ERROR_ARGUMENT : SHOAL_OK;
}

enum shoal_error shoal_subscribe(struct shoal_client *client, const char *filter, const struct shoal_from *from,
                                 const struct shoal_subscriber *subscriber, struct shoal_subscription **subscription)
{
    static const struct shoal_from from_new = {.kind = SHOAL_FROM_NEW};
    from = from ? from : &from_new;
    if (!client || !filter || !subscriber)
        return SHOAL_ERROR_ARGUMENT;
    struct span text = {filter, strlen(filter)};
    enum shoal_error error = check(text, from);
    if (error)
        return error;
    client_lock(client);
    error = client_usable(client);
    error = error ? error : subscriptions_check(&client->subscriptions, text);
    struct shoal_subscription *made = error ? NULL : subscriptions_add(&client->subscriptions, text);
    if (made) {
        made->client = client;
        made->subscriber = *subscriber;
        made->from = *from;
        client_wake(client);
    } else if (!error) {
        error = SHOAL_ERROR_MEMORY;
    }
    if (made && subscription)
        *subscription = made; /* under the lock: a callback may use it at once */
    client_unlock(client);
    return error;
}

enum shoal_error shoal_unsubscribe(struct shoal_subscription *subscription)
{
    if (!subscription)
        return SHOAL_ERROR_ARGUMENT;
    struct shoal_client *client = subscription->client;
    client_lock(client);
    bool ended = subscription->state >= SUBSCRIPTION_ENDING;
    if (!ended) {
        subscription_end(client, subscription);
        client_changed(client);
        client_wake(client);
    }
    client_unlock(client);
    return ended ? SHOAL_ERROR_NOT_SUBSCRIBED : SHOAL_OK;
}

const char *shoal_subscription_filter(const struct shoal_subscription *subscription)
{
    return subscription->filter;
}

struct shoal_position shoal_subscription_position(struct shoal_subscription *subscription)
{
    client_lock(subscription->client);
    struct shoal_position position = subscription->position;
    client_unlock(subscription->client);
    return position;
}

/* --- the token --- */

enum shoal_error client_show_token(struct shoal_client *client)
{
    char id[BIN_ID_SIZE];
    bin_id_write(ID_AUTH, id);
    struct command command = {
        .verb = COMMAND_AUTH, .id = {id, sizeof id}, .token = {client->token, strlen(client->token)}};
    size_t size = bin_command_write(&command, NULL, 0);
    char *place = bytes_reach(&client->control, size);
    if (!place)
        return SHOAL_ERROR_MEMORY;
    client->control.size += bin_command_write(&command, place, size);
    memcpy(client->link_token, client->token, sizeof client->link_token);
    return SHOAL_OK;
}

enum shoal_error shoal_set_token(struct shoal_client *client, const char *token)
{
    if (!client || !token || !*token)
        return SHOAL_ERROR_ARGUMENT;
    client_lock(client);
    enum shoal_error error = client->closing ? SHOAL_ERROR_CLOSED : SHOAL_OK;
    if (!error && !token_set(client->token, token))
        error = SHOAL_ERROR_ARGUMENT;
    if (!error && client->state == SHOAL_CONNECTED)
        error = client_show_token(client);
    if (!error) {
        client->revived = client->state == SHOAL_FAILED;
        client_wake(client);
    }
    client_unlock(client);
    return error;
}
