/*
 * slab: a table of fixed-size records, addressed by a number.
 *
 *   segments ─▶ [ segment 0 | segment 1 | (given back) | segment 3 | … ]        grows by whole segments: nothing moves
 *                 │
 *                 ▼  4096 records: ████░██░░░░ ····      █ in use  ░ free again (linked)  · never touched yet
 *
 * Records hold no pointers and point at each other by these numbers, so a table can be handed to another process as
 * it stands. A segment whose last record is freed goes back to the kernel (one is kept, against thrashing), and
 * new records are taken from the lowest segment that has room, so that a table that has shrunk stays dense.
 *
 * Number 0 is never given out: it says "none" in every field that holds a number.
 *
 * Two ways to use it, not mixed in one slab: slab_take() chooses the number; slab_claim() takes one that somebody else
 * has chosen (the connection table follows the kernel's slots; there number 0 is a valid record, too).
 *
 * Thread: the owner's only.
 */
#ifndef SHOAL_BASE_SLAB_H
#define SHOAL_BASE_SLAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/limits.h"

struct slab_segment {
    char *records; /* NULL: given back */
    uint32_t used;
    uint32_t fresh; /* records from here on were never taken */
    uint32_t free;  /* first of the freed ones, linked through their first four bytes; 0: none */
};

struct slab {
    struct slab_segment *segments;
    uint32_t segment_count;
    uint32_t segment_room;
    uint32_t record_size;
    uint32_t records_max; /* the policy's bound: take returns 0 beyond it */
    uint32_t used;
    uint32_t roomy;        /* no segment below has room */
    uint32_t spare;        /* an empty segment that is kept, plus 1; 0: none */
    uint64_t mapped_bytes; /* what the segments take */
};

/* `record_size` at least 4; `records_max` at most 2^32 - 4096. */
void slab_init(struct slab *slab, uint32_t record_size, uint32_t records_max);

/* Gives all memory back, whatever is in use. */
void slab_destroy(struct slab *slab);

/* A record of zeros; its number, or 0: `records_max` are in use, or there is no memory. */
uint32_t slab_take(struct slab *slab);

/* A record of zeros at a number that somebody else chose, not in use. False: beyond the bound, or no memory. */
bool slab_claim(struct slab *slab, uint32_t number);

/* The record is free; its bytes may be gone at once. */
void slab_give(struct slab *slab, uint32_t number);

/* As slab_give(), for claimed numbers. */
void slab_unclaim(struct slab *slab, uint32_t number);

/* The record of a number that is in use. Borrowed until it is given back. */
static inline void *slab_at(const struct slab *slab, uint32_t number)
{
    return slab->segments[number / SLAB_SEGMENT_RECORDS].records +
           (size_t)(number % SLAB_SEGMENT_RECORDS) * slab->record_size;
}

/* Whether the segment of this number has memory: a sweep skips those that have none. */
static inline bool slab_mapped(const struct slab *slab, uint32_t number)
{
    uint32_t segment = number / SLAB_SEGMENT_RECORDS;
    return segment < slab->segment_count && slab->segments[segment].records != NULL;
}

/* One past the highest number that may be in use. */
static inline uint32_t slab_end(const struct slab *slab)
{
    return slab->segment_count * SLAB_SEGMENT_RECORDS;
}

#endif
