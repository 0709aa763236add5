/* redis_store: see redis_store.h. */
#include "redis_store.h"

#include <stdlib.h>

#include "base/check.h"

struct blob blob_of(struct span bytes)
{
    struct blob blob = {.data = malloc(bytes.size + 1), .size = bytes.size};
    CHECK(blob.data);
    if (bytes.size) {
        memcpy(blob.data, bytes.data, bytes.size);
    }
    blob.data[bytes.size] = '\0';
    return blob;
}

static void blob_set(struct blob *blob, struct span bytes)
{
    free(blob->data);
    *blob = blob_of(bytes);
}

/* Makes room in an array for one element more, and moves what is behind `at`. */
static void *array_open(void *array, uint32_t count, uint32_t at, size_t size)
{
    char *wider = realloc(array, (count + 1) * size);
    CHECK(wider);
    memmove(wider + (at + 1) * size, wider + at * size, (count - at) * size);
    memset(wider + at * size, 0, size);
    return wider;
}

/* --- keys --- */

struct store *store_create(void)
{
    struct store *store = calloc(1, sizeof *store);
    CHECK(store);
    return store;
}

static void entry_clear(struct stream_entry *entry)
{
    for (uint32_t i = 0; i < entry->count; i++) {
        free(entry->fields[i].data);
    }
    free(entry->fields);
}

static void key_free(struct store_key *key)
{
    for (uint32_t i = 0; i < key->pair_count; i++) {
        free(key->pairs[i].name.data);
        free(key->pairs[i].value.data);
    }
    for (uint32_t i = 0; i < key->entry_count; i++) {
        entry_clear(&key->entries[i]);
    }
    free(key->pairs);
    free(key->entries);
    free(key->string.data);
    free(key->name.data);
    free(key);
}

void store_destroy(struct store *store)
{
    if (store) {
        for (uint32_t i = 0; i < store->key_count; i++) {
            key_free(store->keys[i]);
        }
        free(store->keys);
        free(store);
    }
}

/* UINT32_MAX: not there. */
static uint32_t place_of(const struct store *store, struct span name)
{
    for (uint32_t i = 0; i < store->key_count; i++) {
        if (span_equal(blob_span(&store->keys[i]->name), name)) {
            return i;
        }
    }
    return UINT32_MAX;
}

static void drop_at(struct store *store, uint32_t place)
{
    key_free(store->keys[place]);
    store->keys[place] = store->keys[--store->key_count];
}

struct store_key *store_find(struct store *store, struct span name)
{
    uint32_t place = place_of(store, name);
    if (place == UINT32_MAX) {
        return NULL;
    }
    struct store_key *key = store->keys[place];
    if (key->expires_ms && key->expires_ms <= store->now_ms) {
        drop_at(store, place);
        return NULL;
    }
    return key;
}

struct store_key *store_make(struct store *store, struct span name, enum store_type type)
{
    struct store_key *key = store_find(store, name);
    if (key) {
        CHECK_MSG(key->type == type, "%.*s has another type", (int)name.size, name.data);
        return key;
    }
    if (store->key_count == store->key_room) {
        store->key_room = store->key_room * 2 + 64;
        store->keys = realloc(store->keys, store->key_room * sizeof(struct store_key *));
        CHECK(store->keys);
    }
    key = calloc(1, sizeof *key);
    CHECK(key);
    key->name = blob_of(name);
    key->type = type;
    store->keys[store->key_count++] = key;
    return key;
}

bool store_drop(struct store *store, struct span name)
{
    if (!store_find(store, name)) {
        return false;
    }
    drop_at(store, place_of(store, name));
    return true;
}

/* --- strings --- */

void store_string_set(struct store *store, struct span name, struct span value)
{
    store_drop(store, name); /* whatever it was, and its expiry */
    blob_set(&store_make(store, name, STORE_STRING)->string, value);
}

/* --- hashes and sorted sets --- */

static uint32_t pair_of(const struct store_key *key, struct span name)
{
    for (uint32_t i = 0; i < key->pair_count; i++) {
        if (span_equal(blob_span(&key->pairs[i].name), name)) {
            return i;
        }
    }
    return UINT32_MAX;
}

static struct pair *pair_insert(struct store_key *key, uint32_t at, struct span name)
{
    key->pairs = array_open(key->pairs, key->pair_count, at, sizeof *key->pairs);
    key->pair_count++;
    key->pairs[at].name = blob_of(name);
    return &key->pairs[at];
}

static void pair_remove(struct store_key *key, uint32_t at)
{
    free(key->pairs[at].name.data);
    free(key->pairs[at].value.data);
    key->pair_count--;
    memmove(&key->pairs[at], &key->pairs[at + 1], (key->pair_count - at) * sizeof *key->pairs);
}

const struct blob *store_hash_get(const struct store_key *key, struct span field)
{
    uint32_t at = key ? pair_of(key, field) : UINT32_MAX;
    return at == UINT32_MAX ? NULL : &key->pairs[at].value;
}

bool store_hash_set(struct store_key *key, struct span field, struct span value)
{
    uint32_t at = pair_of(key, field);
    bool fresh = at == UINT32_MAX;
    struct pair *pair = fresh ? pair_insert(key, key->pair_count, field) : &key->pairs[at];
    blob_set(&pair->value, value);
    return fresh;
}

static bool stands_before(const struct pair *pair, struct span member, double score)
{
    if (pair->score != score) {
        return pair->score < score;
    }
    size_t size = pair->name.size < member.size ? pair->name.size : member.size;
    int order = memcmp(pair->name.data, member.data, size);
    return order < 0 || (order == 0 && pair->name.size < member.size);
}

bool store_zset_add(struct store_key *key, struct span member, double score)
{
    bool fresh = !store_zset_remove(key, member);
    uint32_t at = 0;
    while (at < key->pair_count && stands_before(&key->pairs[at], member, score)) {
        at++;
    }
    pair_insert(key, at, member)->score = score;
    return fresh;
}

bool store_zset_remove(struct store_key *key, struct span member)
{
    uint32_t at = pair_of(key, member);
    if (at != UINT32_MAX) {
        pair_remove(key, at);
    }
    return at != UINT32_MAX;
}

/* --- streams --- */

bool store_stream_add(struct store_key *key, uint64_t id, const struct span *fields, uint32_t count)
{
    if (id <= key->last_id) {
        return false;
    }
    key->entries = array_open(key->entries, key->entry_count, key->entry_count, sizeof *key->entries);
    struct stream_entry *entry = &key->entries[key->entry_count++];
    *entry = (struct stream_entry){.id = id, .count = count, .fields = calloc(count ? count : 1, sizeof(struct blob))};
    CHECK(entry->fields);
    for (uint32_t i = 0; i < count; i++) {
        entry->fields[i] = blob_of(fields[i]);
    }
    key->last_id = id;
    return true;
}

uint32_t store_stream_trim(struct store *store, struct store_key *key, uint32_t length, bool sloppy)
{
    uint32_t before = key->entry_count;
    if (before <= length + (sloppy ? store->slack : 0)) {
        return 0;
    }
    uint32_t gone = before - length;
    for (uint32_t i = 0; i < gone; i++) {
        entry_clear(&key->entries[i]);
    }
    key->entry_count = length;
    memmove(key->entries, key->entries + gone, length * sizeof *key->entries);
    return gone;
}

/* --- copying --- */

static void copy_pairs(struct store_key *to, const struct store_key *from)
{
    for (uint32_t i = 0; i < from->pair_count; i++) {
        struct pair *pair = pair_insert(to, i, blob_span(&from->pairs[i].name));
        pair->score = from->pairs[i].score;
        blob_set(&pair->value, blob_span(&from->pairs[i].value));
    }
}

static void copy_entries(struct store_key *to, const struct store_key *from)
{
    for (uint32_t i = 0; i < from->entry_count; i++) {
        const struct stream_entry *entry = &from->entries[i];
        struct span fields[32];
        CHECK(entry->count <= sizeof fields / sizeof *fields);
        for (uint32_t j = 0; j < entry->count; j++) {
            fields[j] = blob_span(&entry->fields[j]);
        }
        CHECK(store_stream_add(to, entry->id, fields, entry->count));
    }
    to->last_id = from->last_id;
}

struct store *store_copy(const struct store *store)
{
    struct store *copy = store_create();
    copy->now_ms = store->now_ms;
    copy->slack = store->slack;
    for (uint32_t i = 0; i < store->key_count; i++) {
        const struct store_key *from = store->keys[i];
        struct store_key *to = store_make(copy, blob_span(&from->name), from->type);
        to->expires_ms = from->expires_ms;
        blob_set(&to->string, blob_span(&from->string));
        copy_pairs(to, from);
        copy_entries(to, from);
    }
    return copy;
}
