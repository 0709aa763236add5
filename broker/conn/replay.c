/* replay: see replay.h. */
#include "conn/replay.h"

#include "base/check.h"
#include "conn/close.h"
#include "conn/lanes.h"
#include "conn/reply.h"
#include "topic/replay.h"

/* Bytes put into `out` at a time, but for the last frame. */
#define REFILL_BYTES 65536u

enum replay_state { REPLAY_ASKING, REPLAY_GAPS, REPLAY_PIECES, REPLAY_TAIL };

struct replay {
    struct replay *next; /* of the same connection */
    uint32_t subscription;
    uint32_t serial; /* its asks have it, too */
    enum replay_state state;
    uint32_t asked;   /* shards */
    uint32_t awaited; /* answers */
    bool failed;
    bool caught_up; /* TAIL: `tail_until` has all that is_settled() has to be asked for */
    uint8_t id_size;
    uint64_t since_ms;
    struct replay_ask *answers;
    struct replay_ask *answer_at; /* GAPS, PIECES: where it is */
    uint32_t piece_at;
    uint64_t offset;     /* position of the last message replayed: of the piece, or of the filter's log */
    uint64_t tail_until; /* TAIL: up to here */
    struct chunk *chunk; /* borrowed: where `offset` + 1 is, or before */
    uint32_t positions_size;
    char bytes[]; /* id, positions */
};

static struct replay *replay_of(struct session *session, uint32_t subscription)
{
    struct replay *replay = session->replays;
    while (replay && replay->subscription != subscription) {
        replay = replay->next;
    }
    return replay;
}

bool replay_is_for(struct conns *conns, const struct conn *conn, uint32_t subscription)
{
    return conn->session && replay_of(session_at(conns, conn), subscription);
}

bool replay_begin(struct conns *conns, uint32_t slot, uint32_t subscription, const struct command *command)
{
    struct session *session = session_at(conns, conn_at(conns, slot));
    size_t positions = command->from.positions.size;
    struct replay *replay = malloc(sizeof *replay + command->id.size + positions);
    if (!replay) {
        return false;
    }
    *replay = (struct replay){
        .next = session->replays,
        .subscription = subscription,
        .serial = ++conns->replay_serial,
        .id_size = (uint8_t)command->id.size,
        .since_ms = command->from.since_ms,
        .positions_size = (uint32_t)positions,
    };
    if (command->id.size) {
        memcpy(replay->bytes, command->id.data, command->id.size);
    }
    memcpy(replay->bytes + command->id.size, command->from.positions.data, positions);
    session->replays = replay;
    return true;
}

static void replay_free(struct replay *replay)
{
    while (replay->answers) {
        struct replay_ask *next = replay->answers->next;
        replay_ask_free(replay->answers);
        replay->answers = next;
    }
    free(replay);
}

void replay_end(struct session *session, uint32_t subscription)
{
    for (struct replay **at = &session->replays; *at; at = &(*at)->next) {
        if ((*at)->subscription == subscription) {
            struct replay *replay = *at;
            *at = replay->next;
            replay_free(replay);
            return;
        }
    }
}

void replay_end_all(struct session *session)
{
    while (session->replays) {
        replay_end(session, session->replays->subscription);
    }
}

/* --- asking --- */

static struct replay_ask *make_ask(struct conns *conns, uint32_t slot, const struct replay *replay)
{
    const struct subscription *subscription = subscription_at(conns->feeds, replay->subscription);
    const struct feed *feed = feed_at(conns->feeds, subscription->feed);
    struct span positions = {replay->bytes + replay->id_size, replay->positions_size};
    struct replay_ask *ask = replay_ask_create(name_span(feed->name), positions);
    if (ask) {
        ask->conn = slot;
        ask->generation = conn_at(conns, slot)->generation;
        ask->shard = (uint8_t)conns->shard;
        ask->lane = subscription->lane;
        ask->subscription = replay->subscription;
        ask->serial = replay->serial;
        ask->dialect = dialect_of(conn_at(conns, slot)->dialect);
        ask->since_ms = replay->since_ms;
    }
    return ask;
}

/* False: a ring is full, or there is no memory: again in the next turn. */
static bool ask_all(struct conns *conns, uint32_t slot, struct replay *replay)
{
    for (; replay->asked < conns->shard_count; replay->asked++, replay->awaited++) {
        struct replay_ask *ask = make_ask(conns, slot, replay);
        struct envelope envelope = {.kind = ASK_REPLAY, .replay = ask};
        if (!ask || !mesh_ask(conns->mesh, conns->shard, replay->asked, &envelope)) {
            if (ask) {
                replay_ask_free(ask);
            }
            conn_mark_retry(conns, slot);
            return false;
        }
    }
    return true;
}

void replay_live(struct conns *conns, uint32_t slot, uint32_t number)
{
    struct subscription *subscription = subscription_at(conns->feeds, number);
    struct replay *replay = replay_of(session_at(conns, conn_at(conns, slot)), number);
    uint64_t offset = feed_offset_of(conns->feeds, feed_at(conns->feeds, subscription->feed), number);
    if (!subscription->cursor && !cursor_create(conns->feeds, number, offset)) {
        STATS_ADD(conns->stats, memory_refusals, 1);
        conn_close(conns, slot, CLOSE_OVERLOADED);
        return;
    }
    subscription->suspended = true;
    replay->tail_until = cursor_at(conns->feeds, subscription->cursor)->offset;
    ask_all(conns, slot, replay);
}

void replay_ask_on(struct conns *conns, uint32_t slot)
{
    const struct conn *conn = conn_at(conns, slot);
    for (struct replay *replay = conn->session ? session_at(conns, conn)->replays : NULL; replay;
         replay = replay->next) {
        bool live = subscription_at(conns->feeds, replay->subscription)->state == SUBSCRIPTION_LIVE;
        if (live && replay->asked < conns->shard_count && !ask_all(conns, slot, replay)) {
            return;
        }
    }
}

/* --- answered --- */

static bool lost_something(const struct replay *replay)
{
    for (const struct replay_ask *answer = replay->answers; answer; answer = answer->next) {
        for (uint32_t i = 0; i < answer->piece_count; i++) {
            if (answer->pieces[i].lost) {
                return true;
            }
        }
    }
    return false;
}

/* All shards have answered: now the client is told, and the pieces can go out. */
static void replay_start(struct conns *conns, uint32_t slot, struct replay *replay)
{
    const struct subscription *subscription = subscription_at(conns->feeds, replay->subscription);
    const struct feed *feed = feed_at(conns->feeds, subscription->feed);
    if (replay->failed) {
        conn_close(conns, slot, CLOSE_OVERLOADED);
        return;
    }
    bool lost = lost_something(replay);
    if (lost) {
        STATS_ADD(conns->stats, resumes_lost, 1);
    } else {
        STATS_ADD(conns->stats, resumes_recovered, 1);
    }
    replay->state = REPLAY_GAPS;
    replay->tail_until = feed->tail;
    replay->answer_at = replay->answers;
    conn_reply(conns, slot,
               &(struct reply){
                   .kind = REPLY_KIND_OK,
                   .id = {replay->bytes, replay->id_size},
                   .has_position = true,
                   .has_recovered = true,
                   .recovered = !lost,
                   .epoch = feed->epoch,
                   .offset = feed->tail,
               });
}

void replay_answered(struct conns *conns, struct replay_ask *ask)
{
    struct conn *conn = slab_mapped(&conns->table, ask->conn) ? conn_at(conns, ask->conn) : NULL;
    bool same = conn && conn->generation == ask->generation && conn->state == CONN_OPEN && conn->session;
    struct replay *replay = same ? replay_of(session_at(conns, conn), ask->subscription) : NULL;
    if (!replay || replay->serial != ask->serial || replay->awaited == 0) {
        replay_ask_free(ask);
        return;
    }
    replay->failed |= ask->failed;
    ask->next = replay->answers;
    replay->answers = ask;
    replay->awaited--;
    if (replay->awaited == 0 && replay->asked == conns->shard_count) {
        replay_start(conns, ask->conn, replay);
    }
}

/* --- refilling --- */

/* False: no memory; the connection is being closed. */
static bool put_frame(struct conns *conns, uint32_t slot, const struct chunk_lane *lane, uint32_t index)
{
    struct session *session = session_at(conns, conn_at(conns, slot));
    uint32_t begin = chunk_begin(lane, index);
    if (!buffer_add(&session->out, lane->bytes + begin, lane->ends[index] - begin)) {
        STATS_ADD(conns->stats, memory_refusals, 1);
        conn_abort(conns, slot);
        return false;
    }
    session->out_last = 0; /* a message, in which no reply is merged */
    STATS_ADD(conns->stats, deliveries, 1);
    return true;
}

static bool out_is_full(struct conns *conns, uint32_t slot)
{
    return buffer_waiting(&session_at(conns, conn_at(conns, slot))->out) >= REFILL_BYTES;
}

/* Gaps are replies, of which no more may wait than their limit. */
static bool gaps_are_full(struct conns *conns, uint32_t slot)
{
    const struct conn *conn = conn_at(conns, slot);
    uint32_t most = conns->config->limits.reply_bytes < REFILL_BYTES ? conns->config->limits.reply_bytes : REFILL_BYTES;
    return conn->session && buffer_waiting(&session_at(conns, conn)->out) >= most;
}

static void tell_gap(struct conns *conns, uint32_t slot, const struct replay_piece *piece)
{
    STATS_ADD(conns->stats, gaps_told, 1);
    conn_reply(conns, slot,
               &(struct reply){
                   .kind = REPLY_KIND_GAP,
                   .topic = name_span(piece->name),
                   .epoch = piece->epoch,
                   .from_offset = piece->gap_from,
                   .to_offset = piece->gap_to,
                   .reason = piece->reason,
               });
}

/* However many there are, they wait for the reader as messages do. True: all are told. False may be: it has ended. */
static bool put_gaps(struct conns *conns, uint32_t slot, struct replay *replay)
{
    const struct conn *conn = conn_at(conns, slot);
    for (; replay->answer_at; replay->answer_at = replay->answer_at->next, replay->piece_at = 0) {
        while (replay->piece_at < replay->answer_at->piece_count) {
            const struct replay_piece *piece = &replay->answer_at->pieces[replay->piece_at];
            if (piece->lost && gaps_are_full(conns, slot)) {
                return false;
            }
            replay->piece_at++;
            if (piece->lost) {
                tell_gap(conns, slot, piece);
            }
            if (conn->state != CONN_OPEN) {
                return false; /* no memory: the replay is gone */
            }
        }
    }
    return true;
}

/* One piece, as far as there is room. True: it is done. */
static bool put_piece(struct conns *conns, uint32_t slot, struct replay *replay, const struct replay_piece *piece)
{
    uint8_t lane = subscription_at(conns->feeds, replay->subscription)->lane;
    if (!piece->chunk) {
        return true;
    }
    if (!replay->chunk) {
        replay->chunk = piece->chunk;
        replay->offset = piece->first - 1;
    }
    while (replay->offset < piece->last && !out_is_full(conns, slot)) {
        replay->chunk = chunk_with(replay->chunk, replay->offset + 1);
        const struct chunk_lane *bytes = lane_of_chunk(conns, replay->chunk, lane, name_span(piece->name));
        if (!put_frame(conns, slot, bytes, (uint32_t)(replay->offset + 1 - replay->chunk->base))) {
            return false;
        }
        replay->offset++;
    }
    return replay->offset == piece->last;
}

/* True: all pieces are done. */
static bool put_pieces(struct conns *conns, uint32_t slot, struct replay *replay)
{
    while (replay->answer_at) {
        while (replay->piece_at < replay->answer_at->piece_count) {
            if (!put_piece(conns, slot, replay, &replay->answer_at->pieces[replay->piece_at])) {
                return false;
            }
            replay->piece_at++;
            replay->chunk = NULL;
        }
        replay->answer_at = replay->answer_at->next;
        replay->piece_at = 0;
    }
    return true;
}

/*
 * Whether a message of the filter's log is settled by the pieces: it was replayed, or the subscriber has it already (by
 * another shard, which was told of it earlier), or was told that it is lost.
 */
static bool is_settled(const struct replay *replay, const struct chunk_origin *origin)
{
    for (const struct replay_ask *answer = replay->answers; answer; answer = answer->next) {
        const struct replay_piece *piece = replay_ask_find(answer, answer->piece_count, origin->hash);
        if (piece) {
            return origin->position < piece->first || origin->position <= piece->last;
        }
    }
    return false;
}

/* What this shard has been told of a topic. */
static uint64_t tail_known(const struct conns *conns, const struct name *name)
{
    uint32_t number = feeds_find(conns->feeds, name_span(name), false);
    return number ? feed_at(conns->feeds, number)->tail : 0;
}

/* Whether every message that is settled without having been replayed has come to this shard. They do by themselves. */
static bool has_caught_up(const struct conns *conns, const struct replay *replay)
{
    for (const struct replay_ask *answer = replay->answers; answer; answer = answer->next) {
        for (uint32_t i = 0; i < answer->piece_count; i++) {
            const struct replay_piece *piece = &answer->pieces[i];
            if (piece->last + 1 < piece->first && tail_known(conns, piece->name) + 1 < piece->first) {
                return false;
            }
        }
    }
    return true;
}

/* Sets how far `put_tail` goes: to the tail of the filter's log, unless the cursor is parked before it, for this turn.
 */
static void catch_up(struct conns *conns, struct replay *replay)
{
    const struct subscription *subscription = subscription_at(conns->feeds, replay->subscription);
    const struct cursor *cursor = cursor_at(conns->feeds, subscription->cursor);
    uint64_t tail = feed_at(conns->feeds, subscription->feed)->tail;
    bool parked = !cursor->hold && cursor->offset != tail;
    replay->tail_until = parked ? cursor->offset : tail;
    replay->caught_up = !parked && has_caught_up(conns, replay);
}

/* What the filter's log took in while the owners were asked. True: done. */
static bool put_tail(struct conns *conns, uint32_t slot, struct replay *replay)
{
    const struct subscription *subscription = subscription_at(conns->feeds, replay->subscription);
    struct chunk *chunk = cursor_chunk(conns->feeds, cursor_at(conns->feeds, subscription->cursor));
    while (replay->offset < replay->tail_until && !out_is_full(conns, slot)) {
        chunk = chunk_with(chunk, replay->offset + 1);
        const struct chunk_lane *bytes = chunk_lane(chunk, subscription->lane);
        uint32_t index = (uint32_t)(replay->offset + 1 - chunk->base);
        bool fresh = bytes && !is_settled(replay, &chunk->origins[index]);
        if (fresh && !put_frame(conns, slot, bytes, index)) {
            return false;
        }
        replay->offset++;
    }
    return replay->offset == replay->tail_until;
}

/* The subscription goes on by itself. */
static void replay_finish(struct conns *conns, uint32_t slot, const struct replay *replay)
{
    uint32_t number = replay->subscription;
    struct subscription *subscription = subscription_at(conns->feeds, number);
    uint32_t cursor = subscription->cursor;
    struct chunk *chunk = cursor_chunk(conns->feeds, cursor_at(conns->feeds, cursor));
    bool dropped;
    subscription->suspended = false;
    if (!cursor_move(conns->feeds, cursor, chunk, replay->tail_until, 0, &dropped)) {
        conn_behind_add(conns, slot, cursor);
    }
    replay_end(session_at(conns, conn_at(conns, slot)), number);
    conn_mark_ready(conns, slot);
}

bool replay_refill(struct conns *conns, uint32_t slot)
{
    struct conn *conn = conn_at(conns, slot);
    struct replay *replay = conn->session && conn->state == CONN_OPEN ? session_at(conns, conn)->replays : NULL;
    while (replay && replay->state == REPLAY_ASKING) {
        replay = replay->next;
    }
    if (!replay) {
        return false;
    }
    if (replay->state == REPLAY_GAPS && put_gaps(conns, slot, replay)) {
        replay->state = REPLAY_PIECES;
        replay->answer_at = replay->answers;
        replay->piece_at = 0;
    }
    if (conn->state != CONN_OPEN) {
        return true;
    }
    if (replay->state == REPLAY_PIECES && put_pieces(conns, slot, replay)) {
        const struct subscription *subscription = subscription_at(conns->feeds, replay->subscription);
        replay->state = REPLAY_TAIL;
        replay->offset = cursor_at(conns->feeds, subscription->cursor)->offset;
    }
    if (replay->state == REPLAY_TAIL && !replay->caught_up) {
        catch_up(conns, replay);
    }
    if (replay->state == REPLAY_TAIL && conn->state == CONN_OPEN && put_tail(conns, slot, replay) &&
        replay->caught_up) {
        replay_finish(conns, slot, replay);
    }
    return true;
}
