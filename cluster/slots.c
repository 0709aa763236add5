/* slots: see slots.h. */
#include "cluster/slots.h"

#include <assert.h>
#include <pthread.h>

static uint16_t crc_table[256];
static struct {
    char text[SLOT_TAG_MAX];
    uint8_t size;
} tags[SLOTS];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void crc_make(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint16_t crc = (uint16_t)(byte << 8);
        for (int bit = 0; bit < 8; bit++) {
            crc = (uint16_t)(crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1);
        }
        crc_table[byte] = crc;
    }
}

static uint16_t crc_of(struct span bytes)
{
    uint16_t crc = 0;
    for (size_t i = 0; i < bytes.size; i++) {
        crc = (uint16_t)(crc << 8 ^ crc_table[(crc >> 8 ^ (uint8_t)bytes.data[i]) & 0xFF]);
    }
    return crc;
}

/* A number in base 36. Returns the digits' count. */
static uint8_t digits_write(uint32_t number, char text[SLOT_TAG_MAX])
{
    char reversed[SLOT_TAG_MAX];
    uint8_t size = 0;
    do {
        reversed[size++] = "0123456789abcdefghijklmnopqrstuvwxyz"[number % 36];
        number /= 36;
    } while (number);
    for (uint8_t i = 0; i < size; i++) {
        text[i] = reversed[size - 1 - i];
    }
    return size;
}

/* The first number whose digits fall into a slot are its tag. All have one long before the digits are used up. */
static void tables_make(void)
{
    crc_make();
    uint32_t left = SLOTS;
    for (uint32_t number = 0; left; number++) {
        char text[SLOT_TAG_MAX];
        uint8_t size = digits_write(number, text);
        uint32_t slot = crc_of((struct span){text, size}) % SLOTS;
        if (!tags[slot].size) {
            memcpy(tags[slot].text, text, size);
            tags[slot].size = size;
            left--;
        }
    }
}

uint16_t slot_crc16(struct span bytes)
{
    pthread_once(&once, tables_make);
    return crc_of(bytes);
}

uint32_t slot_of_key(struct span key)
{
    const char *open = key.size ? memchr(key.data, '{', key.size) : NULL;
    const char *close = open ? memchr(open, '}', key.size - (size_t)(open - key.data)) : NULL;
    if (close && close > open + 1) {
        key = (struct span){open + 1, (size_t)(close - open - 1)};
    }
    return slot_of_bytes(key);
}

struct span slot_tag(uint32_t slot)
{
    pthread_once(&once, tables_make);
    return (struct span){tags[slot].text, tags[slot].size};
}

/* --- the map --- */

static bool is_list(const struct redis_value *value, uint32_t count_min)
{
    return value->kind == REDIS_ARRAY && value->count >= count_min;
}

/* [host, port, id, …]. A host that is nil or empty: the one that was asked. */
static bool place_take(const struct redis_value *node, const struct url_place *asked, struct url_place *place)
{
    if (!is_list(node, 2) || node->items[1].kind != REDIS_INTEGER || node->items[1].integer <= 0 ||
        node->items[1].integer > UINT16_MAX) {
        return false;
    }
    const struct redis_value *host = &node->items[0];
    *place = *asked;
    place->port = (uint16_t)node->items[1].integer;
    if (host->kind == REDIS_STRING && host->text.size) {
        if (host->text.size >= sizeof place->host || memchr(host->text.data, 0, host->text.size) ||
            span_equal(host->text, SPAN_LITERAL("?"))) {
            return false;
        }
        memcpy(place->host, host->text.data, host->text.size);
        place->host[host->text.size] = 0;
    }
    return true;
}

/* SLOT_NOWHERE: there are too many. */
static uint32_t master_number(struct slot_map *map, const struct url_place *place)
{
    for (uint32_t i = 0; i < map->master_count; i++) {
        if (url_place_equal(&map->masters[i], place)) {
            return i;
        }
    }
    if (map->master_count == LINK_SERVERS_MAX) {
        return SLOT_NOWHERE;
    }
    map->masters[map->master_count] = *place;
    return map->master_count++;
}

static void other_add(struct slot_map *map, const struct redis_value *node, const struct url_place *asked)
{
    struct url_place place;
    if (!place_take(node, asked, &place)) {
        return;
    }
    for (uint32_t i = 0; i < map->other_count; i++) {
        if (url_place_equal(&map->others[i], &place)) {
            return;
        }
    }
    if (map->other_count < SLOT_OTHERS_MAX) {
        map->others[map->other_count++] = place;
    }
}

/* [first, last, master, replica…] */
static const char *range_take(struct slot_map *map, const struct redis_value *range, const struct url_place *asked)
{
    if (!is_list(range, 3) || range->items[0].kind != REDIS_INTEGER || range->items[1].kind != REDIS_INTEGER ||
        range->items[0].integer < 0 || range->items[1].integer >= SLOTS ||
        range->items[0].integer > range->items[1].integer) {
        return "its answer is no map of slots";
    }
    struct url_place master;
    if (!place_take(&range->items[2], asked, &master)) {
        return "it knows no address of a master";
    }
    uint32_t number = master_number(map, &master);
    if (number == SLOT_NOWHERE) {
        return "the cluster has more than 64 masters";
    }
    for (int64_t slot = range->items[0].integer; slot <= range->items[1].integer; slot++) {
        map->covered += map->owner[slot] == SLOT_NOWHERE;
        map->owner[slot] = (uint8_t)number;
    }
    for (uint32_t i = 3; i < range->count; i++) {
        other_add(map, &range->items[i], asked);
    }
    return NULL;
}

static_assert(LINK_SERVERS_MAX == 64 && SLOT_NOWHERE <= UINT8_MAX, "a message says so, and a byte holds it");

const char *slot_map_parse(const struct redis_value *value, const struct url_place *asked, struct slot_map *map)
{
    map->master_count = map->other_count = map->covered = 0;
    memset(map->owner, SLOT_NOWHERE, sizeof map->owner);
    if (value->kind != REDIS_ARRAY) {
        return "its answer is no map of slots";
    }
    const char *problem = NULL;
    for (uint32_t i = 0; i < value->count && !problem; i++) {
        problem = range_take(map, &value->items[i], asked);
    }
    return !problem && !map->covered ? "no slot has a server" : problem;
}
