/*
 * watermark: up to which time everything that was begun is done, when many things are under way at once.
 *
 * They are counted in two generations: those that began after the last look, and those before it. When all of the older
 * one are done, the watermark moves to the time of that look, and the younger one becomes the older.
 *
 *      begun ··· ● ● ● ··· │ ········ ● ●   now
 *            older, pending │  younger
 *      watermark: the look ─┘ as soon as the older ones are done; now, if there are none at all
 *
 * Thread: the owner's only.
 */
#ifndef SHOAL_BASE_WATERMARK_H
#define SHOAL_BASE_WATERMARK_H

#include <stdint.h>

struct watermark {
    int64_t ms;          /* all that was begun before this time is done */
    int64_t looked_ms;   /* when the younger generation began */
    uint32_t pending[2]; /* by generation */
    uint8_t younger;
};

/* Something begins; what is given is for watermark_end(). */
static inline uint8_t watermark_begin(struct watermark *watermark)
{
    watermark->pending[watermark->younger]++;
    return watermark->younger;
}

static inline void watermark_end(struct watermark *watermark, uint8_t generation)
{
    watermark->pending[generation]--;
}

static inline uint32_t watermark_pending(const struct watermark *watermark)
{
    return watermark->pending[0] + watermark->pending[1];
}

/* Looks: what begins from now on belongs to `now_ms` or later. */
static inline void watermark_advance(struct watermark *watermark, int64_t now_ms)
{
    uint8_t older = !watermark->younger;
    if (watermark->pending[older] > 0) {
        return;
    }
    watermark->ms = watermark->pending[watermark->younger] > 0 ? watermark->looked_ms : now_ms;
    watermark->looked_ms = now_ms;
    watermark->younger = older;
}

#endif
