/* crew: the captain's side. See crew.h. */
#include "crew.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process.h"

static void enlist(struct crew *crew, uint32_t number)
{
    crew->pids[number] = process_fork(); /* nobody stays behind without a captain */
    if (crew->pids[number] == 0) {
        member_work(&crew->options, &crew->members[number], number);
        _exit(0);
    }
}

void crew_start(struct crew *crew, const struct crew_options *options)
{
    *crew = (struct crew){.options = *options};
    crew->size = (options->connections + options->per_member - 1) / options->per_member;
    if (crew->size > CREW_MEMBERS_MAX) {
        die("%u connections are too many: at most %u", options->connections, CREW_MEMBERS_MAX * options->per_member);
    }
    crew->pids = calloc(crew->size, sizeof *crew->pids);
    crew->members =
        mmap(NULL, crew->size * sizeof *crew->members, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (!crew->pids || crew->members == MAP_FAILED) {
        die("no memory");
    }
    for (uint32_t i = 0; i < crew->size; i++) {
        enlist(crew, i);
    }
}

void crew_set_target(struct crew *crew, uint32_t connections)
{
    for (uint32_t i = 0; i < crew->size; i++) {
        uint32_t share = connections / crew->size + (i < connections % crew->size);
        atomic_store_explicit(&crew->members[i].target, share, memory_order_relaxed);
    }
}

void crew_set_churn(struct crew *crew, uint32_t per_second)
{
    for (uint32_t i = 0; i < crew->size; i++) {
        atomic_store_explicit(&crew->members[i].churn_per_s, per_second / crew->size, memory_order_relaxed);
    }
}

#define READ(field) atomic_load_explicit(&(field), memory_order_relaxed)

struct crew_sum crew_sum(const struct crew *crew)
{
    struct crew_sum sum = {0};
    for (uint32_t i = 0; i < crew->size; i++) {
        const struct member *member = &crew->members[i];
        sum.open += READ(member->open);
        sum.failed += READ(member->failed);
        sum.lost += READ(member->lost);
        sum.opened += READ(member->opened);
        sum.received += READ(member->received);
    }
    return sum;
}

void crew_delays_reset(struct crew *crew)
{
    for (uint32_t i = 0; i < crew->size; i++) {
        for (uint32_t bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
            atomic_store_explicit(&crew->members[i].delay_us.buckets[bucket], 0, memory_order_relaxed);
        }
    }
}

static uint64_t delays_in(const struct crew *crew, uint32_t bucket)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < crew->size; i++) {
        count += histogram_count(&crew->members[i].delay_us, bucket);
    }
    return count;
}

uint32_t crew_delay_us(const struct crew *crew, double share)
{
    uint64_t all = 0, below = 0;
    for (uint32_t bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
        all += delays_in(crew, bucket);
    }
    for (uint32_t bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
        below += delays_in(crew, bucket);
        if (below > 0 && (double)below >= share * (double)all) {
            return histogram_upper(bucket);
        }
    }
    return 0;
}

void crew_stop(struct crew *crew)
{
    for (uint32_t i = 0; i < crew->size; i++) {
        atomic_store_explicit(&crew->members[i].quit, true, memory_order_relaxed);
    }
    for (uint32_t i = 0; i < crew->size; i++) {
        waitpid(crew->pids[i], NULL, 0);
    }
    munmap(crew->members, crew->size * sizeof *crew->members);
    free(crew->pids);
}
