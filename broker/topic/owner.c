/*
 * owner: the table of topics, publishing, and telling the followers. See owner.h for the model.
 */
#include "topic/owner.h"

#include <xxhash.h>

#include "base/check.h"
#include "protocol/topic.h"

/* Filters of all shards; each shard bounds its own by limits.topics. */
#define FILTERS_OF_HOST_MAX (1u << 29)

/* Answers to one ask at most: an announcement, a tail, and the answer. */
#define TELLS_PER_ASK 3u

bool owner_init(struct owner *owner, uint32_t shard, uint32_t shard_count, struct mesh *mesh,
                const struct config *config, struct stats *stats, struct lane_writer *writer, uint64_t seed)
{
    *owner = (struct owner){
        .shard = shard,
        .shard_count = shard_count,
        .mesh = mesh,
        .config = config,
        .stats = stats,
        .writer = writer,
        .epoch_seed = seed,
    };
    slab_init(&owner->topics, sizeof(struct topic), UINT32_MAX - SLAB_SEGMENT_RECORDS);
    slab_init(&owner->followers, sizeof(struct follower), UINT32_MAX - SLAB_SEGMENT_RECORDS);
    slab_init(&owner->remotes, sizeof(struct remote), UINT32_MAX - SLAB_SEGMENT_RECORDS); /* bounded by the topics */
    slab_init(&owner->parked, sizeof(struct parked), REMOTE_PARKED_MAX);
    slab_init(&owner->pledges, sizeof(struct pledge), REMOTE_PLEDGES_MAX);
    owner->filters = filters_create(FILTERS_OF_HOST_MAX, seed);
    bool brakes = owner_brakes_init(owner, FILTERS_OF_HOST_MAX, seed);
    return index_init(&owner->index, &owner->topics) && owner->filters && brakes &&
           idempotency_init(&owner->idempotency, config->publish.idempotency_keys, config->publish.idempotency_s);
}

void tickets_free(struct tickets *tickets)
{
    struct ticket *ticket;
    while ((ticket = tickets_take(tickets)) != NULL) {
        chunk_drop(ticket->chunk);
        free(ticket);
    }
}

static void topic_free(struct owner *owner, uint32_t number)
{
    struct topic *topic = topic_at(owner, number);
    for (uint32_t n = topic->followers; n; n = follower_at(owner, n)->next) {
        chunk_drop(follower_at(owner, n)->untold);
    }
    tickets_free(&topic->held);
    log_release(&topic->log);
    name_drop(topic->name);
}

void owner_destroy(struct owner *owner)
{
    owner_remote_destroy(owner);
    for (uint32_t n = 1; n < slab_end(&owner->topics); n++) {
        if (slab_mapped(&owner->topics, n) && topic_at(owner, n)->name) {
            topic_free(owner, n);
        }
    }
    tickets_free(&owner->answers);
    idempotency_destroy(&owner->idempotency);
    if (owner->filters) {
        filters_destroy(owner->filters);
    }
    owner_brakes_destroy(owner);
    vector_free(&owner->matches);
    index_destroy(&owner->index);
    slab_destroy(&owner->followers);
    slab_destroy(&owner->topics);
}

void owner_set_time(struct owner *owner, int64_t wall_ms, int64_t monotonic_us)
{
    owner->now_ms = wall_ms;
    owner->now_s = (uint32_t)(monotonic_us / 1000000);
    owner->now_us = (uint32_t)monotonic_us;
}

struct log_limits log_limits_of(const struct namespace_config *namespace)
{
    uint64_t span = namespace->backlog_bytes;
    if (namespace->history_messages && namespace->history_bytes < span) {
        span = namespace->history_bytes;
    }
    uint64_t chunk = span / 8;
    if (chunk < CHUNK_BYTES_MIN) {
        chunk = CHUNK_BYTES_MIN;
    }
    return (struct log_limits){
        .history_messages = namespace->history_messages,
        .history_bytes = namespace->history_bytes,
        .history_age_ms = (int64_t) namespace->history_age_s * 1000,
        .chunk_bytes_max = chunk > CHUNK_BYTES_MAX ? CHUNK_BYTES_MAX : (uint32_t)chunk,
    };
}

/* --- the table --- */

uint32_t owner_topic_find(struct owner *owner, uint64_t hash, struct span text)
{
    for (uint32_t n = index_first(&owner->index, hash); n; n = index_next(&owner->index, n)) {
        if (span_equal(name_span(topic_at(owner, n)->name), text)) {
            return n;
        }
    }
    return 0;
}

/*
 * An epoch is the time of its beginning and some bits of chance: no two are the same in different runs (the seed), nor
 * in different lives of a topic that was forgotten (the count), and one can see whether it is older than a position.
 */
static uint64_t epoch_next(struct owner *owner)
{
    owner->epoch_seed++;
    uint64_t chance = XXH3_64bits(&owner->epoch_seed, sizeof owner->epoch_seed);
    return (uint64_t)owner->now_ms << EPOCH_CHANCE_BITS | chance >> (64 - EPOCH_CHANCE_BITS);
}

static uint16_t namespace_index(const struct config *config, struct span topic)
{
    return (uint16_t)(config_namespace_of(config, topic) - config->namespaces);
}

/* This shard's part of limits.topics: topics are spread evenly by their hashes. */
static uint32_t topics_share(const struct owner *owner)
{
    return (owner->config->limits.topics + owner->shard_count - 1) / owner->shard_count;
}

uint32_t owner_topic(struct owner *owner, uint64_t hash, struct name *name, struct span text)
{
    uint32_t number = owner_topic_find(owner, hash, text);
    if (number) {
        return number;
    }
    if (owner->topics.used >= topics_share(owner)) {
        return 0;
    }
    struct name *own = name ? name_share(name) : name_create(text);
    number = own ? slab_take(&owner->topics) : 0;
    if (!number) {
        if (own) {
            name_drop(own);
        }
        return 0;
    }
    *topic_at(owner, number) = (struct topic){
        .link.hash = hash,
        .name = own,
        .epoch = epoch_next(owner),
        .namespace = namespace_index(owner->config, text),
        .lanes = LANE_BIT(LANE_RAW),
        .used_s = owner->now_s,
    };
    index_insert(&owner->index, number);
    STATS_SET(owner->stats, topics, owner->topics.used);
    return number;
}

static void topic_forget(struct owner *owner, uint32_t number)
{
    topic_free(owner, number);
    topic_at(owner, number)->name = NULL;
    index_remove(&owner->index, number);
    slab_give(&owner->topics, number);
    STATS_ADD(owner->stats, topics_forgotten, 1);
    STATS_SET(owner->stats, topics, owner->topics.used);
}

void owner_mark_dirty(struct owner *owner, uint32_t number)
{
    if (!topic_at(owner, number)->dirty) {
        topic_at(owner, number)->dirty = true;
        queue_push(&owner->dirty, &owner->topics, offsetof(struct topic, dirty_next), number);
    }
}

/* --- publishing --- */

static bool ticket_tell(struct owner *owner, struct ticket *ticket)
{
    struct envelope tell = {.kind = TELL_PUBLISHED, .ticket = ticket};
    return mesh_tell(owner->mesh, owner->shard, ticket->shard, &tell);
}

void owner_answer(struct owner *owner, struct ticket *ticket, enum reply_error status)
{
    ticket->status = (uint8_t)status;
    if (owner->answers.first || !ticket_tell(owner, ticket)) {
        tickets_push(&owner->answers, ticket);
    }
}

static void answers_flush(struct owner *owner)
{
    while (owner->answers.first) {
        struct ticket *next = owner->answers.first->next; /* the ticket is not ours once it is told */
        if (!ticket_tell(owner, owner->answers.first)) {
            return;
        }
        owner->answers.first = next;
    }
}

void owner_answer_held(struct owner *owner, struct tickets *held)
{
    struct tickets tickets = *held;
    *held = (struct tickets){0};
    struct ticket *ticket;
    while ((ticket = tickets_take(&tickets)) != NULL) {
        owner_answer(owner, ticket, REPLY_OK);
    }
}

static void reports_ask(struct owner *owner, struct topic *topic)
{
    topic->barrier_bytes = topic->log.bytes;
    topic->barrier_offset = topic->log.tail;
    for (uint32_t n = topic->followers; n; n = follower_at(owner, n)->next) {
        struct follower *follower = follower_at(owner, n);
        if (follower->state == FOLLOWER_ACTIVE) {
            follower->reporting = true;
            follower->report_unasked = true;
            topic->reports_awaited++;
        }
    }
}

void owner_report_arrived(struct owner *owner, struct topic *topic, struct follower *follower)
{
    if (!follower->reporting) {
        return;
    }
    follower->reporting = false;
    follower->report_unasked = false;
    if (--topic->reports_awaited > 0) {
        return;
    }
    owner_answer_held(owner, &topic->held);
}

/* Whether the fan-out of this topic is so far behind that its publishers have to wait. Asks for reports in time. */
static bool fan_out_is_behind(struct owner *owner, struct topic *topic)
{
    uint64_t step = topic_namespace(owner, topic)->backlog_bytes / 4;
    if (topic->log.bytes - topic->barrier_bytes < step) {
        return false;
    }
    if (topic->reports_awaited == 0) {
        reports_ask(owner, topic);
        return false;
    }
    return true;
}

/* Every follower that was up to date begins to lag at this message's chunk. */
static void followers_lag(struct owner *owner, struct topic *topic)
{
    for (uint32_t n = topic->followers; n; n = follower_at(owner, n)->next) {
        struct follower *follower = follower_at(owner, n);
        if (!follower->untold) {
            follower->untold = chunk_share(topic->log.newest);
            follower->untold_us = owner->now_us;
            follower->generation = watermark_begin(&owner->told);
        }
    }
}

/* Without a reader, now or ever, only the position is given. True: so it was. */
static bool append_unread(struct topic *topic, const struct log_limits *limits, int64_t time_ms)
{
    if (topic->followers || limits->history_messages > 0) {
        return false;
    }
    log_skip(&topic->log, time_ms);
    return true;
}

/* The log has grown: followers are to be told. */
static void appended(struct owner *owner, uint32_t number, const struct log_limits *limits)
{
    struct topic *topic = topic_at(owner, number);
    if (topic->followers) {
        followers_lag(owner, topic);
        owner_mark_dirty(owner, number);
    }
    log_trim(&topic->log, limits, owner->now_ms);
}

enum reply_error owner_append(struct owner *owner, uint32_t number, struct message *message)
{
    struct topic *topic = topic_at(owner, number);
    const struct namespace_config *namespace = topic_namespace(owner, topic);
    struct log_limits limits = log_limits_of(namespace);
    topic->used_s = owner->now_s;
    if (append_unread(topic, &limits, message->time_ms)) {
        return REPLY_OK;
    }
    message->topic = name_span(topic->name);
    message->epoch = topic->epoch;
    if (!log_append(&topic->log, &limits, topic->lanes, owner->writer, topic_shift(owner, topic), message)) {
        STATS_ADD(owner->stats, memory_refusals, 1);
        return REPLY_BUSY;
    }
    appended(owner, number, &limits);
    return REPLY_OK;
}

bool owner_append_gap(struct owner *owner, uint32_t number, const struct gap *gap)
{
    struct topic *topic = topic_at(owner, number);
    struct log_limits limits = log_limits_of(topic_namespace(owner, topic));
    STATS_ADD(owner->stats, gaps_logged, 1);
    if (append_unread(topic, &limits, owner->now_ms)) {
        return true;
    }
    if (!log_append_gap(&topic->log, &limits, topic->lanes, name_span(topic->name), gap, owner->now_ms)) {
        STATS_ADD(owner->stats, memory_refusals, 1);
        return false;
    }
    appended(owner, number, &limits);
    return true;
}

static bool answer_repeated(struct owner *owner, struct ticket *ticket)
{
    struct idempotency_answer answer;
    if (!ticket->key_size || !idempotency_find(&owner->idempotency, &ticket->key_id, owner->now_ms, &answer)) {
        return false;
    }
    ticket->epoch = answer.epoch;
    ticket->offset = answer.offset;
    STATS_ADD(owner->stats, publishes_repeated, 1);
    owner_answer(owner, ticket, REPLY_OK);
    return true;
}

void owner_refuse(struct owner *owner, struct ticket *ticket, enum reply_error error)
{
    STATS_ADD(owner->stats, publishes_refused, 1);
    if (error == REPLY_UNAVAILABLE) {
        STATS_ADD(owner->stats, publishes_unavailable, 1);
    }
    owner_answer(owner, ticket, error);
}

void owner_published(struct owner *owner, uint32_t number, struct ticket *ticket)
{
    STATS_ADD(owner->stats, publishes, 1);
    STATS_ADD(owner->stats, publish_bytes, ticket->payload_size);
    struct tickets *held = owner_braked(owner, ticket_topic(ticket));
    if (number && fan_out_is_behind(owner, topic_at(owner, number))) {
        held = &topic_at(owner, number)->held;
    }
    if (held) {
        tickets_push(held, ticket);
        STATS_ADD(owner->stats, publishes_held, 1);
    } else {
        owner_answer(owner, ticket, REPLY_OK);
    }
}

/* Whether Redis is to give the message its place. The idempotency key is Redis' to know then, too. */
static bool is_for_redis(const struct owner *owner, const struct ticket *ticket)
{
    return owner_federates(owner, ticket_topic(ticket)) &&
           config_namespace_of(owner->config, ticket_topic(ticket))->logged;
}

static void owner_publish(struct owner *owner, struct ticket *ticket)
{
    if (is_for_redis(owner, ticket)) {
        owner_publish_logged(owner, ticket);
        return;
    }
    if (answer_repeated(owner, ticket)) {
        return;
    }
    if (ticket->again) { /* only who was sent it first would know its key */
        owner_refuse(owner, ticket, REPLY_UNCERTAIN);
        return;
    }
    uint32_t number = owner_topic(owner, ticket->hash, NULL, ticket_topic(ticket));
    if (!number) {
        owner_refuse(owner, ticket, REPLY_TOPICS_LIMIT);
        return;
    }
    owner_match_filters(owner, number);
    struct topic *topic = topic_at(owner, number);
    struct message message = {.payload = ticket_payload(ticket), .kind = ticket->kind, .time_ms = owner->now_ms};
    enum reply_error error = owner_append(owner, number, &message);
    if (error) {
        owner_refuse(owner, ticket, error);
        return;
    }
    ticket->epoch = topic->epoch;
    ticket->offset = topic_tail_offset(owner, topic);
    if (owner_federates(owner, ticket_topic(ticket))) {
        owner_relay_live(owner, number, ticket);
    }
    if (ticket->key_size) {
        idempotency_add(&owner->idempotency, &ticket->key_id, owner->now_ms,
                        (struct idempotency_answer){ticket->epoch, ticket->offset});
    }
    owner_published(owner, number, ticket);
}

/* --- asks --- */

void owner_prefetch(const struct owner *owner, const struct envelope *ask)
{
    if (ask->kind == ASK_PUBLISH && ask->ticket->key_size) {
        idempotency_prefetch(&owner->idempotency, &ask->ticket->key_id);
    }
}

bool owner_has_room(struct owner *owner, uint32_t peer)
{
    return mesh_tell_room(owner->mesh, owner->shard, peer) >= TELLS_PER_ASK;
}

bool owner_ask(struct owner *owner, const struct envelope *ask)
{
    if (!owner_has_room(owner, ask->from)) {
        return false;
    }
    owner_work(owner, ask);
    return true;
}

void owner_work(struct owner *owner, const struct envelope *ask)
{
    switch ((enum envelope_kind)ask->kind) {
    case ASK_PUBLISH:
        owner_publish(owner, ask->ticket);
        break;
    case ASK_JOIN:
        owner_join(owner, ask);
        break;
    case ASK_LEAVE:
        owner_leave(owner, ask);
        break;
    case ASK_FOLLOWED:
        owner_followed(owner, ask);
        break;
    case ASK_HISTORY:
        owner_history(owner, ask);
        break;
    case ASK_READ:
        owner_read(owner, ask);
        break;
    case ASK_REPLAY:
        owner_replay(owner, ask);
        break;
    case ASK_FILTER:
        owner_filter(owner, ask);
        break;
    case ASK_WALKED:
        owner_walked(owner, ask);
        break;
    case ASK_BRAKE:
        owner_brake(owner, ask);
        break;
    case ASK_RELEASE:
        owner_release(owner, ask);
        break;
    case ASK_ARRIVED:
        owner_arrived(owner, ask->relay);
        break;
    default:
        UNREACHABLE();
    }
}

/* --- telling --- */

void owner_follower_told(struct owner *owner, struct follower *follower)
{
    if (follower->untold) {
        watermark_end(&owner->told, follower->generation);
        follower->untold = NULL;
    }
}

bool owner_tell_tail(struct owner *owner, struct topic *topic, struct follower *follower)
{
    if (!follower->untold && !follower->report_unasked) {
        return true;
    }
    struct envelope tell = {
        .kind = TELL_TAIL,
        .feed = follower->feed,
        .chunk = follower->untold,
        .epoch = topic->epoch,
        .offset = topic->log.tail,
        .shift = topic_shift(owner, topic),
        .bytes = topic->log.bytes,
        .time_us = follower->untold_us,
        .flags = follower->report_unasked ? TELL_TAIL_REPORT : 0,
    };
    if (!mesh_tell(owner->mesh, owner->shard, follower->shard, &tell)) {
        return false;
    }
    owner_follower_told(owner, follower); /* the reference went with the tell */
    follower->told = topic->log.tail;
    follower->report_unasked = false;
    return true;
}

bool owner_announce(struct owner *owner, uint32_t number, struct follower *follower)
{
    struct topic *topic = topic_at(owner, number);
    struct place told = owner_place_at(owner, topic, follower->told);
    struct envelope tell = {
        .kind = TELL_FOLLOW,
        .topic = number,
        .name = name_share(topic->name),
        .epoch = told.epoch,
        .offset = told.position,
        .shift = (int64_t)(told.offset - told.position),
    };
    if (!mesh_tell(owner->mesh, owner->shard, follower->shard, &tell)) {
        name_drop(topic->name);
        return false;
    }
    follower->state = FOLLOWER_ANNOUNCED;
    return true;
}

/* True: all followers know what they can know now. A filter that is new since the publish needs its lanes written. */
static bool topic_advance(struct owner *owner, uint32_t number)
{
    struct topic *topic = topic_at(owner, number);
    bool done = true;
    owner_match_filters(owner, number);
    for (uint32_t n = topic->followers; n; n = follower_at(owner, n)->next) {
        struct follower *follower = follower_at(owner, n);
        if (follower->state == FOLLOWER_UNANNOUNCED) {
            done &= owner_announce(owner, number, follower);
        } else if (follower->state == FOLLOWER_ACTIVE) {
            done &= owner_tell_tail(owner, topic, follower);
        }
    }
    return done;
}

void owner_advance(struct owner *owner)
{
    answers_flush(owner);
    owner_remote_advance(owner);
    struct queue dirty = owner->dirty; /* who can't be told now is put into a new line */
    owner->dirty = (struct queue){0};
    uint32_t number;
    while ((number = queue_take(&dirty, &owner->topics, offsetof(struct topic, dirty_next))) != 0) {
        topic_at(owner, number)->dirty = false;
        if (!topic_advance(owner, number)) {
            owner_mark_dirty(owner, number);
        }
    }
}

/* --- sweeping --- */

static void topic_sweep(struct owner *owner, uint32_t number)
{
    struct topic *topic = topic_at(owner, number);
    struct log_limits limits = log_limits_of(topic_namespace(owner, topic));
    log_trim(&topic->log, &limits, owner->now_ms);
    if (limits.history_messages == 0 && topic->used_s != owner->now_s) {
        log_release_unread(&topic->log);
    }
    owner_remote_sweep(owner, number);
    if (!topic->followers && !topic->remote && !topic->log.oldest && !topic->dirty && !topic->held.first &&
        owner->now_s - topic->used_s > owner->config->topics.idle_s) {
        topic_forget(owner, number);
    }
}

void owner_sweep(struct owner *owner, uint32_t topics)
{
    idempotency_sweep(&owner->idempotency, owner->now_ms);
    uint32_t end = slab_end(&owner->topics);
    for (uint32_t i = 0; i < topics && end > 0; i++) {
        owner->sweep_at = owner->sweep_at + 1 < end ? owner->sweep_at + 1 : 1;
        if (slab_mapped(&owner->topics, owner->sweep_at) && topic_at(owner, owner->sweep_at)->name) {
            topic_sweep(owner, owner->sweep_at);
        }
    }
}
