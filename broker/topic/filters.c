/*
 * filters: the trie of the header in a slab of nodes, a slab of values and an index.
 *
 *   node ── link: hash of (parent, level), chained in the index
 *        ── plus ─▶ its child for `+`, which is not in the index: found without hashing
 *        ── here, below ─▶ value ─▶ value ─▶ 0, lists: most filters have one value
 *        ── text, more ─▶ piece ─▶ piece ─▶ 0, for levels of more than 15 bytes
 *
 * All are records without pointers. The root is node 1. A node lives as long as it has a value or a child; removing a
 * filter prunes upwards from where it ended, and so does adding one that failed half way.
 *
 * A match goes along the trie depth first, without recursion: at each node the way of the level's text is taken at once
 * and the way of `+` is put on a list. That list has at most one entry a level, for what is put on it is always deeper
 * than the rest.
 */
#include "topic/filters.h"

#include <assert.h>
#include <stdlib.h>
#include <xxhash.h>

#include "base/check.h"
#include "base/index.h"
#include "base/slab.h"
#include "protocol/topic.h"

#define ROOT           1u
#define TEXT_NEAR      15u
#define PIECE_BYTES    28u
#define NODES_A_FILTER 4u
#define RECORDS_MAX    (UINT32_MAX - SLAB_SEGMENT_RECORDS)

struct node {
    struct index_link link;
    uint32_t parent;   /* 0: the root */
    uint32_t plus;     /* the child for `+`, 0: none */
    uint32_t children; /* how many nodes have this one as their parent */
    uint32_t here;     /* first value of the filter that ends here, 0: none */
    uint32_t below;    /* first value of the same with /# behind it, 0: none */
    uint32_t more;     /* first piece of the level's text beyond TEXT_NEAR, 0: none */
    uint8_t text_size; /* the whole text's; 0: the root */
    char text[TEXT_NEAR];
};

struct value {
    uint32_t value;
    uint32_t next; /* 0: the last */
};

struct piece {
    uint32_t next; /* 0: the last */
    char text[PIECE_BYTES];
};

static_assert(sizeof(struct node) == 56, "a million filters are counted in these");
static_assert(sizeof(struct piece) == 32, "no padding");
static_assert(TOPIC_BYTES_MAX <= UINT8_MAX, "text_size holds any level's");

struct filters {
    struct slab nodes;
    struct slab values;
    struct slab pieces;
    struct index index;
    uint64_t seed;
    uint64_t version;
};

/* A way through the trie that is still to be gone: from `node`, with the name's levels from `at` on. */
struct branch {
    uint32_t node;
    uint32_t at;
};

/* Values that have been found, and where they go. */
struct found {
    uint32_t *values;
    uint32_t room;
    uint32_t count;
};

static uint32_t bound(uint64_t records)
{
    return records < RECORDS_MAX ? (uint32_t)records : RECORDS_MAX;
}

struct filters *filters_create(uint32_t filters_max, uint64_t seed)
{
    struct filters *filters = calloc(1, sizeof *filters);
    if (!filters)
        return NULL;
    uint64_t nodes_max = (uint64_t)filters_max * NODES_A_FILTER + 1; /* and the root */
    filters->seed = seed;
    filters->version = 1;
    slab_init(&filters->nodes, sizeof(struct node), bound(nodes_max));
    slab_init(&filters->values, sizeof(struct value), bound(filters_max));
    slab_init(&filters->pieces, sizeof(struct piece), bound(nodes_max));
    if (!index_init(&filters->index, &filters->nodes) || slab_take(&filters->nodes) != ROOT) {
        filters_destroy(filters);
        return NULL;
    }
    return filters;
}

void filters_destroy(struct filters *filters)
{
    if (!filters)
        return;
    index_destroy(&filters->index);
    slab_destroy(&filters->pieces);
    slab_destroy(&filters->values);
    slab_destroy(&filters->nodes);
    free(filters);
}

static struct node *node_at(const struct filters *filters, uint32_t number)
{
    return slab_at(&filters->nodes, number);
}

static struct value *value_at(const struct filters *filters, uint32_t number)
{
    return slab_at(&filters->values, number);
}

static struct piece *piece_at(const struct filters *filters, uint32_t number)
{
    return slab_at(&filters->pieces, number);
}

static bool level_is(struct span level, char c)
{
    return level.size == 1 && level.data[0] == c;
}

/*
 * A level's text: the beginning within the node, the rest in pieces.
 */

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static bool text_is(const struct filters *filters, const struct node *node, struct span text)
{
    if (node->text_size != text.size || memcmp(node->text, text.data, smaller(text.size, TEXT_NEAR)) != 0)
        return false;
    size_t at = TEXT_NEAR;
    for (uint32_t number = node->more; number; number = piece_at(filters, number)->next, at += PIECE_BYTES) {
        if (memcmp(piece_at(filters, number)->text, text.data + at, smaller(text.size - at, PIECE_BYTES)) != 0)
            return false;
    }
    return true;
}

static void text_free(struct filters *filters, struct node *node)
{
    while (node->more) {
        uint32_t number = node->more;
        node->more = piece_at(filters, number)->next;
        slab_give(&filters->pieces, number);
    }
}

/* False: no room; what was taken is given back. */
static bool text_store(struct filters *filters, struct node *node, struct span text)
{
    node->text_size = (uint8_t)text.size;
    memcpy(node->text, text.data, smaller(text.size, TEXT_NEAR));
    uint32_t *link = &node->more;
    for (size_t at = TEXT_NEAR; at < text.size; at += PIECE_BYTES) {
        uint32_t number = slab_take(&filters->pieces);
        if (!number) {
            text_free(filters, node);
            return false;
        }
        struct piece *piece = piece_at(filters, number);
        memcpy(piece->text, text.data + at, smaller(text.size - at, PIECE_BYTES));
        *link = number;
        link = &piece->next;
    }
    return true;
}

/*
 * Nodes
 */

static uint64_t child_hash(const struct filters *filters, uint32_t parent, struct span level)
{
    return XXH3_64bits_withSeed(level.data, level.size, filters->seed + parent);
}

/* A node's child for a level of a filter or a name, 0: none. */
static uint32_t child_find(const struct filters *filters, uint32_t parent, struct span level)
{
    if (level_is(level, '+'))
        return node_at(filters, parent)->plus;
    uint32_t number = index_first(&filters->index, child_hash(filters, parent, level));
    while (number && (node_at(filters, number)->parent != parent || !text_is(filters, node_at(filters, number), level)))
        number = index_next(&filters->index, number);
    return number;
}

/* 0: no room; nothing has changed. */
static uint32_t child_create(struct filters *filters, uint32_t parent, struct span level)
{
    uint32_t number = slab_take(&filters->nodes);
    if (!number)
        return 0;
    struct node *node = node_at(filters, number);
    if (!text_store(filters, node, level)) {
        slab_give(&filters->nodes, number);
        return 0;
    }
    node->parent = parent;
    node_at(filters, parent)->children++;
    if (level_is(level, '+')) {
        node_at(filters, parent)->plus = number;
    } else {
        node->link.hash = child_hash(filters, parent, level);
        index_insert(&filters->index, number);
    }
    return number;
}

static void node_destroy(struct filters *filters, uint32_t number)
{
    struct node *node = node_at(filters, number), *parent = node_at(filters, node->parent);
    if (parent->plus == number)
        parent->plus = 0;
    else
        index_remove(&filters->index, number);
    parent->children--;
    text_free(filters, node);
    slab_give(&filters->nodes, number);
}

/* Lets a node go that nothing needs any more, and then those above it. */
static void prune(struct filters *filters, uint32_t number)
{
    while (number != ROOT) {
        const struct node *node = node_at(filters, number);
        uint32_t parent = node->parent;
        if (node->children || node->here || node->below)
            return;
        node_destroy(filters, number);
        number = parent;
    }
}

/* The node where a filter ends, and whether its values are those below it. 0: there is none, or (`create`) no room. */
static uint32_t node_of(struct filters *filters, struct span filter, bool create, bool *below)
{
    uint32_t number = ROOT;
    struct span level;
    *below = false;
    for (size_t at = 0; topic_level_next(filter, &at, &level);) {
        *below = level_is(level, '#');
        if (*below)
            break;
        uint32_t child = child_find(filters, number, level);
        if (!child && create)
            child = child_create(filters, number, level);
        if (!child) {
            prune(filters, number);
            return 0;
        }
        number = child;
    }
    return number;
}

static uint32_t *list_of(struct filters *filters, uint32_t number, bool below)
{
    struct node *node = node_at(filters, number);
    return below ? &node->below : &node->here;
}

/* What links to the value in a list, or to its end. */
static uint32_t *value_find(struct filters *filters, uint32_t *list, uint32_t value)
{
    while (*list && value_at(filters, *list)->value != value)
        list = &value_at(filters, *list)->next;
    return list;
}

bool filters_add(struct filters *filters, struct span filter, uint32_t value)
{
    bool below;
    uint32_t node = node_of(filters, filter, true, &below);
    if (!node)
        return false;
    uint32_t *end = value_find(filters, list_of(filters, node, below), value);
    if (*end)
        return true;
    *end = slab_take(&filters->values);
    if (!*end) {
        prune(filters, node);
        return false;
    }
    value_at(filters, *end)->value = value;
    filters->version++;
    return true;
}

bool filters_remove(struct filters *filters, struct span filter, uint32_t value)
{
    bool below;
    uint32_t node = node_of(filters, filter, false, &below);
    if (!node)
        return false;
    uint32_t *link = value_find(filters, list_of(filters, node, below), value);
    uint32_t number = *link;
    if (!number)
        return false;
    *link = value_at(filters, number)->next;
    slab_give(&filters->values, number);
    prune(filters, node);
    filters->version++;
    return true;
}

static void collect(const struct filters *filters, uint32_t list, struct found *found)
{
    for (; list; list = value_at(filters, list)->next) {
        if (found->count < found->room)
            found->values[found->count] = value_at(filters, list)->value;
        found->count++;
    }
}

uint32_t filters_match(const struct filters *filters, struct span name, uint32_t *values, uint32_t room)
{
    struct found found = {.values = values, .room = room};
    struct branch branches[TOPIC_LEVELS_MAX] = {{ROOT, 0}};
    uint32_t count = 1;
    while (count > 0) {
        uint32_t number = branches[--count].node;
        size_t at = branches[count].at;
        while (number) {
            const struct node *node = node_at(filters, number);
            bool wild = at > 0 || !topic_is_reserved(name);
            struct span level;
            if (wild)
                collect(filters, node->below, &found);
            if (!topic_level_next(name, &at, &level)) {
                collect(filters, node->here, &found);
                break;
            }
            if (wild && node->plus)
                branches[count++] = (struct branch){node->plus, (uint32_t)at};
            number = child_find(filters, number, level);
        }
    }
    return found.count;
}

uint64_t filters_version(const struct filters *filters)
{
    return filters->version;
}

uint32_t filters_count(const struct filters *filters)
{
    return filters->values.used;
}

uint64_t filters_bytes(const struct filters *filters)
{
    return sizeof *filters + filters->nodes.mapped_bytes + filters->values.mapped_bytes + filters->pieces.mapped_bytes +
           (uint64_t)filters->index.bucket_count * sizeof *filters->index.buckets;
}
