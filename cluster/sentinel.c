/* sentinel: see sentinel.h. */
#include "cluster/sentinel.h"

#include "cluster/url_connect.h"
#include <stdio.h>
#include <stdlib.h>

/* --- asking --- */

static void send_question(struct sentinel *sentinel)
{
    const struct span words[] = {SPAN_LITERAL("SENTINEL"), SPAN_LITERAL("GET-MASTER-ADDR-BY-NAME"),
                                 span_of_text(sentinel->url->master)};
    redis_send(sentinel->connection, 3, words);
}

static void send_password(struct sentinel *sentinel)
{
    struct span words[URL_AUTH_WORDS];
    uint32_t count = url_auth(sentinel->url, words);
    redis_send(sentinel->connection, count, words);
    sentinel->offered = true;
}

static void ask(struct sentinel *sentinel, int64_t now_us)
{
    const struct url_place *place = &sentinel->url->places[sentinel->place];
    sentinel->asked_us = now_us;
    sentinel->offered = false;
    sentinel->connection = url_connect(sentinel->redis, sentinel->url, place);
    if (sentinel->connection) {
        send_question(sentinel);
    }
}

void sentinel_begin(struct sentinel *sentinel, int64_t now_us)
{
    sentinel->left = sentinel->url->place_count;
    sentinel->problems[0] = 0;
    ask(sentinel, now_us);
}

void sentinel_end(struct sentinel *sentinel)
{
    redis_close(sentinel->connection);
    sentinel->connection = NULL;
    sentinel->left = 0;
}

void sentinel_doubt(struct sentinel *sentinel)
{
    sentinel->place = (sentinel->place + 1) % sentinel->url->place_count;
}

/* The present one is of no use: notes why, and asks the next. */
static void pass_on(struct sentinel *sentinel, int64_t now_us, struct span problem)
{
    char address[URL_ADDRESS_MAX];
    url_address(&sentinel->url->places[sentinel->place], address);
    size_t size = strlen(sentinel->problems);
    snprintf(sentinel->problems + size, sizeof sentinel->problems - size, "%s%s: %.*s", size ? "; " : "", address,
             (int)problem.size, problem.data);
    redis_close(sentinel->connection);
    sentinel->connection = NULL;
    sentinel_doubt(sentinel);
    if (--sentinel->left) {
        ask(sentinel, now_us);
    }
}

/* --- answers --- */

/* Host and port, as two strings. False: it is something else. */
static bool take_address(const struct redis_value *value, struct url_place *master)
{
    if (value->kind != REDIS_ARRAY || value->count != 2 || value->items[0].kind != REDIS_STRING ||
        value->items[1].kind != REDIS_STRING) {
        return false;
    }
    struct span host = value->items[0].text;
    char port[8];
    snprintf(port, sizeof port, "%.*s", (int)value->items[1].text.size, value->items[1].text.data);
    unsigned long number = strspn(port, "0123456789") == strlen(port) ? strtoul(port, NULL, 10) : 0;
    if (host.size == 0 || host.size >= sizeof master->host || memchr(host.data, 0, host.size) || number == 0 ||
        number > UINT16_MAX) {
        return false;
    }
    memcpy(master->host, host.data, host.size);
    master->host[host.size] = 0;
    master->port = (uint16_t)number;
    return true;
}

/* True: *master is filled. */
static bool take_answer(struct sentinel *sentinel, const struct redis_value *value, int64_t now_us,
                        struct url_place *master)
{
    if (value->kind == REDIS_FAILURE && span_begins(value->text, "NOAUTH") && sentinel->url->password[0] &&
        !sentinel->offered) {
        send_password(sentinel);
        send_question(sentinel);
    } else if (value->kind == REDIS_FAILURE) {
        pass_on(sentinel, now_us, value->text);
    } else if (value->kind == REDIS_NIL) {
        pass_on(sentinel, now_us, SPAN_LITERAL("it knows no master of this name"));
    } else if (value->kind != REDIS_STRING) { /* that is AUTH's */
        if (take_address(value, master)) {
            return true;
        }
        pass_on(sentinel, now_us, SPAN_LITERAL("its answer is no address"));
    }
    return false;
}

enum sentinel_result sentinel_turn(struct sentinel *sentinel, int64_t now_us, int64_t patience_us,
                                   struct url_place *master)
{
    struct redis_event event;
    while (sentinel->left) {
        if (!sentinel->connection) {
            pass_on(sentinel, now_us, SPAN_LITERAL("no memory"));
        } else if (!redis_next(sentinel->connection, &event)) {
            if (now_us - sentinel->asked_us <= patience_us) {
                return SENTINEL_ASKED;
            }
            pass_on(sentinel, now_us, SPAN_LITERAL("no answer"));
        } else if (event.kind == REDIS_CLOSED) {
            pass_on(sentinel, now_us, span_of_text(event.reason));
        } else if (event.kind == REDIS_VALUE && take_answer(sentinel, event.value, now_us, master)) {
            sentinel_end(sentinel);
            return SENTINEL_NAMED;
        }
    }
    return SENTINEL_IN_VAIN;
}
