/* accept: see accept.h. */
#include "conn/accept.h"

#include "base/check.h"
#include "conn/close.h"
#include "conn/reply.h"

/* Connections that may be without a request: this shard's share. One that is over it was accepted before. */
static uint32_t handshakes_most(const struct conns *conns)
{
    return (conns->config->limits.handshakes + conns->shard_count - 1) / conns->shard_count;
}

/* limits.accept_rate is a second's; who is over it waits in the kernel's backlog. */
static bool rate_is_used_up(struct conns *conns)
{
    uint32_t rate = conns->config->limits.accept_rate;
    return rate && conns->accepted_in_second >= rate;
}

static void pause_if_full(struct conns *conns)
{
    bool full = rate_is_used_up(conns) || conns->handshakes >= handshakes_most(conns);
    if (full != conns->accept_paused) {
        conns->accept_paused = full;
        io_accept_pause(conns->io, full);
        if (full) {
            STATS_ADD(conns->stats, accept_pauses, 1);
        }
    }
}

void accept_turn(struct conns *conns)
{
    int64_t second = conns->now_us / 1000000;
    if (second != conns->accept_second) {
        conns->accept_second = second;
        conns->accepted_in_second = 0;
    }
    pause_if_full(conns);
}

/* False: the address has as many connections as it may have. */
static bool count_address(struct conns *conns, uint32_t slot)
{
    uint32_t limit = config_connections_per_address(conns->config);
    struct sockaddr_in6 address;
    if (!limit || !io_peer(conns->io, slot, &address)) {
        return true;
    }
    uint32_t share = (limit + conns->shard_count - 1) / conns->shard_count;
    conn_at(conns, slot)->address = addresses_add(&conns->addresses, &address, share);
    return conn_at(conns, slot)->address != 0;
}

static void refuse(struct conns *conns, uint32_t slot, const char *code, const char *message)
{
    conn_respond_later(conns, slot, code, message, conns_spread(conns, SPREAD_LATER_MS));
}

static bool limit_is_reached(const struct conns *conns)
{
    uint32_t limit = conns->config->limits.connections;
    return limit && atomic_load_explicit(conns->connections, memory_order_relaxed) > limit;
}

static void admit(struct conns *conns, uint32_t slot)
{
    if (conns->draining) {
        STATS_ADD(conns->stats, connections_refused_draining, 1);
        refuse(conns, slot, "draining", "The broker is shutting down: connect again.");
    } else if (limit_is_reached(conns)) {
        STATS_ADD(conns->stats, connections_refused_limit, 1);
        refuse(conns, slot, "connections_limit", close_code_sentence(CLOSE_CONNECTIONS_LIMIT));
    } else if (!count_address(conns, slot)) {
        STATS_ADD(conns->stats, connections_refused_address, 1);
        refuse(conns, slot, "address_limit", close_code_sentence(CLOSE_ADDRESS_LIMIT));
    } else if (conns->handshakes > handshakes_most(conns)) {
        STATS_ADD(conns->stats, connections_refused_handshakes, 1);
        refuse(conns, slot, "overloaded", close_code_sentence(CLOSE_OVERLOADED));
    } else {
        session_set_deadline(conns, session_at(conns, conn_at(conns, slot)));
        io_receive(conns->io, slot, IO_RECEIVE_IDLE);
    }
}

void accept_slot(struct conns *conns, uint32_t slot)
{
    CHECK_MSG(slab_claim(&conns->table, slot), "no memory for the table of connections");
    atomic_fetch_add_explicit(conns->connections, 1, memory_order_relaxed);
    STATS_ADD(conns->stats, connections_accepted, 1);
    STATS_SET(conns->stats, connections, conns->table.used);
    conns->accepted_in_second++;
    struct conn *conn = conn_at(conns, slot);
    *conn = (struct conn){
        .generation = ++conns->generation,
        .seen_s = conns->heard_s,
        .principal = conns->verifier ? PRINCIPAL_NOBODY : PRINCIPAL_ANYBODY,
    };
    conn_set_state(conns, conn, CONN_REQUEST);
    if (!conn_session(conns, slot)) {
        conn_abort(conns, slot);
        return;
    }
    admit(conns, slot);
    pause_if_full(conns);
}
