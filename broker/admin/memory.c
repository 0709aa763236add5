/* memory: see memory.h. */
#include "admin/memory.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* jemalloc's own interface; builds with sanitizers have their allocators instead. */
extern int mallctl(const char *name, void *old, size_t *old_size, void *new, size_t new_size) __attribute__((weak));

/* The second number of /proc/self/statm: resident pages. 0: it can't be read. */
static uint64_t resident_read(void)
{
    char text[128];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0) {
        close(fd);
    }
    if (size <= 0) {
        return 0;
    }
    text[size] = 0;
    const char *second = strchr(text, ' ');
    return second ? strtoull(second, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

static uint64_t figure(const char *name)
{
    size_t value = 0;
    size_t size = sizeof value;
    return mallctl && mallctl(name, &value, &size, NULL, 0) == 0 ? value : 0;
}

void memory_read(struct memory_figures *figures)
{
    *figures = (struct memory_figures){.resident_bytes = resident_read(), .jemalloc = mallctl != NULL};
    if (!mallctl) {
        return;
    }
    uint64_t epoch = 1; /* the statistics are as of the last change of this */
    size_t size = sizeof epoch;
    mallctl("epoch", &epoch, &size, &epoch, size);
    figures->allocated = figure("stats.allocated");
    figures->active = figure("stats.active");
    figures->metadata = figure("stats.metadata");
    figures->resident = figure("stats.resident");
    figures->mapped = figure("stats.mapped");
    figures->retained = figure("stats.retained");
}

uint64_t memory_cpu_us(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}
