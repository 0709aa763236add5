/* admin: the port's life, and its loop. See admin.h. */
#include "admin/admin.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "admin/state.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/logger.h"
#include "io/listen.h"

#define ADMIN_TOKEN_MIN      16
#define POLL_BUSY_MS         10
#define POLL_IDLE_MS         500
#define TURNS_LOOK_MS        500
#define SHARD_STUCK_AFTER_MS 10000 /* an idle shard turns ten times a second */

static char problem_text[512];

static const char *problem_of(const char *what, const char *which, const char *why)
{
    snprintf(problem_text, sizeof problem_text, "%s %s: %s", what, which, why);
    return problem_text;
}

/* --- making it --- */

/* One line, which the newline at its end is no part of. */
static const char *token_read(struct admin *admin, const char *path)
{
    if (!path[0]) {
        return NULL;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, admin->token, sizeof admin->token);
    const char *why = size < 0 ? strerror(errno) : NULL;
    if (fd >= 0) {
        close(fd);
    }
    if (why) {
        return problem_of("admin.token_file", path, why);
    }
    if (size > 0 && admin->token[size - 1] == '\n') {
        size--;
    }
    bool printable = true;
    for (ssize_t i = 0; i < size; i++) {
        printable &= admin->token[i] > ' ' && admin->token[i] <= '~';
    }
    if (size < ADMIN_TOKEN_MIN || size > ADMIN_TOKEN_MAX || !printable) {
        return problem_of("admin.token_file", path, "it must hold 16 to 255 printable characters without spaces");
    }
    admin->token_size = (size_t)size;
    return NULL;
}

static void address_tell(struct admin *admin)
{
    struct sockaddr_storage bound = {0};
    socklen_t size = sizeof bound;
    char host[64], port[8];
    CHECK(getsockname(admin->socket, (struct sockaddr *)&bound, &size) == 0);
    CHECK(getnameinfo((const struct sockaddr *)&bound, size, host, sizeof host, port, sizeof port,
                      NI_NUMERICHOST | NI_NUMERICSERV) == 0);
    snprintf(admin->address, sizeof admin->address, bound.ss_family == AF_INET6 ? "[%.46s]:%s" : "%.46s:%s", host,
             port);
}

static const char *bind_socket(struct admin *admin, const struct config_address *address)
{
    const char *problem = NULL;
    admin->socket = io_listen_socket((const struct sockaddr *)&address->socket, address->socket_size, false,
                                     VISITORS_MAX, &problem);
    if (admin->socket < 0) {
        return problem_of("admin.address", address->text, problem);
    }
    address_tell(admin);
    return NULL;
}

static void bell_ring(void *door)
{
    const struct admin *admin = door;
    uint64_t one = 1;
    ssize_t written = write(admin->bell, &one, sizeof one);
    (void)written; /* only fails when it has been rung 2^64 times and nobody looked */
}

struct admin *admin_create(const struct admin_setup *setup, const char **problem)
{
    struct admin *admin = calloc(1, sizeof *admin);
    CHECK_MSG(admin, "no memory");
    admin->mesh = setup->mesh;
    admin->shard_count = setup->shard_count;
    admin->peer = setup->shard_count;
    admin->build = *setup->build;
    snprintf(admin->node, sizeof admin->node, "%s", setup->config->broker.node);
    for (uint32_t i = 0; i < setup->config->namespace_count; i++) {
        memcpy(admin->namespaces[i], setup->config->namespaces[i].name, sizeof admin->namespaces[i]);
    }
    admin->socket = -1;
    admin->bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    *problem = admin->bell < 0 ? "can't make an eventfd" : token_read(admin, setup->config->admin.token_file);
    if (!*problem) {
        *problem = bind_socket(admin, &setup->config->admin.address);
    }
    if (*problem) {
        admin_destroy(admin);
        return NULL;
    }
    mesh_set_bell(admin->mesh, admin->peer, (struct mesh_bell){bell_ring, admin});
    return admin;
}

const char *admin_address(const struct admin *admin)
{
    return admin->address;
}

void admin_set_readiness(struct admin *admin, enum admin_readiness readiness)
{
    atomic_store_explicit(&admin->readiness, (int)readiness, memory_order_relaxed);
}

/* --- the loop --- */

static int64_t monotonic_ms(void)
{
    return clock_of_host.monotonic_us(&clock_of_host) / 1000;
}

/* A shard that does not turn any more is what /healthz is for. */
static void look_at_turns(struct admin *admin)
{
    if (admin->now_ms - admin->turns_looked_ms < TURNS_LOOK_MS) {
        return;
    }
    admin->turns_looked_ms = admin->now_ms;
    for (uint32_t shard = 0; shard < admin->shard_count; shard++) {
        uint64_t turns = STATS_READ(admin->broker.stats[shard], turns);
        if (turns != admin->turns_seen[shard] || admin->turned_ms[shard] == 0) {
            admin->turns_seen[shard] = turns;
            admin->turned_ms[shard] = admin->now_ms;
        }
    }
}

bool admin_is_alive(const struct admin *admin, uint32_t *stuck)
{
    for (uint32_t shard = 0; shard < admin->shard_count; shard++) {
        if (admin->turned_ms[shard] && admin->now_ms - admin->turned_ms[shard] > SHARD_STUCK_AFTER_MS) {
            *stuck = shard;
            return false;
        }
    }
    return true;
}

static int poll_ms(struct admin *admin, bool busy)
{
    MHD_UNSIGNED_LONG_LONG least;
    int ms = busy ? POLL_BUSY_MS : POLL_IDLE_MS;
    if (MHD_get_timeout(admin->daemon, &least) == MHD_YES && least < (MHD_UNSIGNED_LONG_LONG)ms) {
        ms = (int)least;
    }
    return ms;
}

static void wait_for_something(struct admin *admin, bool busy)
{
    if (!mesh_sleep(admin->mesh, admin->peer)) {
        return;
    }
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(admin->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    struct pollfd doors[] = {{.fd = info->epoll_fd, .events = POLLIN}, {.fd = admin->bell, .events = POLLIN}};
    poll(doors, 2, poll_ms(admin, busy));
    mesh_awake(admin->mesh, admin->peer);
    uint64_t rung;
    ssize_t taken = read(admin->bell, &rung, sizeof rung);
    (void)taken; /* nothing: it was not rung */
}

static void *serve(void *argument)
{
    struct admin *admin = argument;
    while (!atomic_load_explicit(&admin->stopping, memory_order_acquire)) {
        admin->now_ms = monotonic_ms();
        look_at_turns(admin);
        MHD_run(admin->daemon);
        visitors_turn(admin);
        bool busy = jobs_turn(admin);
        if (!admin->resumed) {
            wait_for_something(admin, busy);
        }
        admin->resumed = false;
    }
    jobs_abandon(admin);
    MHD_run(admin->daemon); /* the last answers */
    return NULL;
}

static void log_library(void *admin, const char *format, va_list values)
{
    (void)admin;
    char text[256];
    vsnprintf(text, sizeof text, format, values);
    text[strcspn(text, "\n")] = 0;
    logger_limited(LOG_DEBUG, "admin_http", LOG_STR("text", text));
}

bool admin_start(struct admin *admin, const struct admin_broker *broker)
{
    admin->broker = *broker;
    admin->started_ms = clock_of_host.wall_ms(&clock_of_host);
    admin->daemon =
        MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL, http_answer,
                         admin, MHD_OPTION_EXTERNAL_LOGGER, log_library, admin, MHD_OPTION_LISTEN_SOCKET, admin->socket,
                         MHD_OPTION_CONNECTION_LIMIT, (unsigned)VISITORS_MAX, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
                         (unsigned)VISITORS_EACH, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)(VISITOR_IDLE_MS / 1000),
                         MHD_OPTION_NOTIFY_COMPLETED, http_completed, admin, MHD_OPTION_NOTIFY_CONNECTION,
                         visitor_notice, admin, MHD_OPTION_END);
    if (!admin->daemon) {
        return false;
    }
    admin->socket = -1; /* the library's now */
    admin->running = pthread_create(&admin->thread, NULL, serve, admin) == 0;
    return admin->running;
}

void admin_stop(struct admin *admin)
{
    if (admin->running) {
        atomic_store_explicit(&admin->stopping, true, memory_order_release);
        bell_ring(admin);
        pthread_join(admin->thread, NULL);
        admin->running = false;
    }
    if (admin->daemon) {
        MHD_stop_daemon(admin->daemon);
        admin->daemon = NULL;
    }
}

void admin_destroy(struct admin *admin)
{
    if (!admin) {
        return;
    }
    admin_stop(admin);
    jobs_free(admin);
    if (admin->socket >= 0) {
        close(admin->socket);
    }
    if (admin->bell >= 0) {
        close(admin->bell);
    }
    free(admin);
}
