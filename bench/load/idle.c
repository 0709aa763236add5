/*
 * idle: what a great number of idle WebSocket subscribers costs a broker, and whether it still answers.
 *
 * Workload: a crew of client processes (crew.h) ramps up through steps (10,000, 100,000, … to --connections) of real
 * WebSocket subscribers on loopback, each with one subscription. At each step:
 *   1. connect: all that are missing, at once
 *   2. idle: --idle-s seconds without a message; the broker's heartbeats go on, and are answered
 *   3. publish to a few: --few-messages messages, one at a time, to ten of the subscribers
 *   4. publish to all: --all-messages messages, one at a time, each when every subscriber has had the one before
 * Then, with --churn N, N of them leave and N come each second for --churn-s seconds. With --talkers N as many others
 * connect, publish some times a second, and are silent for --silent-s seconds: how the kernel's slabs grow by one that
 * is idle, that talks, and that has fallen silent. At the end all leave at once.
 *
 * Measured, of the broker's process alone: resident bytes and CPU time. Of the host: kernel slabs by cache, both ends
 * of each connection together. Delays run from just before the publish is written to when a subscriber has read it.
 *
 * With --path another broker's subscribers are held in the same way, and nothing is published.
 *
 * Not measured: networks that lose or delay; the subscribers' CPU, which competes for the same cores: so delays and
 * rates are those of a host that is both ends.
 *
 * Results go to standard output, a JSON object a line; progress to standard error. Status 1: somebody was cut off.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "crew.h"
#include "process.h"
#include "websocket.h"

#define STEPS_FROM       10000u
#define OWN_DESCRIPTORS  200u /* of a process, beside its clients' */
#define PUBLISHER_SOURCE (CREW_MEMBERS_MAX * 2 * WEBSOCKET_PER_SOURCE_ADDRESS)
#define PAYLOAD_BYTES    64
#define SLAB_LEAST_BYTES 8.0 /* a connection: smaller growth is not shown */
#define STALLED_S        60.0
#define SETTLE_LOOK_NS   100000000
#define SETTLED_BYTES    (256u * 1024)
#define SETTLE_LOOKS_MAX 50
#define TALK_TIMES       10 /* over a second or two: who talks twice within one is received by multishot */
#define OPCODE_BINARY    2

static struct {
    uint16_t port;
    int pid;
    uint32_t connections;
    uint32_t topics;
    uint32_t few;
    uint32_t idle_s;
    uint32_t few_messages;
    uint32_t all_messages;
    uint32_t churn;
    uint32_t churn_s;
    uint32_t talkers;
    uint32_t silent_s; /* until the broker takes them for idle again: see conn/sweep */
    uint32_t settle_s; /* after all have left */
    const char *path;  /* another broker's: see crew.h. Nothing is published then */
    const char *hello;
} options = {
    .port = 7070,
    .connections = 10000,
    .topics = 1,
    .few = 10,
    .idle_s = 10,
    .few_messages = 100,
    .all_messages = 3,
    .churn_s = 60,
    .silent_s = 20,
    .settle_s = 12,
};

/* What was there before anybody came. */
static struct {
    uint64_t resident_bytes;
    uint64_t available_bytes;
    struct slabs slabs;
} before;

static struct crew crew;

/* --- progress --- */

static void progress(const char *what, uint64_t done, uint64_t all, double since_s)
{
    double s = now_s() - since_s;
    double rate = s > 0 ? (double)done / s : 0;
    fprintf(stderr, "\r  %-10s %10lu of %-10lu %9.0f/s  %5.0f s left ", what, done, all, rate,
            rate > 0 ? (double)(all - done) / rate : 0);
}

static void progress_end(void)
{
    fprintf(stderr, "\r%78s\r", "");
}

/* --- the parts of a step --- */

static void expect_nobody_lost(const char *during)
{
    struct crew_sum sum = crew_sum(&crew);
    if (sum.lost > 0) {
        die("%lu subscribers were cut off during: %s", sum.lost, during);
    }
}

/* Waits until `connections` are open; dies if nothing has moved for a long time. */
static void await_open(uint32_t connections, const char *what)
{
    uint64_t begun = crew_sum(&crew).open, last = begun;
    double since = now_s(), moved = since;
    struct crew_sum sum;
    while ((sum = crew_sum(&crew)).open != connections) {
        if (sum.open != last) {
            last = sum.open;
            moved = now_s();
        } else if (now_s() - moved > STALLED_S) {
            die("%s stands still: %lu of %u open, %lu failed", what, sum.open, connections, sum.failed);
        }
        progress(what, sum.open > begun ? sum.open - begun : begun - sum.open,
                 connections > begun ? connections - begun : begun - connections, since);
        nap(10000000);
    }
    progress_end();
}

/* The broker's resident bytes once they don't move any more. */
static uint64_t settled_resident_bytes(void)
{
    uint64_t bytes = process_resident_bytes(options.pid), last;
    int looks = 0;
    do {
        last = bytes;
        nap(5 * SETTLE_LOOK_NS);
        bytes = process_resident_bytes(options.pid);
    } while (llabs((long long)(bytes - last)) > SETTLED_BYTES && ++looks < SETTLE_LOOKS_MAX);
    return bytes;
}

/* By how much a connection's caches have grown since. */
static void print_slabs(const char *name, const struct slabs *since, uint32_t connections)
{
    static struct slabs slabs;
    const char *comma = "";
    printf("\"%s\":{", name);
    slabs_read(&slabs);
    for (uint32_t i = 0; i < slabs.count; i++) {
        double each = (double)slab_growth(since, &slabs.caches[i]) / connections;
        if (each >= SLAB_LEAST_BYTES) {
            printf("%s\"%s\":%.0f", comma, slabs.caches[i].name, each);
            comma = ",";
        }
    }
    printf("}");
}

static void step_connect(uint32_t connections)
{
    struct crew_sum sum = crew_sum(&crew);
    uint64_t cpu = process_cpu_ns(options.pid);
    double since = now_s();
    crew_set_target(&crew, connections);
    await_open(connections, "connect");
    double seconds = now_s() - since;
    cpu = process_cpu_ns(options.pid) - cpu;
    double opened = (double)(crew_sum(&crew).opened - sum.opened);
    uint64_t resident = settled_resident_bytes();
    printf("\"connect_per_s\":%.0f,\"connect_cpu_us_each\":%.2f,\"failed\":%lu,", opened / seconds,
           (double)cpu / 1000 / opened, crew_sum(&crew).failed - sum.failed);
    printf("\"resident_bytes\":%lu,\"resident_bytes_each\":%.1f,", resident,
           (double)(int64_t)(resident - before.resident_bytes) / connections);
    printf("\"host_bytes_each\":%.0f,",
           (double)(int64_t)(before.available_bytes - host_available_bytes()) / connections);
    print_slabs("slab_bytes_each", &before.slabs, connections);
}

static void step_idle(uint32_t connections)
{
    double since = now_s();
    uint64_t cpu = process_cpu_ns(options.pid);
    while (now_s() - since < options.idle_s) {
        progress("idle s", (uint64_t)(now_s() - since), options.idle_s, since);
        nap(SETTLE_LOOK_NS);
    }
    progress_end();
    cpu = process_cpu_ns(options.pid) - cpu;
    printf(",\"idle_cpu_us_each_s\":%.3f", (double)cpu / 1000 / (now_s() - since) / connections);
    expect_nobody_lost("idle");
}

static void publish(int publisher)
{
    char payload[PAYLOAD_BYTES] = {0}, frame[WEBSOCKET_PAYLOAD_MAX + 6];
    uint64_t us = now_us();
    memcpy(payload, &us, sizeof us);
    size_t size = websocket_frame(OPCODE_BINARY, payload, sizeof payload, frame);
    websocket_send(publisher, frame, size);
}

/* Waits until so many messages were received in all. */
static void await_received(uint64_t received, const char *what)
{
    uint64_t begun = crew_sum(&crew).received, now, last = begun;
    double since = now_s(), moved = since;
    while ((now = crew_sum(&crew).received) < received) {
        if (now != last) {
            last = now;
            moved = now_s();
        } else if (now_s() - moved > STALLED_S) {
            die("%s stands still: %lu messages are missing", what, received - now);
        }
        if (now_s() - since > 1) {
            progress(what, now - begun, received - begun, since);
        }
        nap(50000);
    }
}

/* Publishes one at a time, by a connection made for it; prints delays under the topic's last level. */
static void step_publish(const char *name, uint32_t subscribers, uint32_t messages)
{
    char path[64];
    if (messages == 0 || subscribers == 0) {
        return;
    }
    snprintf(path, sizeof path, "/v1/topics/bench/%s?mode=pub", name);
    int publisher = websocket_open(options.port, PUBLISHER_SOURCE, path);
    crew_delays_reset(&crew);
    uint64_t received = crew_sum(&crew).received, cpu = process_cpu_ns(options.pid);
    double since = now_s();
    for (uint32_t i = 0; i < messages; i++) {
        publish(publisher);
        await_received(received + (uint64_t)(i + 1) * subscribers, name);
    }
    close(publisher);
    progress_end();
    double seconds = now_s() - since;
    cpu = process_cpu_ns(options.pid) - cpu;
    printf(",\"%s\":{\"subscribers\":%u,\"messages\":%u,\"seconds_each\":%.6f,\"cpu_us_each\":%.1f,"
           "\"cpu_ns_a_delivery\":%.0f,\"p50_us\":%u,\"p99_us\":%u,\"max_us\":%u}",
           name, subscribers, messages, seconds / messages, (double)cpu / 1000 / messages,
           (double)cpu / messages / subscribers, crew_delay_us(&crew, 0.5), crew_delay_us(&crew, 0.99),
           crew_delay_us(&crew, 1.0));
    expect_nobody_lost(name);
}

static void step(uint32_t connections)
{
    printf("{\"connections\":%u,", connections);
    step_connect(connections);
    step_idle(connections);
    if (options.path) {
        printf("}\n");
        fflush(stdout);
        return;
    }
    uint32_t few = options.few < connections ? options.few : connections;
    step_publish("few", few, options.few_messages);
    if (options.topics <= 1) {
        step_publish("all", connections - few, options.all_messages);
    }
    printf("}\n");
    fflush(stdout);
}

/* --- churn and the end --- */

static void print_churn(double since, uint64_t opened)
{
    struct crew_sum sum = crew_sum(&crew);
    printf("{\"churn_per_s\":%.0f,\"asked_per_s\":%u,\"seconds\":%.0f,\"open\":%lu,\"resident_bytes\":%lu,"
           "\"failed\":%lu}\n",
           (double)(sum.opened - opened) / (now_s() - since), options.churn, now_s() - since, sum.open,
           process_resident_bytes(options.pid), sum.failed);
    fflush(stdout);
}

static void churn(void)
{
    double since = now_s(), shown = since;
    uint64_t opened = crew_sum(&crew).opened;
    crew_set_churn(&crew, options.churn);
    while (now_s() - since < options.churn_s) {
        nap(SETTLE_LOOK_NS);
        progress("churn", crew_sum(&crew).opened - opened, (uint64_t)options.churn * options.churn_s, since);
        if (now_s() - shown >= 10) {
            progress_end();
            print_churn(since, opened);
            shown = now_s();
        }
    }
    crew_set_churn(&crew, 0);
    progress_end();
    print_churn(since, opened);
    await_open(options.connections, "settle");
    expect_nobody_lost("churn");
}

/* --- who talks --- */

static void talk(const int *talkers)
{
    char frame[WEBSOCKET_PAYLOAD_MAX + 6];
    size_t size = websocket_frame(OPCODE_BINARY, "so", 2, frame);
    for (int time = 0; time < TALK_TIMES; time++) {
        for (uint32_t i = 0; i < options.talkers; i++) {
            websocket_send(talkers[i], frame, size);
        }
        nap(SETTLE_LOOK_NS);
    }
}

static void step_talkers(void)
{
    static struct slabs nobody;
    int *talkers = calloc(options.talkers, sizeof *talkers);
    if (!talkers) {
        die("no memory");
    }
    slabs_read(&nobody);
    for (uint32_t i = 0; i < options.talkers; i++) {
        talkers[i] = websocket_open(options.port, PUBLISHER_SOURCE + i, "/v1/topics/bench/talk?mode=pub");
    }
    nap(10 * SETTLE_LOOK_NS);
    printf("{\"talkers\":%u,", options.talkers);
    print_slabs("idle", &nobody, options.talkers);
    talk(talkers);
    printf(",");
    print_slabs("talking", &nobody, options.talkers);
    nap((int64_t)options.silent_s * 1000000000);
    printf(",");
    print_slabs("silent", &nobody, options.talkers);
    printf("}\n");
    fflush(stdout);
    for (uint32_t i = 0; i < options.talkers; i++) {
        close(talkers[i]);
    }
    free(talkers);
}

static void leave(void)
{
    uint64_t resident = process_resident_bytes(options.pid), cpu = process_cpu_ns(options.pid);
    double since = now_s();
    crew_set_target(&crew, 0);
    await_open(0, "leave");
    double seconds = now_s() - since;
    nap((int64_t)options.settle_s * 1000000000);
    uint64_t after = process_resident_bytes(options.pid);
    printf("{\"left\":%u,\"seconds\":%.2f,\"leave_cpu_us_each\":%.2f,\"resident_bytes_before\":%lu,"
           "\"resident_bytes_with_all\":%lu,\"resident_bytes_after\":%lu}\n",
           options.connections, seconds, (double)(process_cpu_ns(options.pid) - cpu) / 1000 / options.connections,
           before.resident_bytes, resident, after);
}

/* --- command line --- */

static void parse(int argc, char **argv)
{
    const struct {
        const char *name;
        uint32_t *value;
    } numbers[] = {
        {"--connections", &options.connections},
        {"--topics", &options.topics},
        {"--few", &options.few},
        {"--idle-s", &options.idle_s},
        {"--few-messages", &options.few_messages},
        {"--all-messages", &options.all_messages},
        {"--churn", &options.churn},
        {"--churn-s", &options.churn_s},
        {"--talkers", &options.talkers},
        {"--silent-s", &options.silent_s},
        {"--settle-s", &options.settle_s},
    };
    for (int i = 1; i < argc; i += 2) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        uint32_t at = 0;
        while (at < sizeof numbers / sizeof *numbers && strcmp(numbers[at].name, name) != 0) {
            at++;
        }
        if (at < sizeof numbers / sizeof *numbers) {
            *numbers[at].value = (uint32_t)number_read(name, value, 100000000);
        } else if (strcmp(name, "--port") == 0) {
            options.port = (uint16_t)number_read(name, value, UINT16_MAX);
        } else if (strcmp(name, "--path") == 0) {
            options.path = value;
        } else if (strcmp(name, "--hello") == 0) {
            options.hello = value;
        } else if (strcmp(name, "--pid") == 0) {
            options.pid = (int)number_read(name, value, INT32_MAX);
        } else {
            die("unknown option %s (see the head of idle.c)", name);
        }
    }
    if (options.pid == 0 || options.connections == 0) {
        die("--pid of the broker and a number of --connections are needed");
    }
}

/* How many clients a process can hold: all descriptors it may have, and the ports of its two addresses. */
static uint32_t per_member(void)
{
    uint32_t clients = process_descriptors(OWN_DESCRIPTORS), ports = 2 * WEBSOCKET_PER_SOURCE_ADDRESS - 1000;
    return clients < ports ? clients : ports;
}

/* The crew is there before anything is measured; its processes are not the broker's. */
static void prepare(void)
{
    const struct crew_options crew_options = {
        .port = options.port,
        .connections = options.connections,
        .per_member = per_member(),
        .topics = options.topics,
        .few = options.few < options.connections ? options.few : options.connections,
        .path = options.path,
        .hello = options.hello,
    };
    crew_start(&crew, &crew_options);
    before.resident_bytes = settled_resident_bytes();
    before.available_bytes = host_available_bytes();
    if (!slabs_read(&before.slabs)) {
        fprintf(stderr, "idle: the kernel's slabs are not shown: only root may read /proc/slabinfo\n");
    }
}

int main(int argc, char **argv)
{
    parse(argc, argv);
    prepare();
    for (uint64_t connections = STEPS_FROM; connections < options.connections; connections *= 10) {
        step((uint32_t)connections);
    }
    step(options.connections);
    if (options.churn > 0) {
        churn();
    }
    if (options.talkers > 0) {
        step_talkers();
    }
    leave();
    crew_stop(&crew);
    return 0;
}
