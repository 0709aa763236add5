/* answer: see answer.h. */
#include "conn/answer.h"

#include <stdio.h>

#include "base/check.h"
#include "conn/close.h"
#include "conn/replay.h"
#include "conn/reply.h"
#include "protocol/writer.h"

/* A plain GET reads no more than this at once; the rest is a further request. */
#define READ_BYTES_MAX (4u << 20)

/* --- subscriptions --- */

/* Takes the note of a subscribe command. NULL: none (it was the URL's). The caller frees it. */
static struct pending *pending_take(struct session *session, uint32_t subscription)
{
    struct pending *before = NULL;
    struct pending *pending = session->pending_first;
    while (pending && pending->subscription != subscription) {
        before = pending;
        pending = pending->next;
    }
    if (!pending) {
        return NULL;
    }
    if (before) {
        before->next = pending->next;
    } else {
        session->pending_first = pending->next;
    }
    if (session->pending_last == pending) {
        session->pending_last = before;
    }
    return pending;
}

static void tell_ok(struct conns *conns, uint32_t slot, struct span id, const struct feed_answer *answer)
{
    conn_reply(conns, slot,
               &(struct reply){
                   .kind = REPLY_KIND_OK,
                   .id = id,
                   .has_position = true,
                   .has_recovered = answer->has_recovered,
                   .recovered = answer->recovered,
                   .epoch = answer->epoch,
                   .offset = answer->offset,
                   .time_ms = conn_safe_time_ms(conns, slot),
               });
}

static void tell_gap(struct conns *conns, uint32_t slot, const struct feed_answer *answer)
{
    const struct feed *feed = feed_at(conns->feeds, subscription_at(conns->feeds, answer->subscription)->feed);
    STATS_ADD(conns->stats, gaps_told, 1);
    conn_reply(conns, slot,
               &(struct reply){
                   .kind = REPLY_KIND_GAP,
                   .topic = name_span(feed->name),
                   .epoch = answer->epoch,
                   .from_offset = answer->gap_from,
                   .to_offset = answer->gap_to,
                   .reason = answer->reason,
               });
}

/* The subscription of a raw WebSocket's URL stands: now it opens. */
static void open_raw(struct conns *conns, uint32_t slot, const struct feed_answer *answer)
{
    struct conn *conn = conn_at(conns, slot);
    struct session *session = session_at(conns, conn);
    char epoch[EPOCH_TEXT_SIZE];
    epoch_write(answer->epoch, epoch);
    char lines[128];
    int lines_size = snprintf(lines, sizeof lines, "Shoal-Epoch: %.*s\r\nShoal-Offset: %llu\r\n", EPOCH_TEXT_SIZE,
                              epoch, (unsigned long long)answer->offset);
    char head[1024];
    size_t size = ws_handshake_write(&session->handshake, (struct span){lines, (size_t)lines_size}, head, sizeof head);
    CHECK(size <= sizeof head);
    session->handshake_valid = false;
    conn_set_state(conns, conn, CONN_OPEN);
    conn_queue(conns, slot, head, size);
    if (answer->lost) {
        conn_close(conns, slot, CLOSE_POSITION_LOST);
    }
}

static void open_stream(struct conns *conns, uint32_t slot, const struct feed_answer *answer)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
                               "X-Accel-Buffering: no\r\n" HTTP_CORS_ANY "Connection: close\r\n\r\n";
    struct session *session = session_at(conns, conn_at(conns, slot));
    if (session->topic) {
        name_drop(session->topic);
        session->topic = NULL;
    }
    conn_set_state(conns, conn_at(conns, slot), CONN_STREAM);
    conn_queue(conns, slot, head, sizeof head - 1);
    tell_ok(conns, slot, SPAN_NONE, answer);
    if (answer->lost && conn_at(conns, slot)->state == CONN_STREAM) {
        tell_gap(conns, slot, answer);
    }
}

static void answer_failed(struct conns *conns, uint32_t slot, const struct feed_answer *answer, struct span id)
{
    conn_subscription_end(conns, answer->subscription);
    if (conn_at(conns, slot)->state == CONN_OPENING) {
        conn_respond_error(conns, slot, answer->error);
    } else {
        conn_reply_error(conns, slot, id, answer->error);
    }
}

static void answer_live(struct conns *conns, uint32_t slot, const struct feed_answer *answer, struct span id)
{
    struct conn *conn = conn_at(conns, slot);
    if (answer->has_recovered && answer->recovered) {
        STATS_ADD(conns->stats, resumes_recovered, 1);
    } else if (answer->lost) {
        STATS_ADD(conns->stats, resumes_lost, 1);
    }
    bool opening = conn->state == CONN_OPENING;
    if (opening && (conn->flags & CONN_ENDED)) {
        conn_abort(conns, slot); /* gone while it waited, and nothing will tell of it again */
        return;
    }
    if (opening && conn->dialect == DIALECT_SSE) {
        open_stream(conns, slot, answer);
    } else if (opening) {
        open_raw(conns, slot, answer);
    } else {
        tell_ok(conns, slot, id, answer);
        if (answer->lost && conn->state == CONN_OPEN) { /* else the reply was one too many, and it has ended */
            tell_gap(conns, slot, answer);
        }
    }
    if (opening) {
        conn_mark_retry(conns, slot); /* frames may have come behind the request */
    }
}

/* A resumed subscription has something to read at once. */
static void behind_begins(struct conns *conns, uint32_t slot, uint32_t subscription)
{
    uint32_t cursor = subscription_at(conns->feeds, subscription)->cursor;
    if (cursor && cursor_at(conns->feeds, cursor)->hold) {
        conn_behind_add(conns, slot, cursor);
        conn_mark_ready(conns, slot);
    }
}

static void answer_one(struct conns *conns, const struct feed_answer *answer)
{
    uint32_t slot = slot_of_subscription(conns, answer->subscription);
    struct conn *conn = conn_at(conns, slot);
    if (conn->state == CONN_GONE) {
        return; /* the close step ends its subscriptions */
    }
    if (!answer->error && replay_is_for(conns, conn, answer->subscription)) {
        free(pending_take(session_at(conns, conn), answer->subscription)); /* the replay's end will be told instead */
        replay_live(conns, slot, answer->subscription);
        return;
    }
    if (!answer->error) {
        behind_begins(conns, slot, answer->subscription);
    }
    struct pending *pending = conn->session ? pending_take(session_at(conns, conn), answer->subscription) : NULL;
    struct span id = pending ? (struct span){pending->id, pending->id_size} : SPAN_NONE;
    if (answer->error) {
        answer_failed(conns, slot, answer, id);
    } else {
        answer_live(conns, slot, answer, id);
    }
    free(pending);
}

void answer_feeds(struct conns *conns)
{
    struct feeds *feeds = conns->feeds;
    for (uint32_t i = 0; i < feeds->answer_count; i++) { /* ending one may answer others */
        struct feed_answer answer = feeds->answers[i];
        answer_one(conns, &answer);
    }
    feeds->answer_count = 0;
}

/* --- tickets --- */

/* The connection that a ticket is for, if it is still the same. */
static struct conn *ticket_conn(struct conns *conns, const struct ticket *ticket)
{
    if (!slab_mapped(&conns->table, ticket->conn)) {
        return NULL;
    }
    struct conn *conn = conn_at(conns, ticket->conn);
    bool same = conn->generation == ticket->generation && conn->state != CONN_FREE && conn->state != CONN_GONE;
    return same ? conn : NULL;
}

static void ticket_back(struct conns *conns)
{
    conns->tickets--;
    STATS_SET(conns->stats, tickets, conns->tickets);
}

/* One publish less is unanswered; a publisher that was not read for that goes on. */
static void inflight_remove(struct conns *conns, uint32_t slot, const struct ticket *ticket)
{
    struct conn *conn = conn_at(conns, slot);
    struct session *session = conn->session ? session_at(conns, conn) : NULL;
    if (!session || session->inflight_messages == 0) {
        return;
    }
    session->inflight_messages--;
    session->inflight_bytes -= ticket->payload_size;
    bool enough = session->inflight_bytes <= conns->config->limits.publish_inflight_bytes / 2 &&
                  session->inflight_messages <= conns->config->limits.publish_inflight_messages / 2;
    if ((conn->flags & CONN_PAUSED) && enough) {
        conn_mark_retry(conns, slot);
    }
}

static void respond_published(struct conns *conns, uint32_t slot, const struct ticket *ticket)
{
    if (ticket->status != REPLY_OK) {
        conn_respond_error(conns, slot, ticket->status);
        return;
    }
    char body[96];
    struct writer writer = {.out = body, .room = sizeof body};
    writer_literal(&writer, "{\"epoch\":\"");
    writer_epoch(&writer, ticket->epoch);
    writer_literal(&writer, "\",\"offset\":");
    writer_u64(&writer, ticket->offset);
    writer_literal(&writer, "}\n");
    struct http_response response = {
        .status = 200,
        .content_type = "application/json",
        .body = {body, writer.size},
        .extra = SPAN_LITERAL(HTTP_CORS_ANY),
    };
    conn_respond(conns, slot, &response);
}

static void reply_published(struct conns *conns, uint32_t slot, const struct ticket *ticket)
{
    if (ticket->status != REPLY_OK) {
        conn_refuse(conns, slot, ticket_id(ticket), ticket->status);
        return;
    }
    conn_reply(conns, slot,
               &(struct reply){
                   .kind = REPLY_KIND_ACK,
                   .id = ticket_id(ticket),
                   .epoch = ticket->epoch,
                   .offset = ticket->offset,
                   .count = 1,
               });
}

void answer_published(struct conns *conns, struct ticket *ticket)
{
    ticket_back(conns);
    struct conn *conn = ticket_conn(conns, ticket);
    if (conn) {
        inflight_remove(conns, ticket->conn, ticket);
        if (conn->state == CONN_ANSWERING) {
            respond_published(conns, ticket->conn, ticket);
        } else if (conn->state == CONN_OPEN) {
            reply_published(conns, ticket->conn, ticket);
        }
        conn_session_release(conns, conn);
    }
    free(ticket);
}

/* Writes the messages from the ticket's first on. Returns whether all of them were written. */
static bool write_messages(struct writer *writer, const struct ticket *ticket)
{
    struct chunk *chunk = ticket->chunk;
    uint64_t position = ticket->position;
    uint64_t last = position + ticket->read_max - 1;
    last = last < ticket->position_last ? last : ticket->position_last;
    bool any = false;
    for (; chunk && position <= last && writer->size < READ_BYTES_MAX; position++) {
        chunk = chunk_with(chunk, position);
        if (chunk_is_gap(chunk, (uint32_t)(position - chunk->base))) {
            continue; /* seen by the offsets */
        }
        struct message message = chunk_message(chunk, (uint32_t)(position - chunk->base), ticket_topic(ticket));
        if (any) {
            writer_literal(writer, ",");
        }
        any = true;
        writer_literal(writer, "{\"offset\":");
        writer_u64(writer, message.offset);
        writer_literal(writer, ",\"time_ms\":");
        writer_u64(writer, (uint64_t)message.time_ms);
        if (message.kind == PAYLOAD_BINARY) {
            writer_literal(writer, ",\"data_base64\":\"");
            writer_base64(writer, message.payload);
            writer_literal(writer, "\"}");
        } else {
            writer_literal(writer, ",\"data\":");
            if (message.kind == PAYLOAD_JSON) {
                writer_put(writer, message.payload);
            } else {
                writer_json_string(writer, message.payload);
            }
            writer_literal(writer, "}");
        }
    }
    return position > ticket->position_last;
}

static void write_history(struct writer *writer, const struct ticket *ticket)
{
    writer_literal(writer, "{\"topic\":");
    writer_json_string(writer, ticket_topic(ticket));
    writer_literal(writer, ",\"epoch\":\"");
    writer_epoch(writer, ticket->epoch);
    writer_literal(writer, "\",\"first\":");
    writer_u64(writer, ticket->first);
    writer_literal(writer, ",\"offset\":");
    writer_u64(writer, ticket->offset);
    writer_literal(writer, ",\"messages\":[");
    if (write_messages(writer, ticket)) {
        writer_literal(writer, "],\"more\":false}\n");
    } else {
        writer_literal(writer, "],\"more\":true}\n");
    }
}

static void respond_read(struct conns *conns, uint32_t slot, const struct ticket *ticket)
{
    if (ticket->status != REPLY_OK) {
        conn_respond_error(conns, slot, ticket->status);
        return;
    }
    struct writer measure = {0};
    write_history(&measure, ticket);
    struct writer writer = {.out = malloc(measure.size), .room = measure.size};
    if (!writer.out) {
        STATS_ADD(conns->stats, memory_refusals, 1);
        conn_respond_error(conns, slot, REPLY_BUSY);
        return;
    }
    write_history(&writer, ticket);
    struct http_response response = {
        .status = 200,
        .content_type = "application/json",
        .body = {writer.out, writer.size},
        .extra = SPAN_LITERAL(HTTP_CORS_ANY),
    };
    conn_respond(conns, slot, &response);
    free(writer.out);
}

void answer_read(struct conns *conns, struct ticket *ticket)
{
    ticket_back(conns);
    struct conn *conn = ticket_conn(conns, ticket);
    if (conn && conn->state == CONN_ANSWERING) {
        respond_read(conns, ticket->conn, ticket);
    }
    chunk_drop(ticket->chunk);
    free(ticket);
}
