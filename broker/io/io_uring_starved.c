/*
 * io_uring_starved: slots that have something to receive when all receive buffers are taken.
 *
 * There are some dozens of buffers a room, and thousands of slots may have bytes at once (the pongs that came while the
 * shard was busy). A receive without a buffer fails, and were it armed again at once, it would fail again, and so would
 * all the others: work that grows with the square of those that wait, until the shard does nothing else. So no more
 * receives are under way than there are buffers, and the rest stand in a line, which is served in order whenever all
 * buffers are back.
 *
 * A slot stands in the line once. Who has closed meanwhile, and whose number is somebody else's by now, is known by the
 * flag that is no longer set. Bound: the slots of the room; counter: receive_buffers_out.
 */
#include <stdlib.h>

#include "io/io_uring_room.h"

#define STARVED_FIRST 256u

static void line_grow(struct starved *starved)
{
    uint32_t room = starved->room ? starved->room * 2 : STARVED_FIRST;
    uint32_t *slots = calloc(room, sizeof *slots);
    CHECK_MSG(slots != NULL, "no memory for %u slots that wait for a buffer", room);
    for (uint32_t i = starved->head; i != starved->tail; i++)
        slots[i & (room - 1)] = starved->slots[i & (starved->room - 1)];
    free(starved->slots);
    starved->slots = slots;
    starved->room = room;
}

void uring_starve(struct uring_room *room, uint32_t number)
{
    struct starved *starved = &room->starved;
    if (room->slots[number].flags & SLOT_STARVED)
        return;
    if (starved->tail - starved->head == starved->room)
        line_grow(starved);
    starved->slots[starved->tail++ & (starved->room - 1)] = number;
    slot_set(&room->slots[number], SLOT_STARVED);
    room->io.counters.receive_buffers_out++;
}

bool uring_starved_take(struct uring_room *room, uint32_t *number)
{
    struct starved *starved = &room->starved;
    while (starved->head != starved->tail) {
        *number = starved->slots[starved->head++ & (starved->room - 1)];
        if (room->slots[*number].flags & SLOT_STARVED) {
            slot_clear(&room->slots[*number], SLOT_STARVED);
            return true;
        }
    }
    return false;
}
