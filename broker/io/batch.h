/*
 * batch: the book that a room keeps of the sends between two flushes.
 *
 *   sends    [ slot, tag, size | … ]      written by io_send(); a send is named by its place here
 *   shorts   [ report | … ]               those that did not take all their bytes, in the order of the sends
 *             ▲ taken   ▲ count
 *
 * Both have room for `batch` entries, so neither can overflow. The contract's rules on the caller (no more than
 * `batch` sends; all reports taken before anything is sent again) are CHECKed here, once for every room.
 *
 * Thread: the shard's own.
 */
#ifndef SHOAL_IO_BATCH_H
#define SHOAL_IO_BATCH_H

#include <errno.h>
#include <stdlib.h>

#include "base/check.h"
#include "io/io.h"

struct batch_send {
    uint32_t slot;
    uint32_t tag;
    uint64_t size;
};

struct batch {
    struct batch_send *sends;
    struct io_short *shorts;
    uint32_t send_count;
    uint32_t short_count;
    uint32_t short_taken;
    uint32_t room;
};

/* False: no memory. */
static inline bool batch_init(struct batch *batch, uint32_t room)
{
    *batch = (struct batch){.room = room};
    batch->sends = calloc(room, sizeof *batch->sends);
    batch->shorts = calloc(room, sizeof *batch->shorts);
    return batch->sends != NULL && batch->shorts != NULL;
}

static inline void batch_destroy(struct batch *batch)
{
    free(batch->sends);
    free(batch->shorts);
}

/* Enters a send; its place. */
static inline uint32_t batch_add(struct batch *batch, struct io_counters *counters, uint32_t slot, size_t size,
                                 uint32_t tag)
{
    CHECK_MSG(batch->send_count < batch->room, "more than %u sends between two flushes", batch->room);
    CHECK_MSG(batch->send_count > 0 || batch->short_taken == batch->short_count,
              "short sends of the last flush were not taken");
    if (batch->send_count == 0)
        batch->short_count = batch->short_taken = 0;
    counters->sends++;
    counters->send_bytes += size;
    batch->sends[batch->send_count] = (struct batch_send){.slot = slot, .tag = tag, .size = size};
    return batch->send_count++;
}

/*
 * The outcome of the send at that place, as send() would tell it: bytes or -errno. What only means "no room now" is
 * reported as no bytes taken; the rest of the errors mean that the connection broke.
 */
static inline void batch_report(struct batch *batch, struct io_counters *counters, uint32_t place, int64_t result)
{
    CHECK(place < batch->send_count);
    const struct batch_send *send = &batch->sends[place];
    if (result >= 0 && (uint64_t)result == send->size)
        return;
    if (result == -EAGAIN || result == -EINTR || result == -ENOBUFS || result == -ENOMEM)
        result = 0;
    counters->sends_short++;
    counters->send_bytes -= send->size - (result > 0 ? (uint64_t)result : 0);
    CHECK(batch->short_count < batch->room);
    batch->shorts[batch->short_count++] =
        (struct io_short){.slot = send->slot, .tag = send->tag, .result = (int32_t)result};
}

/* All sends entered so far are done. */
static inline void batch_done(struct batch *batch)
{
    batch->send_count = 0;
}

static inline bool batch_next_short(struct batch *batch, struct io_short *report)
{
    if (batch->short_taken == batch->short_count)
        return false;
    *report = batch->shorts[batch->short_taken++];
    return true;
}

#endif
