/*
 * load: what a delivered message costs a server and how long it takes, at any server that a protocol is known of.
 *
 * Workload: groups of subscribers and what is published to them (workload.h), given by --group, once or several times.
 * Every delivery is checked: it must be the next of its topic, for each subscriber that follows it. A message that is
 * lost, doubled, out of order or not anybody's ends the run with status 1; so does a server that stands still.
 *
 * Measured, from the first publish to the last delivery (with --warm-up N: from when N messages have been delivered):
 *   cpu_ns_each        CPU time of the server's process, all threads, user and system, by its deliveries
 *   bytes_each         bytes that subscribers' sockets received, by deliveries: on the wire, but for TCP's headers
 *   segments_each      TCP segments in which subscribers received them, by deliveries, the warm-up's too: on loopback a
 *                      send of few bytes is one, so this is sends a delivery, of any server
 *   deliveries_per_s, messages_per_s
 *   p50_us … max_us    delays: open loop, from when a message was *due*, so that a server that stalls is charged for
 *                      every message that fell due meanwhile; closed loop, from just before it was sent. To when a
 *                      subscriber's read returned
 * and before: connect_cpu_us_each (accept, upgrade, subscribe), resident_bytes_each (subscribers idle).
 *
 * How far the generator itself was at fault: late_max_us is the longest by which a message went out after it was due,
 * pause_max_us the longest that a worker did not look at its sockets. Delays that are not well above them say nothing.
 *
 * Not measured: networks; subscribers' CPU, which is spent in the same machine, but not in the server's process. A send
 * on loopback delivers into the receiver's socket within the sender's system call: no server gets below that, which is
 * why bench/peers/floor.c does that and nothing else.
 *
 * The result is one JSON object on standard output.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "board.h"
#include "process.h"
#include "protocol.h"
#include "publisher.h"
#include "worker.h"

#define OWN_DESCRIPTORS 200u
#define TURN_NS         100000000 /* at most, when nothing happens */
#define TURN_SHARED_NS  200000    /* the same while other workers' counts may move */
#define LOOK_NS         100000000 /* how often it is looked whether anybody died or nothing moves */
#define STALLED_NS      UINT64_C(60000000000)

static struct {
    int pid;
    uint32_t settle_ms; /* before and after subscribers come */
    struct worker_options worker;
    struct publisher_options publisher;
} options = {
    .settle_ms = 1000,
    .worker = {.path = "/v1/topics/{topic}", .warm_up = 0},
    .publisher = {.way = "websocket", .path = "/v1/topics/{topic}?mode=pub"},
};

static struct workload workload;
static struct board *board;
static struct worker leader;
static uint64_t start_ns; /* of the open loops */
static uint64_t late_max_ns;
static uint64_t overdue_at_ns; /* when the next message of an open loop is due; UINT64_MAX: none */

/* What has been when measuring began, or until it ended. */
struct reading {
    uint64_t ns;
    uint64_t cpu_ns;
    uint64_t deliveries;
    uint64_t bytes;
    uint64_t published; /* of the first group */
};

/* --- all workers together --- */

static uint64_t complete(uint32_t group)
{
    uint64_t least = UINT64_MAX;
    for (uint32_t i = 0; i < options.worker.workers; i++) {
        uint64_t count = atomic_load_explicit(&board->workers[i].complete[group], memory_order_acquire);
        least = count < least ? count : least;
    }
    return least;
}

static bool is_all_complete(void)
{
    for (uint32_t i = 0; i < workload.group_count; i++) {
        if (complete(i) < workload.groups[i].messages) {
            return false;
        }
    }
    return true;
}

#define SUM(field)                                                                                                     \
    ({                                                                                                                 \
        uint64_t sum_ = 0;                                                                                             \
        for (uint32_t i_ = 0; i_ < options.worker.workers; i_++) {                                                     \
            sum_ += atomic_load_explicit(&board->workers[i_].field, memory_order_relaxed);                             \
        }                                                                                                              \
        sum_;                                                                                                          \
    })

static struct reading read_all(void)
{
    return (struct reading){
        .ns = now_ns(),
        .cpu_ns = process_cpu_ns(options.pid),
        .deliveries = SUM(deliveries),
        .bytes = SUM(bytes),
        .published = board_read(&board->published[0]),
    };
}

static uint64_t pause_max_ns(void)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < options.worker.workers; i++) {
        uint64_t pause = board_read(&board->workers[i].pause_ns);
        most = pause > most ? pause : most;
    }
    return most;
}

/* Dies if a worker has died, or if nothing was delivered for long. */
static void expect_progress(void)
{
    static uint64_t looked_ns, moved_ns, count;
    uint64_t ns = now_ns(), now = SUM(deliveries) + SUM(connected);
    int status;
    if (ns - looked_ns < LOOK_NS) {
        return;
    }
    looked_ns = ns;
    if (waitpid(-1, &status, WNOHANG) > 0) {
        die("a worker has ended: what it said is above");
    }
    if (now != count || moved_ns == 0) {
        count = now;
        moved_ns = ns;
    }
    if (ns - moved_ns > STALLED_NS) {
        die("nothing came for a minute: %s has %lu of %lu messages at all subscribers", workload.groups[0].name,
            complete(0), workload.groups[0].messages);
    }
}

/* --- publishing --- */

static void publish(uint32_t group, uint64_t due_ns)
{
    uint64_t number = board_read(&board->published[group]);
    atomic_store_explicit(&board->due_ns[group][number % INFLIGHT_MAX], due_ns, memory_order_relaxed);
    atomic_store_explicit(&board->published[group], number + 1, memory_order_release);
    publisher_publish(group, number);
}

static void publish_closed(uint32_t index)
{
    const struct group *group = &workload.groups[index];
    uint64_t most = complete(index) + group->inflight;
    most = most < group->messages ? most : group->messages;
    while (board_read(&board->published[index]) < most) {
        publish(index, now_ns());
    }
}

static void publish_due(uint32_t index)
{
    const struct group *group = &workload.groups[index];
    for (;;) {
        uint64_t number = board_read(&board->published[index]), now = now_ns();
        uint64_t due_ns = start_ns + workload_due_ns(group, number);
        if (number == group->messages) {
            return;
        }
        if (due_ns > now) {
            overdue_at_ns = due_ns < overdue_at_ns ? due_ns : overdue_at_ns;
            return;
        }
        if (number - complete(index) >= INFLIGHT_MAX) {
            die("the server can't keep up with %s: it is %u messages behind", group->name, INFLIGHT_MAX);
        }
        late_max_ns = now - due_ns > late_max_ns ? now - due_ns : late_max_ns;
        publish(index, due_ns);
    }
}

/* Between any two reads: what the clock says. */
static void between(void)
{
    if (start_ns == 0 || now_ns() < overdue_at_ns) {
        return;
    }
    overdue_at_ns = UINT64_MAX;
    for (uint32_t i = 0; i < workload.group_count; i++) {
        if (workload.groups[i].rate > 0) {
            publish_due(i);
        }
    }
}

static uint64_t wait_ns(void)
{
    uint64_t most = options.worker.workers > 1 ? TURN_SHARED_NS : TURN_NS, now = now_ns();
    if (overdue_at_ns <= now) {
        return 0;
    }
    return overdue_at_ns - now < most ? overdue_at_ns - now : most;
}

/* Publishes all, until all subscribers have had all. Gives the reading after the warm-up in *first. */
static void run(struct reading *first)
{
    bool is_warm = options.worker.warm_up == 0;
    atomic_store_explicit(&board->phase, PHASE_RUN, memory_order_release);
    *first = read_all();
    start_ns = first->ns;
    overdue_at_ns = start_ns;
    while (!is_all_complete()) {
        for (uint32_t i = 0; i < workload.group_count; i++) {
            if (workload.groups[i].inflight > 0) {
                publish_closed(i);
            }
        }
        between();
        worker_turn(&leader, wait_ns());
        if (!is_warm && complete(0) >= options.worker.warm_up) {
            is_warm = true;
            *first = read_all();
        }
        expect_progress();
    }
}

/* --- before it --- */

static uint32_t workers_needed(void)
{
    uint32_t own = OWN_DESCRIPTORS + publisher_descriptors(options.publisher.way, &workload);
    uint32_t each = process_descriptors(own);
    uint64_t workers = (workload_subscribers(&workload) + each - 1) / each;
    if (workers > WORKERS_MAX) {
        die("%lu subscribers are too many for %u processes", workload_subscribers(&workload), WORKERS_MAX);
    }
    return (uint32_t)workers;
}

static void start_workers(void)
{
    options.worker.workers = workers_needed();
    options.worker.workload = &workload;
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (board == MAP_FAILED) {
        die("no memory");
    }
    for (uint32_t i = 1; i < options.worker.workers; i++) {
        if (process_fork() == 0) {
            struct worker worker;
            worker_init(&worker, &options.worker, board, i);
            worker_work(&worker);
            _exit(0);
        }
    }
    worker_init(&leader, &options.worker, board, 0);
    leader.between = between;
    leader.foreign = publisher_event;
}

static void settle(void)
{
    uint64_t until = now_ns() + (uint64_t)options.settle_ms * 1000000;
    while (now_ns() < until) {
        worker_turn(&leader, 1000000);
    }
}

/* Connects all; prints what they cost. */
static void connect_all(void)
{
    uint64_t all = workload_subscribers(&workload);
    settle();
    uint64_t resident = process_resident_bytes(options.pid), cpu_ns = process_cpu_ns(options.pid), ns = now_ns();
    atomic_store_explicit(&board->phase, PHASE_CONNECT, memory_order_release);
    worker_connect(&leader);
    while (SUM(connected) < all) {
        worker_turn(&leader, TURN_SHARED_NS);
        expect_progress();
    }
    cpu_ns = process_cpu_ns(options.pid) - cpu_ns;
    ns = now_ns() - ns;
    settle();
    int64_t grown = (int64_t)(process_resident_bytes(options.pid) - resident);
    printf("{\"subscribers\":%lu,\"connect_per_s\":%.0f,\"connect_cpu_us_each\":%.2f,\"resident_bytes_each\":%.0f,",
           all, (double)all * 1e9 / (double)ns, (double)cpu_ns / 1000 / (double)all, (double)grown / (double)all);
}

/* --- after it --- */

static void print_delays(void)
{
    static struct delays sum;
    char prefix[GROUP_NAME + 1];
    for (uint32_t group = 0; group < workload.group_count; group++) {
        sum = (struct delays){0};
        for (uint32_t i = 0; i < options.worker.workers; i++) {
            delays_merge(&sum, &board->workers[i].delays[group]);
        }
        snprintf(prefix, sizeof prefix, "%s_", workload.groups[group].name);
        printf(",");
        delays_print(&sum, group == 0 ? "" : prefix);
    }
}

static void print_results(const struct reading *first, const struct reading *last)
{
    double seconds = (double)(last->ns - first->ns) / 1e9;
    double deliveries = (double)(last->deliveries - first->deliveries);
    double cpu_ns = (double)(last->cpu_ns - first->cpu_ns);
    printf("\"seconds\":%.3f,\"deliveries\":%.0f,\"deliveries_per_s\":%.0f,\"messages_per_s\":%.1f,", seconds,
           deliveries, deliveries / seconds, (double)(last->published - first->published) / seconds);
    printf("\"cpu_ns_each\":%.1f,\"cpu_share\":%.3f,\"bytes_each\":%.1f,", cpu_ns / deliveries, cpu_ns / seconds / 1e9,
           (double)(last->bytes - first->bytes) / deliveries);
    printf("\"segments_each\":%.3f,", (double)SUM(segments) / (double)SUM(deliveries));
    printf("\"slow_cut\":%lu,\"slow_skipped\":%lu,\"late_max_us\":%.1f,\"pause_max_us\":%.1f", SUM(cut), SUM(skipped),
           (double)late_max_ns / 1000, (double)pause_max_ns() / 1000);
    print_delays();
    printf("}\n");
}

/* All subscribers have had all: in how many segments, each worker counts for itself. */
static void count_segments(void)
{
    atomic_store_explicit(&board->phase, PHASE_COUNT, memory_order_release);
    worker_count(&leader);
    while (SUM(counted) < options.worker.workers) {
        worker_turn(&leader, TURN_SHARED_NS);
        expect_progress();
    }
}

/* Nobody had more than there was; nobody less, or this point would not have been reached. */
static void expect_all(void)
{
    uint64_t expected = 0, slow = 0;
    for (uint32_t i = 0; i < workload.group_count; i++) {
        expected += workload_deliveries(&workload.groups[i]);
        slow += workload.groups[i].slow;
    }
    uint64_t deliveries = SUM(deliveries);
    if (deliveries < expected || (slow == 0 && deliveries > expected)) {
        die("%lu deliveries, not %lu", deliveries, expected);
    }
}

/* --- command line --- */

static void parse(int argc, char **argv)
{
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *name = argv[i];
        char *value = argv[i + 1];
        if (strcmp(name, "--port") == 0) {
            options.worker.port = (uint16_t)number_read(name, value, UINT16_MAX);
        } else if (strcmp(name, "--pid") == 0) {
            options.pid = (int)number_read(name, value, INT32_MAX);
        } else if (strcmp(name, "--protocol") == 0) {
            options.worker.protocol = protocol_find(value);
        } else if (strcmp(name, "--publish") == 0) {
            options.publisher.way = value;
        } else if (strcmp(name, "--subscribe-path") == 0) {
            options.worker.path = value;
        } else if (strcmp(name, "--publish-path") == 0) {
            options.publisher.path = value;
        } else if (strcmp(name, "--group") == 0) {
            workload_add(&workload, value);
        } else if (strcmp(name, "--warm-up") == 0) {
            options.worker.warm_up = number_read(name, value, 1000000000);
        } else if (strcmp(name, "--settle-ms") == 0) {
            options.settle_ms = (uint32_t)number_read(name, value, 60000);
        } else {
            die("unknown option %s", name);
        }
    }
    if (argc % 2 == 0 || !options.pid || !options.worker.port || workload.group_count == 0) {
        die("usage: load --pid N --port N --group NAME=VALUE,… [--protocol P] [--publish WAY] [--subscribe-path P] "
            "[--publish-path P] [--warm-up MESSAGES] [--settle-ms N]: see the head of load.c, workload.h, protocol.h "
            "and publisher.h");
    }
    if (options.worker.warm_up >= workload.groups[0].messages) {
        die("a warm-up of all messages");
    }
}

int main(int argc, char **argv)
{
    options.worker.protocol = &protocol_raw;
    parse(argc, argv);
    options.publisher.port = options.worker.port;
    options.publisher.text = options.worker.protocol->text;
    start_workers();
    options.publisher.poll = leader.poll;
    publisher_open(&options.publisher, &workload);
    connect_all();
    struct reading first, last;
    run(&first);
    last = read_all();
    expect_all();
    count_segments();
    print_results(&first, &last);
    publisher_close();
    atomic_store_explicit(&board->phase, PHASE_DONE, memory_order_release);
    return 0;
}
