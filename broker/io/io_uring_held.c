/*
 * io_uring_held: bytes that arrived for a slot that is paused.
 *
 * A multishot receive goes on until its cancellation arrives, so a slot that was just paused may still be given
 * bytes, or its end. The contract says that nothing comes while paused; so they are copied out of the receive
 * buffer (which goes back at once: paused slots must not starve the others) and wait here.
 *
 *    held ──── uring_release() ────▶ released ──── uring_next_released() ────▶ lent ────▶ freed
 *      ▲                                │
 *      └──── paused again meanwhile ────┘
 *
 * Both are in order of arrival, and what is released is reported before newer completions are looked at: so a slot's
 * bytes keep their order. Bounded by what the socket had received when it was paused, as nothing is armed after that.
 * To find a slot's, the list that its number falls into is walked: only for slots that are marked SLOT_HELD.
 */
#include <string.h>

#include "io/io_uring_room.h"

static void list_append(struct held_list *list, struct held *held)
{
    held->next = NULL;
    if (list->last == NULL)
        list->first = held;
    else
        list->last->next = held;
    list->last = held;
}

static struct held *list_take(struct held_list *list)
{
    struct held *held = list->first;
    if (held != NULL) {
        list->first = held->next;
        if (list->first == NULL)
            list->last = NULL;
    }
    return held;
}

static void list_free(struct held_list *list)
{
    for (struct held *held; (held = list_take(list)) != NULL;)
        free(held);
}

static struct held_list *held_of(struct uring_room *room, uint32_t number)
{
    return &room->held[number & (HELD_LISTS - 1)];
}

/* Keeps it for as long as its slot is paused. */
static void hold(struct uring_room *room, struct held *held)
{
    list_append(held_of(room, held->slot), held);
    slot_set(&room->slots[held->slot], SLOT_HELD);
}

/* Moves those of the slot to the end of the other list, or frees them if there is none. */
static void list_move(struct held_list *from, uint32_t number, struct held_list *to)
{
    struct held_list kept = {0};
    for (struct held *held; (held = list_take(from)) != NULL;) {
        if (held->slot != number)
            list_append(&kept, held);
        else if (to != NULL)
            list_append(to, held);
        else
            free(held);
    }
    *from = kept;
}

void uring_hold(struct uring_room *room, uint32_t number, int32_t result, const char *bytes)
{
    size_t size = result > 0 ? (size_t)result : 0;
    struct held *held = malloc(sizeof *held + size);
    CHECK_MSG(held != NULL, "no memory for %zu received bytes", size);
    held->slot = number;
    held->result = result;
    if (size > 0)
        memcpy(held->bytes, bytes, size);
    hold(room, held);
}

void uring_release(struct uring_room *room, uint32_t number)
{
    if (!(room->slots[number].flags & SLOT_HELD))
        return;
    list_move(held_of(room, number), number, &room->released);
    slot_clear(&room->slots[number], SLOT_HELD);
}

void uring_drop_held(struct uring_room *room, uint32_t number)
{
    list_move(&room->released, number, NULL);
    if (!(room->slots[number].flags & SLOT_HELD))
        return;
    list_move(held_of(room, number), number, NULL);
    slot_clear(&room->slots[number], SLOT_HELD);
}

const struct held *uring_next_released(struct uring_room *room)
{
    for (struct held *held; (held = list_take(&room->released)) != NULL;) {
        if (slot_receiving(&room->slots[held->slot]) != IO_RECEIVE_PAUSED)
            return room->lent = held;
        hold(room, held);
    }
    return NULL;
}

void uring_held_return(struct uring_room *room)
{
    free(room->lent);
    room->lent = NULL;
}

void uring_held_destroy(struct uring_room *room)
{
    uring_held_return(room);
    list_free(&room->released);
    for (uint32_t i = 0; i < HELD_LISTS; i++)
        list_free(&room->held[i]);
}
