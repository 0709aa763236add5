/*
 * redis_scripts: cluster/NAME.lua said once more, in C. See redis_commands.h.
 *
 * A script's own commands meet the server's refusals one by one, as they do in Redis: where there is no memory, the
 * first that needs some is refused, unless the script has written already; on a replica the first that writes is.
 */
#include <stdio.h>

#include "cluster/script.h"
#include "redis_commands.h"

/* One run of a script. */
struct run {
    struct redis_mind *mind;
    struct store *store;
    const struct span *keys;
    uint32_t key_count;
    const struct span *values; /* [0] is ARGV[1] */
    bool dirty;                /* it has written */
};

/* Lua counts from 1. One that was not given has no size. */
static struct span key_of(const struct run *run, uint32_t number)
{
    return number <= run->key_count ? run->keys[number - 1] : SPAN_NONE;
}

static struct span value_of(const struct run *run, uint32_t number)
{
    return run->values[number - 1];
}

/* NULL: the script may write now. Else how Redis refuses. */
static const char *refusal(struct run *run, bool needs_memory)
{
    if (run->mind->read_only) {
        return "READONLY You can't write against a read only replica.";
    }
    if (needs_memory && run->mind->full && !run->dirty) {
        return "OOM command not allowed when used memory > 'maxmemory'.";
    }
    run->dirty = true;
    return NULL;
}

/* --- hashes --- */

static const struct blob *field_of(const struct run *run, struct span key, const char *name)
{
    return store_hash_get(store_find(run->store, key), (struct span){name, strlen(name)});
}

static struct span field_span(const struct run *run, struct span key, const char *name)
{
    const struct blob *field = field_of(run, key, name);
    return field ? blob_span(field) : SPAN_NONE;
}

static void field_set(struct run *run, struct span key, const char *name, struct span value)
{
    store_hash_set(store_make(run->store, key, STORE_HASH), (struct span){name, strlen(name)}, value);
}

static void field_set_number(struct run *run, struct span key, const char *name, uint64_t value)
{
    field_set(run, key, name, number_word((int64_t)value));
}

static void expire(struct run *run, struct span name, struct span seconds)
{
    struct store_key *key = store_find(run->store, name);
    if (key) {
        key->expires_ms = run->store->now_ms + word_number(seconds) * 1000;
    }
}

static bool generation_is(const struct run *run)
{
    const struct blob *generation = field_of(run, key_of(run, 1), "g");
    return generation && span_equal(blob_span(generation), value_of(run, 1));
}

static struct redis_value generation_refused(void)
{
    return reply_failure("GENERATION is another one");
}

/* --- claim.lua --- */

static struct redis_value run_claim(struct run *run)
{
    struct span key = key_of(run, 1), process = value_of(run, 1), origin = value_of(run, 2);
    struct span known = field_span(run, key, "g");
    bool same = span_equal(field_span(run, key, "run"), process) &&
                (!origin.size || span_equal(field_span(run, key, "origin"), origin));
    bool durable = span_equal(value_of(run, 4), SPAN_LITERAL("1"));
    if (known.data && (same || durable)) {
        return reply_string(known);
    }
    const char *refused = refusal(run, true);
    if (refused) {
        return reply_failure(refused);
    }
    field_set(run, key, "g", value_of(run, 3));
    field_set(run, key, "run", process);
    field_set(run, key, "origin", origin);
    return reply_string(value_of(run, 3));
}

/* --- append.lua --- */

/* An idempotency key's "EPOCH OFFSET". */
static struct redis_value known_position(struct span known)
{
    const char *space = memchr(known.data, ' ', known.size);
    CHECK(space);
    size_t size = (size_t)(space - known.data);
    struct redis_value reply = reply_array(3);
    *reply_item(&reply, 0) = reply_string((struct span){known.data, size});
    *reply_item(&reply, 1) = reply_integer(word_number((struct span){space + 1, known.size - size - 1}));
    *reply_item(&reply, 2) = reply_integer(1);
    return reply;
}

static void tell_all(struct run *run, struct span epoch, uint64_t offset)
{
    char stamp[17];
    snprintf(stamp, sizeof stamp, "%016llx", (unsigned long long)offset);
    const struct span parts[] = {value_of(run, 4), epoch, {stamp, 16}, value_of(run, 5), value_of(run, 6)};
    char *message = NULL;
    size_t size = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        message = realloc(message, size + parts[i].size + 1);
        CHECK(message);
        if (parts[i].size) {
            memcpy(message + size, parts[i].data, parts[i].size);
        }
        size += parts[i].size;
    }
    run->mind->publish(run->mind->context, value_of(run, 3), (struct span){message, size});
    free(message);
}

/* XADD with MAXLEN ~. False: the stream has such an offset, or a later one. */
static bool add(struct run *run, uint64_t offset)
{
    struct store_key *stream = store_make(run->store, key_of(run, 3), STORE_STREAM);
    const struct span fields[] = {SPAN_LITERAL("d"), value_of(run, 6),  SPAN_LITERAL("k"),
                                  value_of(run, 7),  SPAN_LITERAL("t"), value_of(run, 8)};
    if (!store_stream_add(stream, offset, fields, 6)) {
        return false;
    }
    store_stream_trim(run->store, stream, (uint32_t)word_number(value_of(run, 9)), true);
    return true;
}

static void append_remember(struct run *run, struct span epoch, uint64_t last, bool fresh)
{
    struct span meta = key_of(run, 2), key = key_of(run, 4);
    if (fresh) {
        field_set(run, meta, "g", value_of(run, 1));
        field_set(run, meta, "e", epoch);
        field_set_number(run, meta, "b", last);
    }
    field_set_number(run, meta, "o", last + 1);
    expire(run, meta, value_of(run, 10));
    expire(run, key_of(run, 3), value_of(run, 10));
    if (key.size) {
        char text[64];
        int size = snprintf(text, sizeof text, "%.*s %llu", (int)epoch.size, epoch.data, (unsigned long long)last + 1);
        store_string_set(run->store, key, (struct span){text, (size_t)size});
        expire(run, key, value_of(run, 11));
    }
}

static struct redis_value run_append(struct run *run)
{
    if (!generation_is(run)) {
        return generation_refused();
    }
    struct span meta = key_of(run, 2), key = key_of(run, 4);
    const struct store_key *known = key.size ? store_find(run->store, key) : NULL;
    if (known) {
        return known_position(blob_span(&known->string));
    }
    struct span epoch = field_span(run, meta, "e"), last_text = field_span(run, meta, "o");
    uint64_t last = last_text.data ? (uint64_t)word_number(last_text) : 0;
    bool missing = !epoch.data || !last_text.data;
    bool fresh = missing || !span_equal(field_span(run, meta, "g"), value_of(run, 1));
    const char *refused = refusal(run, !missing); /* DEL needs no memory, and what follows is let through */
    if (refused) {
        return reply_failure(refused);
    }
    if (missing) {
        store_drop(run->store, key_of(run, 3));
        last = 0;
    }
    if (!add(run, last + 1)) {
        store_drop(run->store, key_of(run, 3));
        last = 0;
        fresh = true;
        CHECK(add(run, 1));
    }
    struct blob valid = blob_of(fresh ? value_of(run, 2) : epoch);
    append_remember(run, blob_span(&valid), last, fresh);
    tell_all(run, blob_span(&valid), last + 1);
    struct redis_value reply = reply_array(3);
    *reply_item(&reply, 0) = reply_string(blob_span(&valid));
    *reply_item(&reply, 1) = reply_integer((int64_t)last + 1);
    *reply_item(&reply, 2) = reply_integer(0);
    free(valid.data);
    return reply;
}

/* --- read.lua --- */

/* The epoch is made, or made anew. NULL: done, or nothing to do. */
static const char *read_prepare(struct run *run)
{
    struct span meta = key_of(run, 2);
    bool whole = field_of(run, meta, "e") && field_of(run, meta, "o") && field_of(run, meta, "b");
    if (whole && span_equal(field_span(run, meta, "g"), value_of(run, 1))) {
        return NULL;
    }
    const char *refused = refusal(run, whole);
    if (refused) {
        return refused;
    }
    if (!whole) {
        store_drop(run->store, key_of(run, 3));
        field_set_number(run, meta, "o", 0);
    }
    field_set(run, meta, "g", value_of(run, 1));
    field_set(run, meta, "e", value_of(run, 2));
    struct blob last = blob_of(field_span(run, meta, "o"));
    field_set(run, meta, "b", blob_span(&last));
    free(last.data);
    if (!whole) {
        expire(run, meta, value_of(run, 8));
    }
    return NULL;
}

static struct redis_value entry_reply(const struct stream_entry *entry)
{
    char id[32];
    int size = snprintf(id, sizeof id, "%llu-0", (unsigned long long)entry->id);
    struct redis_value fields = reply_array(entry->count);
    for (uint32_t i = 0; i < entry->count; i++) {
        *reply_item(&fields, i) = reply_string(blob_span(&entry->fields[i]));
    }
    struct redis_value reply = reply_array(2);
    *reply_item(&reply, 0) = reply_string((struct span){id, (size_t)size});
    *reply_item(&reply, 1) = fields;
    return reply;
}

/* In groups of 16, after each of which the bytes are looked at. */
static struct redis_value entries_after(const struct run *run, const struct store_key *stream, uint64_t after)
{
    uint32_t left = (uint32_t)word_number(value_of(run, 6)), count = 0, at = 0;
    int64_t bytes = 0, bytes_max = word_number(value_of(run, 7));
    struct redis_value reply = reply_array(stream ? stream->entry_count : 0);
    while (stream && at < stream->entry_count && stream->entries[at].id <= after) {
        at++;
    }
    while (stream && left > 0 && bytes < bytes_max && at < stream->entry_count) {
        for (uint32_t some = left < 16 ? left : 16; some > 0 && at < stream->entry_count; some--, at++, left--) {
            bytes += (int64_t)stream->entries[at].fields[1].size;
            *reply_item(&reply, count++) = entry_reply(&stream->entries[at]);
        }
    }
    reply.count = count;
    return reply;
}

static uint64_t read_after(const struct run *run, struct span epoch, uint64_t base, uint64_t last)
{
    if (span_equal(value_of(run, 3), epoch)) {
        return (uint64_t)word_number(value_of(run, 4));
    }
    if (span_equal(value_of(run, 3), SPAN_LITERAL("0"))) {
        uint64_t newest = (uint64_t)word_number(value_of(run, 5));
        return last > newest ? last - newest : 0;
    }
    return base;
}

static struct redis_value run_read(struct run *run)
{
    if (!generation_is(run)) {
        return generation_refused();
    }
    const char *refused = read_prepare(run);
    if (refused) {
        return reply_failure(refused);
    }
    struct span meta = key_of(run, 2), epoch = field_span(run, meta, "e");
    uint64_t base = (uint64_t)word_number(field_span(run, meta, "b"));
    uint64_t last = (uint64_t)word_number(field_span(run, meta, "o"));
    const struct store_key *stream = store_find(run->store, key_of(run, 3));
    bool empty = !stream || stream->entry_count == 0;
    struct redis_value reply = reply_array(5);
    *reply_item(&reply, 0) = reply_string(epoch);
    *reply_item(&reply, 1) = reply_integer((int64_t)base);
    *reply_item(&reply, 2) = reply_integer(empty ? (int64_t)last + 1 : (int64_t)stream->entries[0].id);
    *reply_item(&reply, 3) = reply_integer((int64_t)last);
    *reply_item(&reply, 4) = entries_after(run, stream, read_after(run, epoch, base, last));
    return reply;
}

/* --- the table --- */

struct redis_value redis_script_run(struct redis_mind *mind, uint32_t number, const struct span *keys,
                                    uint32_t key_count, const struct span *values, uint32_t value_count)
{
    static const struct {
        struct redis_value (*run)(struct run *run);
        uint32_t keys_min, keys_max, values;
    } scripts[SCRIPTS] = {
        [SCRIPT_CLAIM] = {run_claim, 1, 1, 4},
        [SCRIPT_APPEND] = {run_append, 3, 4, 11},
        [SCRIPT_READ] = {run_read, 3, 3, 8},
    };
    CHECK(number < SCRIPTS && scripts[number].run && value_count == scripts[number].values);
    CHECK(key_count >= scripts[number].keys_min && key_count <= scripts[number].keys_max);
    struct run run = {.mind = mind, .store = mind->store, .keys = keys, .key_count = key_count, .values = values};
    return scripts[number].run(&run);
}

uint32_t redis_script_by_source(struct span source)
{
    for (uint32_t i = 0; i < SCRIPTS; i++) {
        if (span_equal(script_text((enum script)i), source)) {
            return i;
        }
    }
    return UINT32_MAX;
}

const char *redis_script_sha(uint32_t number)
{
    static char shas[SCRIPTS][SCRIPT_HASH_SIZE + 1];
    if (!shas[number][0]) {
        script_hash((enum script)number, shas[number]);
    }
    return shas[number];
}

uint32_t redis_script_by_sha(struct span sha)
{
    for (uint32_t i = 0; i < SCRIPTS; i++) {
        if (word_is(sha, redis_script_sha(i))) {
            return i;
        }
    }
    return UINT32_MAX;
}
