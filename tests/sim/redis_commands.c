/* redis_commands: see redis_commands.h. */
#include "redis_commands.h"

#include <stdio.h>
#include <strings.h>

/* --- words --- */

bool word_is(struct span word, const char *name)
{
    return word.size == strlen(name) && strncasecmp(word.data, name, word.size) == 0;
}

int64_t word_number(struct span word)
{
    char text[32], *end;
    CHECK(word.size > 0 && word.size < sizeof text);
    memcpy(text, word.data, word.size);
    text[word.size] = '\0';
    long long number = strtoll(text, &end, 10);
    CHECK_MSG(*end == '\0', "'%s' is no number", text);
    return number;
}

struct span number_word(int64_t number)
{
    static char text[32];
    int size = snprintf(text, sizeof text, "%lld", (long long)number);
    return (struct span){text, (size_t)size};
}

/* [a-z], [^a-z]: whether `c` is meant; moves the pattern to its last character. */
static bool glob_class(struct span *pattern, char c)
{
    bool found = false;
    size_t at = 1;
    bool none = at < pattern->size && pattern->data[at] == '^';
    for (at += none; at < pattern->size && pattern->data[at] != ']'; at++) {
        bool escaped = pattern->data[at] == '\\' && at + 1 < pattern->size;
        at += escaped;
        if (!escaped && at + 2 < pattern->size && pattern->data[at + 1] == '-') {
            found |= c >= pattern->data[at] && c <= pattern->data[at + 2];
            at += 2;
        } else {
            found |= c == pattern->data[at];
        }
    }
    *pattern = (struct span){pattern->data + at, pattern->size - at};
    return found != none;
}

static struct span rest_of(struct span text)
{
    return (struct span){text.data + 1, text.size - 1};
}

bool redis_glob(struct span pattern, struct span text)
{
    for (; pattern.size; pattern = rest_of(pattern), text = rest_of(text)) {
        if (pattern.data[0] == '*') {
            for (struct span from = text;; from = rest_of(from)) {
                if (redis_glob(rest_of(pattern), from)) {
                    return true;
                }
                if (!from.size) {
                    return false;
                }
            }
        }
        if (!text.size) {
            return false;
        }
        char c = text.data[0];
        if (pattern.data[0] == '[') {
            if (!glob_class(&pattern, c)) {
                return false;
            }
        } else if (pattern.data[0] != '?') {
            if (pattern.data[0] == '\\' && pattern.size > 1) {
                pattern = rest_of(pattern);
            }
            if (pattern.data[0] != c) {
                return false;
            }
        }
    }
    return text.size == 0;
}

/* --- keys and strings --- */

struct call {
    struct redis_mind *mind;
    struct store *store;
    uint32_t count;
    const struct span *words;
};

static struct redis_value do_ping(const struct call *call)
{
    return call->count > 1 ? reply_string(call->words[1]) : reply_words("PONG");
}

static struct redis_value do_set(const struct call *call)
{
    int64_t expires_ms = 0;
    for (uint32_t i = 3; i < call->count; i++) {
        if (word_is(call->words[i], "NX")) {
            if (store_find(call->store, call->words[1])) {
                return reply_nil();
            }
            continue;
        }
        bool seconds = word_is(call->words[i], "EX");
        CHECK((seconds || word_is(call->words[i], "PX")) && i + 1 < call->count);
        expires_ms = call->store->now_ms + word_number(call->words[++i]) * (seconds ? 1000 : 1);
    }
    store_string_set(call->store, call->words[1], call->words[2]);
    store_find(call->store, call->words[1])->expires_ms = expires_ms;
    return reply_words("OK");
}

static struct redis_value string_of(struct store *store, struct span name)
{
    const struct store_key *key = store_find(store, name);
    return key && key->type == STORE_STRING ? reply_string(blob_span(&key->string)) : reply_nil();
}

static struct redis_value do_get(const struct call *call)
{
    return string_of(call->store, call->words[1]);
}

static struct redis_value do_mget(const struct call *call)
{
    struct redis_value reply = reply_array(call->count - 1);
    for (uint32_t i = 1; i < call->count; i++) {
        *reply_item(&reply, i - 1) = string_of(call->store, call->words[i]);
    }
    return reply;
}

static struct redis_value do_del(const struct call *call)
{
    int64_t gone = 0;
    for (uint32_t i = 1; i < call->count; i++) {
        gone += store_drop(call->store, call->words[i]);
    }
    return reply_integer(gone);
}

static struct redis_value do_expire(const struct call *call)
{
    struct store_key *key = store_find(call->store, call->words[1]);
    if (key) {
        key->expires_ms = call->store->now_ms + word_number(call->words[2]) * 1000;
    }
    return reply_integer(key != NULL);
}

/* --- hashes and sorted sets --- */

static struct redis_value do_hset(const struct call *call)
{
    struct store_key *key = store_make(call->store, call->words[1], STORE_HASH);
    int64_t fresh = 0;
    for (uint32_t i = 2; i + 1 < call->count; i += 2) {
        fresh += store_hash_set(key, call->words[i], call->words[i + 1]);
    }
    return reply_integer(fresh);
}

static struct redis_value do_hgetall(const struct call *call)
{
    const struct store_key *key = store_find(call->store, call->words[1]);
    struct redis_value reply = reply_array(key ? key->pair_count * 2 : 0);
    for (uint32_t i = 0; key && i < key->pair_count; i++) {
        *reply_item(&reply, i * 2) = reply_string(blob_span(&key->pairs[i].name));
        *reply_item(&reply, i * 2 + 1) = reply_string(blob_span(&key->pairs[i].value));
    }
    return reply;
}

static struct redis_value do_zadd(const struct call *call)
{
    struct store_key *key = store_make(call->store, call->words[1], STORE_ZSET);
    int64_t fresh = 0;
    for (uint32_t i = 2; i + 1 < call->count; i += 2) {
        fresh += store_zset_add(key, call->words[i + 1], (double)word_number(call->words[i]));
    }
    return reply_integer(fresh);
}

static struct redis_value do_zrem(const struct call *call)
{
    struct store_key *key = store_find(call->store, call->words[1]);
    int64_t gone = 0;
    for (uint32_t i = 2; key && i < call->count; i++) {
        gone += store_zset_remove(key, call->words[i]);
    }
    if (key && key->pair_count == 0) {
        store_drop(call->store, call->words[1]);
    }
    return reply_integer(gone);
}

/* From one place to another, both counted from 0 and included. */
static struct redis_value do_zrange(const struct call *call)
{
    const struct store_key *key = store_find(call->store, call->words[1]);
    int64_t first = word_number(call->words[2]), last = word_number(call->words[3]);
    int64_t count = key ? key->pair_count : 0;
    CHECK(first >= 0 && last >= 0); /* from the end is not simulated */
    last = last < count ? last : count - 1;
    struct redis_value reply = reply_array(first <= last ? (uint32_t)(last - first + 1) : 0);
    for (uint32_t i = 0; i < reply.count; i++) {
        *reply_item(&reply, i) = reply_string(blob_span(&key->pairs[first + i].name));
    }
    return reply;
}

/* --- messages and scripts --- */

static struct redis_value do_publish(const struct call *call)
{
    return reply_integer(call->mind->publish(call->mind->context, call->words[1], call->words[2]));
}

static struct redis_value do_script(const struct call *call)
{
    CHECK(word_is(call->words[1], "LOAD") && call->count == 3);
    uint32_t number = redis_script_by_source(call->words[2]);
    CHECK_MSG(number != UINT32_MAX, "the model has no function for this script: %.*s", (int)call->words[2].size,
              call->words[2].data);
    call->mind->loaded[number] = true;
    return reply_words(redis_script_sha(number));
}

/* EVALSHA sha count key … value …, and EVAL with the source in its place. */
static struct redis_value run_script(const struct call *call, uint32_t number)
{
    uint32_t key_count = (uint32_t)word_number(call->words[2]);
    CHECK(3 + key_count <= call->count);
    return redis_script_run(call->mind, number, call->words + 3, key_count, call->words + 3 + key_count,
                            call->count - 3 - key_count);
}

static struct redis_value do_evalsha(const struct call *call)
{
    uint32_t number = redis_script_by_sha(call->words[1]);
    if (number == UINT32_MAX || !call->mind->loaded[number]) {
        return reply_failure("NOSCRIPT No matching script. Please use EVAL.");
    }
    return run_script(call, number);
}

static struct redis_value do_eval(const struct call *call)
{
    uint32_t number = redis_script_by_source(call->words[1]);
    CHECK(number != UINT32_MAX);
    call->mind->loaded[number] = true;
    return run_script(call, number);
}

/* --- the table --- */

struct verb {
    const char *name;
    struct redis_value (*work)(const struct call *call);
    uint32_t count_min;
    bool writes; /* and is refused where that can't be */
};

static const struct verb verbs[] = {
    {"PING", do_ping, 1, false},     {"SET", do_set, 3, true},          {"GET", do_get, 2, false},
    {"MGET", do_mget, 2, false},     {"DEL", do_del, 2, true},          {"EXPIRE", do_expire, 3, true},
    {"HSET", do_hset, 4, true},      {"HGETALL", do_hgetall, 2, false}, {"ZADD", do_zadd, 4, true},
    {"ZREM", do_zrem, 3, true},      {"ZRANGE", do_zrange, 4, false},   {"PUBLISH", do_publish, 3, false},
    {"SCRIPT", do_script, 2, false}, {"EVALSHA", do_evalsha, 3, false}, /* judged by what the script does */
    {"EVAL", do_eval, 3, false},
};

/* What frees memory is allowed when there is none. */
static bool frees(const struct verb *verb)
{
    return verb->work == do_del || verb->work == do_zrem || verb->work == do_expire;
}

struct redis_value redis_command(struct redis_mind *mind, uint32_t count, const struct span *words, bool *wrote)
{
    const struct verb *verb = NULL;
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs && !verb; i++) {
        verb = word_is(words[0], verbs[i].name) ? &verbs[i] : NULL;
    }
    CHECK_MSG(verb && count >= verb->count_min, "the model does not know %.*s with %u words", (int)words[0].size,
              words[0].data, count);
    if (verb->writes && mind->read_only) {
        return reply_failure("READONLY You can't write against a read only replica.");
    }
    if (verb->writes && mind->full && !frees(verb)) {
        return reply_failure("OOM command not allowed when used memory > 'maxmemory'.");
    }
    if (wrote) {
        *wrote = verb->writes || verb->work == do_evalsha || verb->work == do_eval;
    }
    const struct call call = {mind, mind->store, count, words};
    return verb->work(&call);
}
