/*
 * window: see window.h.
 */
#include "client/window.h"

#include <assert.h>
#include <stdlib.h>

#include "protocol/dialect_bin.h"

#define LIBRARY_KEY_SIZE 12 /* nonce 8, id 4 */

static uint32_t id_of(uint64_t number)
{
    return (uint32_t)(number % PUBLISH_IDS) + 1;
}

static struct publish **slot_of(const struct window *window, uint64_t number)
{
    return &window->slots[number & (window->capacity - 1)];
}

bool window_init(struct window *window, uint32_t messages, size_t bytes, uint64_t nonce)
{
    uint32_t capacity = 1;
    while (capacity < messages)
        capacity *= 2;
    *window = (struct window){.capacity = capacity, .bytes_max = bytes, .nonce = nonce};
    window->slots = calloc(capacity, sizeof(struct publish *));
    return window->slots != NULL;
}

void window_free(struct window *window)
{
    for (; window->first < window->next; window->first++)
        free(*slot_of(window, window->first));
    free(window->slots);
    *window = (struct window){0};
}

bool window_fits(const struct window *window, size_t size)
{
    return window->next - window->first < window->capacity && size <= window->bytes_max - window->bytes;
}

size_t window_size_of(const struct command *command)
{
    static const char id[BIN_ID_SIZE] = {1};
    struct command measured = *command;
    measured.id = (struct span){id, sizeof id};
    return bin_command_write(&measured, NULL, 0) + (command->key.size ? 0 : LIBRARY_KEY_SIZE);
}

bool window_put(struct window *window, struct command *command, shoal_on_ack *on_ack, void *context)
{
    char key[LIBRARY_KEY_SIZE];
    memcpy(key, &window->nonce, sizeof window->nonce);
    bin_id_write(id_of(window->next), key + sizeof window->nonce);
    command->id = (struct span){key + sizeof window->nonce, BIN_ID_SIZE};
    if (command->key.size == 0)
        command->key = (struct span){key, sizeof key};
    size_t size = bin_command_write(command, NULL, 0);
    struct publish *publish = malloc(sizeof *publish + size);
    if (!publish)
        return false;
    *publish = (struct publish){.on_ack = on_ack, .context = context, .size = size};
    bin_command_write(command, publish->record, size);
    *slot_of(window, window->next++) = publish;
    window->count++;
    window->bytes += size;
    return true;
}

struct publish *window_send(struct window *window, size_t room, int64_t now_ms, const struct window_broker *broker)
{
    while (window->unsent < window->next && !*slot_of(window, window->unsent))
        window->unsent++; /* done before it was sent again */
    if (window->unsent == window->next || (*slot_of(window, window->unsent))->size > room)
        return NULL;
    struct publish *publish = *slot_of(window, window->unsent++);
    if (publish->sent_ms == 0) {
        publish->sent_ms = now_ms;
        publish->broker = *broker;
    } else {
        bool again = publish->broker.instance != broker->instance && !window->doubles;
        bin_publish_again(publish->record, publish->size, again);
    }
    return publish;
}

void window_rewind(struct window *window)
{
    window->unsent = window->first;
}

static void list_add(struct publish_list *list, struct publish *publish)
{
    publish->next = NULL;
    if (!list->first)
        list->last = &list->first;
    *list->last = publish;
    list->last = &publish->next;
}

static void take(struct window *window, uint64_t number, enum shoal_error error, struct shoal_position position,
                 struct publish_list *list)
{
    struct publish *publish = *slot_of(window, number);
    *slot_of(window, number) = NULL;
    window->count--;
    window->bytes -= publish->size;
    publish->error = error;
    publish->position = position;
    list_add(list, publish);
    while (window->first < window->next && !*slot_of(window, window->first))
        window->first++;
    if (window->unsent < window->first)
        window->unsent = window->first;
}

/* The number of the publish with this id, which was sent; window->next: there is none. */
static uint64_t number_of(const struct window *window, uint32_t id)
{
    assert(id >= 1 && id <= PUBLISH_IDS);
    uint32_t ahead = (id - id_of(window->first) + PUBLISH_IDS) % PUBLISH_IDS;
    uint64_t number = window->first + ahead;
    bool there = number < window->next && *slot_of(window, number) && (*slot_of(window, number))->sent_ms != 0;
    return there ? number : window->next;
}

bool window_done(struct window *window, uint32_t id, enum shoal_error error, struct shoal_position position,
                 struct publish_list *list)
{
    uint64_t number = number_of(window, id);
    if (number == window->next)
        return false;
    take(window, number, error, position, list);
    return true;
}

void window_postpone(struct window *window, uint32_t id)
{
    uint64_t number = number_of(window, id);
    if (number != window->next)
        (*slot_of(window, number))->sent_ms = 0;
}

void window_fail(struct window *window, bool (*is_lost)(const struct publish *publish, const void *what),
                 const void *what, enum shoal_error error, struct publish_list *list)
{
    for (uint64_t number = window->first; number < window->next; number++) {
        const struct publish *publish = *slot_of(window, number);
        if (publish && is_lost(publish, what))
            take(window, number, error, (struct shoal_position){0}, list);
    }
}

void window_fail_all(struct window *window, enum shoal_error error, struct publish_list *list)
{
    for (uint64_t number = window->first; number < window->next; number++) {
        const struct publish *publish = *slot_of(window, number);
        if (publish)
            take(window, number, publish->sent_ms ? SHOAL_ERROR_UNCERTAIN : error, (struct shoal_position){0}, list);
    }
}
