/*
 * admin_test: the port's thread against shards that the test plays itself, so that they can be slow, silent, or gone.
 *
 * Real HTTP over loopback, a real mesh. A "shard" here answers ASK_INSPECT from its ring when the test says so.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "admin/admin.h"
#include "admin/inspection.h"
#include "base/check.h"

#define SHARDS     2
#define PATIENCE_S 20

struct port {
    struct config *config;
    struct mesh mesh;
    struct stats stats[SHARDS];
    const struct stats *views[SHARDS];
    struct admin *admin;
};

static void port_open(struct port *port, uint32_t slots)
{
    struct config_report report;
    const struct config_sources sources = {.sets = (const char *const[]){"admin.address=127.0.0.1:0"}, .set_count = 1};
    static const struct build_identity build = {"1", "2", "3", "4"};
    const char *problem;
    memset(port, 0, sizeof *port);
    port->config = config_load(&sources, &report);
    CHECK(port->config && mesh_init(&port->mesh, SHARDS + 1, slots));
    const struct admin_setup setup = {
        .config = port->config, .build = &build, .mesh = &port->mesh, .shard_count = SHARDS};
    port->admin = admin_create(&setup, &problem);
    CHECK(port->admin);
    for (int i = 0; i < SHARDS; i++) {
        port->views[i] = &port->stats[i];
    }
    const struct admin_broker broker = {.stats = port->views, .data_address = "127.0.0.1:1", .io_name = "none"};
    CHECK(admin_start(port->admin, &broker));
}

static void port_close(struct port *port)
{
    admin_stop(port->admin);
    admin_destroy(port->admin);
    mesh_destroy(&port->mesh);
    config_free(port->config);
}

/* --- a client --- */

static int request_send(const struct port *port, const char *path)
{
    const char *address = admin_address(port->admin);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    to.sin_port = htons((uint16_t)strtoul(strchr(address, ':') + 1, NULL, 10));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && connect(fd, (const struct sockaddr *)&to, sizeof to) == 0);
    CHECK(dprintf(fd, "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n", path, address) > 0);
    return fd;
}

/* The status; the body is left in `body`. */
static int answer_take(int fd, char *body, size_t room)
{
    static char text[1 << 20];
    size_t size = 0;
    struct timeval patience = {.tv_sec = PATIENCE_S};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    ssize_t got;
    while ((got = recv(fd, text + size, sizeof text - size - 1, 0)) > 0) {
        size += (size_t)got;
    }
    close(fd);
    text[size] = 0;
    const char *end = strstr(text, "\r\n\r\n");
    CHECK_MSG(end, "no answer: '%s'", text);
    snprintf(body, room, "%s", end + 4);
    return (int)strtol(text + 9, NULL, 10);
}

/* --- a shard --- */

/* Waits until something is asked; NULL: nothing was, in time. The ask stays in the ring. */
static struct inspection *shard_asked(struct port *port, uint32_t shard)
{
    struct spsc *ring = mesh_asks(&port->mesh, SHARDS, shard);
    for (int i = 0; i < PATIENCE_S * 1000; i++) {
        const struct envelope *ask = spsc_peek(ring);
        if (ask) {
            CHECK(ask->kind == ASK_INSPECT);
            return ask->inspection;
        }
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return NULL;
}

static void shard_answer(struct port *port, uint32_t shard)
{
    struct spsc *ring = mesh_asks(&port->mesh, SHARDS, shard);
    struct envelope tell = {.kind = TELL_INSPECTED, .inspection = spsc_peek(ring)->inspection};
    spsc_pop(ring);
    CHECK(mesh_tell(&port->mesh, shard, SHARDS, &tell));
    mesh_ring_bells(&port->mesh, shard);
}

/* A page with these topics, all of one character. */
static void topics_answer(struct port *port, uint32_t shard, const char *names, bool last)
{
    struct inspection *page = shard_asked(port, shard);
    CHECK(page && page->kind == INSPECT_TOPICS);
    page->count = (uint32_t)strlen(names);
    page->last = last;
    page->next = page->after + 100;
    for (uint32_t i = 0; i < page->count; i++) {
        page->topics[i] = (struct topic_record){.name_size = 1, .name = {names[i]}};
    }
    shard_answer(port, shard);
}

/* --- tests --- */

static void listing_goes_from_shard_to_shard(void **state)
{
    (void)state;
    struct port port;
    char body[8192];
    port_open(&port, 64);
    int fd = request_send(&port, "/v1/topics?limit=5");
    topics_answer(&port, 0, "ab", false);
    assert_int_equal(shard_asked(&port, 0)->after, 100);
    assert_int_equal(shard_asked(&port, 0)->limit, 3); /* what is still wanted */
    topics_answer(&port, 0, "", false);                /* a hole */
    topics_answer(&port, 0, "c", true);
    assert_int_equal(shard_asked(&port, 1)->after, 0);
    topics_answer(&port, 1, "de", false);
    assert_int_equal(answer_take(fd, body, sizeof body), 200);
    for (const char *name = "abcde"; *name; name++) {
        char text[] = {'"', *name, '"', 0};
        assert_non_null(strstr(body, text));
    }
    assert_non_null(strstr(body, "\"next\":\"1:100\""));
    fd = request_send(&port, "/v1/topics?after=1:100&limit=5");
    assert_int_equal(shard_asked(&port, 1)->after, 100);
    topics_answer(&port, 1, "", true);
    assert_int_equal(answer_take(fd, body, sizeof body), 200);
    assert_string_equal(body, "{\"topics\":[],\"next\":null}");
    port_close(&port);
}

/* JOBS_MAX under way, in rings that hold four asks: the others are told to come again, these wait for room. */
static void too_many_at_a_time_are_refused_and_full_rings_waited_for(void **state)
{
    (void)state;
    enum { ASKED = 16 };
    struct port port;
    char body[8192];
    int fds[ASKED];
    port_open(&port, 4);
    for (int i = 0; i < ASKED; i++) {
        fds[i] = request_send(&port, "/v1/topics");
    }
    assert_non_null(shard_asked(&port, 0));
    int status;
    do { /* until all jobs are taken */
        int fd = request_send(&port, "/v1/topics");
        struct pollfd door = {.fd = fd, .events = POLLIN};
        status = poll(&door, 1, 100) == 1 ? answer_take(fd, body, sizeof body) : (close(fd), 0);
    } while (status == 0);
    assert_int_equal(status, 503);
    assert_non_null(strstr(body, "\"busy\""));
    assert_int_equal(answer_take(request_send(&port, "/healthz"), body, sizeof body), 200); /* is not held up */
    for (int i = 0; i < ASKED; i++) {
        topics_answer(&port, 0, "a", true);
        topics_answer(&port, 1, "b", true);
    }
    for (int i = 0; i < ASKED; i++) {
        int answer = answer_take(fds[i], body, sizeof body);
        assert_true(answer == 200 || answer == 503);
    }
    port_close(&port);
}

static void stopping_answers_those_who_wait(void **state)
{
    (void)state;
    struct port port;
    char body[8192];
    port_open(&port, 64);
    int fd = request_send(&port, "/v1/connections");
    assert_non_null(shard_asked(&port, 0)); /* and is never answered */
    admin_stop(port.admin);
    assert_int_equal(answer_take(fd, body, sizeof body), 503);
    port_close(&port);
}

static void readiness_is_as_told(void **state)
{
    (void)state;
    struct port port;
    char body[8192];
    port_open(&port, 64);
    assert_int_equal(answer_take(request_send(&port, "/readyz"), body, sizeof body), 503);
    admin_set_readiness(port.admin, ADMIN_READY);
    assert_int_equal(answer_take(request_send(&port, "/readyz"), body, sizeof body), 200);
    admin_set_readiness(port.admin, ADMIN_DRAINING);
    assert_int_equal(answer_take(request_send(&port, "/readyz"), body, sizeof body), 503);
    port_close(&port);
}

static void figures_are_summed(void **state)
{
    (void)state;
    struct port port;
    static char body[1 << 18];
    port_open(&port, 64);
    STATS_ADD(&port.stats[0], publishes, 3);
    STATS_ADD(&port.stats[1], publishes, 4);
    STATS_SET(&port.stats[0], turn_us_worst, 50);
    STATS_SET(&port.stats[1], turn_us_worst, 40);
    histogram_add(&port.stats[1].delay_us, 1000);
    assert_int_equal(answer_take(request_send(&port, "/v1/stats"), body, sizeof body), 200);
    assert_non_null(strstr(body, "\"publishes\":7"));
    assert_non_null(strstr(body, "\"turn_us_worst\":50"));
    assert_non_null(strstr(body, "\"p99\":1023"));
    assert_int_equal(answer_take(request_send(&port, "/metrics"), body, sizeof body), 200);
    assert_non_null(strstr(body, "\nshoal_publishes_total{shard=\"1\"} 4\n"));
    assert_non_null(strstr(body, "\nshoal_turn_worst_seconds{shard=\"0\"} 0.000050\n"));
    assert_non_null(strstr(body, "\nshoal_delivery_delay_seconds_bucket{shard=\"1\",le=\"0.001024\"} 1\n"));
    assert_non_null(strstr(body, "\nshoal_delivery_delay_seconds_bucket{shard=\"1\",le=\"0.000512\"} 0\n"));
    assert_non_null(strstr(body, "\nshoal_delivery_delay_seconds_sum{shard=\"1\"} 0.001\n"));
    port_close(&port);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(listing_goes_from_shard_to_shard),
        cmocka_unit_test(too_many_at_a_time_are_refused_and_full_rings_waited_for),
        cmocka_unit_test(stopping_answers_those_who_wait),
        cmocka_unit_test(readiness_is_as_told),
        cmocka_unit_test(figures_are_summed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
