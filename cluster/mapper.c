/* mapper: see mapper.h. */
#include "cluster/mapper.h"

#include <stdio.h>

#include "cluster/pause.h"
#include "cluster/url_connect.h"

/* A node's share of the time: a round seldom meets more than one that is dead. */
#define PATIENCE_SHARE 4

void mapper_init(struct mapper *mapper, struct redis_room *redis, const struct url *url, uint64_t random,
                 int64_t now_us)
{
    mapper->redis = redis;
    mapper->url = url;
    mapper->place_count = url->place_count;
    memcpy(mapper->places, url->places, url->place_count * sizeof *url->places);
    mapper->place = (uint32_t)(random % url->place_count);
    mapper->due_us = now_us;
    mapper->pause_us = MAPPER_PAUSE_US_MIN;
}

void mapper_end(struct mapper *mapper)
{
    redis_close(mapper->connection);
    mapper->connection = NULL;
    mapper->left = 0;
}

/* --- asking --- */

static void ask(struct mapper *mapper, int64_t now_us)
{
    const struct url_place *place = &mapper->places[mapper->place];
    const struct url *url = mapper->url;
    mapper->asked_us = now_us;
    mapper->connection = url_connect(mapper->redis, url, place);
    if (!mapper->connection) {
        return;
    }
    struct span words[URL_AUTH_WORDS];
    uint32_t count = url_auth(url, words);
    if (count > 0) {
        redis_send(mapper->connection, count, words);
    }
    redis_send(mapper->connection, 2, (const struct span[]){SPAN_LITERAL("CLUSTER"), SPAN_LITERAL("SLOTS")});
}

static void move_on(struct mapper *mapper)
{
    redis_close(mapper->connection);
    mapper->connection = NULL;
    mapper->place = (mapper->place + 1) % mapper->place_count;
    mapper->left--;
}

/* The present one is of no use: notes why, and asks the next. */
static void pass_on(struct mapper *mapper, int64_t now_us, struct span problem)
{
    char address[URL_ADDRESS_MAX];
    url_address(&mapper->places[mapper->place], address);
    size_t size = strlen(mapper->problems);
    snprintf(mapper->problems + size, sizeof mapper->problems - size, "%s%s: %.*s", size ? "; " : "", address,
             (int)problem.size, problem.data);
    move_on(mapper);
    if (mapper->left) {
        ask(mapper, now_us);
    }
}

static void pause_begin(struct mapper *mapper, uint64_t random, int64_t pause_us, int64_t now_us)
{
    mapper->due_us = now_us + pause_spread(pause_us, random);
}

void mapper_hurry(struct mapper *mapper, uint64_t random, int64_t now_us)
{
    if (mapper->left || mapper->hurried) {
        mapper->again |= mapper->left > 0;
        return;
    }
    mapper->hurried = true;
    int64_t due_us = mapper->due_us;
    pause_begin(mapper, random, mapper->pause_us, now_us);
    mapper->due_us = due_us < mapper->due_us ? due_us : mapper->due_us;
}

/* --- answers --- */

/* Those of the map are asked, too, from now on; the seeds stand first. */
static void places_learn(struct mapper *mapper)
{
    const struct slot_map *map = &mapper->map;
    uint32_t count = mapper->url->place_count;
    memcpy(&mapper->places[count], map->masters, map->master_count * sizeof *map->masters);
    count += map->master_count;
    memcpy(&mapper->places[count], map->others, map->other_count * sizeof *map->others);
    mapper->place_count = count + map->other_count;
    mapper->place %= mapper->place_count;
}

/* NULL: the map is read, or (`waits`) the answer was another command's. */
static const char *take_answer(struct mapper *mapper, const struct redis_value *value, bool *waits)
{
    *waits = value->kind == REDIS_STRING; /* AUTH's */
    return *waits ? NULL : slot_map_parse(value, &mapper->places[mapper->place], &mapper->map);
}

/* The round is over. */
static void settle(struct mapper *mapper, uint64_t random, int64_t now_us, bool read)
{
    mapper->pause_us = mapper->hurried || !read ? 2 * mapper->pause_us : MAPPER_PAUSE_US_MIN;
    mapper->pause_us = mapper->pause_us < MAPPER_PAUSE_US_MAX ? mapper->pause_us : MAPPER_PAUSE_US_MAX;
    mapper->hurried = mapper->again;
    mapper->again = false;
    pause_begin(mapper, random, read && !mapper->hurried ? MAPPER_CALM_US : mapper->pause_us, now_us);
}

static bool work(struct mapper *mapper, int64_t now_us, int64_t patience_us)
{
    struct redis_event event;
    while (mapper->left) {
        if (!mapper->connection) {
            pass_on(mapper, now_us, SPAN_LITERAL("no memory"));
        } else if (!redis_next(mapper->connection, &event)) {
            if (now_us - mapper->asked_us <= patience_us / PATIENCE_SHARE) {
                return false;
            }
            pass_on(mapper, now_us, SPAN_LITERAL("no answer"));
        } else if (event.kind == REDIS_CLOSED) {
            pass_on(mapper, now_us, span_of_text(event.reason));
        } else if (event.kind == REDIS_VALUE && event.value->kind == REDIS_FAILURE) {
            pass_on(mapper, now_us, event.value->text);
        } else if (event.kind == REDIS_VALUE) {
            bool waits;
            const char *problem = take_answer(mapper, event.value, &waits);
            if (problem) {
                pass_on(mapper, now_us, span_of_text(problem));
            } else if (!waits) {
                return true;
            }
        }
    }
    return false;
}

enum mapper_result mapper_turn(struct mapper *mapper, uint64_t random, int64_t now_us, int64_t patience_us)
{
    if (!mapper->left) {
        if (now_us < mapper->due_us) {
            return MAPPER_NOTHING;
        }
        mapper->left = mapper->place_count;
        mapper->problems[0] = 0;
        ask(mapper, now_us);
    }
    if (work(mapper, now_us, patience_us)) {
        url_address(&mapper->places[mapper->place], mapper->from);
        mapper->read_us = now_us;
        mapper->problems[0] = 0;
        move_on(mapper);
        mapper->left = 0;
        places_learn(mapper);
        settle(mapper, random, now_us, true);
        return MAPPER_READ;
    }
    if (!mapper->left) {
        settle(mapper, random, now_us, false);
        return MAPPER_IN_VAIN;
    }
    return MAPPER_NOTHING;
}

int64_t mapper_rest_us(const struct mapper *mapper, int64_t now_us, int64_t patience_us)
{
    int64_t until_us = mapper->left ? mapper->asked_us + patience_us / PATIENCE_SHARE : mapper->due_us;
    return until_us > now_us ? until_us - now_us : 0;
}
