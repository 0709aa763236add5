/*
 * shard: the turn, see shard.h for its drawing.
 *
 * Here is who gets what: events of the kernel go to accept, receive, close and deliver; tells to feeds and answer; asks
 * to the owner. And when to wait: never while something is left to do; shortly while a full ring has to be emptied by
 * its reader; else until the kernel or a neighbour rings, or the sweep's next step is due.
 */
#include "broker/shard.h"

#include "admin/inspect.h"
#include "base/check.h"
#include "conn/accept.h"
#include "conn/answer.h"
#include "conn/close.h"
#include "conn/deliver.h"
#include "conn/receive.h"
#include "conn/replay.h"
#include "conn/sweep.h"
#include "topic/replay.h"

/* Events of one turn, so that a flood of input does not keep others from being sent to; nor may they take longer. */
#define TURN_EVENTS_MAX      4096
#define TURN_EVENTS_US       4000
#define TURN_EVENTS_US_LEAST 500 /* where many shards share a thread */
#define TURN_EVENTS_LOOK     64  /* how often the time is looked at */

/* So many asks ahead of the one that is worked their memory is fetched: a miss takes as long as they do. */
#define ASKS_PREFETCHED 3

/* Without anything to do, how long a turn waits: the sweep's step. */
#define WAIT_IDLE_US 100000
/* Where many shards share a thread the sweep says how long; but with more topics or feeds than these as above. */
#define IDLE_TOPICS_MAX 4096u
/* Something waits for room in a ring: its reader is awake, and has room soon. */
#define WAIT_BLOCKED_US 100

/* Topics and feeds are swept all in this time, and at least so many a step. */
#define TOPICS_SWEEP_US    10000000
#define TOPICS_SWEEP_LEAST 256
#define TOPICS_STEP_US     50000

static void bell_ring(void *door)
{
    io_wake(door);
}

/* A turn's budget where `shares` shards take turns on one thread: all of them together take what one alone would. */
static uint32_t turn_share(uint32_t budget, uint32_t shares, uint32_t least)
{
    return budget / shares > least ? budget / shares : least;
}

static bool parts_init(struct shard *shard, const struct shard_setup *setup)
{
    const struct config *config = setup->config;
    shard->deflater_made =
        config->compression.enabled && deflater_init(&shard->deflater, DEFLATE_WINDOW_BITS_MAX, DEFLATE_LEVEL_DEFAULT);
    shard->inflater_made = inflater_init(&shard->inflater);
    shard->writer = (struct lane_writer){
        .deflater = shard->deflater_made ? &shard->deflater : NULL,
        .deflate_bytes_min = config->compression.min_bytes,
    };
    shard->conns = (struct conns){
        .io = setup->io,
        .mesh = setup->mesh,
        .clock = setup->clock,
        .feeds = &shard->feeds,
        .stats = &shard->stats,
        .config = config,
        .principals = principals_create(),
        .verifier = setup->verifier,
        .writer = &shard->writer,
        .inflater = &shard->inflater,
        .shard = setup->shard,
        .shard_count = setup->shard_count,
        .connections = setup->connections,
        .turn_deliveries = turn_share(TURN_DELIVERIES_MAX, shard->shares, TURN_DELIVERIES_LEAST),
        .instance = setup->instance,
        .federation = setup->federation,
        .spread = {.random = setup->seed, .at_us = setup->clock->monotonic_us(setup->clock)},
    };
    bool owner = owner_init(&shard->owner, setup->shard, setup->shard_count, setup->mesh, config, &shard->stats,
                            &shard->writer, setup->seed);
    bool feeds = feeds_init(&shard->feeds, setup->shard, setup->shard_count, setup->mesh, config, &shard->stats,
                            &shard->writer, setup->seed);
    shard->owner.link_peer = setup->link_peer;
    shard->feeds.link_peer = setup->link_peer;
    bool conns = conns_init(&shard->conns);
    return owner && feeds && conns && shard->conns.principals && shard->inflater_made;
}

struct shard *shard_create(const struct shard_setup *setup)
{
    struct shard *shard = aligned_alloc(CACHE_LINE, sizeof *shard);
    if (!shard) {
        return NULL;
    }
    *shard = (struct shard){.number = setup->shard, .io = setup->io, .mesh = setup->mesh, .clock = setup->clock};
    shard->shares = setup->shares ? setup->shares : 1;
    if (!parts_init(shard, setup)) {
        shard_destroy(shard);
        return NULL;
    }
    mesh_set_bell(setup->mesh, setup->shard, (struct mesh_bell){bell_ring, setup->io});
    shard->conns.sweep_us = shard->topics_swept_us = shard->clock->monotonic_us(shard->clock);
    return shard;
}

/* What nobody will work any more: its references are given back. */
static void envelope_discard(const struct envelope *envelope)
{
    switch ((enum envelope_kind)envelope->kind) {
    case ASK_PUBLISH:
    case ASK_READ:
    case TELL_PUBLISHED:
    case TELL_READ:
        chunk_drop(envelope->ticket->chunk);
        free(envelope->ticket);
        break;
    case ASK_REPLAY:
    case TELL_REPLAY:
        replay_ask_free(envelope->replay);
        break;
    case ASK_JOIN:
    case ASK_FILTER:
    case ASK_BRAKE:
    case ASK_RELEASE:
    case TELL_FOLLOW:
        name_drop(envelope->name);
        break;
    case ASK_ARRIVED:
    case TELL_RELAYED: /* its ticket is known to the owner */
    case TELL_FETCHED:
        relay_free(envelope->relay);
        break;
    case TELL_TAIL:
    case TELL_HISTORY:
        chunk_drop(envelope->chunk);
        break;
    default:
        break;
    }
}

static void ring_discard(struct spsc *ring)
{
    const struct envelope *envelope;
    while ((envelope = spsc_peek(ring)) != NULL) {
        envelope_discard(envelope);
        spsc_pop(ring);
    }
}

void shard_destroy(struct shard *shard)
{
    for (uint32_t from = 0; from < shard->mesh->peer_count; from++) {
        ring_discard(mesh_asks(shard->mesh, from, shard->number));
        ring_discard(mesh_tells(shard->mesh, from, shard->number));
    }
    if (shard->conns.principals) {
        principals_destroy(shard->conns.principals);
    }
    conns_destroy(&shard->conns);
    feeds_destroy(&shard->feeds);
    owner_destroy(&shard->owner);
    lane_writer_destroy(&shard->writer);
    if (shard->deflater_made) {
        deflater_free(&shard->deflater);
    }
    if (shard->inflater_made) {
        inflater_free(&shard->inflater);
    }
    io_destroy(shard->io);
    free(shard);
}

/* --- orders --- */

void shard_order(struct shard *shard, uint32_t orders)
{
    atomic_fetch_or_explicit(&shard->orders, orders, memory_order_release);
    io_wake(shard->io);
}

static void reload(struct shard *shard)
{
    const struct config *config = atomic_load_explicit(&shard->config_next, memory_order_acquire);
    shard->conns.config = config;
    shard->feeds.config = config;
    shard->owner.config = config;
    shard->writer.deflate_bytes_min = config->compression.min_bytes;
    atomic_fetch_add_explicit(&shard->reloads, 1, memory_order_release);
}

static void take_orders(struct shard *shard)
{
    uint32_t orders = atomic_load_explicit(&shard->orders, memory_order_relaxed);
    if (!(orders & ~(uint32_t)SHARD_ORDER_STOP)) {
        return;
    }
    orders = atomic_fetch_and_explicit(&shard->orders, SHARD_ORDER_STOP, memory_order_acquire);
    if (orders & SHARD_ORDER_RELOAD) {
        reload(shard);
    }
    if ((orders & SHARD_ORDER_DRAIN) && !shard->conns.draining) {
        sweep_drain(&shard->conns);
    }
}

/* --- the steps --- */

static void work_event(struct conns *conns, struct io_event *event)
{
    if (event->kind == IO_ACCEPTED) {
        accept_slot(conns, event->slot);
        return;
    }
    if (event->kind == IO_ACCEPT_FAILED) {
        return; /* the room counts it, and goes on when it can */
    }
    if (event->kind == IO_CLOSED) {
        close_slot_free(conns, event->slot);
        return;
    }
    bool gone = conn_at(conns, event->slot)->state == CONN_GONE;
    if (event->kind == IO_RECEIVED) {
        if (!gone) {
            receive_bytes(conns, event->slot, event->data, event->size);
        }
        io_buffer_return(conns->io, event->buffer);
    } else if (event->kind == IO_ENDED && !gone) {
        conn_ended(conns, event->slot, event->result);
    } else if (event->kind == IO_WRITABLE && !gone) {
        deliver_writable(conns, event->slot);
    }
}

static void reap(struct shard *shard)
{
    struct io_event event;
    int64_t most_us = turn_share(TURN_EVENTS_US, shard->shares, TURN_EVENTS_US_LEAST);
    shard->conns.caught_up = false;
    for (int i = 0; i < TURN_EVENTS_MAX; i++) {
        if (!io_next(shard->io, &event)) {
            shard->conns.caught_up = true;
            return;
        }
        work_event(&shard->conns, &event);
        if (i % TURN_EVENTS_LOOK == TURN_EVENTS_LOOK - 1 &&
            shard->clock->monotonic_us(shard->clock) - shard->now_us > most_us) {
            return;
        }
    }
}

static void work_tell(struct shard *shard, const struct envelope *tell)
{
    if (tell->kind == TELL_PUBLISHED) {
        answer_published(&shard->conns, tell->ticket);
    } else if (tell->kind == TELL_REPLAY) {
        replay_answered(&shard->conns, tell->replay);
    } else if (tell->kind == TELL_READ) {
        answer_read(&shard->conns, tell->ticket);
    } else if (owner_is_told(tell)) {
        owner_tell(&shard->owner, tell);
    } else {
        feeds_tell(&shard->feeds, tell);
        answer_feeds(&shard->conns);
    }
}

/* False: no room to answer yet. */
static bool inspect(struct shard *shard, const struct envelope *ask)
{
    uint32_t peer = ask->inspection->peer;
    if (mesh_tell_room(shard->mesh, shard->number, peer) == 0) {
        return false;
    }
    inspect_work(ask->inspection, &shard->conns, &shard->owner);
    struct envelope tell = {.kind = TELL_INSPECTED, .inspection = ask->inspection};
    CHECK(mesh_tell(shard->mesh, shard->number, peer, &tell));
    return true;
}

static bool work_ask(struct shard *shard, const struct envelope *ask)
{
    return ask->kind == ASK_INSPECT ? inspect(shard, ask) : owner_ask(&shard->owner, ask);
}

/* A ring's worth at most, so that a neighbour that never stops does not hold the turn. False: no room for answers. */
static bool drain_asks(struct shard *shard, uint32_t from)
{
    struct spsc *ring = mesh_asks(shard->mesh, from, shard->number);
    const struct envelope *ask, *ahead;
    for (uint32_t i = 0; i <= ring->mask && (ask = spsc_peek(ring)) != NULL; i++) {
        if ((ahead = spsc_peek_ahead(ring, ASKS_PREFETCHED)) != NULL) {
            owner_prefetch(&shard->owner, ahead);
        }
        if (!work_ask(shard, ask)) {
            shard->blocked = true;
            return false;
        }
        spsc_pop(ring);
    }
    return true;
}

/*
 * What the link had asked before it told of a page is worked before it, though tells come first: an owner sees by what
 * has arrived which of a page's messages are new (cluster/server.h: server_fence). Nobody but the link waits for that.
 * A ring's worth at most here, too. False: not all that there was could be worked.
 */
static bool drain_tells(struct shard *shard, uint32_t from)
{
    struct spsc *ring = mesh_tells(shard->mesh, from, shard->number);
    const struct envelope *tell;
    for (uint32_t i = 0; i <= ring->mask && (tell = spsc_peek(ring)) != NULL; i++) {
        if (tell->kind == TELL_FETCHED && !drain_asks(shard, from)) {
            return false;
        }
        struct envelope copy = *tell;
        spsc_pop(ring);
        work_tell(shard, &copy);
    }
    return true;
}

/* Tells first: they make room for the answers to asks. */
static void drain_mesh(struct shard *shard)
{
    struct mesh_peers senders = mesh_look(shard->mesh, shard->number);
    bool all = true;
    for (uint32_t from = mesh_peers_next(&senders, 0); from < PEERS_MAX; from = mesh_peers_next(&senders, from + 1)) {
        all &= drain_tells(shard, from);
    }
    if (all) {
        feeds_told(&shard->feeds, shard->told_ms);
    }
    for (uint32_t from = mesh_peers_next(&senders, 0); from < PEERS_MAX; from = mesh_peers_next(&senders, from + 1)) {
        drain_asks(shard, from);
    }
    mesh_settle(shard->mesh, shard->number, &senders);
}

/* What this shard owns and follows itself is delivered in the same turn. */
static void drain_own_tells(struct shard *shard)
{
    struct mesh_peers self = {0};
    self.words[shard->number / 64] = 1ull << (shard->number % 64);
    drain_tells(shard, shard->number);
    mesh_settle(shard->mesh, shard->number, &self);
}

static uint32_t sweep_share(uint32_t count, int64_t elapsed_us)
{
    uint64_t share = (uint64_t)count * (uint64_t)elapsed_us / TOPICS_SWEEP_US;
    uint64_t least = share > TOPICS_SWEEP_LEAST ? share : TOPICS_SWEEP_LEAST;
    return least < count ? (uint32_t)least : count;
}

/* What the rooms count for themselves. */
static void note_counts(struct shard *shard)
{
    STATS_SET(&shard->stats, mesh_full, mesh_full(shard->mesh, shard->number));
    STATS_SET(&shard->stats, idempotency_evictions, shard->owner.idempotency.evictions);
}

static void sweep(struct shard *shard)
{
    sweep_turn(&shard->conns);
    int64_t elapsed_us = shard->now_us - shard->topics_swept_us;
    if (elapsed_us >= TOPICS_STEP_US) {
        shard->topics_swept_us = shard->now_us;
        note_counts(shard);
        owner_sweep(&shard->owner, sweep_share(slab_end(&shard->owner.topics), elapsed_us));
        feeds_sweep(&shard->feeds, sweep_share(slab_end(&shard->feeds.feeds), elapsed_us));
    }
}

/* Waits, unless there is something to do. */
static void wait(struct shard *shard, bool more, int64_t wait_us)
{
    uint32_t rest_us = shard->conns.rest_us;
    if (rest_us > 0 && wait_us > rest_us) {
        wait_us = rest_us;
    }
    if (wait_us > 0 && shard->blocked) {
        wait_us = wait_us < WAIT_BLOCKED_US ? wait_us : WAIT_BLOCKED_US;
    }
    if (more || wait_us == 0 || (!shard->blocked && !mesh_sleep(shard->mesh, shard->number))) {
        io_wait(shard->io, 0);
        return;
    }
    io_wait(shard->io, wait_us);
    mesh_awake(shard->mesh, shard->number);
}

bool shard_is_quiet(const struct shard *shard)
{
    return shard->conns.table.used == 0 && shard->feeds.feeds.used == 0 && shard->conns.tickets == 0;
}

static void note_drained(struct shard *shard)
{
    bool drained = shard->conns.draining && shard_is_quiet(shard);
    atomic_store_explicit(&shard->drained, drained, memory_order_relaxed);
}

static void note_turn(struct shard *shard)
{
    uint64_t us = (uint64_t)(shard->clock->monotonic_us(shard->clock) - shard->now_us);
    STATS_ADD(&shard->stats, turns, 1);
    if (us > STATS_READ(&shard->stats, turn_us_worst)) {
        STATS_SET(&shard->stats, turn_us_worst, us);
    }
}

/*
 * What this turn appends belongs to its time or later, and others are told so before the clock is read. What all have
 * told of what came before is in the rings by now: where these are empty it is known at once, else when they are.
 */
static void begin_turn(struct shard *shard)
{
    mesh_set_told(shard->mesh, shard->number, shard->owner.told.ms);
    shard->now_us = shard->clock->monotonic_us(shard->clock);
    int64_t wall_ms = shard->clock->wall_ms(shard->clock);
    conns_set_time(&shard->conns, shard->now_us, wall_ms);
    owner_set_time(&shard->owner, wall_ms, shard->now_us);
    watermark_advance(&shard->owner.told, wall_ms);
    mesh_set_told(shard->mesh, shard->number, shard->owner.told.ms);
    if (wall_ms != shard->told_looked_ms) { /* as there are many to be asked */
        int64_t others_ms = mesh_told(shard->mesh, shard->number);
        shard->told_ms = others_ms < shard->owner.told.ms ? others_ms : shard->owner.told.ms;
        shard->told_looked_ms = wall_ms;
    }
    struct mesh_peers senders = mesh_look(shard->mesh, shard->number);
    if (mesh_peers_next(&senders, 0) == PEERS_MAX) {
        feeds_told(&shard->feeds, shard->told_ms);
    }
    shard->blocked = false;
}

/* All is told, as far as there was room. Between two turns nothing is appended. */
static void end_turn(struct shard *shard)
{
    watermark_advance(&shard->owner.told, shard->owner.now_ms);
    bool all = watermark_pending(&shard->owner.told) == 0;
    mesh_set_told(shard->mesh, shard->number, all ? INT64_MAX : shard->owner.told.ms);
    note_drained(shard);
    note_turn(shard);
    shard->blocked |= feeds_have_unsent(&shard->feeds) || owner_is_dirty(&shard->owner) || shard->conns.retries.size;
}

/* The turn, all but its wait. True: there is more to do at once. */
static bool turn(struct shard *shard)
{
    begin_turn(shard);
    take_orders(shard);
    accept_turn(&shard->conns);
    reap(shard);
    receive_retries(&shard->conns);
    drain_mesh(shard);
    owner_advance(&shard->owner);
    drain_own_tells(shard);
    feeds_send(&shard->feeds);
    mesh_ring_bells(shard->mesh, shard->number); /* others can begin while we deliver */
    bool more = deliver_turn(&shard->conns);
    close_turn(&shard->conns);
    sweep(shard);
    mesh_ring_bells(shard->mesh, shard->number);
    end_turn(shard);
    return more;
}

void shard_turn(struct shard *shard, int64_t wait_us)
{
    bool more = turn(shard);
    wait(shard, more, wait_us);
}

static int64_t idle_us(const struct shard *shard)
{
    bool many = slab_end(&shard->owner.topics) > IDLE_TOPICS_MAX || slab_end(&shard->feeds.feeds) > IDLE_TOPICS_MAX;
    int64_t idle_us = many ? WAIT_IDLE_US : sweep_rest_us(&shard->conns);
    uint32_t rest_us = shard->conns.rest_us; /* a large feed waits for what is on its way */
    return rest_us > 0 && rest_us < idle_us ? rest_us : idle_us;
}

int64_t shard_step(struct shard *shard)
{
    mesh_awake(shard->mesh, shard->number);
    bool more = turn(shard);
    io_wait(shard->io, 0);
    /* the wake may have been seen already; that it is to stop is looked at before any rest, and is nothing to turn for
     */
    bool ordered = atomic_load_explicit(&shard->orders, memory_order_relaxed) & ~(uint32_t)SHARD_ORDER_STOP;
    if (more || ordered || io_is_waiting(shard->io)) {
        return 0;
    }
    if (shard->blocked) {
        return WAIT_BLOCKED_US;
    }
    if (!mesh_sleep(shard->mesh, shard->number)) {
        return 0;
    }
    return idle_us(shard);
}

bool shard_is_stopped(const struct shard *shard)
{
    return atomic_load_explicit(&shard->orders, memory_order_acquire) & SHARD_ORDER_STOP;
}

void shard_run(struct shard *shard)
{
    while (!shard_is_stopped(shard)) {
        shard_turn(shard, WAIT_IDLE_US);
    }
}
