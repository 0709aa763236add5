/* client_talk: see client_talk.h. */
#include "client_talk.h"

#include "base/check.h"
#include "client_json.h"
#include "protocol/dialect_bin.h"

void talk_open(struct clients *clients, struct client *client)
{
    static const char head[] = "GET /v1/ws HTTP/1.1\r\nHost: sim\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
    client->binary = sim_random(clients->network, 3) == 0;
    wire_request(&client->wire, (struct span){head, sizeof head - 1});
    if (client->binary) {
        wire_request(&client->wire, SPAN_LITERAL("Sec-WebSocket-Protocol: shoal.v1.bin\r\n"));
    }
    if (sim_random(clients->network, 4) == 0) {
        wire_request(&client->wire, SPAN_LITERAL("Sec-WebSocket-Extensions: permessage-deflate\r\n"));
    }
    wire_request(&client->wire, SPAN_LITERAL("\r\n"));
}

/* --- answers --- */

static struct request *request_of(struct client *client, uint32_t id)
{
    for (uint32_t i = 0; i < REQUESTS_MAX; i++) {
        if (client->requests[i].kind != REQUEST_NONE && client->requests[i].id == id) {
            return &client->requests[i];
        }
    }
    return NULL;
}

static void told_unasked(struct clients *clients, const struct client *client, const struct reply *reply, uint32_t id)
{
    verdict_fail(verdict_of(clients), CHECK_PROTOCOL, "client %u is told what it did not ask: kind %d, id %u, error %d",
                 client->number, reply->kind, id, reply->error);
}

static void ended(struct client *client, struct follow *follow)
{
    if (!follow->wild) {
        client->positions[follow->number] = (struct position){follow->epoch, follow->last};
    }
    follow_end(follow);
}

/*
 * An answer had a time: all that was published before it has come. To another host, whose clock is another one, it says
 * less.
 */
static void told_time(const struct clients *clients, struct client *client, uint64_t time_ms)
{
    for (uint32_t i = 0; i < FOLLOWS_MAX && time_ms && !clients->record->federated; i++) {
        struct follow *follow = &client->follows[i];
        if (follow_flows(follow) && follow->wild) {
            follow->since_ms = time_ms;
        }
    }
}

/* In JSON a publish is answered by ok. */
static void ok(struct clients *clients, struct client *client, struct request *request, const struct reply *reply)
{
    struct follow *follow = &client->follows[request->what % FOLLOWS_MAX];
    switch ((enum request_kind)request->kind) {
    case REQUEST_PUBLISH:
        client_acknowledged(clients, client, request, reply->epoch, reply->offset);
        break;
    case REQUEST_SUBSCRIBE:
        clients->resumes += reply->has_recovered;
        follow_begin(follow, clients->record, reply->epoch, reply->offset, reply->has_recovered, reply->recovered);
        follow->since_ms = follow->since_ms ? follow->since_ms : client->hello_ms;
        told_time(clients, client, reply->time_ms);
        break;
    case REQUEST_UNSUBSCRIBE:
        ended(client, follow);
        break;
    default:
        verdict_fail(verdict_of(clients), CHECK_PROTOCOL, "ok to a request of kind %d", request->kind);
    }
    request->kind = REQUEST_NONE;
}

/* Publishes with ids and offsets in a row. */
static void ack(struct clients *clients, struct client *client, const struct reply *reply, uint32_t id)
{
    for (uint32_t i = 0; i < reply->count; i++) {
        struct request *request = request_of(client, id + i);
        if (!request || request->kind != REQUEST_PUBLISH) {
            told_unasked(clients, client, reply, id + i);
            return;
        }
        client_acknowledged(clients, client, request, reply->epoch, reply->offset + i);
    }
}

/* What may be refused, and with which word. */
static bool refusal_is_fair(struct clients *clients, const struct client *client, const struct request *request,
                            enum reply_error error)
{
    bool ahead = request->kind == REQUEST_SUBSCRIBE && client->follows[request->what].asked_offset >= FOLLOW_AHEAD;
    if (request->kind == REQUEST_WRONG || (ahead && error == REPLY_POSITION_INVALID) ||
        (clients->draining && error == REPLY_DRAINING)) {
        return true;
    }
    bool short_of_room = error == REPLY_BUSY || (clients->record->federated && error == REPLY_UNAVAILABLE) ||
                         error == REPLY_TOPICS_LIMIT ||
                         (request->kind == REQUEST_SUBSCRIBE && error == REPLY_SUBSCRIPTIONS_LIMIT);
    return short_of_room && !is_calm(clients) && request->kind != REQUEST_UNSUBSCRIBE;
}

static void refused(struct clients *clients, struct client *client, struct request *request, enum reply_error error)
{
    if (!refusal_is_fair(clients, client, request, error)) {
        verdict_fail(verdict_of(clients), CHECK_PROTOCOL, "a request of kind %d is refused: %s", request->kind,
                     error < REPLY_ERROR_COUNT ? reply_error_code(error) : "unknown");
    }
    if (request->kind == REQUEST_PUBLISH) {
        client_refused(clients, request, error == REPLY_UNAVAILABLE);
    } else if (request->kind == REQUEST_SUBSCRIBE) {
        follow_end(&client->follows[request->what]);
    }
    request->kind = REQUEST_NONE;
}

static void answer(struct clients *clients, struct client *client, const struct reply *reply, uint32_t id)
{
    struct request *request = request_of(client, id);
    if (!request) {
        told_unasked(clients, client, reply, id);
    } else if (reply->kind == REPLY_KIND_OK) {
        ok(clients, client, request, reply);
    } else if (reply->kind == REPLY_KIND_ERROR) {
        refused(clients, client, request, reply->error);
    } else { /* pong */
        told_time(clients, client, reply->time_ms);
        request->kind = REQUEST_NONE;
    }
}

/* --- messages and gaps --- */

/* How well a message fits a follow: 3 it is the one that must come next; 2 a filter's first of a topic; 1 neither. */
static int fit(const struct follow *follow, uint32_t topic, uint64_t offset)
{
    if (follow->state == FOLLOW_FREE || !name_covers(follow->number, topic)) {
        return 0;
    }
    uint64_t last = follow->wild ? follow->tops[topic] : follow->last;
    if (!follow_flows(follow)) {
        return 1;
    }
    return follow->wild && last == 0 ? 2 : offset == last + 1 ? 3 : 1;
}

/* Several may cover a topic; who of them takes a message does not matter, as each gets the same ones in a row. */
static struct follow *follow_of_message(struct client *client, uint32_t topic, uint64_t offset)
{
    struct follow *best = NULL;
    for (uint32_t i = 0; i < FOLLOWS_MAX; i++) {
        struct follow *follow = &client->follows[i];
        if (fit(follow, topic, offset) > (best ? fit(best, topic, offset) : 0)) {
            best = follow;
        }
    }
    return best;
}

/* A gap names a filter, or a topic: of its own follow, or of a filter's that has come back. */
static struct follow *follow_of_gap(struct clients *clients, struct client *client, const struct reply *reply)
{
    uint32_t topic = topic_number(reply->topic);
    bool logged = topic < TOPIC_COUNT && clients->record->topics[topic].logged;
    struct follow *found = NULL;
    for (uint32_t i = 0; i < FOLLOWS_MAX; i++) {
        struct follow *follow = &client->follows[i];
        if (follow->state == FOLLOW_FREE || follow->state == FOLLOW_ASKED) {
            continue;
        }
        const char *name = name_of(follow->number);
        bool named = span_equal(reply->topic, (struct span){name, strlen(name)});
        bool covers = follow->wild && topic < TOPIC_COUNT && name_covers(follow->number, topic);
        bool back = covers && (follow->by_cursor || logged);
        if (named && (reply->reason == GAP_SLOW || follow->state == FOLLOW_LOST || logged)) {
            return follow;
        }
        found = back && reply->reason != GAP_SLOW ? follow : found;
    }
    return found;
}

static void message(struct clients *clients, struct client *client, const struct reply *reply)
{
    uint32_t topic = topic_number(reply->topic);
    uint32_t publish = payload_read(clients->record, reply->payload);
    if (publish == UINT32_MAX) {
        return;
    }
    if (clients->record->publishes[publish].kind != reply->payload_kind) {
        verdict_fail(verdict_of(clients), CHECK_PROTOCOL, "publish %u comes as another kind", publish);
    }
    struct follow *follow = topic < TOPIC_COUNT ? follow_of_message(client, topic, reply->offset) : NULL;
    if (!follow || clients->record->publishes[publish].topic != topic) {
        verdict_fail(verdict_of(clients), CHECK_ORDER, "client %u gets publish %u of %s as one of %.*s", client->number,
                     publish, topic_names[clients->record->publishes[publish].topic], (int)reply->topic.size,
                     reply->topic.data);
        return;
    }
    client_deliver(clients, follow, publish, reply->epoch, reply->offset);
}

static void gap(struct clients *clients, struct client *client, const struct reply *reply)
{
    struct follow *follow = follow_of_gap(clients, client, reply);
    clients->gaps++;
    bool returned = follow && follow->wild && follow->by_cursor; /* one gap a topic, behind the ok */
    if (clients->record->federated && is_calm(clients) && follow && follow->state == FOLLOW_LIVE && !returned) {
        verdict_fail(verdict_of(clients), CHECK_LOSS, "client %u: a gap of %.*s without a reason: %s", client->number,
                     (int)reply->topic.size, reply->topic.data, gap_reason_name(reply->reason));
    }
    if (follow) {
        follow_gap(follow, clients->record, topic_number(reply->topic), reply->reason, reply->epoch, reply->from_offset,
                   reply->to_offset);
    } else {
        verdict_fail(verdict_of(clients), CHECK_PROTOCOL, "client %u: a gap of %.*s, which is not followed",
                     client->number, (int)reply->topic.size, reply->topic.data);
    }
}

static void reply_works(struct clients *clients, struct client *client, const struct reply *reply, uint32_t id)
{
    TRACE(verdict_of(clients), "%u is told kind %d, id %u, count %u: %.*s %llx:%llu %llu to %llu error %d reason %d",
          client->number, reply->kind, id, reply->count, (int)reply->topic.size, reply->topic.data,
          (unsigned long long)reply->epoch, (unsigned long long)reply->offset, (unsigned long long)reply->from_offset,
          (unsigned long long)reply->to_offset, reply->error, reply->reason);
    switch (reply->kind) {
    case REPLY_KIND_HELLO:
        client->hello_ms = reply->time_ms;
        break;
    case REPLY_KIND_MESSAGE:
        message(clients, client, reply);
        break;
    case REPLY_KIND_GAP:
        gap(clients, client, reply);
        break;
    case REPLY_KIND_ACK:
        ack(clients, client, reply, id);
        break;
    default:
        answer(clients, client, reply, id);
    }
}

static void records_work(struct clients *clients, struct client *client, struct span records)
{
    struct reply reply;
    size_t at = 0;
    enum bin_read read;
    while ((read = bin_reply_read(records, &at, &reply)) == BIN_READ_REPLY) {
        reply_works(clients, client, &reply, bin_id_read(reply.id));
    }
    if (read == BIN_READ_INVALID) {
        verdict_fail(verdict_of(clients), CHECK_PROTOCOL, "client %u gets a broken record", client->number);
    }
}

void talk_news(struct clients *clients, struct client *client, const struct wire_news *news)
{
    struct reply reply;
    uint32_t id = 0;
    if (news->kind == WIRE_HEAD) {
        client->open = true;
    } else if (news->kind == WIRE_BODY) {
        if (news->status != 503 || is_calm(clients)) {
            verdict_fail(verdict_of(clients), CHECK_PROTOCOL, "the upgrade is refused with %d", news->status);
        }
        client_finish(clients, client);
    } else if (client->binary) {
        records_work(clients, client, news->data);
    } else if (json_reply_read(news->data, &reply, &id)) {
        reply_works(clients, client, &reply, id);
    } else {
        verdict_fail(verdict_of(clients), CHECK_PROTOCOL, "client %u gets no JSON: %.*s", client->number,
                     news->data.size < 100 ? (int)news->data.size : 100, news->data.data);
    }
}

/* --- asking --- */

/* In binary, commands are gathered to one message, until talk_flush(). */
static void say(struct client *client, struct command *command, uint32_t id)
{
    TRACE(client->wire.verdict, "%u asks %d as %u: %.*s from %d %llx:%llu %.*s", client->number, command->verb, id,
          (int)command->topic.size, command->topic.data, command->from.kind, (unsigned long long)command->from.epoch,
          (unsigned long long)command->from.offset, client->binary ? 0 : (int)command->from.positions.size,
          command->from.positions.data);
    if (!client->binary) {
        json_command_write(command, id, &client->said);
        wire_message(&client->wire, true, (struct span){client->said.bytes, client->said.size});
        buffer_free(&client->said);
        return;
    }
    char id_bytes[BIN_ID_SIZE];
    bin_id_write(id, id_bytes);
    command->id = (struct span){id_bytes, sizeof id_bytes};
    size_t size = bin_command_write(command, NULL, 0);
    char *place = buffer_reach(&client->said, size);
    CHECK(place);
    bin_command_write(command, place, size);
    client->said.size += (uint32_t)size;
    command->id = SPAN_NONE; /* it ends here */
}

static void say_gathered(struct client *client)
{
    if (client->said.size) {
        wire_message(&client->wire, false, (struct span){client->said.bytes, client->said.size});
        buffer_free(&client->said);
    }
}

static void publish(struct clients *clients, struct client *client, uint32_t number)
{
    static char payload[PAYLOAD_ROOM];
    struct request *request = client_request(client, REQUEST_PUBLISH, number);
    const struct publish *what = &clients->record->publishes[number];
    char key[32] = "";
    if (publish_has_key(number)) {
        snprintf(key, sizeof key, "k%u", number);
    }
    struct command command = {
        .verb = COMMAND_PUBLISH,
        .topic = span_of_text(topic_names[what->topic]),
        .kind = (enum payload_kind)what->kind,
        .payload = {payload, payload_write(clients->record, number, payload)},
        .key = span_of_text(key),
    };
    say(client, &command, request->id);
}

static void ask_to_follow(struct client *client, struct follow *follow, const struct from *from)
{
    struct request *request = client_request(client, REQUEST_SUBSCRIBE, (uint32_t)(follow - client->follows));
    struct command command = {.verb = COMMAND_SUBSCRIBE, .topic = span_of_text(name_of(follow->number)), .from = *from};
    say(client, &command, request->id);
}

/* The positions that are known, as the dialect writes them. JSON's messages do not tell epochs, so it leaves them out.
 */
static struct span positions_write(const struct client *client, const struct keepsake *keepsake)
{
    static char text[TOPIC_COUNT * 64];
    size_t size = 0, count = 0;
    for (uint32_t topic = 0; topic < TOPIC_COUNT; topic++) {
        if (!keepsake->tops[topic]) {
            continue;
        }
        if (client->binary) {
            size += bin_position_write(span_of_text(topic_names[topic]), keepsake->epochs[topic], keepsake->tops[topic],
                                       text + size, sizeof text - size);
        } else {
            size += (size_t)snprintf(text + size, sizeof text - size, "%s\"%s\":{\"offset\":%llu}", count ? "," : "{",
                                     topic_names[topic], (unsigned long long)keepsake->tops[topic]);
        }
        count++;
    }
    if (!client->binary) {
        size += (size_t)snprintf(text + size, sizeof text - size, "%s", count ? "}" : "{}");
    }
    return (struct span){text, size};
}

static void subscribe_again(struct clients *clients, struct client *client, struct follow *follow)
{
    struct keepsake *keepsake = &client->keepsake;
    clients->returns++;
    follow_ask_again(follow, keepsake, client->host);
    ask_to_follow(client, follow,
                  &(struct from){
                      .kind = FROM_POSITIONS,
                      .positions = positions_write(client, keepsake),
                      .since_ms = keepsake->since_ms,
                  });
    keepsake->number = 0;
}

static void subscribe(struct clients *clients, struct client *client)
{
    uint32_t number;
    struct follow *follow = client_follow_free(client);
    struct position position = {0};
    if (follow && client->keepsake.number && client_may_return(clients, client) &&
        client_may_follow(clients, client, client->keepsake.number)) {
        subscribe_again(clients, client, follow);
        return;
    }
    if (!follow || !client_name(clients, client, &number)) {
        return;
    }
    struct from from = {.kind = FROM_NEW};
    if (client_position(clients, client, number, &position)) {
        from = (struct from){.kind = FROM_POSITION, .epoch = position.epoch, .offset = position.offset};
    } else if (number < TOPIC_COUNT && sim_random(clients->network, 3) == 0) {
        from.kind = FROM_LAST;
    }
    follow_ask(follow, number, client->host, position.epoch, position.offset);
    ask_to_follow(client, follow, &from);
}

/* Of two that cover a topic none is ended: it could not be told whose the last messages are. */
static bool is_alone(const struct client *client, const struct follow *follow)
{
    for (uint32_t i = 0; i < FOLLOWS_MAX; i++) {
        const struct follow *other = &client->follows[i];
        if (other != follow && other->state != FOLLOW_FREE && names_overlap(other->number, follow->number)) {
            return false;
        }
    }
    return true;
}

static void unsubscribe(struct clients *clients, struct client *client)
{
    uint32_t at = sim_random(clients->network, FOLLOWS_MAX);
    struct follow *follow = &client->follows[at];
    if (follow->state == FOLLOW_LIVE && is_alone(client, follow)) {
        follow->state = FOLLOW_ENDING;
        struct request *request = client_request(client, REQUEST_UNSUBSCRIBE, at);
        struct command command = {.verb = COMMAND_UNSUBSCRIBE, .topic = span_of_text(name_of(follow->number))};
        say(client, &command, request->id);
    }
}

/* What no broker may do. */
static void ask_wrong(struct clients *clients, struct client *client)
{
    static const struct command wrong[] = {
        {.verb = COMMAND_PUBLISH, .topic = SPAN_LITERAL("plain/#"), .payload = SPAN_LITERAL("1"), .kind = PAYLOAD_JSON},
        {.verb = COMMAND_PUBLISH, .topic = SPAN_LITERAL("$sys"), .payload = SPAN_LITERAL("1"), .kind = PAYLOAD_JSON},
        {.verb = COMMAND_PUBLISH, .topic = SPAN_LITERAL("plain/a"), .payload = SPAN_LITERAL("{"), .kind = PAYLOAD_JSON},
        {.verb = COMMAND_SUBSCRIBE, .topic = SPAN_LITERAL("a//b")},
        {.verb = COMMAND_SUBSCRIBE, .topic = SPAN_LITERAL("a/#/b")},
        {.verb = COMMAND_SUBSCRIBE, .topic = SPAN_LITERAL("plain/#"), .from = {.kind = FROM_LAST}},
        {.verb = COMMAND_UNSUBSCRIBE, .topic = SPAN_LITERAL("nobody/is/here")},
    };
    struct command command = wrong[sim_random(clients->network, sizeof wrong / sizeof *wrong)];
    bool broken = !client->binary && command.kind == PAYLOAD_JSON && span_equal(command.payload, SPAN_LITERAL("{"));
    if (!broken) { /* that would be no JSON at all, and be answered without an id */
        say(client, &command, client_request(client, REQUEST_WRONG, 0)->id);
    }
}

static bool has_room(const struct client *client)
{
    for (uint32_t i = 0; i < REQUESTS_MAX; i++) {
        if (client->requests[i].kind == REQUEST_NONE) {
            return true;
        }
    }
    return false;
}

static void do_something(struct clients *clients, struct client *client)
{
    const struct habits *habits = &clients->profile->habits;
    if (client->again.valid) {
        client->again.valid = false;
        clients->repeats++;
        clients->record->publishes[client->again.publish].repeated = true;
        publish(clients, client, client->again.publish);
    } else if (by_chance(clients, habits->publish)) {
        static const enum payload_kind kinds[] = {PAYLOAD_JSON, PAYLOAD_JSON, PAYLOAD_BINARY, PAYLOAD_TEXT};
        enum payload_kind kind = kinds[sim_random(clients->network, client->binary ? 4 : 3)];
        publish(clients, client, client_publish(clients, TOPIC_COUNT, kind));
    } else if (by_chance(clients, habits->subscribe)) {
        subscribe(clients, client);
    } else if (by_chance(clients, habits->unsubscribe)) {
        unsubscribe(clients, client);
    } else if (by_chance(clients, habits->wrong)) {
        ask_wrong(clients, client);
    } else if (by_chance(clients, 10)) {
        struct command command = {.verb = COMMAND_PING};
        say(client, &command, client_request(client, REQUEST_PING, 0)->id);
    }
}

void talk_act(struct clients *clients, struct client *client)
{
    uint32_t acts = client->binary ? 1 + sim_random(clients->network, 4) : 1;
    for (uint32_t i = 0; i < acts && has_room(client); i++) {
        do_something(clients, client);
    }
    say_gathered(client);
}

bool talk_publish(struct clients *clients, struct client *client, uint32_t topic)
{
    if (has_room(client)) {
        publish(clients, client, client_publish(clients, topic, PAYLOAD_JSON));
        say_gathered(client);
        return true;
    }
    return false;
}
