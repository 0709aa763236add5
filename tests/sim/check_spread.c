/* check_spread: see check_spread.h. */
#include "check_spread.h"

/* NULL: nothing to be looked at. */
static const struct follow *follow_at(const struct clients *clients, uint32_t client, uint32_t place)
{
    const struct client *of = &clients->clients[client];
    const struct follow *follow = &of->follows[place];
    bool there = of->wire.state != WIRE_CLOSED && !of->closing && sim_client_accepted(clients->network, of->wire.link);
    return there && follow->state == FOLLOW_LIVE && !follow->wild ? follow : NULL;
}

static void check_epochs(const struct clients *clients, const struct follow *follow, const struct follow *first[])
{
    const struct follow *other = first[follow->number];
    if (other && other->epoch != follow->epoch && clients->record->topics[follow->number].logged) {
        verdict_fail(clients->record->verdict, CHECK_LOSS, "%s is at %llx:%llu on host %u, and at %llx:%llu on host %u",
                     name_of(follow->number), (unsigned long long)follow->epoch, (unsigned long long)follow->last,
                     follow->host, (unsigned long long)other->epoch, (unsigned long long)other->last, other->host);
    }
    first[follow->number] = other ? other : follow;
}

static void check_messages(const struct clients *clients, uint32_t client, const struct follow *follow)
{
    for (uint32_t i = 0; i < clients->record->publish_count; i++) {
        const struct publish *publish = &clients->record->publishes[i];
        bool expected = publish->topic == follow->number && publish->state == PUBLISH_ACKNOWLEDGED &&
                        publish->sent_at > follow->since && !follow->jumps;
        if (expected && !follow_got(follow, i)) {
            verdict_fail(clients->record->verdict, CHECK_LOSS, "client %u on host %u has not got publish %u of %s",
                         client, follow->host, i, name_of(follow->number));
        }
    }
}

void check_spread(const struct clients *clients)
{
    const struct follow *first[TOPIC_COUNT] = {0};
    for (uint32_t i = 0; i < clients->count; i++) {
        for (uint32_t j = 0; j < FOLLOWS_MAX; j++) {
            const struct follow *follow = follow_at(clients, i, j);
            if (follow) {
                check_epochs(clients, follow, first);
            }
            if (follow && is_calm(clients)) {
                check_messages(clients, i, follow);
            }
        }
    }
}
