/*
 * slab: see slab.h. Segments are mapped straight from the kernel: fresh pages are zero and cost nothing until they are
 * written, and giving a segment back really gives it back, whatever the allocator's habits.
 */
#include "base/slab.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/check.h"

/* Of an empty segment, so much stays resident. */
#define SLAB_KEPT_BYTES 65536u

static size_t segment_bytes(const struct slab *slab)
{
    return (size_t)SLAB_SEGMENT_RECORDS * slab->record_size;
}

void slab_init(struct slab *slab, uint32_t record_size, uint32_t records_max)
{
    CHECK(record_size >= sizeof(uint32_t));
    *slab = (struct slab){.record_size = record_size, .records_max = records_max};
}

void slab_destroy(struct slab *slab)
{
    for (uint32_t i = 0; i < slab->segment_count; i++) {
        if (slab->segments[i].records) {
            munmap(slab->segments[i].records, segment_bytes(slab));
        }
    }
    free(slab->segments);
    *slab = (struct slab){0};
}

/* Room for segment `index` in the list of segments. */
static bool segments_reach(struct slab *slab, uint32_t index)
{
    if (index >= slab->segment_room) {
        uint32_t room = slab->segment_room ? slab->segment_room * 2 : 16;
        while (room <= index) {
            room *= 2;
        }
        struct slab_segment *grown = realloc(slab->segments, room * sizeof *grown);
        if (!grown) {
            return false;
        }
        memset(grown + slab->segment_room, 0, (room - slab->segment_room) * sizeof *grown);
        slab->segments = grown;
        slab->segment_room = room;
    }
    if (index >= slab->segment_count) {
        slab->segment_count = index + 1;
    }
    return true;
}

static bool segment_map(struct slab *slab, uint32_t index)
{
    if (!segments_reach(slab, index)) {
        return false;
    }
    struct slab_segment *segment = &slab->segments[index];
    if (segment->records) {
        return true;
    }
    void *memory = mmap(NULL, segment_bytes(slab), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return false;
    }
    *segment = (struct slab_segment){.records = memory, .fresh = index == 0 ? 1 : 0};
    slab->mapped_bytes += segment_bytes(slab);
    return true;
}

static void segment_unmap(struct slab *slab, uint32_t index)
{
    struct slab_segment *segment = &slab->segments[index];
    munmap(segment->records, segment_bytes(slab));
    *segment = (struct slab_segment){0};
    slab->mapped_bytes -= segment_bytes(slab);
    while (slab->segment_count > 0 && !slab->segments[slab->segment_count - 1].records) {
        slab->segment_count--;
    }
}

/*
 * The pages of an empty segment go back to the kernel, which hands out zeros again: so all of it counts as fresh, and
 * the chain of free records is gone. Not for a few pages: a table of which one record comes and goes (the sessions, in
 * a quiet hour) would pay for it each time, with an interrupt to every core.
 */
static void segment_clean(struct slab *slab, uint32_t index)
{
    struct slab_segment *segment = &slab->segments[index];
    if ((size_t)segment->fresh * slab->record_size > SLAB_KEPT_BYTES) {
        segment->free = 0;
        segment->fresh = index == 0 ? 1 : 0;
        madvise(segment->records, segment_bytes(slab), MADV_DONTNEED);
    }
}

/* A segment has become empty: it is kept as the spare, and the spare before it goes. */
static void segment_emptied(struct slab *slab, uint32_t index)
{
    uint32_t old = slab->spare;
    slab->spare = index + 1;
    if (old && old != slab->spare && slab->segments[old - 1].records && slab->segments[old - 1].used == 0) {
        segment_unmap(slab, old - 1);
    }
}

static bool segment_has_room(const struct slab_segment *segment)
{
    return segment->records && (segment->free || segment->fresh < SLAB_SEGMENT_RECORDS);
}

/* The lowest segment that has no memory; it may be one past the last. */
static uint32_t segment_hole(const struct slab *slab)
{
    uint32_t index = 0;
    while (index < slab->segment_count && slab->segments[index].records) {
        index++;
    }
    return index;
}

/* The lowest segment with room, mapped. UINT32_MAX: no memory. */
static uint32_t segment_choose(struct slab *slab)
{
    uint32_t index = slab->roomy;
    while (index < slab->segment_count && !segment_has_room(&slab->segments[index])) {
        index++;
    }
    if (index >= slab->segment_count) {
        index = segment_hole(slab); /* looked for only when a segment is to be mapped */
        if (!segment_map(slab, index)) {
            return UINT32_MAX;
        }
    }
    slab->roomy = index;
    return index;
}

uint32_t slab_take(struct slab *slab)
{
    if (slab->used >= slab->records_max) {
        return 0;
    }
    uint32_t index = segment_choose(slab);
    if (index == UINT32_MAX) {
        return 0;
    }
    struct slab_segment *segment = &slab->segments[index];
    uint32_t number;
    if (segment->free) {
        number = segment->free;
        memcpy(&segment->free, slab_at(slab, number), sizeof segment->free);
        memset(slab_at(slab, number), 0, slab->record_size);
    } else {
        number = index * SLAB_SEGMENT_RECORDS + segment->fresh++;
    }
    segment->used++;
    slab->used++;
    return number;
}

void slab_give(struct slab *slab, uint32_t number)
{
    uint32_t index = number / SLAB_SEGMENT_RECORDS;
    CHECK(number != 0 && slab_mapped(slab, number) && slab->segments[index].used > 0);
    struct slab_segment *segment = &slab->segments[index];
    memcpy(slab_at(slab, number), &segment->free, sizeof segment->free);
    segment->free = number;
    segment->used--;
    slab->used--;
    if (index < slab->roomy) {
        slab->roomy = index;
    }
    if (segment->used == 0) {
        segment_clean(slab, index);
        segment_emptied(slab, index);
    }
}

bool slab_claim(struct slab *slab, uint32_t number)
{
    if (number >= slab->records_max || !segment_map(slab, number / SLAB_SEGMENT_RECORDS)) {
        return false;
    }
    slab->segments[number / SLAB_SEGMENT_RECORDS].used++;
    slab->used++;
    memset(slab_at(slab, number), 0, slab->record_size);
    return true;
}

void slab_unclaim(struct slab *slab, uint32_t number)
{
    uint32_t index = number / SLAB_SEGMENT_RECORDS;
    CHECK(slab_mapped(slab, number) && slab->segments[index].used > 0);
    slab->used--;
    if (--slab->segments[index].used == 0) {
        segment_emptied(slab, index);
    }
}
