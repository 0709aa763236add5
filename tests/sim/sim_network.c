/*
 * sim_network: links, the bytes under way on them, the clients, and time. See io_simulated.h.
 *
 * A segment that arrives later has a notice in the heap, which names the link when it is due; one that arrives at once
 * does not need it. A reset may lose the bytes before it, or not: with TCP both are seen.
 */
#include "sim_network.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- start and end ------------------------------------------------------------------------------------------ */

static int64_t clock_monotonic(const struct clock *clock)
{
    return ((const struct sim_network *)clock)->now_us;
}

static int64_t clock_wall(const struct clock *clock)
{
    return 1700000000000 + clock_monotonic(clock) / 1000;
}

struct sim_network *sim_create(const struct sim_options *options)
{
    struct sim_network *network = calloc(1, sizeof *network);
    CHECK(network != NULL);
    network->clock = (struct clock){.monotonic_us = clock_monotonic, .wall_ms = clock_wall};
    network->options = *options;
    if (network->options.window_bytes == 0)
        network->options.window_bytes = 65536;
    if (network->options.backlog == 0)
        network->options.backlog = 4096;
    network->now_us = options->start_us;
    network->chance.state = options->seed * 0x9E3779B97F4A7C15u + 1;
    network->link_free = network->readable_first = network->readable_last = SIM_NONE;
    return network;
}

void sim_calm(struct sim_network *network)
{
    struct sim_options *options = &network->options;
    options->short_sends = options->short_receives = options->late_receives = 0;
    options->resets = options->failed_accepts = 0;
    options->window_bytes = options->window_bytes < 65536 ? 65536 : options->window_bytes;
    for (uint32_t i = 0; i < network->room_count; i++)
        if (network->rooms[i] != NULL)
            sim_room_calm(network->rooms[i]);
}

static void pipe_clear(struct pipe *pipe)
{
    for (struct segment *segment = pipe->first, *next; segment != NULL; segment = next) {
        next = segment->next;
        free(segment);
    }
    *pipe = (struct pipe){0};
}

static void flow_free(struct link *link)
{
    if (link->flow == NULL)
        return;
    pipe_clear(&link->flow->up);
    pipe_clear(&link->flow->down);
    free(link->flow);
    link->flow = NULL;
}

void sim_destroy(struct sim_network *network)
{
    for (uint32_t i = 0; i < network->room_count; i++)
        CHECK_MSG(network->rooms[i] == NULL, "room %u is still there", i);
    for (uint32_t i = 0; i < network->link_count; i++)
        flow_free(&network->links[i]);
    free(network->links);
    free(network->notices);
    free(network);
}

/* --- chance and time ---------------------------------------------------------------------------------------- */

uint32_t sim_random(struct sim_network *network, uint32_t bound)
{
    return chance_below(&network->chance, bound);
}

bool sim_chance(struct sim_network *network, uint16_t in_1000)
{
    return in_1000 > 0 && sim_random(network, 1000) < in_1000;
}

int64_t sim_delay(struct sim_network *network)
{
    return network->options.delay_us_max == 0 ? 0 : sim_random(network, (uint32_t)network->options.delay_us_max + 1);
}

int64_t sim_now_us(const struct sim_network *network)
{
    return network->now_us;
}

const struct clock *sim_clock(const struct sim_network *network)
{
    return &network->clock;
}

void sim_advance(struct sim_network *network, int64_t us)
{
    CHECK(us >= 0);
    network->now_us += us;
    sim_deliver(network);
}

bool sim_advance_to_next(struct sim_network *network, int64_t limit_us)
{
    bool due = network->notice_count > 0 && (limit_us < 0 || network->notices[0].due_us <= network->now_us + limit_us);
    if (due && network->notices[0].due_us > network->now_us)
        network->now_us = network->notices[0].due_us;
    else if (!due && limit_us > 0)
        network->now_us += limit_us;
    sim_deliver(network);
    return due;
}

/* --- notices: a binary heap --------------------------------------------------------------------------------- */

static bool notice_before(const struct notice *a, const struct notice *b)
{
    return a->due_us != b->due_us ? a->due_us < b->due_us : a->order < b->order;
}

static void notice_swap(struct notice *a, struct notice *b)
{
    struct notice kept = *a;
    *a = *b;
    *b = kept;
}

void sim_notice(struct sim_network *network, uint32_t link, enum notice_kind kind, int64_t due_us)
{
    if (network->notice_count == network->notice_room) {
        network->notice_room = network->notice_room * 2 + 256;
        network->notices = realloc(network->notices, network->notice_room * sizeof *network->notices);
        CHECK(network->notices != NULL);
    }
    uint32_t at = network->notice_count++;
    network->notices[at] =
        (struct notice){.due_us = due_us, .order = network->notice_order++, .link = link, .kind = kind};
    for (; at > 0 && notice_before(&network->notices[at], &network->notices[(at - 1) / 2]); at = (at - 1) / 2)
        notice_swap(&network->notices[at], &network->notices[(at - 1) / 2]);
}

static struct notice notice_pop(struct sim_network *network)
{
    struct notice *heap = network->notices;
    struct notice first = heap[0];
    heap[0] = heap[--network->notice_count];
    for (uint32_t at = 0;;) {
        uint32_t child = at * 2 + 1;
        if (child >= network->notice_count)
            return first;
        if (child + 1 < network->notice_count && notice_before(&heap[child + 1], &heap[child]))
            child++;
        if (!notice_before(&heap[child], &heap[at]))
            return first;
        notice_swap(&heap[child], &heap[at]);
        at = child;
    }
}

static void readable_join(struct sim_network *network, uint32_t number)
{
    struct flow *flow = network->links[number].flow;
    if (!network->options.tells_readable || flow == NULL || flow->in_readable ||
        !(network->links[number].flags & LINK_CLIENT))
        return;
    flow->in_readable = true;
    flow->next_readable = SIM_NONE;
    if (network->readable_last == SIM_NONE)
        network->readable_first = number;
    else
        network->links[network->readable_last].flow->next_readable = number;
    network->readable_last = number;
}

/* A flow in the readable list is kept until it is taken from there, even if its client has left. */
bool sim_next_readable(struct sim_network *network, uint32_t *client)
{
    while (network->readable_first != SIM_NONE) {
        uint32_t number = network->readable_first;
        struct link *link = &network->links[number];
        network->readable_first = link->flow->next_readable;
        if (network->readable_first == SIM_NONE)
            network->readable_last = SIM_NONE;
        link->flow->in_readable = false;
        if (link->flags & LINK_CLIENT) {
            *client = number;
            return true;
        }
        sim_link_release(network, number);
    }
    return false;
}

static void arrive(struct sim_network *network, uint32_t number, enum notice_kind kind)
{
    struct link *link = &network->links[number];
    if (!(link->flags & LINK_USED))
        return;
    struct sim_room *room = network->rooms[link->room];
    if (kind == NOTICE_DOWN)
        readable_join(network, number);
    else if (room != NULL && kind == NOTICE_UP)
        sim_room_look(room, number);
    else if (room != NULL)
        sim_room_ripe(room, number);
}

void sim_deliver(struct sim_network *network)
{
    while (network->notice_count > 0 && network->notices[0].due_us <= network->now_us) {
        struct notice notice = notice_pop(network);
        arrive(network, notice.link, notice.kind);
    }
}

/* --- pipes -------------------------------------------------------------------------------------------------- */

static struct pipe *pipe_of(const struct sim_network *network, uint32_t number, bool up)
{
    struct flow *flow = network->links[number].flow;
    if (flow == NULL)
        return NULL;
    return up ? &flow->up : &flow->down;
}

static bool pipe_is_over(const struct pipe *pipe)
{
    return pipe->last != NULL && pipe->last->kind != SEGMENT_BYTES;
}

static struct flow *flow_need(struct link *link)
{
    if (link->flow == NULL) {
        link->flow = calloc(1, sizeof *link->flow);
        CHECK(link->flow != NULL);
    }
    return link->flow;
}

/* An end in the pipe gives way to a reset. */
static void pipe_reopen(struct pipe *pipe)
{
    if (!pipe_is_over(pipe))
        return;
    struct segment **place = &pipe->first;
    struct segment *before = NULL;
    while (*place != pipe->last) {
        before = *place;
        place = &(*place)->next;
    }
    free(*place);
    *place = NULL;
    pipe->last = before;
}

void sim_put(struct sim_network *network, uint32_t number, bool up, enum segment_kind kind, const void *bytes,
             uint32_t size)
{
    flow_need(&network->links[number]);
    struct pipe *pipe = pipe_of(network, number, up);
    if (kind == SEGMENT_RESET && sim_random(network, 2) == 0)
        pipe_clear(pipe);
    else if (kind == SEGMENT_RESET)
        pipe_reopen(pipe);
    CHECK(!pipe_is_over(pipe));
    struct segment *segment = malloc(sizeof *segment + size);
    CHECK(segment != NULL);
    *segment = (struct segment){.kind = kind, .size = size, .due_us = network->now_us + sim_delay(network)};
    if (size > 0)
        memcpy(segment->bytes, bytes, size);
    if (pipe->last != NULL && pipe->last->due_us > segment->due_us)
        segment->due_us = pipe->last->due_us;
    if (pipe->last == NULL)
        pipe->first = segment;
    else
        pipe->last->next = segment;
    pipe->last = segment;
    pipe->bytes += size;
    if (segment->due_us > network->now_us)
        sim_notice(network, number, up ? NOTICE_UP : NOTICE_DOWN, segment->due_us);
    else
        arrive(network, number, up ? NOTICE_UP : NOTICE_DOWN);
}

bool sim_arrived(const struct sim_network *network, uint32_t number, bool up)
{
    const struct pipe *pipe = pipe_of(network, number, up);
    return pipe != NULL && pipe->first != NULL && pipe->first->due_us <= network->now_us;
}

bool sim_reset_arrived(const struct sim_network *network, uint32_t number, bool up)
{
    const struct pipe *pipe = pipe_of(network, number, up);
    return pipe != NULL && pipe->last != NULL && pipe->last->kind == SEGMENT_RESET &&
           pipe->last->due_us <= network->now_us;
}

uint32_t sim_unread(const struct sim_network *network, uint32_t number, bool up)
{
    const struct pipe *pipe = pipe_of(network, number, up);
    return pipe == NULL ? 0 : pipe->bytes;
}

uint32_t sim_window(const struct sim_network *network, uint32_t number, bool up)
{
    uint32_t unread = sim_unread(network, number, up);
    return unread >= network->options.window_bytes ? 0 : network->options.window_bytes - unread;
}

static void flow_tidy(struct link *link)
{
    if (link->flow != NULL && link->flow->up.first == NULL && link->flow->down.first == NULL &&
        !link->flow->in_readable)
        flow_free(link);
}

static void segment_drop(struct pipe *pipe)
{
    struct segment *segment = pipe->first;
    pipe->first = segment->next;
    if (pipe->first == NULL)
        pipe->last = NULL;
    free(segment);
}

ssize_t sim_take(struct sim_network *network, uint32_t number, bool up, void *bytes, size_t size)
{
    size_t done = 0;
    while (done < size && sim_arrived(network, number, up)) {
        struct pipe *pipe = pipe_of(network, number, up);
        struct segment *segment = pipe->first;
        if (segment->kind != SEGMENT_BYTES)
            return done > 0 ? (ssize_t)done : segment->kind == SEGMENT_END ? 0 : -ECONNRESET;
        uint32_t left = segment->size - segment->taken;
        uint32_t part = size - done < left ? (uint32_t)(size - done) : left;
        memcpy((char *)bytes + done, segment->bytes + segment->taken, part);
        segment->taken += part;
        pipe->bytes -= part;
        done += part;
        if (segment->taken == segment->size)
            segment_drop(pipe);
    }
    flow_tidy(&network->links[number]);
    return done > 0 ? (ssize_t)done : -EAGAIN;
}

void sim_break(struct sim_network *network, uint32_t number)
{
    for (int up = 0; up < 2; up++) {
        flow_need(&network->links[number]);
        struct pipe *pipe = pipe_of(network, number, up);
        pipe_clear(pipe);
        sim_put(network, number, up, SEGMENT_RESET, NULL, 0);
        pipe->last->due_us = network->now_us;
        arrive(network, number, up ? NOTICE_UP : NOTICE_DOWN);
    }
}

/* --- clients ------------------------------------------------------------------------------------------------ */

static uint32_t link_take(struct sim_network *network)
{
    uint32_t number = network->link_free;
    if (number != SIM_NONE) {
        network->link_free = network->links[number].next;
        return number;
    }
    if (network->link_count == network->link_room) {
        network->link_room = network->link_room * 2 + 1024;
        network->links = realloc(network->links, network->link_room * sizeof *network->links);
        CHECK(network->links != NULL);
    }
    return network->link_count++;
}

void sim_link_release(struct sim_network *network, uint32_t number)
{
    struct link *link = &network->links[number];
    if (link->flags & (LINK_CLIENT | LINK_BACKLOG | LINK_OPEN) || !(link->flags & LINK_USED))
        return;
    if (link->flow != NULL && link->flow->in_readable)
        return; /* sim_next_readable() comes back to it */
    flow_free(link);
    *link = (struct link){.next = network->link_free};
    network->link_free = number;
}

uint32_t sim_connect(struct sim_network *network, uint32_t room)
{
    CHECK(room < network->room_count);
    uint32_t number = link_take(network);
    network->links[number] =
        (struct link){.flags = LINK_USED | LINK_CLIENT | LINK_BACKLOG, .room = (uint8_t)room, .next = SIM_NONE};
    if (network->rooms[room] != NULL && sim_room_knock(network->rooms[room], number))
        return number;
    network->links[number].flags = LINK_USED;
    sim_link_release(network, number);
    return SIM_NONE;
}

static struct link *client_link(struct sim_network *network, uint32_t client)
{
    CHECK(client < network->link_count && network->links[client].flags & LINK_CLIENT);
    return &network->links[client];
}

bool sim_client_accepted(const struct sim_network *network, uint32_t client)
{
    return !(network->links[client].flags & LINK_BACKLOG);
}

/* Both ends may have found out already. */
static void reset_once(struct sim_network *network, uint32_t number, bool up)
{
    const struct pipe *pipe = pipe_of(network, number, up);
    if (pipe == NULL || pipe->last == NULL || pipe->last->kind != SEGMENT_RESET)
        sim_put(network, number, up, SEGMENT_RESET, NULL, 0);
}

ssize_t sim_client_write(struct sim_network *network, uint32_t client, const void *bytes, size_t size)
{
    struct link *link = client_link(network, client);
    CHECK_MSG(!(link->flags & LINK_CLIENT_ENDED), "client %u has finished", client);
    if (sim_reset_arrived(network, client, false))
        return -ECONNRESET;
    const struct pipe *up = pipe_of(network, client, true);
    if (up != NULL && pipe_is_over(up))
        return -EPIPE;
    if (link->flags & LINK_CLOSED) { /* nobody is there: what is written is answered by a reset */
        reset_once(network, client, false);
        return (ssize_t)size;
    }
    uint32_t window = sim_window(network, client, true);
    uint32_t taken = size < window ? (uint32_t)size : window;
    if (taken == 0)
        return -EAGAIN;
    sim_put(network, client, true, SEGMENT_BYTES, bytes, taken);
    return taken;
}

ssize_t sim_client_read(struct sim_network *network, uint32_t client, void *bytes, size_t size)
{
    struct link *link = client_link(network, client);
    ssize_t result = sim_take(network, client, false, bytes, size);
    if (result > 0 && network->rooms[link->room] != NULL)
        sim_room_look(network->rooms[link->room], client); /* there may be room now */
    return result;
}

void sim_client_finish(struct sim_network *network, uint32_t client)
{
    struct link *link = client_link(network, client);
    if (link->flags & LINK_CLIENT_ENDED)
        return;
    link->flags |= LINK_CLIENT_ENDED;
    const struct pipe *up = pipe_of(network, client, true);
    if (!(link->flags & LINK_CLOSED) && (up == NULL || !pipe_is_over(up)))
        sim_put(network, client, true, SEGMENT_END, NULL, 0);
}

/* Nothing is acknowledged any more: at some time the room's TCP gives the connection up. */
static void give_up_later(struct sim_network *network, uint32_t number)
{
    struct link *link = &network->links[number];
    if (network->options.gives_up_us == 0 || link->flags & LINK_CLOSED || sim_reset_arrived(network, number, true))
        return;
    reset_once(network, number, true);
    struct segment *last = pipe_of(network, number, true)->last;
    last->due_us = network->now_us + network->options.gives_up_us;
    sim_notice(network, number, NOTICE_UP, last->due_us);
}

void sim_client_leave(struct sim_network *network, uint32_t client, enum sim_leaving how)
{
    struct link *link = client_link(network, client);
    if (how == SIM_LEAVE && sim_unread(network, client, false) == 0)
        sim_client_finish(network, client);
    else if (how == SIM_VANISH)
        give_up_later(network, client);
    else if (!(link->flags & LINK_CLOSED))
        reset_once(network, client, true);
    link->flags &= (uint16_t)~LINK_CLIENT;
    if (how != SIM_VANISH) {
        link->flags |= LINK_CLIENT_GONE;
        if (link->flow != NULL)
            pipe_clear(&link->flow->down);
        if (network->rooms[link->room] != NULL)
            sim_room_look(network->rooms[link->room], client);
        flow_tidy(link);
    }
    sim_link_release(network, client);
}
