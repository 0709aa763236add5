/* process: see process.h. */
#include "process.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s: ", program_invocation_short_name);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

uint64_t number_read(const char *name, const char *text, uint64_t most)
{
    char *end;
    errno = 0;
    uint64_t number = strtoull(text, &end, 10);
    if (errno || end == text || *end || number > most) {
        die("%s takes a number from 0 to %lu, not \"%s\"", name, most, text);
    }
    return number;
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec time;
    if (clock_gettime(clock, &time) != 0) {
        die("a clock can't be read: %s", strerror(errno));
    }
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

double now_s(void)
{
    return (double)clock_ns(CLOCK_MONOTONIC) / 1e9;
}

uint64_t now_us(void)
{
    return clock_ns(CLOCK_MONOTONIC) / 1000;
}

uint64_t now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

void nap(int64_t ns)
{
    const struct timespec time = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    nanosleep(&time, NULL);
}

int process_fork(void)
{
    pid_t parent = getpid(), pid = fork();
    if (pid < 0) {
        die("can't fork: %s", strerror(errno));
    }
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) {
            _exit(0); /* it has died already */
        }
    }
    return pid;
}

uint32_t process_descriptors(uint32_t own)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur <= own) {
        die("the limit on open files is too small: %lu", limit.rlim_cur);
    }
    uint64_t clients = limit.rlim_cur - own;
    return clients < UINT32_MAX ? (uint32_t)clients : UINT32_MAX;
}

uint64_t process_cpu_ns(int pid)
{
    clockid_t clock;
    if (clock_getcpuclockid(pid, &clock) != 0) {
        die("no process %d", pid);
    }
    return clock_ns(clock);
}

/* The kilobytes in a file of lines like "VmRSS:   1234 kB", as bytes. */
static uint64_t kilobytes_of(const char *path, const char *name)
{
    char line[256];
    uint64_t bytes = 0;
    size_t size = strlen(name);
    FILE *file = fopen(path, "r");
    if (!file) {
        die("%s: %s", path, strerror(errno));
    }
    while (!bytes && fgets(line, sizeof line, file)) {
        if (strncmp(line, name, size) == 0 && line[size] == ':') {
            bytes = strtoull(line + size + 1, NULL, 10) * 1024;
        }
    }
    fclose(file);
    return bytes;
}

uint64_t process_resident_bytes(int pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    return kilobytes_of(path, "VmRSS");
}

uint64_t host_available_bytes(void)
{
    return kilobytes_of("/proc/meminfo", "MemAvailable");
}

/* A line is: name, objects in use, objects, bytes of an object, … False: a heading. */
static bool slab_line(char *line, struct slab_cache *cache)
{
    char *rest;
    const char *name = strtok_r(line, " ", &rest);
    if (!name || *name == '#' || strcmp(name, "slabinfo") == 0) {
        return false;
    }
    uint64_t objects = strtoull(rest, &rest, 10);
    strtoull(rest, &rest, 10);
    snprintf(cache->name, sizeof cache->name, "%s", name);
    cache->bytes = objects * strtoull(rest, NULL, 10);
    return true;
}

bool slabs_read(struct slabs *slabs)
{
    char line[512];
    slabs->count = 0;
    FILE *file = fopen("/proc/slabinfo", "r");
    if (!file) {
        return false;
    }
    while (slabs->count < SLABS_MAX && fgets(line, sizeof line, file)) {
        slabs->count += slab_line(line, &slabs->caches[slabs->count]);
    }
    fclose(file);
    return true;
}

int64_t slab_growth(const struct slabs *before, const struct slab_cache *now)
{
    for (uint32_t i = 0; i < before->count; i++) {
        if (strcmp(before->caches[i].name, now->name) == 0) {
            return (int64_t)(now->bytes - before->caches[i].bytes);
        }
    }
    return (int64_t)now->bytes;
}
