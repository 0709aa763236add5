/* broker: see broker.h. */
#include "broker/broker.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "admin/admin.h"
#include "base/check.h"
#include "base/logger.h"
#include "broker/capacity.h"
#include "broker/federation.h"
#include "broker/runner.h"
#include "io/listen.h"

/* How long another's end is waited for before the port counts as taken: 3 s. */
#define PORT_TRIES  30
#define PORT_TRY_NS 100000000

struct broker {
    struct config *config;
    const struct config_sources *sources;
    struct token_verifier *verifier;
    struct mesh mesh;
    uint32_t shard_count;
    uint32_t thread_count;
    struct starter *starters; /* by shard */
    struct runner *runners;   /* by thread */
    int *sockets;             /* -1: given to a shard */
    enum config_backend backend;
    char address[64]; /* with the port that was given for 0 */
    _Atomic uint32_t connections;
    pthread_barrier_t started;
    uint64_t instance;
    uint64_t seed;
    struct admin *admin;
    struct federation federation;
    const struct stats **stats; /* by shard, for the admin port */
};

/* --- starting --- */

/* "127.0.0.1:7070", "[::1]:7070" */
static void address_write(const struct config_address *address, char *out, size_t room)
{
    char host[INET6_ADDRSTRLEN], port[8];
    bool v6 = address->socket.ss_family == AF_INET6;
    CHECK(getnameinfo((const struct sockaddr *)&address->socket, address->socket_size, host, sizeof host, port,
                      sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) == 0);
    snprintf(out, room, v6 ? "[%s]:%s" : "%s:%s", host, port);
}

/* A negative number: not possible, and the operator is told why. */
static int listen_at(const struct config_address *address, bool reuse_port)
{
    const char *problem = NULL;
    int socket = io_listen_socket((const struct sockaddr *)&address->socket, address->socket_size, reuse_port,
                                  IO_BACKLOG_DEFAULT, &problem);
    if (socket < 0) {
        logger_write(LOG_ERROR, "listen_failed", LOG_STR("address", address->text), LOG_STR("problem", problem),
                     LOG_STR("system", strerror(-socket)));
    }
    return socket;
}

/*
 * Shards share the port; another broker must not: clients would be spread over two that know nothing of each other. One
 * that has just been killed may hold it for a moment, while the kernel takes its rings down.
 */
static bool is_unused(const struct config_address *address)
{
    const char *problem;
    int socket;
    for (int tries = 0; tries < PORT_TRIES; tries++) {
        socket = io_listen_socket((const struct sockaddr *)&address->socket, address->socket_size, false, 1, &problem);
        if (socket != -EADDRINUSE) {
            break;
        }
        nanosleep(&(struct timespec){.tv_nsec = PORT_TRY_NS}, NULL);
    }
    if (socket >= 0) {
        close(socket);
    }
    return socket != -EADDRINUSE;
}

static bool bind_sockets(struct broker *broker)
{
    struct config_address address = broker->config->listen.address;
    if (!is_unused(&address)) {
        logger_write(LOG_ERROR, "listen_failed", LOG_STR("address", address.text),
                     LOG_STR("problem", "another process listens at this address: end it, or set listen.address"),
                     LOG_STR("system", strerror(EADDRINUSE)));
        return false;
    }
    for (uint32_t i = 0; i < broker->shard_count; i++) {
        int socket = listen_at(&address, true);
        if (socket < 0) {
            return false;
        }
        broker->sockets[i] = socket;
        if (i == 0) { /* the others take the port that this one was given */
            address.socket_size = sizeof address.socket;
            getsockname(socket, (struct sockaddr *)&address.socket, &address.socket_size);
        }
    }
    address_write(&address, broker->address, sizeof broker->address);
    return true;
}

/* Which room to use; epoll only if it is asked for, or with a warning. */
static void choose_backend(struct broker *broker)
{
    const char *problem;
    broker->backend = broker->config->io.backend;
    if (broker->backend == CONFIG_BACKEND_AUTO) {
        bool usable = io_uring_room_usable(&problem);
        broker->backend = usable ? CONFIG_BACKEND_IO_URING : CONFIG_BACKEND_EPOLL;
        if (!usable) {
            logger_write(LOG_WARNING, "io_uring_unusable", LOG_STR("problem", problem), LOG_STR("instead", "epoll"));
        }
    }
}

static uint64_t random_seed(void)
{
    uint64_t seed;
    CHECK(getrandom(&seed, sizeof seed, 0) == sizeof seed);
    return seed;
}

static void prepare_starters(struct broker *broker)
{
    for (uint32_t i = 0; i < broker->shard_count; i++) {
        struct starter *starter = &broker->starters[i];
        *starter = (struct starter){
            .backend = broker->backend,
            .socket = &broker->sockets[i],
            .setup =
                {
                    .shard = i,
                    .shard_count = broker->shard_count,
                    .mesh = &broker->mesh,
                    .clock = &clock_of_host,
                    .config = broker->config,
                    .verifier = broker->verifier,
                    .connections = &broker->connections,
                    .seed = broker->seed + ((uint64_t)i << 32),
                    .instance = broker->instance,
                    .federation = federation_identity(&broker->federation),
                    .link_peer = federation_peer(&broker->federation),
                    .shares = runner_share(broker->shard_count, broker->thread_count, i % broker->thread_count),
                },
        };
    }
}

static void start_threads(struct broker *broker)
{
    prepare_starters(broker);
    pthread_barrier_init(&broker->started, NULL, broker->thread_count + 1);
    for (uint32_t i = 0; i < broker->thread_count; i++) {
        runner_start(&broker->runners[i], &(struct runner_setup){
                                              .starters = broker->starters,
                                              .shard_count = broker->shard_count,
                                              .thread_count = broker->thread_count,
                                              .number = i,
                                              .started = &broker->started,
                                          });
    }
    pthread_barrier_wait(&broker->started);
}

/* True: all shards run. */
static bool threads_started(struct broker *broker)
{
    bool all = true;
    for (uint32_t i = 0; i < broker->shard_count; i++) {
        if (broker->starters[i].problem) {
            logger_write(LOG_ERROR, "shard_failed", LOG_U64("shard", i),
                         LOG_STR("problem", broker->starters[i].problem));
            all = false;
        }
    }
    return all;
}

static struct token_settings token_settings_of(const struct config *config)
{
    return (struct token_settings){
        .hs256_key_file = config->auth.hs256_key_file,
        .rs256_key_file = config->auth.rs256_key_file,
        .audience = config->auth.audience,
        .issuer = config->auth.issuer,
    };
}

/* NULL if no key is configured; *failed then tells whether that is an error. */
static struct token_verifier *make_verifier(const struct config *config, bool *failed)
{
    *failed = false;
    if (!config_has_key(config)) {
        return NULL;
    }
    const struct token_settings settings = token_settings_of(config);
    char error[TOKEN_ERROR_MAX];
    struct token_verifier *verifier = token_verifier_create(&settings, error);
    if (!verifier) {
        logger_write(LOG_ERROR, "key_failed", LOG_STR("problem", error));
        *failed = true;
    }
    return verifier;
}

static bool prepare(struct broker *broker)
{
    bool failed;
    broker->verifier = make_verifier(broker->config, &failed);
    broker->starters = calloc(broker->shard_count, sizeof *broker->starters);
    broker->runners = aligned_alloc(CACHE_LINE, broker->thread_count * sizeof *broker->runners);
    broker->sockets = malloc(broker->shard_count * sizeof *broker->sockets);
    /* NOLINTNEXTLINE(bugprone-sizeof-expression): they are pointers */
    broker->stats = calloc(broker->shard_count, sizeof *broker->stats);
    for (uint32_t i = 0; broker->runners && i < broker->thread_count; i++) {
        runner_init(&broker->runners[i]);
    }
    if (failed || !broker->starters || !broker->runners || !broker->sockets || !broker->stats) {
        return false;
    }
    for (uint32_t i = 0; i < broker->shard_count; i++) {
        broker->sockets[i] = -1;
    }
    uint32_t others = 1 + federation_peers(broker->config); /* the admin port, and the link */
    return mesh_init(&broker->mesh, broker->shard_count + others, broker->config->broker.mesh_slots);
}

static void stop_threads(struct broker *broker)
{
    for (uint32_t i = 0; i < broker->shard_count; i++) {
        struct starter *starter = &broker->starters[i];
        if (starter->shard) {
            shard_order(starter->shard, SHARD_ORDER_STOP);
        }
    }
    for (uint32_t i = 0; i < broker->thread_count; i++) {
        runner_join(&broker->runners[i]);
    }
}

static void broker_free(struct broker *broker)
{
    for (uint32_t i = 0; broker->starters && i < broker->shard_count; i++) {
        struct starter *starter = &broker->starters[i];
        if (starter->shard) {
            shard_destroy(starter->shard);
        } else if (starter->setup.io) {
            io_destroy(starter->setup.io);
        }
        if (broker->sockets[i] >= 0) {
            close(broker->sockets[i]);
        }
    }
    federation_destroy(&broker->federation);
    for (uint32_t i = 0; broker->runners && i < broker->thread_count; i++) {
        runner_free(&broker->runners[i]);
    }
    admin_destroy(broker->admin);
    mesh_destroy(&broker->mesh);
    if (broker->verifier) {
        token_verifier_destroy(broker->verifier);
    }
    free(broker->starters);
    free(broker->runners);
    free(broker->sockets);
    free(broker->stats);
    config_free(broker->config);
    free(broker);
}

static uint64_t slots_of(const struct broker *broker)
{
    uint64_t slots = 0;
    for (uint32_t i = 0; i < broker->shard_count; i++) {
        slots += broker->starters[i].setup.io->slots_max;
    }
    return slots;
}

static bool admin_prepare(struct broker *broker, const struct build_identity *build)
{
    const struct admin_setup setup = {
        .config = broker->config,
        .build = build,
        .mesh = &broker->mesh,
        .shard_count = broker->shard_count,
    };
    const char *problem;
    broker->admin = admin_create(&setup, &problem);
    if (!broker->admin) {
        logger_write(LOG_ERROR, "admin_failed", LOG_STR("problem", problem));
    }
    return broker->admin != NULL;
}

static bool federation_prepare(struct broker *broker, const struct build_identity *build)
{
    const struct federation_setup setup = {
        .config = broker->config,
        .mesh = &broker->mesh,
        .connections = &broker->connections,
        .address = broker->address,
        .version = build->version,
        .shard_count = broker->shard_count,
        .instance = broker->instance,
        .seed = random_seed(),
    };
    const char *problem;
    bool made = federation_create(&broker->federation, &setup, &problem);
    if (!made) {
        logger_write(LOG_ERROR, "federation_failed", LOG_STR("problem", problem));
    }
    return made;
}

static bool federation_serve(struct broker *broker)
{
    bool started = federation_start(&broker->federation);
    if (!started) {
        logger_write(LOG_ERROR, "federation_failed", LOG_STR("problem", "no memory for its thread"));
    }
    return started;
}

static bool admin_serve(struct broker *broker)
{
    for (uint32_t i = 0; i < broker->shard_count; i++) {
        broker->stats[i] = &broker->starters[i].shard->stats;
    }
    const struct admin_broker view = {
        .stats = broker->stats,
        .data_address = broker->address,
        .io_name = broker->starters[0].setup.io->room->name,
        .connections_max = slots_of(broker),
        .tokens = broker->verifier != NULL,
        .link = broker->federation.link,
    };
    if (!admin_start(broker->admin, &view)) {
        logger_write(LOG_ERROR, "admin_failed", LOG_STR("problem", "no memory for its thread"));
        return false;
    }
    admin_set_readiness(broker->admin, ADMIN_READY);
    return true;
}

/* The first handshake is made here, so that the first client does not wait while libcrypto is read in. */
static void warm_up(void)
{
    char accept[WS_ACCEPT_SIZE];
    ws_accept_write(SPAN_LITERAL("dGhlIHNhbXBsZSBub25jZQ=="), accept);
}

static struct capacity capacity(const struct broker *broker)
{
    const struct capacity_facts facts = {
        .slots = slots_of(broker),
        .descriptors = capacity_descriptors(),
        .shared = broker->backend == CONFIG_BACKEND_EPOLL,
        .limit_connections = broker->config->limits.connections,
        .memory_bytes = capacity_memory_bytes(),
    };
    return capacity_of(&facts);
}

static void log_ready(const struct broker *broker)
{
    struct capacity can = capacity(broker);
    char servers[CONFIG_LIST_MAX];
    logger_write(LOG_INFO, "ready", LOG_STR("data", broker->address), LOG_STR("admin", admin_address(broker->admin)),
                 LOG_U64("shards", broker->shard_count), LOG_U64("threads", broker->thread_count),
                 LOG_STR("io", broker->starters[0].setup.io->room->name), LOG_U64("connections_max", can.connections),
                 LOG_STR("connections_bound", can.bound), LOG_STR("connections_more", can.change),
                 LOG_BOOL("tokens", broker->verifier != NULL),
                 LOG_STR("redis", federation_servers(&broker->federation, servers, sizeof servers)));
}

struct broker *broker_start(struct config *config, const struct config_sources *sources,
                            const struct build_identity *build)
{
    struct broker *broker = calloc(1, sizeof *broker);
    CHECK_MSG(broker, "no memory");
    broker->config = config;
    broker->sources = sources;
    broker->shard_count = config_shards(config);
    broker->thread_count = config_threads(config);
    broker->seed = random_seed();
    broker->instance = random_seed();
    choose_backend(broker);
    if (!prepare(broker) || !bind_sockets(broker) || !admin_prepare(broker, build) ||
        !federation_prepare(broker, build)) {
        broker_free(broker);
        return NULL;
    }
    start_threads(broker);
    if (!threads_started(broker) || !federation_serve(broker) || !admin_serve(broker)) {
        federation_stop(&broker->federation);
        stop_threads(broker);
        broker_free(broker);
        return NULL;
    }
    warm_up();
    log_ready(broker);
    return broker;
}

/* --- serving --- */

static void signals_of_control(sigset_t *signals)
{
    sigemptyset(signals);
    sigaddset(signals, SIGTERM);
    sigaddset(signals, SIGINT);
    sigaddset(signals, SIGHUP);
    sigaddset(signals, SIGUSR1);
}

void broker_block_signals(void)
{
    sigset_t signals;
    signals_of_control(&signals);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
}

#define NUMBER_STAT(name, help) NUMBER_OF_##name,
enum { STATS_COUNTERS(NUMBER_STAT) STATS_GAUGES(NUMBER_STAT) STATS_COUNT };

/* All figures, summed over the shards, but for the longest turn, which is the worst of theirs. */
static void sum_stats(const struct broker *broker, struct log_field fields[STATS_COUNT])
{
    size_t count = 0;
    uint64_t sum;
#define ADD_FIELD(name, help)                                                                                          \
    sum = 0;                                                                                                           \
    for (uint32_t i = 0; i < broker->shard_count; i++) {                                                               \
        uint64_t figure = STATS_READ(&broker->starters[i].shard->stats, name);                                         \
        sum = strcmp(#name, "turn_us_worst") != 0 ? sum + figure : figure > sum ? figure : sum;                        \
    }                                                                                                                  \
    fields[count++] = LOG_U64(#name, sum);
    STATS_GAUGES(ADD_FIELD)
    STATS_COUNTERS(ADD_FIELD)
}

static void log_stats(const struct log_field sums[STATS_COUNT], const char *event)
{
    struct log_field fields[STATS_COUNT + 2];
    fields[0] = LOG_U64("chunks", chunk_count_in_use());
    fields[1] = LOG_U64("chunk_bytes", chunk_bytes_in_use());
    memcpy(fields + 2, sums, STATS_COUNT * sizeof *sums);
    logger_emit(LOG_INFO, event, fields, STATS_COUNT + 2);
}

/* The former configuration may go when no shard reads it any more. */
static void reload_settle(struct broker *broker)
{
    for (uint32_t i = 0; i < broker->shard_count; i++) {
        struct shard *shard = broker->starters[i].shard;
        uint32_t before = atomic_load_explicit(&shard->reloads, memory_order_acquire);
        atomic_store_explicit(&shard->config_next, broker->config, memory_order_release);
        shard_order(shard, SHARD_ORDER_RELOAD);
        while (atomic_load_explicit(&shard->reloads, memory_order_acquire) == before) {
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        }
    }
}

static void reload_keys(struct broker *broker)
{
    if (!broker->verifier) {
        return;
    }
    const struct token_settings settings = token_settings_of(broker->config);
    char error[TOKEN_ERROR_MAX];
    if (!token_verifier_reload(broker->verifier, &settings, error)) {
        logger_write(LOG_ERROR, "key_failed", LOG_STR("problem", error), LOG_STR("instead", "the former keys stay"));
    }
}

static void reload(struct broker *broker)
{
    logger_reopen();
    struct config_report *report = malloc(sizeof *report);
    CHECK_MSG(report, "no memory");
    struct config *config = config_reload(broker->config, broker->sources, report);
    if (!config) {
        logger_write(LOG_ERROR, "reload_failed", LOG_STR("problem", report->text),
                     LOG_STR("instead", "the former configuration stays"));
        free(report);
        return;
    }
    struct config *before = broker->config;
    broker->config = config;
    logger_level_set(config->log.level);
    reload_settle(broker);
    config_free(before);
    reload_keys(broker);
    logger_write(report->warnings ? LOG_WARNING : LOG_INFO, "reloaded", LOG_STR("warnings", report->text));
    free(report);
}

void broker_wait(struct broker *broker)
{
    sigset_t signals;
    signals_of_control(&signals);
    for (;;) {
        const struct timespec second = {.tv_sec = 1};
        int taken = sigtimedwait(&signals, NULL, &second);
        logger_tick();
        if (taken == SIGTERM || taken == SIGINT) {
            return;
        }
        if (taken == SIGHUP) {
            reload(broker);
        } else if (taken == SIGUSR1) {
            struct log_field sums[STATS_COUNT];
            sum_stats(broker, sums);
            log_stats(sums, "stats");
        }
    }
}

/* --- stopping --- */

static bool all_drained(const struct broker *broker)
{
    for (uint32_t i = 0; i < broker->shard_count; i++) {
        if (!atomic_load_explicit(&broker->starters[i].shard->drained, memory_order_relaxed)) {
            return false;
        }
    }
    return true;
}

/* How long the last ones may take after the time for draining is over. */
#define STOP_GRACE_MS 8000

bool broker_stop(struct broker *broker)
{
    logger_write(LOG_INFO, "draining", LOG_U64("connections", atomic_load(&broker->connections)),
                 LOG_U64("seconds", broker->config->broker.drain_s));
    admin_set_readiness(broker->admin, ADMIN_DRAINING);
    for (uint32_t i = 0; i < broker->shard_count; i++) {
        shard_order(broker->starters[i].shard, SHARD_ORDER_DRAIN);
    }
    int64_t end_ms = clock_of_host.monotonic_us(&clock_of_host) / 1000 + STOP_GRACE_MS +
                     (int64_t)broker->config->broker.drain_s * 1000;
    while (!all_drained(broker) && clock_of_host.monotonic_us(&clock_of_host) / 1000 < end_ms) {
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
    bool drained = all_drained(broker);
    admin_stop(broker->admin);
    federation_stop(&broker->federation);
    stop_threads(broker);
    struct log_field sums[STATS_COUNT];
    sum_stats(broker, sums);
    broker_free(broker);
    log_stats(sums, "stopped"); /* chunks: none may be left now */
    return drained;
}
