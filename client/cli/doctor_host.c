/* doctor_host: reads what the host is and allows. See doctor.h. */
#include <linux/io_uring.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cli/doctor.h"

#define WORDS_MAX 4

/* Version 1 of control groups says "no limit" by a number that no host has. */
#define CGROUP_NO_LIMIT (1ull << 60)

/* The first numbers of a file's first line. Those that are not there are HOST_UNKNOWN. */
static void numbers_read(const char *path, uint64_t numbers[WORDS_MAX])
{
    char line[256] = "";
    FILE *file = fopen(path, "r");
    if (file) {
        if (!fgets(line, sizeof line, file)) {
            line[0] = 0;
        }
        fclose(file);
    }
    char *at = line;
    for (int i = 0; i < WORDS_MAX; i++) {
        char *end;
        uint64_t number = strtoull(at, &end, 10);
        numbers[i] = end == at ? HOST_UNKNOWN : number;
        at = end;
    }
}

static uint64_t number_at(const char *path, int word)
{
    uint64_t numbers[WORDS_MAX];
    numbers_read(path, numbers);
    return numbers[word];
}

/* A file's first line; "" if there is none. */
static void word_read(const char *path, char *word, size_t room)
{
    FILE *file = fopen(path, "r");
    if (!file || !fgets(word, (int)room, file)) {
        word[0] = 0;
    }
    if (file) {
        fclose(file);
    }
    word[strcspn(word, "\n")] = 0;
}

/* "6.1.0-18-amd64" */
static void kernel_read(struct host *host)
{
    struct utsname name;
    char *end = name.release;
    if (uname(&name) == 0) {
        host->kernel_major = (uint32_t)strtoul(name.release, &end, 10);
        host->kernel_minor = *end == '.' ? (uint32_t)strtoul(end + 1, NULL, 10) : 0;
    }
}

/* The only sure way to know is to make a ring: seccomp profiles refuse it without being seen. */
static bool io_uring_read(void)
{
    struct io_uring_params params = {0};
    long ring = syscall(SYS_io_uring_setup, 1, &params);
    if (ring >= 0) {
        close((int)ring);
    }
    return ring >= 0;
}

static uint64_t processors_read(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? (uint64_t)CPU_COUNT(&set) : 1;
}

static uint64_t available_read(void)
{
    char line[128];
    uint64_t bytes = HOST_UNKNOWN;
    FILE *file = fopen("/proc/meminfo", "r");
    while (file && bytes == HOST_UNKNOWN && fgets(line, sizeof line, file)) {
        if (strncmp(line, "MemAvailable:", 13) == 0) {
            bytes = strtoull(line + 13, NULL, 10) * 1024;
        }
    }
    if (file) {
        fclose(file);
    }
    return bytes;
}

/* The least memory.max from this group up to the root. "max" is no number, and so no limit. */
static uint64_t cgroup_least(char *group)
{
    char path[4200];
    uint64_t least = HOST_UNKNOWN;
    for (char *slash = group + strlen(group); slash; slash = strrchr(group, '/')) {
        *slash = 0;
        snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.max", group);
        uint64_t limit = number_at(path, 0);
        least = limit < least ? limit : least;
    }
    return least;
}

/* Version 2: the line is "0::/a/b". Version 1 has one file where it is mounted; where there is none, there is no limit.
 */
static uint64_t cgroup_read(void)
{
    char line[4096];
    uint64_t least = number_at("/sys/fs/cgroup/memory/memory.limit_in_bytes", 0);
    FILE *file = fopen("/proc/self/cgroup", "r");
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        if (strncmp(line, "0::", 3) == 0) {
            uint64_t limit = cgroup_least(line + 3);
            least = limit < least ? limit : least;
        }
    }
    if (file) {
        fclose(file);
    }
    return least < CGROUP_NO_LIMIT ? least : HOST_UNKNOWN;
}

void host_read(struct host *host)
{
    struct rlimit limit = {0};
    getrlimit(RLIMIT_NOFILE, &limit);
    *host = (struct host){
        .io_uring = io_uring_read(),
        .processors = processors_read(),
        .descriptors = limit.rlim_max,
        .nr_open = number_at("/proc/sys/fs/nr_open", 0),
        .file_max = number_at("/proc/sys/fs/file-max", 0),
        .files_used = number_at("/proc/sys/fs/file-nr", 0),
        .available_bytes = available_read(),
        .cgroup_bytes = cgroup_read(),
        .tcp_mem_pressure = number_at("/proc/sys/net/ipv4/tcp_mem", 1),
        .tcp_tw_buckets = number_at("/proc/sys/net/ipv4/tcp_max_tw_buckets", 0),
        .tcp_orphans = number_at("/proc/sys/net/ipv4/tcp_max_orphans", 0),
        .tcp_rmem_most = number_at("/proc/sys/net/ipv4/tcp_rmem", 2),
        .tcp_wmem_most = number_at("/proc/sys/net/ipv4/tcp_wmem", 2),
        .somaxconn = number_at("/proc/sys/net/core/somaxconn", 0),
        .syn_backlog = number_at("/proc/sys/net/ipv4/tcp_max_syn_backlog", 0),
        .port_first = number_at("/proc/sys/net/ipv4/ip_local_port_range", 0),
        .port_last = number_at("/proc/sys/net/ipv4/ip_local_port_range", 1),
        .tw_reuse = number_at("/proc/sys/net/ipv4/tcp_tw_reuse", 0),
        .conntrack_max = number_at("/proc/sys/net/netfilter/nf_conntrack_max", 0),
    };
    kernel_read(host);
    word_read("/proc/sys/net/ipv4/tcp_congestion_control", host->congestion, sizeof host->congestion);
}
