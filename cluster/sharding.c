/* sharding: see sharding.h. */
#include "cluster/sharding.h"

#include <stdio.h>

#include "base/check.h"
#include "base/logger.h"
#include "cluster/pause.h"
#include "cluster/state.h"

/* Between two looks for relays that have waited too long. */
#define EXPIRE_US 10000

static struct span topic_of(const struct relay *relay)
{
    return (struct span){relay_topic(relay), relay->topic_size};
}

static uint32_t slot_of(const struct relay *relay)
{
    return slot_of_bytes(topic_of(relay));
}

static int64_t timeout_us(const struct link *link)
{
    return link->settings.timeout_ms * 1000ll;
}

/* --- beginning and end --- */

const char *sharding_init(struct link *link, const struct url *url)
{
    struct sharding *sharding = calloc(1, sizeof *sharding);
    if (!sharding) {
        return "no memory";
    }
    link->sharding = sharding;
    link->common.sharded = true;
    link->common.inflight = sharding->inflight;
    sharding->url = *url;
    sharding->pause_us = SHARDING_PAUSE_US_MIN;
    memset(sharding->owner, SLOT_NOWHERE, sizeof sharding->owner);
    snprintf(sharding->problem, sizeof sharding->problem, "no map of slots yet");
    mapper_init(&sharding->mapper, link->common.redis, &sharding->url, server_random(&link->common),
                link->common.now_us);
    link->servers = calloc(LINK_SERVERS_MAX, sizeof *link->servers); /* most of it is never touched */
    return link->servers ? NULL : "no memory";
}

void sharding_destroy(struct link *link)
{
    struct sharding *sharding = link->sharding;
    if (sharding) {
        mapper_end(&sharding->mapper);
        relays_free(&sharding->returned);
        relays_free(&sharding->waiting);
        explicit_bzero(&sharding->url, sizeof sharding->url);
        free(sharding);
    }
}

/* --- held slots --- */

static bool is_held(const struct sharding *sharding, uint32_t slot)
{
    return sharding->held[slot / 64] >> slot % 64 & 1;
}

static void pause_begin(struct link *link)
{
    struct sharding *sharding = link->sharding;
    int64_t pause_us = sharding->pause_us;
    sharding->retry_us = link->common.now_us + pause_spread(pause_us, server_random(&link->common));
    sharding->pause_us = pause_us * 2 < SHARDING_PAUSE_US_MAX ? pause_us * 2 : SHARDING_PAUSE_US_MAX;
}

static void hold(struct link *link, uint32_t slot)
{
    struct sharding *sharding = link->sharding;
    if (is_held(sharding, slot)) {
        return;
    }
    if (!sharding->held_count) { /* else the pause has begun */
        pause_begin(link);
    }
    sharding->held[slot / 64] |= 1ull << slot % 64;
    sharding->held_count++;
}

/* What may be sent is; the rest stays, in order. */
static void distribute(struct link *link, struct relays *line)
{
    struct sharding *sharding = link->sharding;
    struct relays stay = {0};
    struct relay *relay;
    while ((relay = relays_take(line)) != NULL) {
        uint32_t slot = slot_of(relay);
        if (is_held(sharding, slot) || sharding->owner[slot] == SLOT_NOWHERE) {
            relays_push(&stay, relay);
        } else {
            sharding->bytes -= relay_bytes(relay);
            server_again(&link->servers[sharding->owner[slot]], relay);
        }
    }
    *line = stay;
}

static void distribute_all(struct link *link)
{
    distribute(link, &link->sharding->returned);
    distribute(link, &link->sharding->waiting);
}

/* The pause is over: slots of which nothing is under way any more are let go. */
static void let_go(struct link *link)
{
    struct sharding *sharding = link->sharding;
    if (!sharding->held_count || link->common.now_us < sharding->retry_us) {
        return;
    }
    uint32_t before = sharding->held_count;
    for (uint32_t word = 0; word < SLOTS / 64; word++) {
        for (uint64_t bits = sharding->held[word]; bits; bits &= bits - 1) {
            uint32_t slot = word * 64 + (uint32_t)__builtin_ctzll(bits);
            if (!sharding->inflight[slot] && sharding->owner[slot] != SLOT_NOWHERE) {
                sharding->held[word] &= ~(1ull << slot % 64);
                sharding->held_count--;
            }
        }
    }
    if (sharding->held_count < before) {
        distribute_all(link);
    }
    pause_begin(link);
}

/* --- relays --- */

static void settle(struct link *link, struct relay *relay, enum relay_status status)
{
    relay->status = (uint8_t)status;
    link_answer(link, relay);
}

static void keep(struct link *link, struct relays *line, struct relay *relay)
{
    link->sharding->bytes += relay_bytes(relay);
    relays_push(line, relay);
}

uint32_t sharding_server(const struct sharding *sharding, struct span topic)
{
    return sharding->owner[slot_of_bytes(topic)];
}

void sharding_logged(struct link *link, struct relay *relay, bool fetch)
{
    struct sharding *sharding = link->sharding;
    uint32_t slot = slot_of(relay);
    if (!is_held(sharding, slot) && sharding->owner[slot] != SLOT_NOWHERE) {
        server_logged(&link->servers[sharding->owner[slot]], relay, fetch);
        return;
    }
    relay->fetch = fetch;
    relay->deadline_us = link->common.now_us + link->settings.wait_ms * 1000ll;
    if (sharding->bytes + relay_bytes(relay) > link->settings.queue_bytes_max) {
        settle(link, relay, RELAY_FULL);
    } else {
        keep(link, &sharding->waiting, relay);
    }
}

void sharding_live(struct link *link, struct relay *relay)
{
    uint32_t number = sharding_server(link->sharding, topic_of(relay));
    if (number == SLOT_NOWHERE) {
        STATS_ADD(&link->stats, live_dropped_away, 1);
        relay_free(relay);
    } else {
        server_live(&link->servers[number], relay);
    }
}

static void expire(struct link *link, struct relays *line)
{
    struct sharding *sharding = link->sharding;
    struct relays stay = {0};
    struct relay *relay;
    while ((relay = relays_take(line)) != NULL) {
        if (relay->deadline_us <= link->common.now_us) {
            sharding->bytes -= relay_bytes(relay);
            settle(link, relay, RELAY_AWAY);
        } else {
            relays_push(&stay, relay);
        }
    }
    *line = stay;
}

static void expire_all(struct link *link)
{
    struct sharding *sharding = link->sharding;
    if (link->common.now_us - sharding->expired_us >= EXPIRE_US) {
        sharding->expired_us = link->common.now_us;
        expire(link, &sharding->returned);
        expire(link, &sharding->waiting);
    }
}

void sharding_done(struct link *link, const struct relay *done)
{
    struct sharding *sharding = link->sharding;
    if (!sharding->returned.first || !is_held(sharding, slot_of(done))) {
        return;
    }
    struct relays stay = {0};
    struct relay *relay;
    while ((relay = relays_take(&sharding->returned)) != NULL) {
        if (!relay->fetch && span_equal(topic_of(relay), topic_of(done))) {
            sharding->bytes -= relay_bytes(relay);
            settle(link, relay, RELAY_AWAY);
        } else {
            relays_push(&stay, relay);
        }
    }
    sharding->returned = stay;
}

/* --- signs that the map is old --- */

static void hurry(struct link *link)
{
    mapper_hurry(&link->sharding->mapper, server_random(&link->common), link->common.now_us);
}

void sharding_unsettle(struct link *link)
{
    link->sharding->unsettled = true;
    hurry(link);
}

void sharding_collect(struct link *link, struct server *server)
{
    struct sharding *sharding = link->sharding;
    struct relay *relay;
    while ((relay = relays_take(&server->returned)) != NULL) {
        hold(link, slot_of(relay));
        keep(link, &sharding->returned, relay);
    }
    if (server->redirected || (!server->retired && server->state != SERVER_UP)) {
        server->redirected = false;
        hurry(link);
    }
}

/* --- a map is applied --- */

/* SLOT_NOWHERE: none. */
static uint32_t server_at(const struct link *link, const struct url_place *place)
{
    for (uint32_t i = 0; i < link->server_count; i++) {
        if (!link->servers[i].retired && url_place_equal(&link->servers[i].place, place)) {
            return i;
        }
    }
    return SLOT_NOWHERE;
}

/* One that nobody has, or that nothing is left of. SLOT_NOWHERE: none, until others have gone. */
static uint32_t number_take(struct link *link)
{
    for (uint32_t i = 0; i < link->server_count; i++) {
        struct server *server = &link->servers[i];
        if (server->retired && !link->held[i] && !link->was_up[i] && !server->answered.first) {
            server_destroy(server);
            memset(server, 0, sizeof *server);
            return i;
        }
    }
    return link->server_count < LINK_SERVERS_MAX ? link->server_count++ : SLOT_NOWHERE;
}

static uint32_t server_add(struct link *link, const struct url_place *place)
{
    uint32_t number = number_take(link);
    if (number != SLOT_NOWHERE) {
        struct url url = link->sharding->url;
        url.places[0] = *place;
        url.place_count = 1;
        server_init(&link->servers[number], &link->common, number, &url);
        explicit_bzero(&url, sizeof url);
    }
    return number;
}

/* The servers' numbers of the map's masters. */
static void numbers_of(struct link *link, const struct slot_map *map, bool add, uint8_t numbers[LINK_SERVERS_MAX + 1])
{
    for (uint32_t i = 0; i < map->master_count; i++) {
        uint32_t number = server_at(link, &map->masters[i]);
        numbers[i] = (uint8_t)(number == SLOT_NOWHERE && add ? server_add(link, &map->masters[i]) : number);
    }
    numbers[SLOT_NOWHERE] = SLOT_NOWHERE;
}

static void owners_take(struct link *link, const struct slot_map *map, const uint8_t *numbers)
{
    struct sharding *sharding = link->sharding;
    sharding->covered = 0;
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        uint8_t owner = numbers[map->owner[slot]];
        if (owner != sharding->owner[slot]) {
            STATS_ADD(&link->stats, slot_moves, sharding->owner[slot] != SLOT_NOWHERE);
            sharding->owner[slot] = owner;
            if (sharding->inflight[slot]) {
                hold(link, slot);
            }
        }
        sharding->covered += owner != SLOT_NOWHERE;
    }
}

/* A slot of the server, not the same for all hosts. */
static uint32_t slot_for_probe(struct link *link, uint32_t number)
{
    const struct sharding *sharding = link->sharding;
    uint32_t begin = (uint32_t)(server_random(&link->common) % SLOTS);
    for (uint32_t i = 0; i < SLOTS; i++) {
        if (sharding->owner[(begin + i) % SLOTS] == number) {
            return (begin + i) % SLOTS;
        }
    }
    return SLOTS;
}

/* Servers without slots go; the others have a probe by a slot of theirs. */
static void servers_check(struct link *link)
{
    for (uint32_t i = 0; i < link->server_count; i++) {
        struct server *server = &link->servers[i];
        if (server->retired || (server->probe_slot != SLOTS && link->sharding->owner[server->probe_slot] == i)) {
            continue;
        }
        uint32_t slot = slot_for_probe(link, i);
        if (slot == SLOTS) {
            server_retire(server, "it has no slots any more");
            logger_limited(LOG_INFO, "redis_retired", LOG_U64("server", i + 1), LOG_STR("address", server->address));
        } else {
            server_probe_by(server, slot);
        }
    }
}

static void line_gather(struct sharding *sharding, struct server *server, struct relays *line, struct relays *all)
{
    for (const struct relay *relay = line->first; relay; relay = relay->next) {
        server->backlog_bytes -= relay_bytes(relay);
        sharding->bytes += relay_bytes(relay);
    }
    relays_append(all, line);
}

/* What waits for servers goes to those that have the slots now; it is older than what waits here. */
static void relays_gather(struct link *link)
{
    struct sharding *sharding = link->sharding;
    struct relays all = {0};
    for (uint32_t i = 0; i < link->server_count; i++) {
        struct server *server = &link->servers[i];
        line_gather(sharding, server, &server->again, &all);
        line_gather(sharding, server, &server->appends, &all);
        line_gather(sharding, server, &server->reads, &all);
    }
    relays_append(&all, &sharding->waiting);
    sharding->waiting = all;
}

static uint32_t server_of(void *context, struct span topic)
{
    return sharding_server(context, topic);
}

static void apply(struct link *link)
{
    struct sharding *sharding = link->sharding;
    const struct slot_map *map = &sharding->mapper.map;
    uint8_t numbers[LINK_SERVERS_MAX + 1];
    numbers_of(link, map, true, numbers);
    owners_take(link, map, numbers);
    sharding->unsettled = false;
    interest_move(&link->interest, server_of, sharding);
    relays_gather(link);
    servers_check(link);
    distribute_all(link);
    STATS_ADD(&link->stats, maps_applied, 1);
    logger_limited(LOG_INFO, "redis_map", LOG_U64("masters", map->master_count), LOG_U64("slots", sharding->covered),
                   LOG_STR("from", sharding->mapper.from));
    link->report_us = INT64_MIN; /* is written in this turn */
}

/* --- and before --- */

/* Whether it says something else than what is so, or what is so has to be gone through again. */
static bool is_news(struct link *link)
{
    struct sharding *sharding = link->sharding;
    const struct slot_map *map = &sharding->mapper.map;
    uint8_t numbers[LINK_SERVERS_MAX + 1];
    numbers_of(link, map, false, numbers);
    bool news = sharding->unsettled;
    for (uint32_t slot = 0; slot < SLOTS && !news; slot++) {
        news = numbers[map->owner[slot]] != sharding->owner[slot] ||
               (numbers[map->owner[slot]] == SLOT_NOWHERE && map->owner[slot] != SLOT_NOWHERE);
    }
    for (uint32_t i = 0; i < link->server_count && !news; i++) {
        news = !link->servers[i].retired && link->servers[i].probe_slot == SLOTS;
    }
    return news;
}

/* Those that are UP and lose slots are to deliver what they have pushed. */
static void drain(struct link *link)
{
    struct sharding *sharding = link->sharding;
    const struct slot_map *map = &sharding->mapper.map;
    uint8_t numbers[LINK_SERVERS_MAX + 1];
    numbers_of(link, map, false, numbers);
    memset(sharding->drains, 0, sizeof sharding->drains);
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        uint8_t owner = sharding->owner[slot];
        bool loses = owner != SLOT_NOWHERE && owner != numbers[map->owner[slot]];
        if (loses && !sharding->drains[owner] && link->servers[owner].state == SERVER_UP) {
            sharding->drains[owner] = server_drain(&link->servers[owner]);
        }
    }
    sharding->draining = true;
    sharding->draining_us = link->common.now_us;
}

/* A server that does not even answer in time is given up by its own clock: it is not waited for longer. */
static bool drained(const struct link *link)
{
    const struct sharding *sharding = link->sharding;
    bool all = true;
    for (uint32_t i = 0; i < link->server_count; i++) {
        all &= !sharding->drains[i] || server_drained(&link->servers[i], sharding->drains[i]);
    }
    return all || link->common.now_us - sharding->draining_us > timeout_us(link);
}

/* What is wrong with the map that was read last. */
static void problem_note(struct link *link)
{
    struct sharding *sharding = link->sharding;
    sharding->problem[0] = 0;
    if (sharding->covered < SLOTS) {
        snprintf(sharding->problem, sizeof sharding->problem, "%u of its %u slots have no server",
                 SLOTS - sharding->covered, SLOTS);
        hurry(link);
    }
}

/* Told once, until a map is read again: nodes are asked in any order, so that the text differs each time. */
static void failure_note(struct sharding *sharding)
{
    snprintf(sharding->problem, sizeof sharding->problem, "no node tells its slots: %.*s", LINK_REASON_MAX - 32,
             sharding->mapper.problems);
    if (!sharding->in_vain) {
        logger_limited(LOG_WARNING, "redis_map_failed", LOG_STR("reason", sharding->problem));
    }
    sharding->in_vain = true;
}

static void map_turn(struct link *link)
{
    struct sharding *sharding = link->sharding;
    if (sharding->draining) {
        if (drained(link)) {
            sharding->draining = false;
            apply(link);
            problem_note(link);
        }
        return;
    }
    int64_t patience_us = link->common.lenient ? INT64_MAX : timeout_us(link);
    switch (mapper_turn(&sharding->mapper, server_random(&link->common), link->common.now_us, patience_us)) {
    case MAPPER_NOTHING:
        break;
    case MAPPER_READ:
        STATS_ADD(&link->stats, maps_read, 1);
        sharding->in_vain = false;
        if (is_news(link)) {
            drain(link);
            map_turn(link);
        } else {
            problem_note(link);
        }
        break;
    case MAPPER_IN_VAIN:
        STATS_ADD(&link->stats, maps_failed, 1);
        failure_note(sharding);
        break;
    }
}

void sharding_turn(struct link *link)
{
    map_turn(link);
    let_go(link);
    expire_all(link);
    if (!link->sharding->held_count && link->common.now_us - link->sharding->retry_us > SHARDING_PAUSE_US_MAX) {
        link->sharding->pause_us = SHARDING_PAUSE_US_MIN;
    }
}

int64_t sharding_rest_us(const struct link *link)
{
    const struct sharding *sharding = link->sharding;
    if (sharding->draining) {
        return EXPIRE_US;
    }
    int64_t rest_us = mapper_rest_us(&sharding->mapper, link->common.now_us, timeout_us(link));
    bool expires = sharding->returned.first || sharding->waiting.first;
    return expires && rest_us > EXPIRE_US ? EXPIRE_US : rest_us;
}
