/*
 * shard_test: one shard, turned by hand over a simulated network and clock: what each kind of connection is told, byte
 * by byte, how it ends, and that nothing of it is left. Many shards, faults and chance are tests/sim's.
 */
#include <errno.h>

#include "one_shard.h"

#define GET_ALL  "GET /v1/topics/%23 HTTP/1.1\r\n" UPGRADE
#define GET_JSON "GET /v1/ws HTTP/1.1\r\n" UPGRADE
#define POST_HI  "POST /v1/topics/t HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"

/* Frames from a client, masked with zeros, so that the payload stands as it is. */
#define MASK           "\x80\0\0\0\0"
#define CLIENT_CLOSE   "\x88\x82\0\0\0\0\x03\xE8"
#define SUBSCRIBE_JSON "\x81\xA5\0\0\0\0{\"op\":\"subscribe\",\"id\":1,\"topic\":\"t\"}"

static void host_start_with(const char *text, bool linked, uint32_t window)
{
    host_make(
        &(struct host_setup){.text = text, .linked = linked, .window = window, .slots = 64, .buffers = 8, .batch = 8});
}

static void host_start(const char *text)
{
    host_start_with(text, false, 0);
}

static void seconds_pass(uint32_t seconds)
{
    for (uint32_t i = 0; i < seconds * 10; i++) {
        sim_advance(host.network, 100000);
        turns(1);
    }
}

static void say(uint32_t client, const char *bytes, size_t size)
{
    if (size > 0)
        assert_int_equal(sim_client_write(host.network, client, bytes, size), size);
    turns(3);
}

#define SAY(client, literal) say(client, literal, sizeof(literal) - 1)

static uint32_t connect_and_say(const char *bytes, size_t size)
{
    uint32_t client = sim_connect(host.network, 0);
    assert_int_not_equal(client, SIM_NONE);
    turns(2);
    say(client, bytes, size);
    return client;
}

#define CONNECT(literal) connect_and_say(literal, sizeof(literal) - 1)

static bool ended(uint32_t client)
{
    ssize_t size;
    while ((size = sim_client_read(host.network, client, input, sizeof input)) > 0)
        continue;
    return size == 0 || size == -ECONNRESET;
}

/* A raw subscriber, past its handshake. */
static uint32_t subscriber(void)
{
    uint32_t client = CONNECT(GET_RAW);
    hear(client);
    assert_non_null(strstr(input, "HTTP/1.1 101 "));
    assert_non_null(strstr(input, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_non_null(strstr(input, "\r\n\r\n"));
    return client;
}

/* One frame has come: a close with this code; its reason in words, unless the client had closed before. */
static void expect_close_frame(uint32_t client, uint16_t code, bool answers)
{
    size_t size = hear(client);
    assert_true(answers ? size == 4 : size > 4);
    assert_int_equal((uint8_t)input[0], 0x88);
    assert_int_equal((uint8_t)input[1], size - 2);
    assert_int_equal((uint8_t)input[2] << 8 | (uint8_t)input[3], code);
}

static void expect_close(uint32_t client, uint16_t code)
{
    expect_close_frame(client, code, false);
}

static void expect_close_answered(uint32_t client, uint16_t code)
{
    expect_close_frame(client, code, true);
}

static void expect_nothing_left(void)
{
    struct stats *stats = &host.shard->stats;
    turns(4);
    assert_int_equal(sim_slots_used(host.room), 0);
    assert_int_equal(host.connections, 0);
    assert_int_equal(host.shard->conns.table.used, 0);
    assert_int_equal(host.shard->conns.sessions.used, 0);
    assert_int_equal(host.shard->conns.tickets, 0);
    assert_int_equal(host.shard->feeds.subscriptions.used + host.shard->feeds.cursors.used, 0);
    assert_int_equal(STATS_READ(stats, connections_accepted), STATS_READ(stats, connections_closed));
    assert_true(shard_is_quiet(host.shard));
}

/* --- what they are told --- */

static void publish_is_delivered_within_one_turn(void **state)
{
    (void)state;
    host_start("");
    uint32_t reader = subscriber(), writer = sim_connect(host.network, 0);
    turns(2);
    assert_int_equal(sim_client_write(host.network, writer, POST_HI, strlen(POST_HI)), strlen(POST_HI));
    io_wait(host.room, 0); /* the room sees the bytes; now a turn */
    turns(1);
    assert_int_equal(hear(reader), 4);
    assert_memory_equal(input, "\x81\x02hi", 4);
    turns(1);
    hear(writer);
    assert_memory_equal(input, "HTTP/1.1 200 ", 13);
    assert_non_null(strstr(input, "\"offset\":1}"));
    host_stop();
}

static void requests_are_answered_one_after_another(void **state)
{
    (void)state;
    host_start("");
    uint32_t client = CONNECT(POST_HI POST_HI "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n" POST_HI);
    turns(10);
    hear(client);
    const char *first = strstr(input, "\"offset\":1}"), *second = strstr(input, "\"offset\":2}");
    const char *none = strstr(input, "HTTP/1.1 404 "), *third = strstr(input, "\"offset\":3}");
    assert_true(first && first < second && second < none && none < third);
    sim_client_leave(host.network, client, SIM_LEAVE);
    expect_nothing_left();
    host_stop();
}

static void bad_request_ends_its_connection_alone(void **state)
{
    (void)state;
    host_start("");
    uint32_t reader = subscriber();
    uint32_t client = CONNECT("GET / HTTP/1.1\r\nHost : x\r\n\r\n");
    hear(client);
    assert_memory_equal(input, "HTTP/1.1 400 ", 13);
    turns(2);
    assert_true(ended(client));
    sim_client_leave(host.network, client, SIM_LEAVE);
    turns(4);
    assert_int_equal(host.connections, 1);
    CONNECT(POST_HI);
    assert_int_equal(hear(reader), 4);
    host_stop();
}

static void json_subscriber_is_told_all(void **state)
{
    (void)state;
    host_start("");
    uint32_t client = CONNECT(GET_JSON);
    hear(client);
    assert_non_null(strstr(input, "HTTP/1.1 101 "));
    SAY(client, SUBSCRIBE_JSON);
    CONNECT(POST_HI);
    size_t size = hear(client);
    assert_non_null(memmem(input, size, "{\"op\":\"ok\",\"id\":1,", 18));
    assert_non_null(memmem(input, size, "\"topic\":\"t\",\"offset\":1,\"data\":\"hi\"}", 35));
    host_stop();
}

/*
 * A filter may be resumed from the time of a pong. So this is not the present one as long as what was published before
 * has not been sent to all: here to the last of more subscribers than a turn has deliveries.
 */
static void pong_has_no_time_before_all_is_delivered(void **state)
{
    (void)state;
    enum { OTHERS = TURN_DELIVERIES_MAX + 100 };
    host_make(&(struct host_setup){.text = "", .slots = OTHERS + 64, .buffers = 64, .batch = 64});
    for (int i = 0; i < OTHERS; i++)
        CONNECT(GET_ALL);
    uint32_t client = CONNECT(GET_JSON), writer = sim_connect(host.network, 0);
    SAY(client, "\x81\xA5\0\0\0\0{\"op\":\"subscribe\",\"id\":1,\"topic\":\"#\"}");
    hear(client);
    sim_advance(host.network, 50000);
    assert_int_equal(sim_client_write(host.network, writer, POST_HI, strlen(POST_HI)), strlen(POST_HI));
    io_wait(host.room, 0);
    turns(1);
    const struct clock *clock = sim_clock(host.network);
    long long published_ms = clock->wall_ms(clock);
    assert_int_equal(hear(client), 0);
    for (int i = 0; i < 2; i++) {
        sim_advance(host.network, 50000);
        sim_client_write(host.network, client, "\x81\x94\0\0\0\0{\"op\":\"ping\",\"id\":2}", 26);
        io_wait(host.room, 0);
        turns(1);
        hear(client);
        const char *time = strstr(input, "\"op\":\"pong\"") ? strstr(input, "\"time_ms\":") : NULL;
        assert_non_null(time);
        bool after = atoll(time + 10) > published_ms;
        assert_int_equal(after, i == 1);
        turns(20);
        hear(client);
        assert_int_equal(strstr(input, "\"data\":\"hi\"") != NULL, i == 0);
    }
    host_stop();
}

/* --- how they end --- */

static void close_is_answered_and_the_slot_is_free(void **state)
{
    (void)state;
    host_start("");
    uint32_t client = subscriber();
    SAY(client, CLIENT_CLOSE);
    expect_close_answered(client, 1000);
    assert_true(ended(client));
    sim_client_leave(host.network, client, SIM_LEAVE);
    expect_nothing_left();
    host_stop();
}

static void broken_frame_is_told_and_ends(void **state)
{
    (void)state;
    host_start("");
    uint32_t client = subscriber();
    SAY(client, "\x81\x02hi"); /* not masked */
    expect_close(client, 1002);
    assert_int_equal(STATS_READ(&host.shard->stats, protocol_errors), 1);
    assert_int_equal(host.shard->feeds.subscriptions.used, 0); /* at once, not when the peer has gone */
    sim_client_leave(host.network, client, SIM_RESET);
    expect_nothing_left();
    host_stop();
}

/* A peer that reads the close frame but never ends is not waited for for ever. */
static void silent_peer_is_let_go_after_the_close(void **state)
{
    (void)state;
    host_start("");
    uint32_t client = subscriber();
    SAY(client, CLIENT_CLOSE);
    seconds_pass(8);
    expect_nothing_left();
    sim_client_leave(host.network, client, SIM_LEAVE);
    host_stop();
}

static void request_that_never_comes(void **state)
{
    (void)state;
    host_start("[limits]\nhandshake_ms = 2000\n");
    uint32_t silent = CONNECT(""), slow = CONNECT("GET /v1/topics/t HT");
    seconds_pass(1);
    assert_int_equal(host.connections, 2);
    seconds_pass(8);
    assert_true(ended(silent) && ended(slow));
    assert_int_equal(STATS_READ(&host.shard->stats, handshakes_timed_out), 2);
    expect_nothing_left();
    host_stop();
}

static void dead_peer_is_found_by_its_silence(void **state)
{
    (void)state;
    host_start("[heartbeat]\ninterval_s = 10\ntimeout_s = 25\n");
    uint32_t dead = subscriber(), alive = subscriber();
    bool pinged = false;
    for (int i = 0; i < 50; i++) {
        seconds_pass(1);
        size_t size = hear(alive);
        if (size > 0) {
            pinged = true;
            assert_memory_equal(input, "\x89\x00", 2);
            SAY(alive, "\x8A" MASK);
        }
    }
    assert_true(pinged);
    assert_true(ended(dead));
    assert_int_equal(host.connections, 1);
    assert_int_equal(STATS_READ(&host.shard->stats, heartbeat_timeouts), 1);
    host_stop();
}

/* The broker did not run for longer than anybody's patience; what clients said meanwhile lies unread. */
static void late_broker_closes_nobody_for_silence(void **state)
{
    (void)state;
    host_start("[limits]\nhandshake_ms = 2000\n[heartbeat]\ninterval_s = 10\ntimeout_s = 25\n");
    uint32_t silent = subscriber(), greeting = CONNECT("GET /v1/top");
    for (int i = 0; i < 4; i++) {
        sim_advance(host.network, 100000000);
        turns(2);
    }
    assert_false(ended(silent));
    assert_int_equal(STATS_READ(&host.shard->stats, heartbeat_timeouts), 0);
    assert_true(STATS_READ(&host.shard->stats, turns_behind) >= 4);
    assert_true(ended(greeting)); /* four seconds were listened to, in sum */
    seconds_pass(50);
    assert_true(ended(silent)); /* it was pinged, and listened to */
    assert_int_equal(STATS_READ(&host.shard->stats, heartbeat_timeouts), 1);
    host_stop();
}

/* All came within the same moment, and answer at once: yet no tenth of an interval has more than one pass of four. */
static void pings_are_spread_over_the_interval(void **state)
{
    (void)state;
    enum { CLIENTS = 40, INTERVAL_S = 20, PARTS = 10 };
    uint32_t clients[CLIENTS];
    host_start("[heartbeat]\ninterval_s = 20\ntimeout_s = 60\n");
    for (int i = 0; i < CLIENTS; i++)
        clients[i] = subscriber();
    for (int part = 0; part < 3 * PARTS; part++) {
        uint64_t before = STATS_READ(&host.shard->stats, heartbeats_sent);
        for (int i = 0; i < INTERVAL_S; i++) { /* tenths of a second */
            sim_advance(host.network, INTERVAL_S * 1000000 / PARTS / INTERVAL_S);
            turns(1);
            for (int client = 0; client < CLIENTS; client++)
                if (hear(clients[client]) > 0)
                    SAY(clients[client], "\x8A" MASK);
        }
        uint64_t sent = STATS_READ(&host.shard->stats, heartbeats_sent) - before;
        if (part >= 2 * PARTS) /* the first pings are behind us */
            assert_true(sent <= CLIENTS / 4);
    }
    assert_int_equal(host.connections, CLIENTS);
    host_stop();
}

/* --- leaving at any byte --- */

static const struct {
    const char *bytes;
    size_t size;
} dialogues[] = {
#define DIALOGUE(literal)                                                                                              \
    {                                                                                                                  \
        literal, sizeof(literal) - 1                                                                                   \
    }
    DIALOGUE(GET_RAW CLIENT_CLOSE),
    DIALOGUE(GET_JSON SUBSCRIBE_JSON CLIENT_CLOSE),
    DIALOGUE(POST_HI POST_HI),
    DIALOGUE("GET /v1/topics/t HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n"),
    DIALOGUE("POST /v1/topics/t HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"),
};

/* A stream's client never says anything: that it has vanished is found by TCP, which ends the connection. */
static bool is_stream(size_t dialogue, size_t size)
{
    return strstr(dialogues[dialogue].bytes, "event-stream") && size == dialogues[dialogue].size;
}

static void leave_after_every_byte(enum sim_leaving how)
{
    host_start("[limits]\nhandshake_ms = 2000\n[heartbeat]\ninterval_s = 2\ntimeout_s = 5\n");
    for (size_t n = 0; n < sizeof dialogues / sizeof dialogues[0]; n++) {
        for (size_t size = 0; size <= dialogues[n].size; size++) {
            if (how == SIM_VANISH && is_stream(n, size))
                continue;
            uint32_t client = connect_and_say(dialogues[n].bytes, size);
            sim_client_leave(host.network, client, how);
            turns(4);
            if (how == SIM_VANISH)
                seconds_pass(20); /* nobody says a word: found by time alone */
            expect_nothing_left();
        }
    }
    host_stop();
}

static void client_closes_after_every_byte(void **state)
{
    (void)state;
    leave_after_every_byte(SIM_LEAVE);
}

static void client_resets_after_every_byte(void **state)
{
    (void)state;
    leave_after_every_byte(SIM_RESET);
}

static void client_vanishes_after_every_byte(void **state)
{
    (void)state;
    leave_after_every_byte(SIM_VANISH);
}

/* One byte at a time is as good as all at once. */
static void bytes_one_by_one(void **state)
{
    (void)state;
    host_start("");
    uint32_t reader = CONNECT("");
    for (size_t i = 0; i < strlen(GET_RAW); i++)
        say(reader, &GET_RAW[i], 1);
    hear(reader);
    assert_non_null(strstr(input, "HTTP/1.1 101 "));
    uint32_t writer = CONNECT("");
    for (size_t i = 0; i < strlen(POST_HI); i++)
        say(writer, &POST_HI[i], 1);
    assert_int_equal(hear(reader), 4);
    assert_memory_equal(input, "\x81\x02hi", 4);
    for (size_t i = 0; i < sizeof CLIENT_CLOSE - 1; i++)
        say(reader, &CLIENT_CLOSE[i], 1);
    expect_close_answered(reader, 1000);
    host_stop();
}

/* --- orders --- */

static void draining_tells_all_to_come_back(void **state)
{
    (void)state;
    host_start("[broker]\ndrain_s = 2\n");
    uint32_t clients[10];
    for (uint32_t i = 0; i < 10; i++)
        clients[i] = subscriber();
    shard_order(host.shard, SHARD_ORDER_DRAIN);
    seconds_pass(1);
    assert_in_range(host.shard->conns.drained, 3, 7); /* spread over the time that it may take */
    assert_int_equal(sim_connect(host.network, 0), SIM_NONE);
    seconds_pass(2);
    for (uint32_t i = 0; i < 10; i++) {
        expect_close(clients[i], 4000);
        sim_client_leave(host.network, clients[i], SIM_LEAVE);
    }
    expect_nothing_left();
    host_stop();
}

static void reload_takes_the_next_configuration(void **state)
{
    (void)state;
    host_start("");
    struct config *next = config_make("[namespace default]\npayload_bytes_max = 1\n");
    atomic_store(&host.shard->config_next, next);
    shard_order(host.shard, SHARD_ORDER_RELOAD);
    turns(1);
    assert_int_equal(host.shard->reloads, 1);
    config_free(host.config);
    host.config = next;
    uint32_t client = CONNECT(POST_HI);
    hear(client);
    assert_memory_equal(input, "HTTP/1.1 413 ", 13);
    host_stop();
}

/* What is open, half said and half delivered when the shard goes. */
static void destroying_gives_all_back(void **state)
{
    (void)state;
    host_start("[namespace default]\nhistory_messages = 10\n");
    subscriber();
    CONNECT(GET_JSON SUBSCRIBE_JSON);
    CONNECT("GET /v1/topics/%23 HTTP/1.1\r\n" UPGRADE);
    CONNECT("POST /v1/topics/t HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\nhalf");
    CONNECT("GET /v1/to");
    uint32_t writer = sim_connect(host.network, 0);
    turns(2);
    sim_client_write(host.network, writer, POST_HI POST_HI, 2 * strlen(POST_HI));
    turns(1);
    host_stop();
}

/* --- beside a federation link --- */

#define LOGGED "[cluster]\nredis = redis://127.0.0.1\n[namespace log]\nprefix = t\nlogged = true\n"

/* The stream of topic "t": messages after `base` up to `tail`, all alike. */
static struct {
    uint64_t epoch, base, tail;
    uint32_t payload_size;
} stream;

static struct relay_page *page_make(const struct relay *ask)
{
    static char payload[4096];
    memset(payload, 'x', sizeof payload);
    uint64_t after = ask->epoch == stream.epoch ? ask->offset : ask->epoch ? stream.base : stream.tail;
    uint64_t count = stream.tail - after;
    struct relay_page *page = calloc(1, sizeof *page + count * sizeof page->entries[0]);
    *page = (struct relay_page){.epoch = stream.epoch, .epoch_base = stream.base, .first = 1, .tail = stream.tail};
    for (; page->count < count; page->count++)
        page->entries[page->count] = (struct relay_entry){.offset = after + 1 + page->count,
                                                          .payload = payload,
                                                          .payload_size = stream.payload_size,
                                                          .kind = PAYLOAD_TEXT};
    return page;
}

static void link_answer(const struct envelope *ask)
{
    struct envelope tell = {.kind = TELL_WANTED, .topic = ask->topic, .hash = ask->hash, .status = RELAY_DONE};
    if (ask->kind == ASK_WANT) {
        name_drop(ask->name);
    } else if (ask->kind == ASK_FILTER) {
        tell = (struct envelope){.kind = TELL_FILTERED, .feed = ask->feed, .lanes = ask->lanes};
        name_drop(ask->name);
    } else {
        tell = (struct envelope){.kind = ask->kind == ASK_FETCH ? TELL_FETCHED : TELL_RELAYED, .relay = ask->relay};
        tell.relay->page = ask->kind == ASK_FETCH ? page_make(ask->relay) : NULL;
        tell.relay->epoch = stream.epoch;
        tell.relay->offset = ask->kind == ASK_RELAY ? ++stream.tail : 0;
    }
    assert_true(mesh_tell(&host.mesh, 1, 0, &tell));
}

static void link_turns(void)
{
    struct spsc *ring = mesh_asks(&host.mesh, 0, 1);
    for (int i = 0; i < 10; i++, turns(1)) {
        const struct envelope *ask;
        while ((ask = spsc_peek(ring)) != NULL) {
            struct envelope copy = *ask;
            spsc_pop(ring);
            link_answer(&copy);
        }
        mesh_ring_bells(&host.mesh, 1);
    }
}

/* Where a text stands in what was heard; it must. */
static const char *expect_text(const char *bytes, size_t size, const char *text)
{
    const char *found = memmem(bytes, size, text, strlen(text));
    assert_non_null(found);
    return found;
}

/* Redis was cut off, and is back. */
static void link_is_back(void)
{
    const struct topic *topic = topic_at(&host.shard->owner, 1);
    struct envelope tell = {.kind = TELL_WANTED, .topic = 1, .hash = topic->link.hash, .status = RELAY_DONE};
    assert_true(mesh_tell(&host.mesh, 1, 0, &tell));
    mesh_ring_bells(&host.mesh, 1);
    link_turns();
}

/* So many bytes come, of which the socket takes a part at a time. */
static void hear_frames(uint32_t client, size_t size)
{
    for (int i = 0; i < 100 && size > 0; i++, turns(2)) {
        ssize_t some = sim_client_read(host.network, client, input, size < sizeof input ? size : sizeof input);
        size -= some > 0 ? (size_t)some : 0;
    }
    assert_int_equal(size, 0);
}

/* All that is to be heard is a close frame with 4409, and nothing behind it. */
static void expect_position_lost(uint32_t client)
{
    size_t size = 0;
    for (int i = 0; i < 20; i++, turns(2)) {
        ssize_t some = sim_client_read(host.network, client, input + size, sizeof input - size);
        size += some > 0 ? (size_t)some : 0;
    }
    assert_true(size > 4);
    assert_memory_equal(input, "\x88", 1);
    assert_memory_equal(input + 2, "\x11\x39", 2);
    assert_int_equal(size, 2 + input[1]);
}

static void new_epoch_is_told_to_all_in_its_place(void **state)
{
    (void)state;
    stream.epoch = 9, stream.base = 0, stream.tail = 5, stream.payload_size = 2;
    host_start_with(LOGGED, true, 0);
    uint32_t json = CONNECT(GET_JSON), raw = CONNECT(GET_RAW);
    SAY(json, SUBSCRIBE_JSON);
    hear(json);
    assert_int_equal(hear(raw), 0); /* both wait for the link */
    link_turns();
    size_t size = hear(json);
    expect_text(input, size, "\"epoch\":\"0000000000000009\",\"offset\":5");
    hear(raw);
    assert_non_null(strstr(input, "Shoal-Epoch: 0000000000000009\r\nShoal-Offset: 5\r\n"));
    uint32_t writer = CONNECT(POST_HI);
    assert_int_equal(hear(writer), 0);
    link_turns();
    hear(writer);
    assert_non_null(strstr(input, "{\"epoch\":\"0000000000000009\",\"offset\":6}"));
    stream.epoch = 10, stream.base = 3, stream.tail = 4;
    link_is_back(); /* an old snapshot, and one more message */
    size = hear(json);
    const char *told =
        expect_text(input, size, "{\"op\":\"gap\",\"topic\":\"t\",\"from\":0,\"to\":3,\"reason\":\"epoch\"");
    expect_text(told, size - (size_t)(told - input), "\"offset\":4");
    expect_position_lost(raw);
    host_stop();
}

/*
 * Whoever reads frames without words for a gap is closed where it is, and has nothing of what comes after: those who
 * keep up, one that is behind, and one that follows the topic by a filter.
 */
static void nothing_follows_a_close_frame(void **state)
{
    (void)state;
    enum { READERS = 3, BEHIND = READERS };
    static const size_t behind_reads = 700; /* of some messages before the gap */
    uint32_t readers[READERS + 1];
    stream.epoch = 9, stream.base = stream.tail = 0, stream.payload_size = 1500;
    host_start_with(LOGGED, true, 4096);
    for (int i = 0; i < READERS + 1; i++) {
        static const char all[] = GET_ALL, one[] = GET_RAW;
        readers[i] = i == 1 ? connect_and_say(all, sizeof all - 1) : connect_and_say(one, sizeof one - 1);
        link_turns();
        assert_true(hear(readers[i]) > 0);
    }
    stream.tail = 6;
    link_is_back(); /* more than a socket takes */
    for (int i = 0; i < READERS; i++)
        hear_frames(readers[i], 6 * (4 + stream.payload_size));
    assert_int_equal(sim_client_read(host.network, readers[BEHIND], input, behind_reads), behind_reads);
    stream.epoch = 10, stream.base = 4, stream.tail = 9;
    link_is_back();
    for (int i = 0; i < READERS; i++)
        expect_position_lost(readers[i]);
    hear_frames(readers[BEHIND], 6 * (4 + stream.payload_size) - behind_reads);
    expect_position_lost(readers[BEHIND]);
    stream.tail = 12;
    link_is_back();
    for (int i = 0; i < READERS + 1; i++)
        assert_int_equal(hear(readers[i]), 0);
    host_stop();
}

/* A reader that was passed by the backlog while the epoch changed is told of that, not of a number of messages. */
static void slow_reader_is_told_of_the_epoch_that_it_missed(void **state)
{
    (void)state;
    stream.epoch = 9, stream.base = 0, stream.tail = 0, stream.payload_size = 3000;
    host_start_with(LOGGED "slow = skip\nbacklog_bytes = 8K\n", true, 4096);
    uint32_t client = CONNECT(GET_JSON);
    hear(client);
    SAY(client, SUBSCRIBE_JSON);
    link_turns();
    hear(client);
    stream.tail = 3;
    link_is_back(); /* more than the socket takes */
    stream.epoch = 10, stream.base = stream.tail = 1;
    stream.tail = 12;
    link_is_back();
    static char all[1 << 20];
    size_t size = 0;
    for (int i = 0; i < 100; i++) {
        size_t some = hear(client);
        memcpy(all + size, input, some);
        size += some;
        turns(2);
    }
    const char *told = expect_text(all, size, "{\"op\":\"gap\",\"topic\":\"t\",\"from\":0,");
    expect_text(told, size - (size_t)(told - all), "\"reason\":\"epoch\"");
    assert_null(memmem(all, size, "\"slow\"", 6));
    expect_text(told, size - (size_t)(told - all), "\"offset\":12");
    assert_true(STATS_READ(&host.shard->stats, messages_skipped) > 0);
    host_stop();
}

/* What is on its way between shard and link when both end. */
static void destroying_gives_back_what_the_link_is_asked(void **state)
{
    (void)state;
    stream.epoch = 9, stream.base = 0, stream.tail = 5;
    host_start_with(LOGGED, true, 0);
    CONNECT(GET_JSON SUBSCRIBE_JSON);
    CONNECT(POST_HI);
    struct spsc *ring = mesh_asks(&host.mesh, 0, 1);
    const struct envelope *ask;
    while ((ask = spsc_peek(ring)) != NULL) { /* answered, but the shard does not turn any more */
        struct envelope copy = *ask;
        spsc_pop(ring);
        link_answer(&copy);
    }
    struct relay *relay = relay_create("t", 1, NULL, 0, "x", 1);
    struct envelope arrived = {.kind = ASK_ARRIVED};
    arrived.relay = relay; /* not in the initializer: the analyzer loses what goes into a union there */
    assert_true(mesh_ask(&host.mesh, 1, 0, &arrived));
    host_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(publish_is_delivered_within_one_turn),
        cmocka_unit_test(requests_are_answered_one_after_another),
        cmocka_unit_test(bad_request_ends_its_connection_alone),
        cmocka_unit_test(json_subscriber_is_told_all),
        cmocka_unit_test(pong_has_no_time_before_all_is_delivered),
        cmocka_unit_test(close_is_answered_and_the_slot_is_free),
        cmocka_unit_test(broken_frame_is_told_and_ends),
        cmocka_unit_test(silent_peer_is_let_go_after_the_close),
        cmocka_unit_test(request_that_never_comes),
        cmocka_unit_test(dead_peer_is_found_by_its_silence),
        cmocka_unit_test(late_broker_closes_nobody_for_silence),
        cmocka_unit_test(pings_are_spread_over_the_interval),
        cmocka_unit_test(client_closes_after_every_byte),
        cmocka_unit_test(client_resets_after_every_byte),
        cmocka_unit_test(client_vanishes_after_every_byte),
        cmocka_unit_test(bytes_one_by_one),
        cmocka_unit_test(draining_tells_all_to_come_back),
        cmocka_unit_test(reload_takes_the_next_configuration),
        cmocka_unit_test(destroying_gives_all_back),
        cmocka_unit_test(new_epoch_is_told_to_all_in_its_place),
        cmocka_unit_test(nothing_follows_a_close_frame),
        cmocka_unit_test(slow_reader_is_told_of_the_epoch_that_it_missed),
        cmocka_unit_test(destroying_gives_back_what_the_link_is_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
