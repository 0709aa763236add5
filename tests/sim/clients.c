/* clients: see clients.h. */
#include "clients.h"

#include <stdlib.h>

#include "base/check.h"
#include "client_http.h"
#include "client_talk.h"
#include "protocol/close_code.h"

void clients_init(struct clients *clients, const struct profile *profile, const struct config *config,
                  struct sim_network *network, struct record *record)
{
    *clients = (struct clients){
        .profile = profile,
        .config = config,
        .network = network,
        .record = record,
        .count = profile->clients,
        .hosts = profile->hosts,
        .host_killed = UINT32_MAX,
    };
    clients->clients = calloc(clients->count, sizeof *clients->clients);
    CHECK(clients->clients && inflater_init(&clients->inflater));
    for (uint32_t i = 0; i < clients->count; i++) {
        clients->clients[i].number = i;
        clients->clients[i].wire = (struct wire){
            .network = network,
            .verdict = record->verdict,
            .inflater = &clients->inflater,
        };
    }
}

void clients_free(struct clients *clients)
{
    for (uint32_t i = 0; i < clients->count; i++) {
        for (uint32_t j = 0; j < FOLLOWS_MAX; j++) {
            follow_end(&clients->clients[i].follows[j]);
        }
    }
    inflater_free(&clients->inflater);
    free(clients->clients);
}

/* --- what the kinds have in common --- */

uint32_t client_publish(struct clients *clients, uint32_t topic, enum payload_kind kind)
{
    const struct habits *habits = &clients->profile->habits;
    uint32_t pad = sim_random(clients->network, by_chance(clients, habits->large) ? habits->large_bytes : 40);
    if (topic == TOPIC_COUNT) {
        topic = sim_random(clients->network, TOPIC_COUNT);
    }
    return record_publish(clients->record, topic, kind, pad);
}

struct request *client_request(struct client *client, enum request_kind kind, uint32_t what)
{
    for (uint32_t i = 0; i < REQUESTS_MAX; i++) {
        if (client->requests[i].kind == REQUEST_NONE) {
            client->requests[i] = (struct request){.id = ++client->next_id, .what = what, .kind = (uint8_t)kind};
            return &client->requests[i];
        }
    }
    return NULL;
}

struct follow *client_follow_free(struct client *client)
{
    for (uint32_t i = 0; i < FOLLOWS_MAX; i++) {
        if (client->follows[i].state == FOLLOW_FREE) {
            return &client->follows[i];
        }
    }
    return NULL;
}

/* Whether its namespace never leaves messages out. */
static bool is_complete(struct clients *clients, uint32_t number)
{
    struct span name = {name_of(number), strlen(name_of(number))};
    return config_namespace_of(clients->config, name)->slow == CONFIG_SLOW_DISCONNECT;
}

bool client_may_follow(struct clients *clients, const struct client *client, uint32_t number)
{
    for (uint32_t i = 0; i < FOLLOWS_MAX; i++) {
        const struct follow *follow = &client->follows[i];
        if (follow->state == FOLLOW_FREE || !names_overlap(follow->number, number)) {
            continue;
        }
        bool both = clients->profile->overlaps && is_complete(clients, number) && is_complete(clients, follow->number);
        if (!both || follow->number == number) {
            return false;
        }
    }
    return true;
}

bool client_name(struct clients *clients, const struct client *client, uint32_t *number)
{
    for (int tries = 0; tries < 4; tries++) {
        *number = sim_random(clients->network, TOPIC_COUNT + FILTER_COUNT);
        if (client_may_follow(clients, client, *number)) {
            return true;
        }
    }
    return false;
}

bool client_position(struct clients *clients, const struct client *client, uint32_t number, struct position *position)
{
    if (number >= TOPIC_COUNT || !client->positions[number].epoch || sim_random(clients->network, 4) == 0) {
        return false;
    }
    *position = client->positions[number];
    /* Where the epoch began later than that, it would be a position that nobody was ever given. */
    bool steps_back = !(clients->record->topics[number].logged && clients->record->restarts);
    if (steps_back && sim_random(clients->network, 3) == 0) {
        uint32_t back = sim_random(clients->network, 50);
        position->offset -= back < position->offset ? back : position->offset;
    } else if (by_chance(clients, clients->profile->habits.wrong)) {
        position->offset += FOLLOW_AHEAD;
    }
    return true;
}

void client_acknowledged(struct clients *clients, const struct client *client, struct request *request, uint64_t epoch,
                         uint64_t offset)
{
    TRACE(verdict_of(clients), "publish %u is at %llx:%llu", request->what, (unsigned long long)epoch,
          (unsigned long long)offset);
    clients->answers++;
    record_acknowledged(clients->record, request->what, client->host, epoch, offset);
    request->kind = REQUEST_NONE;
}

void client_refused(struct clients *clients, struct request *request, bool perhaps)
{
    clients->refusals++;
    if (is_calm(clients)) {
        verdict_fail(verdict_of(clients), CHECK_LOSS, "publish %u is refused without a reason", request->what);
    }
    if (!publish_has_key(request->what) && !perhaps) { /* one with a key may have been accepted the first time */
        record_refused(clients->record, request->what);
    }
    request->kind = REQUEST_NONE;
}

/* --- delivering, with sabotage --- */

static bool sabotage_begins(struct clients *clients, const struct follow *follow)
{
    bool over = clients->sabotage == SABOTAGE_DEAF && clients->sabotage_follow && /* it has left: another one is deaf */
                clients->sabotage_follow->state != FOLLOW_LIVE;
    return (!clients->sabotaged || over) && clients->record->delivered >= clients->sabotage_at && !follow->wild &&
           !follow->jumps && follow->state == FOLLOW_LIVE;
}

/* True: the message is not to be shown now. */
static bool sabotage_takes(struct clients *clients, const struct follow *follow, uint32_t publish, uint64_t offset)
{
    switch (clients->sabotage) {
    case SABOTAGE_DROP:
        if (sabotage_begins(clients, follow)) {
            clients->sabotaged = true;
            return true;
        }
        return false;
    case SABOTAGE_SWAP:
        if (sabotage_begins(clients, follow)) {
            clients->sabotaged = true;
            clients->sabotage_follow = follow;
            clients->sabotage_publish = publish;
            clients->sabotage_offset = offset;
            return true;
        }
        return false;
    case SABOTAGE_DEAF:
        if (sabotage_begins(clients, follow)) {
            clients->sabotaged = true;
            clients->sabotage_follow = follow;
        }
        return clients->sabotage_follow == follow;
    default:
        return false;
    }
}

void client_deliver(struct clients *clients, struct follow *follow, uint32_t publish, uint64_t epoch, uint64_t offset)
{
    TRACE(verdict_of(clients), "  %s: publish %u at %llu", name_of(follow->number), publish,
          (unsigned long long)offset);
    if (clients->sabotage && sabotage_takes(clients, follow, publish, offset)) {
        return;
    }
    follow_message(follow, clients->record, publish, epoch, offset);
    if (clients->sabotage == SABOTAGE_SWAP && clients->sabotage_follow == follow) {
        clients->sabotage_follow = NULL;
        follow_message(follow, clients->record, clients->sabotage_publish, epoch, clients->sabotage_offset);
    }
}

/* --- coming and going --- */

static enum client_kind any_kind(struct clients *clients)
{
    static const uint8_t kinds[] = {
        CLIENT_TALK, CLIENT_TALK,   CLIENT_TALK,   CLIENT_TALK, CLIENT_RAW,  CLIENT_RAW,
        CLIENT_RAW,  CLIENT_STREAM, CLIENT_STREAM, CLIENT_POST, CLIENT_READ,
    };
    enum client_kind kind = kinds[sim_random(clients->network, sizeof kinds)];
    /* Who is not told of gaps, or does not understand them in the middle, can't check anything where there are some. */
    bool mute = kind == CLIENT_READ;
    return clients->record->federated && !clients->profile->calm && mute ? CLIENT_TALK : kind;
}

static void come(struct clients *clients, struct client *client)
{
    uint32_t shards = clients->profile->shards;
    uint32_t shard = sim_random(clients->network, shards * clients->hosts);
    client->host = shard / shards;
    if (client->host == clients->host_killed || !wire_connect(&client->wire, shard)) {
        return;
    }
    client->kind = any_kind(clients);
    client->open = client->closing = client->publishes = false;
    client->stalled_until_us = 0;
    TRACE(verdict_of(clients), "%u connects to shard %u as %d", client->number, shard, client->kind);
    if (client->kind == CLIENT_TALK) {
        talk_open(clients, client);
    } else {
        http_open(clients, client);
    }
}

/*
 * Whether it can come back to a filter: to another host the epochs of the topics are needed, which JSON's messages do
 * not tell.
 */
bool client_may_return(const struct clients *clients, const struct client *client)
{
    return client->binary || !clients->record->federated;
}

/* What a subscriber would keep to come back with. */
static void remember_positions(const struct clients *clients, struct client *client)
{
    for (uint32_t i = 0; i < FOLLOWS_MAX; i++) {
        const struct follow *follow = &client->follows[i];
        if (follow_flows(follow) && !follow->wild && !follow->jumps) {
            client->positions[follow->number] = (struct position){follow->epoch, follow->last};
        } else if (follow_flows(follow) && follow->wild && client->kind == CLIENT_TALK &&
                   client_may_return(clients, client)) {
            client->keepsake = (struct keepsake){
                .number = follow->number, .since_ms = follow->since_ms, .came_first = follow->came_first};
            memcpy(client->keepsake.tops, follow->tops, sizeof follow->tops);
            memcpy(client->keepsake.epochs, follow->epochs, sizeof follow->epochs);
            memcpy(client->keepsake.anew_at, follow->anew_at, sizeof follow->anew_at);
        }
    }
}

/* JSON can't repeat text; and only of a logged topic do all hosts know the keys. */
static bool may_be_repeated(const struct record *record, const struct publish *publish)
{
    return publish->kind != PAYLOAD_TEXT && (!record->federated || record->topics[publish->topic].logged);
}

/* A publish with a key that was not answered is repeated when the client is back. */
static void remember_unanswered(struct clients *clients, struct client *client)
{
    for (uint32_t i = 0; i < REQUESTS_MAX; i++) {
        const struct request *request = &client->requests[i];
        if (request->kind == REQUEST_PUBLISH && publish_has_key(request->what) && !client->again.valid &&
            may_be_repeated(clients->record, &clients->record->publishes[request->what])) {
            client->again = (struct again){.publish = request->what, .valid = true};
        }
    }
}

static void gone(struct clients *clients, struct client *client, enum sim_leaving how)
{
    remember_positions(clients, client);
    remember_unanswered(clients, client);
    for (uint32_t i = 0; i < FOLLOWS_MAX; i++) {
        follow_end(&client->follows[i]);
    }
    memset(client->requests, 0, sizeof client->requests);
    buffer_free(&client->said);
    wire_leave(&client->wire, how);
}

void client_finish(struct clients *clients, struct client *client)
{
    gone(clients, client, SIM_LEAVE);
}

/* In a calm world the broker has no reason to end anything that is open. */
static void check_end(struct clients *clients, const struct client *client, int status)
{
    bool http = client->kind == CLIENT_POST || client->kind == CLIENT_READ;
    if (is_calm(clients) && !client->closing && !http) {
        verdict_fail(verdict_of(clients), CHECK_LOSS, "client %u of kind %d is ended (%d) without a reason",
                     client->number, client->kind, status);
    }
}

static void ended(struct clients *clients, struct client *client, int status)
{
    TRACE(verdict_of(clients), "%u is ended: %d", client->number, status);
    check_end(clients, client, status);
    gone(clients, client, status < 0 && sim_random(clients->network, 2) ? SIM_RESET : SIM_LEAVE);
}

/* Whether a code may be seen here at all: what the broker says of us must be true. */
static void check_code(struct clients *clients, const struct client *client, int code)
{
    bool ours = client->wire.finishing; /* our own code comes back */
    bool fair = code == CLOSE_SLOW || code == CLOSE_HEARTBEAT_TIMEOUT || code == CLOSE_REPLY_OVERFLOW ||
                code == CLOSE_OVERLOADED || code == CLOSE_POSITION_LOST ||
                (client->kind == CLIENT_RAW && code >= 4000) || (code == CLOSE_DRAINING && clients->draining);
    bool calm = is_calm(clients) && code != CLOSE_POSITION_LOST;
    if (!ours && (!fair || calm)) {
        verdict_fail(verdict_of(clients), CHECK_PROTOCOL, "client %u of kind %d is closed with %d", client->number,
                     client->kind, code);
    }
    clients->closes++;
}

static void closed(struct clients *clients, struct client *client, int code)
{
    TRACE(verdict_of(clients), "%u is closed: %d", client->number, code);
    check_code(clients, client, code);
    client->closing = true;
    if (!client->wire.finishing) {
        wire_close(&client->wire, CLOSE_NORMAL);
    }
}

/* --- reading --- */

static void work_news(struct clients *clients, struct client *client, const struct wire_news *news)
{
    if (news->kind == WIRE_END) {
        ended(clients, client, news->status);
    } else if (news->kind == WIRE_CLOSE) {
        closed(clients, client, news->status);
    } else if (client->kind == CLIENT_TALK) {
        talk_news(clients, client, news);
    } else {
        http_news(clients, client, news);
    }
}

static void read_some(struct clients *clients, struct client *client, size_t most)
{
    for (size_t size; most > 0 && (size = wire_receive(&client->wire, most)) > 0; most -= size) {
        clients->moved += size;
    }
    struct wire_news news;
    while (client->wire.state != WIRE_CLOSED && (news = wire_next(&client->wire)).kind != WIRE_NOTHING) {
        work_news(clients, client, &news);
    }
}

/* --- acting --- */

static size_t how_much(struct clients *clients)
{
    return by_chance(clients, clients->profile->habits.sip) ? 1 + sim_random(clients->network, 20) : 1u << 20;
}

/* True: it has left. */
static bool maybe_leave(struct clients *clients, struct client *client)
{
    const struct habits *habits = &clients->profile->habits;
    if (by_chance(clients, habits->reset)) {
        gone(clients, client, SIM_RESET);
    } else if (by_chance(clients, habits->vanish)) {
        gone(clients, client, SIM_VANISH);
    } else if (by_chance(clients, habits->leave)) {
        if (client->wire.state == WIRE_FRAMES && !client->wire.finishing && sim_random(clients->network, 2)) {
            wire_close(&client->wire, CLOSE_NORMAL);
            client->closing = true;
            return false;
        }
        gone(clients, client, SIM_LEAVE);
    } else {
        return false;
    }
    TRACE(verdict_of(clients), "%u leaves", client->number);
    return true;
}

static void maybe_stall(struct clients *clients, struct client *client)
{
    if (by_chance(clients, clients->profile->habits.stall)) {
        int64_t us = sim_random(clients->network, (uint32_t)clients->profile->stall_us_max);
        client->stalled_until_us = sim_now_us(clients->network) + us;
        TRACE(verdict_of(clients), "%u stalls for %lld us", client->number, (long long)us);
    }
}

void client_act(struct clients *clients, uint32_t number)
{
    struct client *client = &clients->clients[number];
    if (client->wire.state == WIRE_CLOSED) {
        if (sim_random(clients->network, 4) == 0) {
            come(clients, client);
        }
        return;
    }
    clients->moved += wire_send(&client->wire, how_much(clients));
    if (sim_now_us(clients->network) >= client->stalled_until_us) {
        read_some(clients, client, how_much(clients));
    }
    if (client->wire.state == WIRE_CLOSED || maybe_leave(clients, client)) {
        return;
    }
    maybe_stall(clients, client);
    if (client->open && !client->closing && !client->wire.finishing) {
        if (client->kind == CLIENT_TALK) {
            talk_act(clients, client);
        } else {
            http_act(clients, client);
        }
    }
}

void clients_publish_last(struct clients *clients)
{
    for (uint32_t topic = 0; topic < TOPIC_COUNT; topic++) {
        bool done = !clients->record->topics[topic].logged;
        for (uint32_t i = 0; i < clients->count && !done; i++) {
            struct client *client = &clients->clients[i];
            bool can = client->kind == CLIENT_TALK && client->wire.state == WIRE_FRAMES && client->open &&
                       !client->closing && !client->wire.finishing;
            done = can && talk_publish(clients, client, topic);
        }
    }
}

void clients_pump(struct clients *clients)
{
    for (uint32_t i = 0; i < clients->count; i++) {
        struct client *client = &clients->clients[i];
        if (client->wire.state != WIRE_CLOSED) {
            clients->moved += wire_send(&client->wire, 1u << 20);
            read_some(clients, client, 1u << 20);
        }
    }
}

void clients_leave(struct clients *clients)
{
    for (uint32_t i = 0; i < clients->count; i++) {
        struct client *client = &clients->clients[i];
        bool stays = clients->sabotage == SABOTAGE_LEAK_SLOT && !clients->sabotaged &&
                     client->wire.state == WIRE_FRAMES && !client->closing;
        if (stays) {
            clients->sabotaged = true;
        } else if (client->wire.state != WIRE_CLOSED) {
            gone(clients, client, (enum sim_leaving)sim_random(clients->network, SIM_VANISH + 1));
        }
    }
}
