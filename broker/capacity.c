/* capacity: see capacity.h. */
#include "broker/capacity.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* A socket's 3.67 KB, its armed poll's 256 bytes, and the broker's own share: docs/PERFORMANCE.md. */
#define CONNECTION_BYTES 4114u

/* Descriptors that are no connections: rings, listeners, the admin port, files. */
#define DESCRIPTORS_OWN 256u

#define GROUP_BYTES_MAX 4096

/* The number after `name` in a file of lines, or in its first line if there is no name. `none`: there is no number. */
static uint64_t number_in(const char *path, const char *name, uint64_t none)
{
    char line[256];
    uint64_t number = none;
    size_t size = strlen(name);
    FILE *file = fopen(path, "r");
    while (file && number == none && fgets(line, sizeof line, file)) {
        if (strncmp(line, name, size) == 0) {
            char *end;
            uint64_t value = strtoull(line + size, &end, 10);
            number = end != line + size ? value : none;
        }
    }
    if (file) {
        fclose(file);
    }
    return number;
}

/* What is left in the control group of that path, "" being the root. UINT64_MAX: it has no limit. */
static uint64_t group_left(const char *group)
{
    char path[GROUP_BYTES_MAX + 64];
    snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.max", group);
    uint64_t most = number_in(path, "", UINT64_MAX);
    snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.current", group);
    uint64_t used = number_in(path, "", 0);
    return most == UINT64_MAX ? most : most > used ? most - used : 0;
}

/* The least of our group and those above. The line that names ours begins with "0::". */
static uint64_t groups_left(void)
{
    char line[GROUP_BYTES_MAX];
    uint64_t least = UINT64_MAX;
    FILE *file = fopen("/proc/self/cgroup", "r");
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        for (char *end = line + strlen(line); strncmp(line, "0::", 3) == 0 && end; end = strrchr(line + 3, '/')) {
            *end = 0;
            uint64_t left = group_left(line + 3);
            least = left < least ? left : least;
        }
    }
    if (file) {
        fclose(file);
    }
    return least;
}

uint64_t capacity_memory_bytes(void)
{
    uint64_t host = number_in("/proc/meminfo", "MemAvailable:", 0) * 1024;
    uint64_t group = groups_left();
    return group < host ? group : host;
}

uint64_t capacity_descriptors(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 0;
}

static void bound_by(struct capacity *capacity, uint64_t connections, const char *bound, const char *change)
{
    if (connections < capacity->connections) {
        *capacity = (struct capacity){connections, bound, change};
    }
}

struct capacity capacity_of(const struct capacity_facts *facts)
{
    struct capacity capacity = {facts->slots, "descriptors",
                                "raise the limit on open files (LimitNOFILE), or broker.shards: each holds that many"};
    if (facts->shared) {
        uint64_t free = facts->descriptors > DESCRIPTORS_OWN ? facts->descriptors - DESCRIPTORS_OWN : 0;
        bound_by(&capacity, free, "descriptors",
                 "raise the limit on open files (LimitNOFILE), or use io_uring: there each shard holds that many");
    }
    if (facts->limit_connections) {
        bound_by(&capacity, facts->limit_connections, "limits.connections", "raise limits.connections");
    }
    if (facts->memory_bytes) {
        bound_by(&capacity, facts->memory_bytes / CONNECTION_BYTES, "memory",
                 "give the host or its control group more memory: 4 KB a connection");
    }
    return capacity;
}
