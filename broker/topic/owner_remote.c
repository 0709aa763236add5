/*
 * owner_remote: what an owner has to do with the federation link for live and logged topics alike: interest, asks that
 * are parked meanwhile, and relays. See remote.h.
 */
#include "base/check.h"
#include "topic/match.h"
#include "topic/owner.h"
#include "topic/replay.h"

/* --- the records --- */

void owner_remote_mark_due(struct owner *owner, struct remote *remote)
{
    if (!remote->due) {
        remote->due = true;
        queue_push(&owner->due, &owner->remotes, offsetof(struct remote, due_next),
                   topic_at(owner, remote->topic)->remote);
    }
}

struct remote *owner_remote_need(struct owner *owner, uint32_t number)
{
    struct topic *topic = topic_at(owner, number);
    if (!topic->remote) {
        topic->remote = slab_take(&owner->remotes);
        if (!topic->remote) {
            STATS_ADD(owner->stats, memory_refusals, 1);
            return NULL;
        }
        struct remote *made = remote_of(owner, topic);
        made->topic = number;
        made->logged = topic_is_logged(owner, topic);
        made->owes_want = true;
        owner_remote_mark_due(owner, made);
        STATS_SET(owner->stats, remotes, owner->remotes.used);
    }
    struct remote *remote = remote_of(owner, topic);
    remote->owes_unwant = false;
    remote->needed_s = owner->now_s;
    return remote;
}

static void early_free(struct owner *owner, struct remote *remote)
{
    while (remote->early) {
        relay_free(owner_early_take(owner, remote));
    }
}

/* Nobody needs it: a logged topic's log is but a copy, which would be out of date when it is needed again. */
static void remote_close(struct owner *owner, struct remote *remote)
{
    struct topic *topic = topic_at(owner, remote->topic);
    CHECK(!remote->due && !remote->parked_first && remote->fetch != FETCH_OUT);
    early_free(owner, remote);
    if (remote->logged) {
        log_release(&topic->log);
    }
    slab_give(&owner->remotes, topic->remote);
    topic->remote = 0;
    STATS_SET(owner->stats, remotes, owner->remotes.used);
}

/* --- parking --- */

static bool park(struct owner *owner, struct remote *remote, const struct envelope *ask)
{
    uint32_t number = slab_take(&owner->parked);
    if (!number) {
        return false;
    }
    struct parked *parked = slab_at(&owner->parked, number);
    parked->ask = *ask;
    if (remote->parked_first) {
        ((struct parked *)slab_at(&owner->parked, remote->parked_last))->next = number;
    } else {
        remote->parked_first = number;
    }
    remote->parked_last = number;
    STATS_SET(owner->stats, asks_parked, owner->parked.used);
    return true;
}

static struct envelope parked_take(struct owner *owner, struct remote *remote)
{
    uint32_t number = remote->parked_first;
    const struct parked *parked = slab_at(&owner->parked, number);
    struct envelope ask = parked->ask;
    remote->parked_first = parked->next;
    slab_give(&owner->parked, number);
    STATS_SET(owner->stats, asks_parked, owner->parked.used);
    return ask;
}

/* What a parked ask points at is given back: the shard ends. */
static void parked_discard(const struct envelope *ask)
{
    if (ask->kind == ASK_JOIN) {
        name_drop(ask->name);
    } else if (ask->kind == ASK_READ) {
        free(ask->ticket);
    } else if (ask->kind == ASK_REPLAY) {
        replay_ask_free(ask->replay);
    }
}

static enum remote_gate refuse(struct owner *owner)
{
    STATS_ADD(owner->stats, asks_unavailable, 1);
    return GATE_REFUSED;
}

/* Puts an ask into the line of those that wait, unless REMOTE_PARKED_MAX do. */
static enum remote_gate park_or_refuse(struct owner *owner, struct remote *remote, const struct envelope *ask)
{
    return park(owner, remote, ask) ? GATE_PARKED : refuse(owner);
}

/* Who asks may be the first to find that a fetch works again. */
static void retry_fetch(struct owner *owner, struct remote *remote)
{
    if (remote->fetch == FETCH_FAILED && remote->interest == REMOTE_WANTED && owner->now_s >= remote->retry_s) {
        owner_fetch_owe(owner, remote);
    }
}

enum remote_gate owner_gate(struct owner *owner, uint32_t number, const struct envelope *ask)
{
    const struct topic *topic = topic_at(owner, number);
    if (!owner_federates(owner, name_span(topic->name))) {
        return GATE_OPEN;
    }
    struct remote *remote = owner_remote_need(owner, number);
    if (remote) {
        retry_fetch(owner, remote);
    }
    if (remote && remote_waits(remote)) {
        return park_or_refuse(owner, remote, ask);
    }
    return topic_is_open(owner, topic) ? GATE_OPEN : refuse(owner);
}

enum remote_gate owner_gate_ahead(struct owner *owner, uint32_t number, const struct envelope *ask)
{
    struct remote *remote = remote_of(owner, topic_at(owner, number));
    if (!remote || !remote->logged) {
        return GATE_OPEN;
    }
    retry_fetch(owner, remote);
    if (remote_waits(remote)) { /* what is fetched now may have been read before the position was given out */
        return park_or_refuse(owner, remote, ask);
    }
    if (remote->interest == REMOTE_AWAY || remote->fetch == FETCH_FAILED) {
        return refuse(owner); /* also if it was parked for a fetch: that failed, and nobody knows */
    }
    if (ask->flags & ASK_CAUGHT_UP) {
        return GATE_OPEN;
    }
    struct envelope later = *ask;
    later.flags |= ASK_CAUGHT_UP;
    owner_fetch_owe(owner, remote);
    return park_or_refuse(owner, remote, &later);
}

/* Works what was parked, as far as there is room for the answers. False: there is not. */
static bool parked_release(struct owner *owner, struct remote *remote)
{
    while (remote->parked_first && !remote_waits(remote)) {
        const struct parked *parked = slab_at(&owner->parked, remote->parked_first);
        if (!owner_has_room(owner, parked->ask.from)) {
            return false;
        }
        struct envelope ask = parked_take(owner, remote);
        owner_work(owner, &ask);
    }
    return true;
}

/* --- what is sent to the link --- */

static bool ask_link(struct owner *owner, struct envelope *ask)
{
    return mesh_ask(owner->mesh, owner->shard, owner->link_peer, ask);
}

static bool ask_link_with_name(struct owner *owner, const struct remote *remote, enum envelope_kind kind)
{
    const struct topic *topic = topic_at(owner, remote->topic);
    struct envelope ask = {
        .kind = (uint8_t)kind, .name = name_share(topic->name), .hash = topic->link.hash, .topic = remote->topic};
    if (!ask_link(owner, &ask)) {
        name_drop(topic->name);
        return false;
    }
    return true;
}

static bool relay_send(struct owner *owner, struct relay *relay)
{
    struct envelope ask = {.kind = ASK_RELAY, .hash = relay->hash, .relay = relay};
    return ask_link(owner, &ask);
}

static bool relays_have_room(const struct owner *owner, const struct relay *relay)
{
    bool alone = owner->relays_waiting == 0;
    return owner->relays_waiting < REMOTE_RELAYS_MAX &&
           (alone || owner->relays_bytes + relay_bytes(relay) <= REMOTE_RELAY_BYTES_MAX);
}

/* One more waits, or one less. */
static void relays_count(struct owner *owner, uint32_t waiting, uint64_t bytes)
{
    owner->relays_waiting = waiting;
    owner->relays_bytes = bytes;
    STATS_SET(owner->stats, relays_waiting, waiting);
    STATS_SET(owner->stats, relays_waiting_bytes, bytes);
}

/* Those that wait keep their order. */
bool owner_relay(struct owner *owner, struct relay *relay)
{
    if (!owner->relays_first && relay_send(owner, relay)) {
        return true;
    }
    if (!relays_have_room(owner, relay)) {
        return false;
    }
    relay->next = NULL;
    if (owner->relays_first) {
        owner->relays_last->next = relay;
    } else {
        owner->relays_first = relay;
    }
    owner->relays_last = relay;
    relays_count(owner, owner->relays_waiting + 1, owner->relays_bytes + relay_bytes(relay));
    return true;
}

static void relays_flush(struct owner *owner)
{
    while (owner->relays_first) {
        struct relay *next = owner->relays_first->next; /* the relay is not ours once it is sent */
        uint64_t bytes = relay_bytes(owner->relays_first);
        if (!relay_send(owner, owner->relays_first)) {
            return;
        }
        owner->relays_first = next;
        relays_count(owner, owner->relays_waiting - 1, owner->relays_bytes - bytes);
    }
}

static bool send_fetch(struct owner *owner, struct remote *remote)
{
    struct relay *relay = owner_fetch_relay(owner, remote);
    struct envelope ask = {.kind = ASK_FETCH, .topic = remote->topic, .relay = relay};
    if (!relay || !ask_link(owner, &ask)) {
        relay_free(relay);
        return false;
    }
    owner_fetch_sent(owner, remote);
    return true;
}

/* True: nothing is left to do for now. */
static bool remote_work(struct owner *owner, struct remote *remote)
{
    if (remote->owes_want) {
        if (!ask_link_with_name(owner, remote, ASK_WANT)) {
            return false;
        }
        remote->owes_want = false;
    }
    bool done = parked_release(owner, remote);
    if (remote->fetch == FETCH_OWED && !send_fetch(owner, remote)) {
        return false;
    }
    if (remote->owes_unwant && !topic_at(owner, remote->topic)->followers) {
        if (!ask_link_with_name(owner, remote, ASK_UNWANT)) {
            return false;
        }
        remote_close(owner, remote);
    }
    return done;
}

void owner_remote_advance(struct owner *owner)
{
    relays_flush(owner);
    struct queue due = owner->due; /* who is not done is put into a new line */
    owner->due = (struct queue){0};
    uint32_t number;
    while ((number = queue_take(&due, &owner->remotes, offsetof(struct remote, due_next))) != 0) {
        struct remote *remote = slab_at(&owner->remotes, number);
        remote->due = false;
        if (!remote_work(owner, remote)) {
            owner_remote_mark_due(owner, remote);
        }
    }
}

void owner_remote_sweep(struct owner *owner, uint32_t number)
{
    struct topic *topic = topic_at(owner, number);
    struct remote *remote = remote_of(owner, topic);
    if (!remote) {
        return;
    }
    retry_fetch(owner, remote);
    if (topic->followers || remote->parked_first) {
        remote->needed_s = owner->now_s;
    }
    bool idle = !remote->due && (remote->fetch == FETCH_NONE || remote->fetch == FETCH_FAILED);
    if (idle && owner->now_s - remote->needed_s >= owner->config->cluster.linger_s &&
        remote->needed_s != owner->now_s) {
        remote->owes_unwant = true;
        owner_remote_mark_due(owner, remote);
    }
}

/* --- live topics --- */

void owner_relay_live(struct owner *owner, uint32_t number, const struct ticket *ticket)
{
    struct span topic = ticket_topic(ticket), payload = ticket_payload(ticket);
    struct relay *relay = relay_create(topic.data, topic.size, NULL, 0, payload.data, payload.size);
    if (relay) {
        relay->hash = ticket->hash;
        relay->topic = number;
        relay->shard = (uint8_t)owner->shard;
        relay->kind = ticket->kind;
        relay->time_ms = owner->now_ms;
    }
    if (!relay || !owner_relay(owner, relay)) {
        relay_free(relay);
        STATS_ADD(owner->stats, relays_dropped, 1);
    }
} // NOLINT(clang-analyzer-unix.Malloc): an envelope holds the relay, in a union

bool owner_filters_want(struct owner *owner, struct span name)
{
    return match_all(owner->filters, name, &owner->matches) && owner->matches.size > 0;
}

/* As if it was published here, but that nobody waits for an answer. The clocks of hosts differ: the time is ours. */
static void live_arrived(struct owner *owner, uint32_t number, const struct relay *relay)
{
    struct span name = {relay_topic(relay), relay->topic_size};
    if (!number && owner_filters_want(owner, name)) {
        number = owner_topic(owner, relay->hash, NULL, name);
    }
    if (!number || topic_is_logged(owner, topic_at(owner, number))) {
        STATS_ADD(owner->stats, arrivals_dropped, 1);
        return;
    }
    owner_match_filters(owner, number);
    struct message message = {
        .payload = {relay_payload(relay), relay->payload_size},
        .kind = relay->kind,
        .time_ms = owner->now_ms,
    };
    if (owner_append(owner, number, &message) != REPLY_OK) {
        STATS_ADD(owner->stats, arrivals_dropped, 1);
    }
}

void owner_arrived(struct owner *owner, struct relay *relay)
{
    struct span name = {relay_topic(relay), relay->topic_size};
    uint32_t number = owner_topic_find(owner, relay->hash, name);
    STATS_ADD(owner->stats, arrivals, 1);
    if (relay->logged) {
        owner_logged_arrived(owner, number, relay);
    } else {
        live_arrived(owner, number, relay);
        relay_free(relay);
    }
}

/* --- what the link tells --- */

/* The topic may have been forgotten, and its number be another's, since the link was asked. */
static struct remote *remote_named(struct owner *owner, uint32_t number, uint64_t hash)
{
    if (!slab_mapped(&owner->topics, number) || !topic_at(owner, number)->name) {
        return NULL;
    }
    const struct topic *topic = topic_at(owner, number);
    return topic->link.hash == hash ? remote_of(owner, topic) : NULL;
}

static void wanted(struct owner *owner, const struct envelope *tell)
{
    struct remote *remote = remote_named(owner, tell->topic, tell->hash);
    if (!remote) {
        return;
    }
    remote->interest = tell->status == RELAY_DONE ? REMOTE_WANTED : REMOTE_AWAY;
    if (remote->logged && remote->interest == REMOTE_WANTED) {
        owner_fetch_owe(owner, remote);
    }
    owner_remote_mark_due(owner, remote);
}

void owner_tell(struct owner *owner, const struct envelope *tell)
{
    switch ((enum envelope_kind)tell->kind) {
    case TELL_RELAYED:
        owner_relayed(owner, tell->relay);
        break;
    case TELL_WANTED:
        wanted(owner, tell);
        break;
    case TELL_FETCHED: {
        struct remote *remote = remote_named(owner, tell->relay->topic, tell->relay->hash);
        if (remote && remote->fetch == FETCH_OUT) {
            owner_fetched(owner, remote, tell->relay);
        }
        relay_free(tell->relay);
        break;
    }
    case TELL_PATTERNS:
        if (tell->status == RELAY_DONE) {
            missed_ends(&owner->missed, owner->now_ms);
        } else {
            missed_begins(&owner->missed, owner->now_ms,
                          (int64_t)owner->config->cluster.timeout_ms + owner->config->cluster.probe_ms);
        }
        break;
    default:
        UNREACHABLE();
    }
}

/* --- the end --- */

void owner_remote_destroy(struct owner *owner)
{
    for (uint32_t n = 1; n < slab_end(&owner->topics); n++) {
        struct topic *topic = slab_mapped(&owner->topics, n) ? topic_at(owner, n) : NULL;
        struct remote *remote = topic && topic->name ? remote_of(owner, topic) : NULL;
        while (remote && remote->parked_first) {
            struct envelope ask = parked_take(owner, remote);
            parked_discard(&ask);
        }
        if (remote) {
            early_free(owner, remote);
        }
    }
    for (uint32_t n = 1; n < slab_end(&owner->pledges); n++) {
        if (slab_mapped(&owner->pledges, n)) {
            free(((struct pledge *)slab_at(&owner->pledges, n))->ticket);
        }
    }
    while (owner->relays_first) {
        struct relay *next = owner->relays_first->next;
        relay_free(owner->relays_first);
        owner->relays_first = next;
    }
    slab_destroy(&owner->remotes);
    slab_destroy(&owner->parked);
    slab_destroy(&owner->pledges);
}
