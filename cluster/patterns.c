/* patterns: see patterns.h. */
#include "cluster/patterns.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/check.h"
#include "mesh/relay.h"

/* A shard that asked for a filter; on its way to being told it stands alone, on the line of answers. */
struct pattern_asker {
    struct pattern_asker *next;
    uint32_t feed;
    uint8_t shard;
    uint8_t lanes;
};

struct pattern_filter {
    struct index_link link;
    uint32_t serial;
    struct name *name;                       /* NULL: not in use */
    struct pattern_asker *waiting;           /* answers that wait for servers */
    uint64_t shards[(SHARDS_MAX + 63) / 64]; /* that want it: bits */
    uint64_t sent;                           /* servers: bits */
    uint64_t acked;
    uint32_t todo_next;
    bool queued;
};

#define LINK_TODO offsetof(struct pattern_filter, todo_next)

static struct pattern_filter *filter_at(const struct patterns *patterns, uint32_t number)
{
    return slab_at(&patterns->filters, number);
}

bool patterns_init(struct patterns *patterns, uint32_t filters_max, uint32_t levels_min, struct link_stats *stats)
{
    *patterns = (struct patterns){.filters_max = filters_max, .levels_min = levels_min, .stats = stats};
    slab_init(&patterns->filters, sizeof(struct pattern_filter), UINT32_MAX - SLAB_SEGMENT_RECORDS);
    return index_init(&patterns->index, &patterns->filters);
}

static void askers_free(struct pattern_asker *asker)
{
    while (asker) {
        struct pattern_asker *next = asker->next;
        free(asker);
        asker = next;
    }
}

/* The first record in use from a number on, 0: none. */
static uint32_t record_from(const struct patterns *patterns, uint32_t number)
{
    for (; number < slab_end(&patterns->filters); number++) {
        if (!slab_mapped(&patterns->filters, number)) {
            number |= SLAB_SEGMENT_RECORDS - 1;
        } else if (filter_at(patterns, number)->name) {
            return number;
        }
    }
    return 0;
}

void patterns_destroy(struct patterns *patterns)
{
    for (uint32_t number = record_from(patterns, 1); number; number = record_from(patterns, number + 1)) {
        name_drop(filter_at(patterns, number)->name);
        askers_free(filter_at(patterns, number)->waiting);
    }
    for (uint32_t shard = 0; shard < SHARDS_MAX; shard++) {
        askers_free(patterns->answers[shard].first);
    }
    index_destroy(&patterns->index);
    slab_destroy(&patterns->filters);
}

/* --- records --- */

static uint32_t find(const struct patterns *patterns, uint64_t hash, const struct name *name)
{
    uint32_t number = index_first(&patterns->index, hash);
    while (number && !span_equal(name_span(filter_at(patterns, number)->name), name_span(name))) {
        number = index_next(&patterns->index, number);
    }
    return number;
}

static bool is_wanted(const struct pattern_filter *filter)
{
    uint64_t any = 0;
    for (uint32_t word = 0; word < sizeof filter->shards / sizeof *filter->shards; word++) {
        any |= filter->shards[word];
    }
    return any != 0;
}

static uint32_t levels_without_wildcard(struct span filter)
{
    uint32_t levels = 0;
    size_t begin = 0;
    for (size_t i = 0; i <= filter.size; i++) {
        if (i < filter.size && filter.data[i] != '/') {
            continue;
        }
        if (i == begin + 1 && (filter.data[begin] == '+' || filter.data[begin] == '#')) {
            return levels;
        }
        levels++;
        begin = i + 1;
    }
    return levels;
}

static bool is_admitted(struct patterns *patterns, struct span filter)
{
    if (filter.data[0] == '$') {
        return false;
    }
    if (levels_without_wildcard(filter) < patterns->levels_min) {
        STATS_ADD(patterns->stats, filters_refused_levels, 1);
        return false;
    }
    if (patterns->wanted >= patterns->filters_max) {
        STATS_ADD(patterns->stats, filters_refused_limit, 1);
        return false;
    }
    return true;
}

static void todo(struct patterns *patterns, uint32_t number)
{
    struct pattern_filter *filter = filter_at(patterns, number);
    if (!filter->queued) {
        filter->queued = true;
        queue_push(&patterns->todo, &patterns->filters, LINK_TODO, number);
    }
}

static void release_if_unused(struct patterns *patterns, uint32_t number)
{
    struct pattern_filter *filter = filter_at(patterns, number);
    if (filter->sent || filter->queued || is_wanted(filter)) {
        return;
    }
    CHECK(!filter->waiting);
    index_remove(&patterns->index, number);
    name_drop(filter->name);
    filter->name = NULL;
    slab_give(&patterns->filters, number);
}

/* Whether the filter is as it should be at every server that is up. */
static bool is_settled(const struct patterns *patterns, const struct pattern_filter *filter)
{
    return (filter->sent & patterns->up) == (is_wanted(filter) ? patterns->up : 0);
}

/* The first filter that has something to be done. 0: none. */
static uint32_t first_unsettled(struct patterns *patterns)
{
    uint32_t number;
    while ((number = patterns->todo.first) != 0 && is_settled(patterns, filter_at(patterns, number))) {
        queue_take(&patterns->todo, &patterns->filters, LINK_TODO);
        filter_at(patterns, number)->queued = false;
        release_if_unused(patterns, number);
    }
    return number;
}

/* --- answers --- */

static void answer(struct patterns *patterns, struct pattern_asker *asker)
{
    struct pattern_answers *line = &patterns->answers[asker->shard];
    asker->next = NULL;
    if (line->first) {
        line->last->next = asker;
    } else {
        line->first = asker;
    }
    line->last = asker;
}

/* Whoever waits for the filter is answered, once no server that is up is waited for, or nobody wants it any more. */
static void answer_if_settled(struct patterns *patterns, struct pattern_filter *filter)
{
    if (is_wanted(filter) && (patterns->up & ~filter->acked)) {
        return;
    }
    while (filter->waiting) {
        struct pattern_asker *asker = filter->waiting;
        filter->waiting = asker->next;
        answer(patterns, asker);
    }
}

/* --- what may be missed --- */

/* Where all that is wanted is subscribed again, nothing is missed any more. */
static void misses_end(struct patterns *patterns)
{
    for (uint64_t bits = patterns->missed & patterns->up; bits; bits &= bits - 1) {
        uint32_t server = (uint32_t)__builtin_ctzll(bits);
        patterns->missed &= ~((uint64_t)patterns_is_complete(patterns, server) << server);
    }
}

static bool tell_one(struct mesh *mesh, uint32_t peer, uint32_t shard, enum relay_status status)
{
    struct envelope envelope = {.kind = TELL_PATTERNS, .status = (uint8_t)status};
    return mesh_tell(mesh, peer, shard, &envelope);
}

/* False: no room. */
static bool tell_missed(struct patterns *patterns, struct mesh *mesh, uint32_t peer, uint32_t shard)
{
    struct pattern_told *told = &patterns->told[shard];
    if (told->cuts != patterns->cuts) {
        if (!tell_one(mesh, peer, shard, RELAY_AWAY)) {
            return false;
        }
        *told = (struct pattern_told){.cuts = patterns->cuts, .missed = true};
    }
    if (told->missed && patterns->missed == 0) {
        told->missed = !tell_one(mesh, peer, shard, RELAY_DONE);
        return !told->missed;
    }
    return true;
}

bool patterns_tell(struct patterns *patterns, struct mesh *mesh, uint32_t peer, uint32_t shards)
{
    bool all = true;
    misses_end(patterns);
    for (uint32_t shard = 0; shard < shards; shard++) {
        all &= tell_missed(patterns, mesh, peer, shard);
        struct pattern_asker **first = &patterns->answers[shard].first;
        while (*first) {
            struct pattern_asker *asker = *first;
            struct envelope envelope = {.kind = TELL_FILTERED, .feed = asker->feed, .lanes = asker->lanes};
            if (!mesh_tell(mesh, peer, shard, &envelope)) {
                all = false;
                break;
            }
            *first = asker->next;
            free(asker);
        }
    }
    return all;
}

/* --- asks --- */

static void count_acked(struct patterns *patterns, const struct pattern_filter *filter, int64_t sign)
{
    for (uint64_t bits = filter->acked; bits; bits &= bits - 1) {
        patterns->acked[__builtin_ctzll(bits)] += (uint64_t)sign;
    }
}

/* The filter's record with this shard among those that want it. 0: refused; UINT32_MAX: no memory. */
static uint32_t want(struct patterns *patterns, const struct envelope *ask)
{
    uint32_t number = find(patterns, ask->hash, ask->name);
    if (!number || !is_wanted(filter_at(patterns, number))) {
        if (!is_admitted(patterns, name_span(ask->name))) {
            return 0;
        }
        if (!number) {
            number = slab_take(&patterns->filters);
            if (!number) {
                return UINT32_MAX;
            }
            *filter_at(patterns, number) = (struct pattern_filter){
                .link.hash = ask->hash, .serial = ++patterns->serial, .name = name_share(ask->name)};
            index_insert(&patterns->index, number);
        }
        patterns->wanted++;
        count_acked(patterns, filter_at(patterns, number), 1);
        todo(patterns, number);
    }
    filter_at(patterns, number)->shards[ask->from / 64] |= 1ull << (ask->from % 64);
    return number;
}

/* The shard wants the filter no more, whether it was admitted or not. */
static void unwant(struct patterns *patterns, const struct envelope *ask)
{
    uint32_t number = find(patterns, ask->hash, ask->name);
    if (!number || !is_wanted(filter_at(patterns, number))) {
        return;
    }
    struct pattern_filter *filter = filter_at(patterns, number);
    filter->shards[ask->from / 64] &= ~(1ull << (ask->from % 64));
    if (!is_wanted(filter)) {
        patterns->wanted--;
        count_acked(patterns, filter, -1);
        todo(patterns, number);
        answer_if_settled(patterns, filter);
    }
}

bool patterns_ask(struct patterns *patterns, const struct envelope *ask)
{
    struct envelope hashed = *ask;
    hashed.hash = name_hash(name_span(ask->name));
    struct pattern_asker *asker = malloc(sizeof *asker);
    if (!asker) {
        return false;
    }
    *asker = (struct pattern_asker){.feed = ask->feed, .shard = ask->from, .lanes = ask->lanes};
    uint32_t number = 0;
    if (ask->lanes) {
        number = want(patterns, &hashed);
        if (number == UINT32_MAX) {
            free(asker);
            return false;
        }
    } else {
        unwant(patterns, &hashed);
    }
    if (number) {
        struct pattern_filter *filter = filter_at(patterns, number);
        asker->next = filter->waiting;
        filter->waiting = asker;
        answer_if_settled(patterns, filter);
    } else {
        answer(patterns, asker);
    }
    name_drop(ask->name);
    first_unsettled(patterns); /* with no server up nobody else looks: what came and went meanwhile is let go */
    return true;
}

/* --- servers --- */

void patterns_up(struct patterns *patterns, uint32_t server)
{
    patterns->up |= 1ull << server;
    for (uint32_t number = record_from(patterns, 1); number; number = record_from(patterns, number + 1)) {
        todo(patterns, number);
    }
}

void patterns_cut(struct patterns *patterns, uint32_t server)
{
    uint64_t bit = 1ull << server;
    patterns->up &= ~bit;
    patterns->cuts += patterns->missed == 0;
    patterns->missed |= bit;
    patterns->acked[server] = 0;
    for (uint32_t number = record_from(patterns, 1); number; number = record_from(patterns, number + 1)) {
        struct pattern_filter *filter = filter_at(patterns, number);
        filter->sent &= ~bit;
        filter->acked &= ~bit;
        answer_if_settled(patterns, filter);
        release_if_unused(patterns, number);
    }
}

bool patterns_next(struct patterns *patterns, uint32_t server, struct interest_change *change)
{
    uint64_t bit = 1ull << server;
    uint32_t number = first_unsettled(patterns);
    if (number) {
        struct pattern_filter *filter = filter_at(patterns, number);
        bool wanted = is_wanted(filter);
        if (wanted == ((filter->sent & bit) != 0)) {
            return false; /* another server has to have it first */
        }
        if (!wanted && !(filter->acked & bit)) {
            return false; /* confirmations carry no number: one at a time is on its way */
        }
        *change = (struct interest_change){
            .subscribe = wanted, .number = number, .serial = filter->serial, .name = name_share(filter->name)};
        filter->sent ^= bit;
        filter->acked &= wanted ? ~0ull : ~bit;
        return true;
    }
    return false;
}

void patterns_acked(struct patterns *patterns, uint32_t server, uint32_t number, uint32_t serial)
{
    uint64_t bit = 1ull << server;
    if (!slab_mapped(&patterns->filters, number)) {
        return;
    }
    struct pattern_filter *filter = filter_at(patterns, number);
    if (!filter->name || filter->serial != serial || !(filter->sent & bit) || (filter->acked & bit)) {
        return;
    }
    filter->acked |= bit;
    patterns->acked[server] += is_wanted(filter);
    answer_if_settled(patterns, filter);
}

/* --- a pattern's text --- */

static void put(struct pattern *pattern, struct span text)
{
    memcpy(pattern->bytes + pattern->size, text.data, text.size);
    pattern->size += text.size;
}

/* Characters that Redis' patterns give a meaning to are escaped. */
static void put_literal(struct pattern *pattern, struct span text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (strchr("*?[]\\^", text.data[i]) && text.data[i]) {
            put(pattern, SPAN_LITERAL("\\"));
        }
        put(pattern, (struct span){text.data + i, 1});
    }
}

static void put_levels(struct pattern *pattern, struct span levels)
{
    for (size_t i = 0; i < levels.size; i++) {
        bool level_begins = i == 0 || levels.data[i - 1] == '/';
        bool level_ends = i + 1 == levels.size || levels.data[i + 1] == '/';
        if (level_begins && level_ends && levels.data[i] == '+') {
            put(pattern, SPAN_LITERAL("*"));
        } else if (level_begins && level_ends && levels.data[i] == '#') {
            put(pattern, SPAN_LITERAL("**"));
        } else {
            put_literal(pattern, (struct span){levels.data + i, 1});
        }
    }
}

static void pattern_make(struct pattern *pattern, struct span prefix, struct span levels, struct span end)
{
    pattern->size = 0;
    put_literal(pattern, prefix);
    put(pattern, SPAN_LITERAL("{"));
    put_levels(pattern, levels);
    put(pattern, end);
}

uint32_t pattern_write(struct span prefix, struct span filter, struct pattern patterns[2])
{
    CHECK(prefix.size <= PATTERN_PREFIX_MAX && filter.size <= TOPIC_BYTES_MAX);
    pattern_make(&patterns[0], prefix, filter, SPAN_LITERAL("}"));
    bool above = filter.size > 2 && memcmp(filter.data + filter.size - 2, "/#", 2) == 0;
    if (above) {
        /* escaped, it means the same, and no filter's own pattern has this text: a/+ may end while a/+/# stays */
        pattern_make(&patterns[1], prefix, (struct span){filter.data, filter.size - 2}, SPAN_LITERAL("\\}"));
    }
    return above ? 2 : 1;
}
