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
