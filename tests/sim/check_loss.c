/* check_loss: see check_loss.h. */
#include "check_loss.h"

static void check_topic(struct record *record, uint32_t client, const struct follow *follow)
{
    const struct life *life = record_life(record, follow->number, follow->epoch);
    if (follow->last < life->tail && !follow->unplaced) {
        verdict_fail(record->verdict, CHECK_LOSS, "client %u has %s up to %llu of %llu", client,
                     name_of(follow->number), (unsigned long long)follow->last, (unsigned long long)life->tail);
    }
}

static void check_filter(struct record *record, uint32_t client, const struct follow *follow)
{
    uint64_t missing = 0;
    uint32_t last = 0;
    for (uint32_t i = 0; i < record->publish_count; i++) {
        if (follow_expects(follow, record, i) && !follow_got(follow, i)) {
            missing++;
            last = i;
        }
    }
    if (missing > follow->gapped && !follow->jumps) {
        verdict_fail(record->verdict, CHECK_LOSS,
                     "client %u misses %llu messages of %s, of %llu it was told; one is publish %u of %s", client,
                     (unsigned long long)missing, name_of(follow->number), (unsigned long long)follow->gapped, last,
                     topic_names[record->publishes[last].topic]);
    }
}

/* `is_whole`: nothing was lost between hosts, so a filter's subscriber has all, too. */
static void check_client(struct record *record, const struct client *client, bool is_whole)
{
    for (uint32_t i = 0; i < REQUESTS_MAX; i++) {
        const struct request *request = &client->requests[i];
        if (request->kind != REQUEST_NONE) {
            verdict_fail(record->verdict, CHECK_LOSS, "client %u waits for the answer to request %u of kind %d",
                         client->number, request->id, request->kind);
        }
    }
    for (uint32_t i = 0; i < FOLLOWS_MAX; i++) {
        const struct follow *follow = &client->follows[i];
        if (follow->state == FOLLOW_LIVE && follow->wild && !is_whole) {
            continue;
        }
        if (follow->state == FOLLOW_LIVE) {
            (follow->wild ? check_filter : check_topic)(record, client->number, follow);
        } else if (follow->state != FOLLOW_FREE) {
            verdict_fail(record->verdict, CHECK_LOSS, "client %u still waits for %s", client->number,
                         name_of(follow->number));
        }
    }
}

void check_loss(const struct clients *clients)
{
    for (uint32_t i = 0; i < clients->count; i++) {
        const struct client *client = &clients->clients[i];
        if (client->wire.state != WIRE_CLOSED && !client->closing &&
            sim_client_accepted(clients->network, client->wire.link)) {
            check_client(clients->record, client, !clients->record->federated || is_calm(clients));
        }
    }
}
