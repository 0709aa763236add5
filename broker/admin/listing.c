/*
 * listing: connections, topics and filters, page by page, from one shard after the other. See routes.h.
 *
 *   ?limit=N     records wanted, LIMIT_DEFAULT without
 *   ?after=PLACE what the page before told as `next`: "SHARD:NUMBER"
 *
 * An HTTP page is made of as many inspections as it takes, but for at most PAGE_MS: a table with many holes may give a
 * page with fewer records than wanted, even none. It is the last one when `next` is null, and only then.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/routes.h"
#include "conn/conn.h"
#include "protocol/dialect.h"
#include "protocol/topic.h"
#include "topic/lane.h"

#define LIMIT_DEFAULT 100
#define LIMIT_MAX     1000
#define PAGE_MS       1000

/* --- records as JSON --- */

static json_t *lanes_json(uint8_t lanes)
{
    json_t *list = json_array();
    for (int lane = 0; lane < LANE_COUNT; lane++) {
        if (lanes & LANE_BIT(lane)) {
            json_array_append_new(list, json_string(lane_name((enum lane)lane)));
        }
    }
    return list;
}

static json_t *epoch_json(uint64_t epoch)
{
    char text[EPOCH_TEXT_SIZE];
    epoch_write(epoch, text);
    return json_stringn(text, sizeof text);
}

/* Without the former IPv4's prefix. */
static json_t *address_json(const struct connection_record *record)
{
    char host[INET6_ADDRSTRLEN], text[INET6_ADDRSTRLEN + 10];
    const struct in6_addr *address = &record->address.sin6_addr;
    bool v4 = IN6_IS_ADDR_V4MAPPED(address);
    if (!record->has_address ||
        !inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? (const void *)&address->s6_addr[12] : address, host, sizeof host)) {
        return json_null();
    }
    snprintf(text, sizeof text, v4 ? "%s:%u" : "[%s]:%u", host, ntohs(record->address.sin6_port));
    return json_string(text);
}

static json_t *connection_json(const struct job *job, uint32_t index)
{
    const struct connection_record *record = &job->inspection->connections[index];
    char id[48];
    snprintf(id, sizeof id, "%u-%u-%u", job->shard, record->slot, record->generation);
    return json_pack("{s:s, s:i, s:s, s:s?, s:b, s:o, s:o, s:i, s:i, s:i, s:b, s:i, s:i, s:i, s:b, s:b}", //
                     "id", id,                                                                            //
                     "shard", (int)job->shard,                                                            //
                     "state", conn_state_name((enum conn_state)record->state),                            //
                     "dialect", record->has_dialect ? dialect_of((enum dialect_id)record->dialect)->name : NULL,
                     "deflated", record->deflated,                                      //
                     "identity", json_stringn(record->identity, record->identity_size), //
                     "address", address_json(record),                                   //
                     "subscriptions", (int)record->subscriptions,                       //
                     "behind", (int)record->behind,                                     //
                     "silent_s", (int)record->silent_s,                                 //
                     "session", record->has_session,                                    //
                     "waiting_bytes", (int)record->waiting_bytes,                       //
                     "inflight_messages", (int)record->inflight_messages,               //
                     "inflight_bytes", (int)record->inflight_bytes,                     //
                     "blocked", record->blocked,                                        //
                     "paused", record->paused);
}

static json_t *topic_json(const struct job *job, uint32_t index)
{
    const struct topic_record *record = &job->inspection->topics[index];
    return json_pack("{s:o, s:i, s:s, s:o, s:I, s:i, s:I, s:I, s:o}",                 //
                     "topic", json_stringn(record->name, record->name_size),          //
                     "shard", (int)job->shard,                                        //
                     "namespace", job->request->admin->namespaces[record->namespace], //
                     "epoch", epoch_json(record->epoch),                              //
                     "offset", (json_int_t)record->offset,                            //
                     "followers", (int)record->followers,                             //
                     "history_messages", (json_int_t)record->history_messages,        //
                     "history_bytes", (json_int_t)record->history_bytes,              //
                     "lanes", lanes_json(record->lanes));
}

static json_t *feed_json(const struct job *job, uint32_t index)
{
    const struct feed_record *record = &job->inspection->feeds[index];
    return json_pack("{s:o, s:s, s:i, s:i, s:i, s:i, s:I, s:I, s:o}",       //
                     "name", json_stringn(record->name, record->name_size), //
                     "kind", record->filter ? "filter" : "topic",           //
                     "shard", (int)job->shard,                              //
                     "subscribers", (int)record->subscribers,               //
                     "waiting", (int)record->waiting,                       //
                     "behind", (int)record->cursors,                        //
                     "tail", (json_int_t)record->tail,                      //
                     "walked", (json_int_t)record->walked,                  //
                     "lanes", lanes_json(record->lanes));
}

/* --- pages --- */

static const char *query(const struct request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, name);
}

/* "SHARD:NUMBER" */
static bool place_read(const char *text, uint32_t *shard, uint32_t *number)
{
    char *end;
    unsigned long first = strtoul(text, &end, 10);
    if (end == text || *end != ':' || first >= SHARDS_MAX) {
        return false;
    }
    const char *second_text = end + 1;
    unsigned long long second = strtoull(second_text, &end, 10);
    *shard = (uint32_t)first;
    *number = (uint32_t)second;
    return end != second_text && *end == 0 && second <= UINT32_MAX;
}

static bool limit_read(const char *text, uint32_t *limit)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    *limit = (uint32_t)value;
    return end != text && *end == 0 && value >= 1 && value <= LIMIT_MAX;
}

/* False: the request is answered with what is wrong. */
static bool page_read(struct request *request, uint32_t *shard, uint32_t *after, uint32_t *limit)
{
    *shard = 0;
    *after = 0;
    *limit = LIMIT_DEFAULT;
    const char *after_text = query(request, "after");
    const char *limit_text = query(request, "limit");
    if (after_text && (!place_read(after_text, shard, after) || *shard >= request->admin->shard_count)) {
        request_answer_problem(request, MHD_HTTP_BAD_REQUEST, "after_invalid",
                               "after takes what the page before told as next.", false);
        return false;
    }
    if (limit_text && !limit_read(limit_text, limit)) {
        request_answer_problem(request, MHD_HTTP_BAD_REQUEST, "limit_invalid", "limit is a number from 1 to 1000.",
                               false);
        return false;
    }
    return true;
}

static json_t *record_json(const struct job *job, uint32_t index)
{
    switch (job->inspection->kind) {
    case INSPECT_CONNECTIONS:
        return connection_json(job, index);
    case INSPECT_TOPICS:
        return topic_json(job, index);
    default:
        return feed_json(job, index);
    }
}

static void page_finish(struct job *job, bool all)
{
    char next[32];
    snprintf(next, sizeof next, "%u:%u", job->shard, job->inspection->after);
    json_object_set_new(job->body, "next", all ? json_null() : json_string(next));
    json_t *body = job->body;
    job->body = NULL;
    job_finish(job, MHD_HTTP_OK, body);
}

/* Asks for the next page, of this shard or of the one after it, until there is enough. */
static void page_answered(struct job *job)
{
    const struct admin *admin = job->request->admin;
    struct inspection *inspection = job->inspection;
    for (uint32_t i = 0; i < inspection->count; i++) {
        json_array_append_new(job->list, record_json(job, i));
    }
    job->wanted -= inspection->count;
    uint32_t shard = inspection->last ? job->shard + 1 : job->shard;
    inspection->after = inspection->last ? 0 : inspection->next;
    inspection->limit = job->wanted;
    if (shard == admin->shard_count) {
        page_finish(job, true);
    } else if (job->wanted == 0 || admin->now_ms >= job->page_until_ms) {
        job->shard = shard;
        page_finish(job, false);
    } else {
        job_ask(job, shard);
    }
}

static void page_start(struct request *request, enum inspect_kind kind, const char *name)
{
    uint32_t shard, after, limit;
    struct job *job = page_read(request, &shard, &after, &limit) ? job_create(request, kind, page_answered) : NULL;
    if (!job) {
        return;
    }
    job->body = json_object();
    job->list = json_array();
    json_object_set_new(job->body, name, job->list);
    job->wanted = limit;
    job->page_until_ms = request->admin->now_ms + PAGE_MS;
    job->inspection->after = after;
    job->inspection->limit = limit;
    job_ask(job, shard);
}

void listing_connections(struct request *request, const char *rest)
{
    (void)rest;
    page_start(request, INSPECT_CONNECTIONS, "connections");
}

void listing_topics(struct request *request, const char *rest)
{
    (void)rest;
    page_start(request, INSPECT_TOPICS, "topics");
}

void listing_filters(struct request *request, const char *rest)
{
    (void)rest;
    page_start(request, INSPECT_FILTERS, "filters");
}

/* --- one topic --- */

static void topic_finish(struct job *job)
{
    json_t *body = job->body;
    job->body = NULL;
    bool known = json_object_get(body, "epoch") || json_array_size(job->list) > 0;
    if (known) {
        job_finish(job, MHD_HTTP_OK, body);
    } else {
        json_decref(body);
        job_finish_problem(job, MHD_HTTP_NOT_FOUND, "no_such_topic",
                           "Nobody publishes to this topic or follows it (it may have been forgotten).");
    }
}

/* What the shards' subscribers have of it. */
static void topic_feed_answered(struct job *job)
{
    if (job->inspection->found) {
        json_array_append_new(job->list, feed_json(job, 0));
    }
    if (job->shard + 1 < job->request->admin->shard_count) {
        job_ask(job, job->shard + 1);
    } else {
        topic_finish(job);
    }
}

static void topic_answered(struct job *job)
{
    const struct inspection *inspection = job->inspection;
    if (inspection->found) {
        json_object_update_new(job->body, topic_json(job, 0));
        json_object_set_new(job->body, "held", json_integer(inspection->topics[0].held));
        json_t *told = json_array();
        for (uint32_t i = 0; i < inspection->follower_count; i++) {
            const struct follower_record *follower = &inspection->followers[i];
            uint8_t lanes = follower->lanes | follower->filter_lanes;
            json_array_append_new(told, json_pack("{s:i, s:I, s:b, s:o}", "shard", (int)follower->shard, "told",
                                                  (json_int_t)follower->told, "reporting", follower->reporting, "lanes",
                                                  lanes_json(lanes)));
        }
        json_object_set_new(job->body, "followed_by", told);
    }
    job->inspection->kind = INSPECT_FEED;
    job->answered = topic_feed_answered;
    job_ask(job, 0);
}

void listing_topic(struct request *request, const char *rest)
{
    struct span text = {rest, strlen(rest)};
    enum topic_problem problem = topic_filter_check(text);
    if (problem) {
        char message[128];
        snprintf(message, sizeof message, "This is no topic or filter: %s.", topic_problem_text(problem));
        request_answer_problem(request, MHD_HTTP_BAD_REQUEST, "topic_invalid", message, false);
        return;
    }
    struct job *job = job_create(request, INSPECT_TOPIC, topic_answered);
    if (!job) {
        return;
    }
    job->inspection->text_size = (uint8_t)text.size;
    memcpy(job->inspection->text, text.data, text.size);
    job->body = json_pack("{s:s, s:[]}", "topic", rest, "feeds");
    job->list = json_object_get(job->body, "feeds");
    job_ask(job, name_owner(name_hash(text), request->admin->shard_count));
}
