/* server: the circuit and the turn. See server.h. */
#include "cluster/server.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/check.h"
#include "base/logger.h"
#include "cluster/pause.h"
#include "cluster/url_connect.h"

/* Answers of Redis that one turn works, so that a flood of one server does not keep others waiting. */
#define TURN_ANSWERS_MAX 2048

/* A server that was UP for so long has earned that the next pause is short again. */
#define PAUSE_FORGOTTEN_US 10000000

uint64_t server_random(struct server_common *common)
{
    common->random ^= common->random << 13; /* xorshift64 */
    common->random ^= common->random >> 7;
    common->random ^= common->random << 17;
    return common->random;
}

/* "PREFIX", or "PREFIX{TAG}". */
size_t server_name_begin(const struct server_common *common, char *at, uint32_t slot)
{
    memcpy(at, common->prefix.data, common->prefix.size);
    size_t size = common->prefix.size;
    if (common->sharded) {
        struct span tag = slot_tag(slot);
        at[size++] = '{';
        memcpy(at + size, tag.data, tag.size);
        size += tag.size;
        at[size++] = '}';
    }
    return size;
}

struct span server_pattern_prefix(const struct server *server, char at[SERVER_PATTERN_PREFIX_MAX])
{
    struct span prefix = server->common->prefix;
    size_t id_size = server->common->sharded ? strlen(server->node_id) : 0;
    memcpy(at, prefix.data, prefix.size);
    memcpy(at + prefix.size, server->node_id, id_size);
    return (struct span){at, prefix.size + id_size};
}

static void probe_name(struct server *server)
{
    char begin[SERVER_PROBE_MAX];
    size_t size = server_name_begin(server->common, begin, server->probe_slot);
    snprintf(server->probe_channel, sizeof server->probe_channel, "%.*sprobe:%016llx", (int)size, begin,
             (unsigned long long)server->common->instance);
}

struct span server_key(const struct server_common *common, char *at, struct span topic, const char *suffix,
                       struct span rest)
{
    const struct span parts[] = {SPAN_LITERAL("{"), topic, SPAN_LITERAL("}"), span_of_text(suffix), rest};
    size_t size = server_name_begin(common, at, common->sharded ? slot_of_bytes(topic) : 0);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (parts[i].size) {
            memcpy(at + size, parts[i].data, parts[i].size);
            size += parts[i].size;
        }
    }
    return (struct span){at, size};
}

void server_init(struct server *server, struct server_common *common, uint32_t number, const struct url *url)
{
    server->common = common;
    server->number = number;
    server->url = *url;
    server->state = SERVER_AWAY;
    server->state_us = server->retry_us = common->now_us;
    server->pause_us = SERVER_PAUSE_US_MIN;
    server->round_trip_us = -1;
    server->sequence = common->sequence;
    server->probe_slot = common->sharded ? SLOTS : 0;
    if (!common->sharded) {
        probe_name(server);
    }
    server->sentinel = (struct sentinel){.redis = common->redis, .url = &server->url};
    url_name(url, server->name);
    if (!url->master[0]) {
        server->place = url->places[0];
        url_address(&server->place, server->address);
    }
}

void server_destroy(struct server *server)
{
    commands_abandon(server);
    sentinel_end(&server->sentinel);
    redis_close(server->commands);
    redis_close(server->subscription);
    relays_free(&server->appends);
    relays_free(&server->reads);
    relays_free(&server->again);
    relays_free(&server->answered);
    relays_free(&server->returned);
    relays_free(&server->fenced);
    free(server->asked);
    explicit_bzero(&server->url, sizeof server->url);
}

/* --- the circuit --- */

static void move(struct server *server, enum server_state next)
{
    static const bool allowed[4][4] = {
        [SERVER_AWAY] = {[SERVER_ASKING] = true, [SERVER_TRYING] = true},
        [SERVER_ASKING] = {[SERVER_TRYING] = true, [SERVER_AWAY] = true},
        [SERVER_TRYING] = {[SERVER_UP] = true, [SERVER_AWAY] = true},
        [SERVER_UP] = {[SERVER_AWAY] = true},
    };
    CHECK_MSG(allowed[server->state][next], "%s to %s", server_state_name(server->state), server_state_name(next));
    server->state = next;
    server->state_us = server->common->now_us;
}

static void pause_begin(struct server *server)
{
    server->retry_us = server->common->now_us + pause_spread(server->pause_us, server_random(server->common));
    server->pause_us = server->pause_us * 2 < SERVER_PAUSE_US_MAX ? server->pause_us * 2 : SERVER_PAUSE_US_MAX;
}

/* Tries that fail for the same reason again are not told again. */
static void log_away(const struct server *server, const char *former_reason)
{
    if (server->state == SERVER_UP || strcmp(former_reason, server->reason) != 0) {
        logger_limited(LOG_WARNING, "redis_away", LOG_U64("server", server->number + 1),
                       LOG_STR("address", server_shown(server)), LOG_STR("reason", server->reason));
    }
}

const char *server_shown(const struct server *server)
{
    return server->address[0] ? server->address : server->name;
}

void server_fail(struct server *server, const char *format, ...)
{
    if (server->state == SERVER_AWAY) {
        return;
    }
    char former_reason[sizeof server->reason];
    memcpy(former_reason, server->reason, sizeof former_reason);
    va_list values;
    va_start(values, format);
    vsnprintf(server->reason, sizeof server->reason, format, values);
    va_end(values);
    log_away(server, former_reason);
    if (server->state == SERVER_UP && server->common->now_us - server->state_us > PAUSE_FORGOTTEN_US) {
        server->pause_us = SERVER_PAUSE_US_MIN;
    }
    if (server->state == SERVER_TRYING && server->url.master[0]) {
        sentinel_doubt(&server->sentinel);
    }
    sentinel_end(&server->sentinel);
    redis_close(server->commands);
    redis_close(server->subscription);
    server->commands = server->subscription = NULL;
    commands_abandon(server);
    server->failures++;
    STATS_ADD(server->common->stats, failures, 1);
    move(server, SERVER_AWAY);
    pause_begin(server);
}

static void try(struct server *server)
{
    move(server, SERVER_TRYING);
    server->fence_out = server->proving = server->probe_out = server->blocked = server->complete = false;
    server->claimed = server->claiming = server->cluster_down = false;
    server->proved_us = server->unprobed_us = 0;
    server->drain = 0;
    server->run_id[0] = server->role[0] = 0;
    server->acks_sent = server->acks_taken = 0;
    server->batch.count = 0;
    server->kept.topic = SPAN_NONE;
    server->scarce_us = 0;
    server->last_instance = server->last_sequence = 0;
    server->tokens = 0;
    server->tokens_us = server->common->now_us;
    server->commands = url_connect(server->common->redis, &server->url, &server->place);
    server->subscription = url_connect(server->common->redis, &server->url, &server->place);
    if (!server->commands || !server->subscription) {
        server_fail(server, "no memory");
    }
}

/* --- sentinels --- */

/* What each sentinel may take: all together have the time of one server. */
static int64_t patience_us(const struct server *server)
{
    return server->common->settings->timeout_ms * 1000ll / server->url.place_count;
}

static void place_take(struct server *server, const struct url_place *place)
{
    char former[URL_ADDRESS_MAX];
    memcpy(former, server->address, sizeof former);
    server->place = *place;
    url_address(place, server->address);
    url_address(&server->url.places[server->sentinel.place], server->sentinel_address);
    if (strcmp(former, server->address) != 0) {
        logger_limited(LOG_INFO, "redis_master", LOG_U64("server", server->number + 1),
                       LOG_STR("master", server->url.master), LOG_STR("address", server->address),
                       LOG_STR("sentinel", server->sentinel_address));
    }
}

static void ask(struct server *server)
{
    struct url_place place;
    int64_t patience = server->common->lenient ? INT64_MAX : patience_us(server);
    switch (sentinel_turn(&server->sentinel, server->common->now_us, patience, &place)) {
    case SENTINEL_ASKED:
        break;
    case SENTINEL_NAMED:
        place_take(server, &place);
        try(server);
        break;
    case SENTINEL_IN_VAIN:
        server_fail(server, "no sentinel names the master: %s", server->sentinel.problems);
        break;
    }
}

static void begin(struct server *server)
{
    if (server->url.master[0]) {
        move(server, SERVER_ASKING);
        sentinel_begin(&server->sentinel, server->common->now_us);
    } else {
        try(server);
    }
}

/* --- the turn --- */

/* True: there may be more. */
static bool work_answers(struct server *server)
{
    struct redis_event event;
    for (int i = 0; i < TURN_ANSWERS_MAX; i++) {
        if (!server->commands || !redis_next(server->commands, &event)) {
            return false;
        }
        if (event.kind == REDIS_OPENED) {
            commands_greet(server);
        } else if (event.kind == REDIS_CLOSED) {
            server_fail(server, "%s", event.reason);
        } else {
            commands_answered(server, event.value);
        }
    }
    return true;
}

/* A probe has come back: subscription_next() has noted it. */
static void prove(struct server *server)
{
    if (server->state == SERVER_TRYING && server->proved_us) {
        move(server, SERVER_UP);
        STATS_ADD(server->common->stats, connects, 1);
        logger_limited(LOG_INFO, "redis_up", LOG_U64("server", server->number + 1), LOG_STR("address", server->address),
                       LOG_STR("version", server->version), LOG_STR("run_id", server->run_id));
    }
}

/* Else an answer or a map of slots is waited for, before one can be sent. */
static bool can_probe(const struct server *server)
{
    return server->claimed && server->proving && server->probe_slot != SLOTS;
}

static void probe(struct server *server)
{
    int64_t now_us = server->common->now_us;
    bool due = now_us - server->probe_us >= server->common->settings->probe_ms * 1000ll;
    bool first = server->state == SERVER_TRYING && !server->proved_us;
    if (!server->probe_out && can_probe(server) && (due || first)) {
        server->probe++;
        server->probe_out = true;
        server->probe_us = now_us;
        commands_probe(server);
    }
}

static double seconds(int64_t us)
{
    return (double)us / 1e6;
}

/* What has taken too long. */
static void judge(struct server *server)
{
    int64_t now_us = server->common->now_us;
    int64_t timeout_us = server->common->settings->timeout_ms * 1000ll;
    if (server->blocked) { /* it is us who do not read */
        server->probe_us = now_us;
        server->state_us = server->state == SERVER_TRYING ? now_us : server->state_us;
    }
    const struct asked *oldest = commands_oldest(server);
    if (server->state == SERVER_TRYING && now_us - server->state_us > timeout_us) {
        server_fail(server, "not in service within %.1f s: %s", seconds(timeout_us),
                    !server->run_id[0] ? "no connection or no answer"
                    : !server->proving ? "no answer to a subscription"
                    : !server->claimed ? "no answer of a script"
                                       : "a probe did not come back");
    } else if (server->unprobed_us && now_us - server->unprobed_us > timeout_us) {
        server_fail(server, "no slot of it takes a probe: nothing proves that it delivers");
    } else if (oldest && now_us - oldest->sent_us > timeout_us) {
        server_fail(server, "no answer for %.1f s", seconds(now_us - oldest->sent_us));
    } else if (server->probe_out && now_us - server->probe_us > timeout_us) {
        server_fail(server, "a probe did not come back within %.1f s: nothing is delivered", seconds(timeout_us));
    }
}

/* Relays that may wait no longer. A line is in the order of its deadlines. */
static void expire(struct server *server, struct relays *line)
{
    while (line->first && line->first->deadline_us <= server->common->now_us) {
        relay_settle(server, relays_take(line), RELAY_AWAY);
    }
}

bool server_turn(struct server *server)
{
    if (server->state == SERVER_AWAY && server->common->now_us >= server->retry_us) {
        begin(server);
    }
    if (server->state == SERVER_ASKING) {
        ask(server);
    }
    bool more = work_answers(server);
    if (server->commands) {
        prove(server);
        probe(server);
        if (!more && !server->common->lenient) {
            judge(server);
        }
    }
    if (server->state == SERVER_UP) {
        commands_send(server);
    } else {
        commands_restore(server);
        expire(server, &server->appends);
        expire(server, &server->reads);
    }
    return more;
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t server_rest_us(const struct server *server)
{
    int64_t now_us = server->common->now_us;
    int64_t timeout_us = server->common->settings->timeout_ms * 1000ll;
    int64_t until_us;
    if (server->state == SERVER_AWAY) {
        until_us = server->retry_us;
    } else if (server->state == SERVER_ASKING) {
        until_us = server->sentinel.asked_us + patience_us(server);
    } else {
        const struct asked *oldest = commands_oldest(server);
        until_us = server->state_us + timeout_us;
        if (server->state == SERVER_UP && (server->probe_out || can_probe(server))) {
            until_us =
                server->probe_us + (server->probe_out ? timeout_us : server->common->settings->probe_ms * 1000ll);
        } else if (server->state == SERVER_UP) { /* the time of the next probe may be over: nothing turns by it */
            until_us = (server->unprobed_us ? server->unprobed_us : now_us) + timeout_us;
        }
        until_us = oldest ? sooner(until_us, oldest->sent_us + timeout_us) : until_us;
    }
    if (server->state != SERVER_UP && server->appends.first) {
        until_us = sooner(until_us, server->appends.first->deadline_us);
    }
    if (server->state != SERVER_UP && server->reads.first) {
        until_us = sooner(until_us, server->reads.first->deadline_us);
    }
    return until_us > now_us ? until_us - now_us : 0;
}

/* --- relays --- */

void relay_settle(struct server *server, struct relay *relay, enum relay_status status)
{
    server->backlog_bytes -= relay_bytes(relay);
    relay->status = (uint8_t)status;
    relays_push(&server->answered, relay);
}

static void fence_send(struct server *server)
{
    if (!server->fence_out) {
        server->fence++;
        server->fence_out = true;
        if (server->common->sharded) {
            subscription_fence(server);
        } else {
            commands_fence(server);
        }
    }
}

void server_fence(struct server *server, struct relay *relay)
{
    relay->deadline_us = (int64_t)server->fence + 1; /* what is out was sent before the page was read */
    relays_push(&server->fenced, relay);
    fence_send(server);
}

void server_fence_came_back(struct server *server, uint64_t number)
{
    if (!server->fence_out || number != server->fence) {
        return;
    }
    server->fence_out = false;
    while (server->fenced.first && server->fenced.first->deadline_us <= (int64_t)number) {
        relay_settle(server, relays_take(&server->fenced), RELAY_DONE);
    }
    if (server->fenced.first || server->drain > number) {
        fence_send(server);
    }
}

/* --- of a Redis Cluster --- */

void server_probe_by(struct server *server, uint32_t slot)
{
    server->probe_slot = (uint16_t)slot;
    probe_name(server);
    if (server->state == SERVER_TRYING) {
        server_fail(server, "the slot of its probe is another's: the map of slots was old");
    } else if (server->state == SERVER_UP) {
        server->proving = server->probe_out = false;
        server->unprobed_us = server->unprobed_us ? server->unprobed_us : server->common->now_us;
        subscription_probe(server);
    }
}

void server_probe_lost(struct server *server)
{
    server->redirected = true;
    if (server->state == SERVER_TRYING) {
        server_fail(server, "the slot of its probe is another's: the map of slots was old");
    } else if (server->probe_slot != SLOTS) {
        server->probe_slot = SLOTS;
        server->unprobed_us = server->unprobed_us ? server->unprobed_us : server->common->now_us;
        server->probe_out = false;
    }
}

uint64_t server_drain(struct server *server)
{
    server->drain = server->fence + 1; /* what is out was sent before */
    fence_send(server);
    return server->drain;
}

bool server_drained(const struct server *server, uint64_t number)
{
    return server->state != SERVER_UP || server->fence > number || (server->fence == number && !server->fence_out);
}

void server_again(struct server *server, struct relay *relay)
{
    server->backlog_bytes += relay_bytes(relay);
    relays_push(relay->fetch ? &server->reads : &server->appends, relay);
}

void server_retire(struct server *server, const char *why)
{
    server_fail(server, "%s", why);
    if (server->common->sequence < server->sequence) {
        server->common->sequence = server->sequence; /* it may come back, and others may not have seen it go */
    }
    server->retired = true;
    server->retry_us = INT64_MAX;
}

void server_logged(struct server *server, struct relay *relay, bool fetch)
{
    const struct link_settings *settings = server->common->settings;
    relay->fetch = fetch;
    relay->deadline_us = server->common->now_us + settings->wait_ms * 1000ll;
    bool full = server->backlog_bytes + relay_bytes(relay) > settings->queue_bytes_max;
    server->backlog_bytes += relay_bytes(relay);
    if (full) {
        relay_settle(server, relay, RELAY_FULL);
    } else {
        relays_push(fetch ? &server->reads : &server->appends, relay);
    }
}
