/* doctor: the checks, and the command. See doctor.h. */
#include "cli/doctor.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/table.h"

/* What a subscriber takes: 3.67 KB of socket, 256 bytes of armed poll, at most 100 bytes of the broker's own. */
#define CONNECTION_BYTES 4114u
#define BROKER_BYTES     (256u << 20) /* the broker without anybody, and the host's own needs */

#define SHARDS_MOST       254u
#define RING_MOST         1048576u /* descriptors of a ring, whatever the limit */
#define UNEVEN_PERCENT    115      /* the kernel spreads connections by chance: rings need some room more */
#define FILES_SPARE       65536u
#define DESCRIPTORS_SPARE 1000u

/*
 * The kernel counts memory for bytes under way in whole pages a socket: a ping that is not acknowledged yet, or not
 * read, is one. When all are told something at once, or a host is behind with reading, each has one.
 */
#define PAGES_A_CONNECTION 1u
/* Connections that the broker closes in a storm before the peers do: one in so many is in TIME_WAIT, or has no owner.
 */
#define CLOSED_ONE_IN    4u
#define TIME_WAIT_LEAST  65536u
#define ORPHANS_LEAST    16384u
#define BUFFERS_MATTER   100000u  /* connections from which on the sizes of buffers do */
#define SEND_BUFFER_MOST 1048576u /* what one reader that has stopped can pin */
#define BACKLOG_LEAST    1024u
#define BACKLOG_MOST     65535u
#define BACKLOG_ONE_IN   256u

/* The findings so far, while the checks are made. */
struct record {
    struct finding *findings;
    int count;
};

static struct finding *add(struct record *record, const char *check, enum finding_state state)
{
    struct finding *finding = &record->findings[record->count++];
    *finding = (struct finding){.check = check, .state = state};
    return finding;
}

__attribute__((format(printf, 2, 3))) static void say(char out[FINDING_TEXT_MAX], const char *format, ...)
{
    va_list values;
    va_start(values, format);
    vsnprintf(out, FINDING_TEXT_MAX, format, values);
    va_end(values);
}

static const char *number(char out[TABLE_TEXT_MAX], uint64_t value)
{
    return value == HOST_UNKNOWN ? "not readable" : text_number(out, (int64_t)value);
}

/* A figure of the kernel's that has to be at least so large, and is set by sysctl. */
static void check_least(struct record *record, const char *name, uint64_t have, uint64_t wanted)
{
    char text[TABLE_TEXT_MAX];
    enum finding_state state = have == HOST_UNKNOWN ? FINDING_NOTE : have < wanted ? FINDING_SHORT : FINDING_FINE;
    struct finding *finding = add(record, name, state);
    say(finding->have, "%s", number(text, have));
    say(finding->wanted, "at least %s", number(text, wanted));
    if (state != FINDING_FINE) {
        say(finding->mend, "sysctl -w %s=%" PRIu64, name, wanted);
    }
}

static void check_kernel(struct record *record, const struct host *host)
{
    bool fine = host->kernel_major > 6 || (host->kernel_major == 6 && host->kernel_minor >= 1);
    struct finding *finding = add(record, "kernel", fine ? FINDING_FINE : FINDING_SHORT);
    say(finding->have, "Linux %u.%u", host->kernel_major, host->kernel_minor);
    say(finding->wanted, "6.1 or newer");
    if (!fine) {
        say(finding->mend, "install Debian 12's kernel or a newer one: apt-get install linux-image-amd64");
    }
    finding = add(record, "io_uring", host->io_uring ? FINDING_FINE : FINDING_SHORT);
    say(finding->have, host->io_uring ? "allowed" : "refused");
    say(finding->wanted, "allowed");
    if (!host->io_uring) {
        say(finding->mend,
            "sysctl -w kernel.io_uring_disabled=0; in a container a seccomp profile that allows io_uring");
    }
}

uint64_t doctor_shards(uint64_t processors, uint64_t descriptors, uint64_t connections)
{
    uint64_t ring = descriptors < RING_MOST ? descriptors : RING_MOST;
    uint64_t rings = ring ? (connections * UNEVEN_PERCENT / 100 + ring - 1) / ring : SHARDS_MOST + 1;
    uint64_t shards = rings > processors ? rings : processors;
    return shards <= SHARDS_MOST ? shards : 0;
}

/* A ring holds as many connections as the process may have descriptors: with fewer, more shards are needed. */
static void check_descriptors(struct record *record, const struct host *host, uint64_t connections)
{
    char text[TABLE_TEXT_MAX];
    uint64_t shards = doctor_shards(host->processors, host->descriptors, connections);
    struct finding *finding = add(record, "descriptors", shards ? FINDING_FINE : FINDING_SHORT);
    say(finding->have, "%s a process, and so a shard", number(text, host->descriptors));
    if (!shards) {
        uint64_t rings = doctor_shards(host->processors, RING_MOST, connections);
        say(finding->wanted, "%" PRIu64 " shards of %u", rings, RING_MOST);
        say(finding->mend, "[Service] LimitNOFILE=%u (or ulimit -n %u)", RING_MOST, RING_MOST);
    } else if (shards > host->processors) {
        say(finding->wanted,
            "broker.shards=%" PRIu64 ", more than the %" PRIu64 " processors; fewer if the limit is raised", shards,
            host->processors);
    } else {
        say(finding->wanted, "broker.shards=auto (%" PRIu64 ")", shards);
    }
    uint64_t a_shard = (connections * UNEVEN_PERCENT / 100) / (shards ? shards : SHARDS_MOST) + DESCRIPTORS_SPARE;
    check_least(record, "fs.nr_open", host->nr_open, a_shard < RING_MOST ? a_shard : RING_MOST);
}

static void check_files(struct record *record, const struct host *host, uint64_t connections)
{
    uint64_t used = host->files_used == HOST_UNKNOWN ? 0 : host->files_used;
    check_least(record, "fs.file-max", host->file_max, connections + used + FILES_SPARE);
}

static void check_bytes(struct record *record, const char *name, uint64_t have, uint64_t wanted, const char *mend)
{
    char text[TABLE_TEXT_MAX];
    bool fine = have >= wanted;
    struct finding *finding = add(record, name, fine ? FINDING_FINE : FINDING_SHORT);
    say(finding->have, "%s", have == HOST_UNKNOWN ? "no limit" : text_bytes(text, (int64_t)have));
    say(finding->wanted, "%s: %u bytes a connection, nearly all the kernel's", text_bytes(text, (int64_t)wanted),
        CONNECTION_BYTES);
    if (!fine) {
        say(finding->mend, "%s", mend);
    }
}

static void check_memory(struct record *record, const struct host *host, uint64_t connections)
{
    char mend[FINDING_TEXT_MAX];
    uint64_t wanted = connections * CONNECTION_BYTES + BROKER_BYTES;
    check_bytes(record, "memory", host->available_bytes, wanted, "more memory, or fewer connections on this host");
    say(mend, "[Service] MemoryMax=%" PRIu64 "M (or the container's memory limit)", (wanted >> 20) + 1);
    check_bytes(record, "cgroup memory", host->cgroup_bytes, wanted, mend);
}

/* Three numbers of which the middle one has to grow. The lines that mend keep their proportion. */
static void check_tcp_mem(struct record *record, const struct host *host, uint64_t connections)
{
    char text[TABLE_TEXT_MAX];
    uint64_t wanted = connections * PAGES_A_CONNECTION;
    bool fine = host->tcp_mem_pressure != HOST_UNKNOWN && host->tcp_mem_pressure >= wanted;
    struct finding *finding = add(record, "net.ipv4.tcp_mem", fine ? FINDING_FINE : FINDING_SHORT);
    say(finding->have, "pressure from %s pages on", number(text, host->tcp_mem_pressure));
    say(finding->wanted, "%s: a page for each that has something under way; twice that with clients on this host",
        number(text, wanted));
    if (!fine) {
        say(finding->mend, "sysctl -w net.ipv4.tcp_mem='%" PRIu64 " %" PRIu64 " %" PRIu64 "'", wanted * 3 / 4, wanted,
            wanted * 3 / 2);
    }
}

/* Buffers take memory only for what is in them; the largest size bounds what one stalled peer can hold. */
static void check_buffer(struct record *record, const char *name, uint64_t most, uint64_t connections, uint64_t bound,
                         const char *line)
{
    char text[TABLE_TEXT_MAX];
    bool fine = connections < BUFFERS_MATTER || most <= bound;
    struct finding *finding = add(record, name, fine ? FINDING_FINE : FINDING_NOTE);
    say(finding->have, "at most %s", number(text, most));
    if (fine) {
        say(finding->wanted, "enough");
    } else {
        say(finding->wanted, "at most %s: what a peer that has stopped can hold", number(text, bound));
        say(finding->mend, "sysctl -w %s='%s'", name, line);
    }
}

static void check_backlog(struct record *record, const struct host *host, uint64_t connections)
{
    uint64_t wanted = connections / BACKLOG_ONE_IN;
    wanted = wanted < BACKLOG_LEAST ? BACKLOG_LEAST : wanted > BACKLOG_MOST ? BACKLOG_MOST : wanted;
    check_least(record, "net.core.somaxconn", host->somaxconn, wanted);
    check_least(record, "net.ipv4.tcp_max_syn_backlog", host->syn_backlog, wanted);
}

static void check_storm(struct record *record, const struct host *host, uint64_t connections)
{
    uint64_t closed = connections / CLOSED_ONE_IN;
    check_least(record, "net.ipv4.tcp_max_tw_buckets", host->tcp_tw_buckets,
                closed > TIME_WAIT_LEAST ? closed : TIME_WAIT_LEAST);
    check_least(record, "net.ipv4.tcp_max_orphans", host->tcp_orphans, closed > ORPHANS_LEAST ? closed : ORPHANS_LEAST);
}

/* bbr paces each socket by a timer of its own, which costs CPU and delay a message where messages are small and many.
 */
static void check_congestion(struct record *record, const struct host *host, uint64_t connections)
{
    bool paces = strncmp(host->congestion, "bbr", 3) == 0 && connections >= BUFFERS_MATTER;
    struct finding *finding = add(record, "net.ipv4.tcp_congestion_control", paces ? FINDING_NOTE : FINDING_FINE);
    say(finding->have, "%s", host->congestion[0] ? host->congestion : "not readable");
    say(finding->wanted,
        paces ? "cubic, unless clients are behind links that lose: bbr paces each socket by a timer" : "nothing else");
    if (paces) {
        say(finding->mend, "sysctl -w net.ipv4.tcp_congestion_control=cubic");
    }
}

/* Ports matter to who connects from here: a proxy in front of the broker, or a load generator. */
static void check_ports(struct record *record, const struct host *host, uint64_t connections)
{
    char text[TABLE_TEXT_MAX];
    bool known = host->port_first != HOST_UNKNOWN && host->port_last >= host->port_first;
    uint64_t ports = known ? host->port_last - host->port_first + 1 : HOST_UNKNOWN;
    bool enough = known && ports >= connections;
    struct finding *finding = add(record, "net.ipv4.ip_local_port_range", enough ? FINDING_FINE : FINDING_NOTE);
    say(finding->have, "%s ports an address", number(text, ports));
    say(finding->wanted, "only for a proxy on this host: %" PRIu64 " addresses to connect to or from",
        connections / 64000 + 1);
    if (!enough) {
        say(finding->mend, "sysctl -w net.ipv4.ip_local_port_range='1024 65535'");
    }
    bool reuses = host->tw_reuse == 1;
    finding = add(record, "net.ipv4.tcp_tw_reuse", reuses ? FINDING_FINE : FINDING_NOTE);
    say(finding->have, "%s", number(text, host->tw_reuse));
    say(finding->wanted, "1, only for a proxy on this host: its ports are free again at once");
    if (!reuses) {
        say(finding->mend, "sysctl -w net.ipv4.tcp_tw_reuse=1");
    }
}

static void check_conntrack(struct record *record, const struct host *host, uint64_t connections)
{
    const char *name = "net.netfilter.nf_conntrack_max";
    if (host->conntrack_max != HOST_UNKNOWN) {
        check_least(record, name, host->conntrack_max, connections + connections / 4);
        struct finding *finding = &record->findings[record->count - 1];
        if (finding->state == FINDING_SHORT) {
            size_t size = strlen(finding->mend);
            snprintf(finding->mend + size, sizeof finding->mend - size,
                     "; or no tracking: iptables -t raw -A PREROUTING -p tcp --dport 7070 -j NOTRACK");
        }
        return;
    }
    struct finding *finding = add(record, name, FINDING_FINE);
    say(finding->have, "not loaded");
    say(finding->wanted, "nothing");
}

int doctor_check(const struct host *host, uint64_t connections, struct finding findings[FINDINGS_MAX])
{
    struct record record = {.findings = findings};
    check_kernel(&record, host);
    check_descriptors(&record, host, connections);
    check_files(&record, host, connections);
    check_memory(&record, host, connections);
    check_tcp_mem(&record, host, connections);
    check_buffer(&record, "net.ipv4.tcp_rmem", host->tcp_rmem_most, connections, SEND_BUFFER_MOST, "4096 16384 262144");
    check_buffer(&record, "net.ipv4.tcp_wmem", host->tcp_wmem_most, connections, SEND_BUFFER_MOST, "4096 16384 262144");
    check_backlog(&record, host, connections);
    check_storm(&record, host, connections);
    check_congestion(&record, host, connections);
    check_ports(&record, host, connections);
    check_conntrack(&record, host, connections);
    return record.count;
}

/* --- the command --- */

static const char *const state_names[] = {"fine", "note", "SHORT"};
static const char *const state_words[] = {"fine", "note", "short"}; /* in JSON */

static void print_json(const struct finding *finding)
{
    json_t *object =
        json_pack("{s:s, s:s, s:s, s:s, s:s}", "check", finding->check, "state", state_words[finding->state], "have",
                  finding->have, "wanted", finding->wanted, "mend", finding->mend);
    json_dumpf(object, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(object);
}

static void print_text(const struct finding *finding)
{
    printf("%-6s %-30s %s; %s\n", state_names[finding->state], finding->check, finding->have, finding->wanted);
    if (finding->mend[0]) {
        printf("%38s%s\n", "", finding->mend);
    }
}

#define CONNECTIONS_DEFAULT 1000000u

int command_doctor(const struct options *options)
{
    struct host host;
    struct finding findings[FINDINGS_MAX];
    int wanting = 0;
    uint64_t connections = options->connections ? options->connections : CONNECTIONS_DEFAULT;
    host_read(&host);
    int count = doctor_check(&host, connections, findings);
    for (int i = 0; i < count; i++) {
        wanting += findings[i].state == FINDING_SHORT;
        if (options->json) {
            print_json(&findings[i]);
        } else {
            print_text(&findings[i]);
        }
    }
    if (!options->json) {
        char text[TABLE_TEXT_MAX];
        printf("\n%s connections: %s\n", text_number(text, (int64_t)connections),
               wanting ? "this host is short of what SHORT names" : "this host can hold them");
    }
    return wanting ? EXIT_FAILED : EXIT_DONE;
}
