/*
 * crowd: what ten million connections cost the broker's own code, without a kernel's sockets.
 *
 * Workload: the real shards (broker/shard.h), turned one after another on one thread, over rooms that swallow what is
 * sent (io_null.h) and a clock that only this program moves. N connections upgrade to WebSockets by a topic's URL, so
 * many a topic; one more publishes. Sizes go from 10,000 to --connections in steps of ten, each in a process of its
 * own, so that one does not find the memory of another. At each size: connect   all of them: accept, HTTP, upgrade,
 * subscribe publish   to one topic that ten connections follow, and to that of the first of the others sweep     one
 * heartbeat interval of silence, after a first one: pings sent, pongs received leave     all of them break off
 *
 * Measured: CPU time of this thread, resident bytes of this process (this program's own are some kilobytes), and what
 * the broker's tables hold.
 *
 * Not measured: everything that the kernel does: reading and sending alone are several times all of this. Nor what
 * several cores do to each other.
 *
 * A size is a JSON object on a line of standard output.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "broker/shard.h"
#include "io_null.h"
#include "process.h"

#define STEPS_FROM    10000u
#define SHARDS        10u
#define FEW           10u
#define BATCH         512
#define TURN_US       1000  /* that the clock moves in a round of turns */
#define SWEEP_TURN_US 10000 /* the same in silence: the sweep's own step */
#define ROUNDS_MAX    100000000u
#define FEW_PUBLISHES 1000u
#define START_US      1000000
#define INTERVAL_S    30 /* heartbeat.interval_s */
#define FIRST_PINGS_S 40 /* from the last arrival until all were pinged once */

static struct {
    uint32_t connections;
    uint32_t per_topic;
    uint32_t shards;
} options = {.connections = 100000, .per_topic = 1000, .shards = SHARDS};

static struct world {
    struct clock clock;
    int64_t now_us;
    struct mesh mesh;
    struct config *config;
    _Atomic uint32_t connections;
    struct io *rooms[SHARDS_MAX];
    struct shard *shards[SHARDS_MAX];
} world;

/* --- memory --- */

/* jemalloc's, where it is linked. */
int mallctl(const char *name, void *old, size_t *old_size, void *new, size_t new_size) __attribute__((weak));

/*
 * The allocator gives unused pages back after seconds of the host's time, and here an hour passes in one of them: so it
 * is told that the time has come.
 */
static uint64_t resident_bytes(void)
{
    if (mallctl) {
        mallctl("arena.4096.purge", NULL, NULL, NULL, 0); /* of all arenas */
    }
    return process_resident_bytes(getpid());
}

/* --- time --- */

static int64_t world_us(const struct clock *clock)
{
    (void)clock;
    return world.now_us;
}

static int64_t world_ms(const struct clock *clock)
{
    (void)clock;
    return 1700000000000 + world.now_us / 1000;
}

static double cpu_s(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* --- requests --- */

/* The last connection publishes; the ten before it follow a topic of their own. */
static size_t request(void *context, uint32_t number, char out[NULL_BUFFER_BYTES])
{
    uint32_t connections = *(const uint32_t *)context;
    char path[64];
    if (number >= connections) {
        snprintf(path, sizeof path, "/v1/ws");
    } else if (number + FEW >= connections) {
        snprintf(path, sizeof path, "/v1/topics/few");
    } else {
        snprintf(path, sizeof path, "/v1/topics/crowd/%u", number / options.per_topic);
    }
    int size = snprintf(out, NULL_BUFFER_BYTES,
                        "GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
                        path);
    return (size_t)size;
}

/* --- the world --- */

static void make_shard(uint32_t number, uint32_t *connections)
{
    uint32_t share = (*connections + options.shards) / options.shards; /* the publisher is one more */
    const struct null_options null = {
        .slots_max = share, .batch = BATCH, .request = request, .context = connections, .number_first = number * share};
    world.rooms[number] = null_create(&null);
    const struct shard_setup setup = {
        .shard = number,
        .shard_count = options.shards,
        .io = world.rooms[number],
        .mesh = &world.mesh,
        .clock = &world.clock,
        .config = world.config,
        .connections = &world.connections,
        .seed = number + 1,
        .instance = 1,
    };
    world.shards[number] = shard_create(&setup);
    CHECK_MSG(world.shards[number], "no memory for shard %u", number);
}

static void make_world(uint32_t *connections)
{
    static struct config_report report;
    const char *sets[] = {"compression.enabled=false"};
    const struct config_sources sources = {.sets = sets, .set_count = 1};
    world.clock = (struct clock){.monotonic_us = world_us, .wall_ms = world_ms};
    world.now_us = START_US;
    world.config = config_load(&sources, &report);
    CHECK_MSG(world.config, "%s", report.text);
    CHECK_MSG(mesh_init(&world.mesh, options.shards, world.config->broker.mesh_slots), "no memory for the mesh");
    for (uint32_t i = 0; i < options.shards; i++) {
        make_shard(i, connections);
    }
}

static void round_of_turns(int64_t step_us)
{
    world.now_us += step_us;
    for (uint32_t i = 0; i < options.shards; i++) {
        shard_turn(world.shards[i], 0);
    }
}

/* Whether nothing is under way. */
static bool is_quiet(void)
{
    for (uint32_t i = 0; i < options.shards; i++) {
        const struct shard *shard = world.shards[i];
        if (!null_is_quiet(world.rooms[i]) || shard->conns.tickets || shard->conns.ready_first ||
            shard->feeds.dirty.first || shard->feeds.unsent.first) {
            return false;
        }
    }
    return true;
}

/* Turns until nothing has been under way for a few rounds: what crosses the mesh takes one. */
static void turn_until_quiet(void)
{
    uint32_t quiet = 0;
    for (uint32_t i = 0; i < ROUNDS_MAX && quiet < 4; i++) {
        round_of_turns(TURN_US);
        quiet = is_quiet() ? quiet + 1 : 0;
    }
    CHECK_MSG(quiet == 4, "the shards do not come to rest");
}

static uint64_t sends(void)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < options.shards; i++) {
        sum += null_sends(world.rooms[i]);
    }
    return sum;
}

/* --- the parts --- */

#define SUM(field)                                                                                                     \
    ({                                                                                                                 \
        uint64_t sum_ = 0;                                                                                             \
        for (uint32_t i_ = 0; i_ < options.shards; i_++) {                                                             \
            sum_ += world.shards[i_]->field;                                                                           \
        }                                                                                                              \
        sum_;                                                                                                          \
    })

static void measure_connect(uint32_t connections, uint64_t resident)
{
    double cpu = cpu_s();
    uint32_t share = world.rooms[0]->slots_max;
    uint32_t left = connections + 1;
    for (uint32_t i = 0; i < options.shards; i++) {
        uint32_t count = left < share ? left : share;
        null_arrive(world.rooms[i], count);
        left -= count;
    }
    turn_until_quiet();
    cpu = cpu_s() - cpu;
    CHECK(SUM(feeds.subscriptions.used) == connections);
    double each = connections;
    uint64_t bytes = resident_bytes() - resident;
    printf("\"connect_ns_each\":%.0f,\"resident_bytes\":%lu,\"resident_bytes_each\":%.1f,", cpu * 1e9 / each, bytes,
           (double)bytes / each);
    printf("\"bytes_each\":{\"connections\":%.1f,\"sessions\":%.1f,\"subscriptions\":%.1f,\"feeds\":%.1f,"
           "\"topics\":%.1f,\"followers\":%.1f}",
           (double)SUM(conns.table.mapped_bytes) / each, (double)SUM(conns.sessions.mapped_bytes) / each,
           (double)SUM(feeds.subscriptions.mapped_bytes) / each, (double)SUM(feeds.feeds.mapped_bytes) / each,
           (double)SUM(owner.topics.mapped_bytes) / each, (double)SUM(owner.followers.mapped_bytes) / each);
}

/* CPU of one publish to that topic, in s, its deliveries included. */
static double publish_s(uint32_t connections, const char *topic, uint32_t deliveries)
{
    char frame[256];
    uint32_t share = world.rooms[0]->slots_max;
    int size = snprintf(frame + 6, sizeof frame - 6, "{\"op\":\"publish\",\"topic\":\"%s\",\"data\":1}", topic);
    memset(frame, 0, 6);
    frame[0] = (char)0x81;
    frame[1] = (char)(0x80 | size);
    uint64_t before = SUM(stats.deliveries);
    double cpu = cpu_s();
    null_feed(world.rooms[connections / share], connections % share, frame, (size_t)size + 6);
    while (SUM(stats.deliveries) < before + deliveries) {
        round_of_turns(0); /* time stands still: the sweep is measured by itself */
    }
    cpu = cpu_s() - cpu;
    turn_until_quiet();
    return cpu;
}

static void measure_publish(uint32_t connections)
{
    uint32_t others = connections - FEW;
    uint32_t followers = options.per_topic < others ? options.per_topic : others;
    double few = 0;
    for (uint32_t i = 0; i < FEW_PUBLISHES; i++) {
        few += publish_s(connections, "few", FEW);
    }
    double many = publish_s(connections, "crowd/0", followers);
    printf(",\"publish_few_us\":%.2f,\"publish_many_ns_a_delivery\":%.0f,\"followers\":%u", few / FEW_PUBLISHES * 1e6,
           many * 1e9 / followers, followers);
}

static void silence(uint32_t seconds)
{
    for (int64_t end_us = world.now_us + (int64_t)seconds * 1000000; world.now_us < end_us;) {
        round_of_turns(SWEEP_TURN_US);
    }
}

static void measure_sweep(uint32_t connections)
{
    silence(FIRST_PINGS_S);
    uint64_t pings = sends();
    double cpu = cpu_s();
    silence(INTERVAL_S);
    cpu = cpu_s() - cpu;
    pings = sends() - pings;
    CHECK_MSG(world.connections == connections + 1, "somebody was cut off");
    printf(",\"sweep_ns_each_s\":%.1f,\"pings\":%lu", cpu * 1e9 / INTERVAL_S / connections, pings);
}

static void measure_leave(uint32_t connections, uint64_t resident)
{
    double cpu = cpu_s();
    for (uint32_t i = 0; i < options.shards; i++) {
        null_leave(world.rooms[i]);
    }
    turn_until_quiet();
    cpu = cpu_s() - cpu;
    CHECK(world.connections == 0 && SUM(feeds.subscriptions.used) == 0);
    silence(FIRST_PINGS_S);
    int64_t left = (int64_t)(resident_bytes() - resident);
    printf(",\"leave_ns_each\":%.0f,\"resident_bytes_after\":%" PRId64, cpu * 1e9 / connections, left);
}

/* --- sizes --- */

static void measure(uint32_t connections)
{
    make_world(&connections);
    turn_until_quiet();
    uint64_t resident = resident_bytes();
    printf("{\"connections\":%u,\"shards\":%u,\"per_topic\":%u,", connections, options.shards, options.per_topic);
    measure_connect(connections, resident);
    measure_publish(connections);
    measure_sweep(connections);
    measure_leave(connections, resident);
    printf("}\n");
    fflush(stdout);
}

static void measure_apart(uint32_t connections)
{
    int status = 1;
    pid_t child = fork();
    if (child == 0) {
        measure(connections);
        _exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
        die("%u connections could not be measured", connections);
    }
}

static void parse(int argc, char **argv)
{
    for (int i = 1; i < argc; i += 2) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(name, "--connections") == 0) {
            options.connections = (uint32_t)number_read(name, value, 200000000);
        } else if (strcmp(name, "--per-topic") == 0) {
            options.per_topic = (uint32_t)number_read(name, value, UINT32_MAX);
        } else if (strcmp(name, "--shards") == 0) {
            options.shards = (uint32_t)number_read(name, value, SHARDS_MAX);
        } else {
            die("unknown option %s (see the head of crowd.c)", name);
        }
    }
    if (options.connections <= 2 * FEW || options.per_topic == 0 || options.shards == 0) {
        die("--connections must be more than %u, --per-topic and --shards at least 1", 2 * FEW);
    }
}

int main(int argc, char **argv)
{
    parse(argc, argv);
    for (uint64_t connections = STEPS_FROM; connections < options.connections; connections *= 10) {
        measure_apart((uint32_t)connections);
    }
    measure_apart(options.connections);
    return 0;
}
