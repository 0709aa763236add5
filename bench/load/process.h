/*
 * process: what the kernel tells about the broker's process and about itself, for the benchmarks.
 *
 * All of it is read from /proc or a process's own clock; nothing of the broker's is asked, so that any peer can be
 * measured in the same way. What can't be read ends the benchmark: a figure that is made up is worse than none.
 *
 * Thread: any. No state.
 */
#ifndef SHOAL_BENCH_PROCESS_H
#define SHOAL_BENCH_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

/* Says what is wrong, after the program's name, and exits with 1. */
void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* A number of an option, from 0 to `most`. Dies of anything else. */
uint64_t number_read(const char *name, const char *text, uint64_t most);

/* Seconds of a clock that only goes on; the same in all processes of this host. */
double now_s(void);
uint64_t now_us(void);
uint64_t now_ns(void);

/* Sleeps. */
void nap(int64_t ns);

/*
 * Forks a process that dies with this one. Returns its id, and 0 in the new process; dies if it can't.
 */
int process_fork(void);

/*
 * Raises this process's limit on descriptors as far as it may go. Returns how many of them clients can have, beside
 * `own`; dies if that is none.
 */
uint32_t process_descriptors(uint32_t own);

/* CPU time of a process so far, all threads, user and system, in ns. */
uint64_t process_cpu_ns(int pid);

/* Resident bytes of a process. */
uint64_t process_resident_bytes(int pid);

/* What the host could still give to processes, in bytes. */
uint64_t host_available_bytes(void);

/* --- the kernel's slabs --- */

#define SLABS_MAX       512
#define SLAB_NAME_BYTES 48

struct slabs {
    uint32_t count;
    struct slab_cache {
        char name[SLAB_NAME_BYTES];
        uint64_t bytes; /* of objects in use */
    } caches[SLABS_MAX];
};

/* All caches. False: this user may not read them; the list is empty then. */
bool slabs_read(struct slabs *slabs);

/* By how much a cache has grown since `before`, which may not have had it. */
int64_t slab_growth(const struct slabs *before, const struct slab_cache *now);

#endif
