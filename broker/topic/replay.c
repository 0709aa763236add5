/* replay: see replay.h. */
#include "topic/replay.h"

#include <stdlib.h>

struct replay_ask *replay_ask_create(struct span filter, struct span positions)
{
    struct replay_ask *ask = malloc(sizeof *ask + filter.size + positions.size);
    if (ask) {
        *ask = (struct replay_ask){.filter_size = (uint8_t)filter.size, .positions_size = (uint32_t)positions.size};
        memcpy(ask->bytes, filter.data, filter.size);
        if (positions.size) {
            memcpy(ask->bytes + filter.size, positions.data, positions.size);
        }
    }
    return ask;
}

void replay_ask_free(struct replay_ask *ask)
{
    for (uint32_t i = 0; i < ask->piece_count; i++) {
        name_drop(ask->pieces[i].name);
        chunk_drop(ask->pieces[i].chunk);
    }
    free(ask->pieces);
    free(ask);
}

struct replay_piece *replay_ask_add(struct replay_ask *ask)
{
    if (ask->piece_count == ask->piece_room) {
        uint32_t room = ask->piece_room ? ask->piece_room * 2 : 16;
        struct replay_piece *grown = realloc(ask->pieces, room * sizeof *grown);
        if (!grown) {
            return NULL;
        }
        ask->pieces = grown;
        ask->piece_room = room;
    }
    ask->pieces[ask->piece_count] = (struct replay_piece){0};
    return &ask->pieces[ask->piece_count++];
}

static int piece_compare(const void *a, const void *b)
{
    const struct replay_piece *one = a, *other = b;
    if (one->hash != other->hash) {
        return one->hash < other->hash ? -1 : 1;
    }
    return one->first < other->first ? -1 : one->first > other->first;
}

static bool is_double(const struct replay_piece *before, const struct replay_piece *piece)
{
    return before->hash == piece->hash && span_equal(name_span(before->name), name_span(piece->name));
}

void replay_ask_sort(struct replay_ask *ask)
{
    uint32_t kept = 0;
    if (ask->piece_count > 1) {
        qsort(ask->pieces, ask->piece_count, sizeof *ask->pieces, piece_compare);
    }
    for (uint32_t i = 0; i < ask->piece_count; i++) {
        if (kept && is_double(&ask->pieces[kept - 1], &ask->pieces[i])) {
            name_drop(ask->pieces[i].name);
            chunk_drop(ask->pieces[i].chunk);
        } else {
            ask->pieces[kept++] = ask->pieces[i];
        }
    }
    ask->piece_count = kept;
}

const struct replay_piece *replay_ask_find(const struct replay_ask *ask, uint32_t count, uint64_t hash)
{
    uint32_t from = 0, to = count;
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        if (ask->pieces[middle].hash < hash) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    return from < count && ask->pieces[from].hash == hash ? &ask->pieces[from] : NULL;
}
