/*
 * inspect_test: pages over a shard's tables: complete, none twice, bounded, and passing over holes.
 *
 * The tables are real; the shard around them is not there, so records are made by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "admin/inspect.h"
#include "base/check.h"

#define SLOTS (3 * SLAB_SEGMENT_RECORDS)

static bool no_peer(struct io *io, uint32_t slot, struct sockaddr_in6 *address)
{
    (void)io;
    (void)slot;
    (void)address;
    return false;
}

/* What inspections look at. */
struct tables {
    struct io_room room;
    struct io io;
    struct config *config;
    struct mesh mesh;
    struct stats stats;
    struct lane_writer writer;
    struct feeds feeds;
    struct owner owner;
    struct conns conns;
};

static struct tables *tables_create(void)
{
    struct tables *tables = calloc(1, sizeof *tables);
    struct config_report report;
    const struct config_sources sources = {.sets = (const char *const[]){"namespace.default.history_messages=10"},
                                           .set_count = 1};
    CHECK(tables);
    tables->config = config_load(&sources, &report);
    tables->room.peer = no_peer;
    tables->io.room = &tables->room;
    CHECK(tables->config && mesh_init(&tables->mesh, 2, 64));
    CHECK(owner_init(&tables->owner, 0, 1, &tables->mesh, tables->config, &tables->stats, &tables->writer, 1));
    CHECK(feeds_init(&tables->feeds, 0, 1, &tables->mesh, tables->config, &tables->stats, &tables->writer, 1));
    tables->conns = (struct conns){
        .io = &tables->io,
        .feeds = &tables->feeds,
        .stats = &tables->stats,
        .config = tables->config,
        .principals = principals_create(),
    };
    slab_init(&tables->conns.table, sizeof(struct conn), SLOTS);
    return tables;
}

static void tables_destroy(struct tables *tables)
{
    slab_destroy(&tables->conns.table);
    principals_destroy(tables->conns.principals);
    vector_free(&tables->conns.doomed);
    feeds_destroy(&tables->feeds);
    owner_destroy(&tables->owner);
    lane_writer_destroy(&tables->writer);
    mesh_destroy(&tables->mesh);
    config_free(tables->config);
    free(tables);
}

static struct inspection *inspection_create(enum inspect_kind kind, uint32_t limit)
{
    struct inspection *inspection = calloc(1, sizeof *inspection);
    CHECK(inspection);
    inspection->kind = kind;
    inspection->limit = limit;
    return inspection;
}

static struct conn *connect_at(struct tables *tables, uint32_t slot, enum conn_state state)
{
    CHECK(slab_claim(&tables->conns.table, slot));
    struct conn *conn = conn_at(&tables->conns, slot);
    *conn = (struct conn){.state = (uint8_t)state, .generation = (uint16_t)(slot + 7), .principal = PRINCIPAL_ANYBODY};
    return conn;
}

static void publish(struct tables *tables, const char *topic)
{
    struct span name = {topic, strlen(topic)};
    struct ticket *ticket = ticket_create(name, SPAN_NONE, SPAN_NONE, SPAN_LITERAL("payload"));
    CHECK(ticket);
    ticket->hash = name_hash(name);
    ticket->kind = PAYLOAD_TEXT;
    struct envelope ask = {.kind = ASK_PUBLISH, .ticket = ticket};
    CHECK(owner_ask(&tables->owner, &ask));
    struct spsc *tells = mesh_tells(&tables->mesh, 0, 0);
    CHECK(spsc_peek(tells)->ticket == ticket);
    spsc_pop(tells);
    free(ticket);
}

static void every_connection_is_listed_once(void **state)
{
    (void)state;
    struct tables *tables = tables_create();
    uint32_t made = 0;
    for (uint32_t slot = 0; slot < SLOTS; slot += 1 + slot % 5) {
        bool in_hole = slot / SLAB_SEGMENT_RECORDS == 1;
        if (!in_hole) {
            connect_at(tables, slot, slot % 3 ? CONN_OPEN : CONN_GONE);
            made += slot % 3 != 0;
        }
    }
    struct inspection *page = inspection_create(INSPECT_CONNECTIONS, 100);
    uint32_t seen = 0, before = UINT32_MAX;
    do {
        inspect_work(page, &tables->conns, &tables->owner);
        assert_true(page->count <= 100);
        for (uint32_t i = 0; i < page->count; i++) {
            const struct connection_record *record = &page->connections[i];
            assert_true(before == UINT32_MAX || record->slot > before);
            assert_int_equal(record->generation, (uint16_t)(record->slot + 7));
            assert_int_equal(record->state, CONN_OPEN);
            before = record->slot;
        }
        seen += page->count;
        assert_true(page->last || page->next > page->after);
        page->after = page->next;
    } while (!page->last);
    assert_int_equal(seen, made);
    free(page);
    tables_destroy(tables);
}

static void page_looks_at_so_many_places_only(void **state)
{
    (void)state;
    struct tables *tables = tables_create();
    connect_at(tables, 0, CONN_GONE);
    connect_at(tables, SLAB_SEGMENT_RECORDS, CONN_GONE);
    connect_at(tables, SLOTS - 1, CONN_OPEN);
    struct inspection *page = inspection_create(INSPECT_CONNECTIONS, INSPECT_RECORDS_MAX);
    inspect_work(page, &tables->conns, &tables->owner);
    assert_int_equal(page->count, 0); /* an empty page, and not the last */
    assert_false(page->last);
    assert_int_equal(page->next, INSPECT_LOOK_MAX);
    page->after = page->next;
    inspect_work(page, &tables->conns, &tables->owner);
    assert_int_equal(page->count, 1);
    assert_true(page->last);
    page->after = UINT32_MAX; /* beyond everything */
    inspect_work(page, &tables->conns, &tables->owner);
    assert_true(page->last && page->count == 0);
    free(page);
    tables_destroy(tables);
}

static void topics_are_listed_and_found(void **state)
{
    (void)state;
    struct tables *tables = tables_create();
    for (int i = 0; i < 30; i++) {
        char name[16];
        snprintf(name, sizeof name, "t/%d", i % 10);
        publish(tables, name);
    }
    struct inspection *page = inspection_create(INSPECT_TOPICS, 4);
    uint32_t seen = 0;
    do {
        inspect_work(page, &tables->conns, &tables->owner);
        for (uint32_t i = 0; i < page->count; i++) {
            assert_int_equal(page->topics[i].offset, 3);
            assert_int_equal(page->topics[i].history_messages, 3);
            assert_true(page->topics[i].history_bytes >= 3 * sizeof "payload" - 3);
        }
        seen += page->count;
        page->after = page->next;
    } while (!page->last);
    assert_int_equal(seen, 10);

    page->kind = INSPECT_TOPIC;
    page->text_size = 3;
    memcpy(page->text, "t/7", 3);
    inspect_work(page, &tables->conns, &tables->owner);
    assert_true(page->found);
    assert_memory_equal(page->topics[0].name, "t/7", 3);
    assert_int_equal(page->topics[0].epoch != 0, 1);
    page->text[2] = 'x';
    inspect_work(page, &tables->conns, &tables->owner);
    assert_false(page->found);
    page->kind = INSPECT_FEED;
    inspect_work(page, &tables->conns, &tables->owner);
    assert_false(page->found);
    free(page);
    tables_destroy(tables);
}

static void only_the_connection_that_was_meant_is_kicked(void **state)
{
    (void)state;
    struct tables *tables = tables_create();
    struct conn *conn = connect_at(tables, 5, CONN_REQUEST);
    tables->conns.handshakes = 1;
    struct inspection *kick = inspection_create(INSPECT_KICK, 0);
    const uint32_t slots[] = {4, SLOTS - 1, UINT32_MAX};
    for (size_t i = 0; i < 3; i++) {
        kick->number = slots[i];
        inspect_work(kick, &tables->conns, &tables->owner);
        assert_false(kick->found);
    }
    kick->number = 5;
    kick->generation = (uint16_t)(conn->generation - 1); /* who was there before */
    inspect_work(kick, &tables->conns, &tables->owner);
    assert_false(kick->found);
    assert_int_equal(conn->state, CONN_REQUEST);
    kick->generation = conn->generation;
    inspect_work(kick, &tables->conns, &tables->owner);
    assert_true(kick->found);
    assert_int_equal(conn->state, CONN_GONE);
    inspect_work(kick, &tables->conns, &tables->owner);
    assert_false(kick->found);
    free(kick);
    tables_destroy(tables);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_connection_is_listed_once),
        cmocka_unit_test(page_looks_at_so_many_places_only),
        cmocka_unit_test(topics_are_listed_and_found),
        cmocka_unit_test(only_the_connection_that_was_meant_is_kicked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
