/*
 * deflate: one message in, one message out, over a zlib stream that is reset between.
 *
 * A message on the wire is a raw deflate stream, flushed to a byte with an empty stored block of which the last
 * four bytes are left off (RFC 7692 7.2.1):
 *
 *      deflated blocks … 00 │ 00 00 FF FF      what zlib writes for Z_SYNC_FLUSH
 *      └──── on the wire ───┘ └ put back to inflate (7.2.2)
 */
#include "protocol/deflate.h"

#include <assert.h>
#include <limits.h>
#include <string.h>

#define MEMORY_LEVEL 8 /* zlib's own choice: 128 KB for hashes and symbols beside the window */

static const char tail[4] = {0x00, 0x00, (char)0xFF, (char)0xFF};

/* zlib counts in unsigned int. Whoever has more room than that does not need it. */
static uInt clipped(size_t size)
{
    return size < UINT_MAX ? (uInt)size : UINT_MAX;
}

bool deflater_init(struct deflater *deflater, int window_bits, int level)
{
    assert(window_bits >= DEFLATE_WINDOW_BITS_MIN && window_bits <= DEFLATE_WINDOW_BITS_MAX);
    memset(deflater, 0, sizeof *deflater);
    return deflateInit2(&deflater->stream, level, Z_DEFLATED, -window_bits, MEMORY_LEVEL, Z_DEFAULT_STRATEGY) == Z_OK;
}

void deflater_free(struct deflater *deflater)
{
    deflateEnd(&deflater->stream);
}

bool inflater_init(struct inflater *inflater)
{
    memset(inflater, 0, sizeof *inflater);
    return inflateInit2(&inflater->stream, -DEFLATE_WINDOW_BITS_MAX) == Z_OK;
}

void inflater_free(struct inflater *inflater)
{
    inflateEnd(&inflater->stream);
}

/* zlib's bound is for a stream that is finished; the flush adds an empty block, and needs a byte more to know that it
 * is done. */
size_t deflate_room(struct deflater *deflater, size_t size)
{
    return deflateBound(&deflater->stream, (uLong)size) + 16;
}

bool deflate_message(struct deflater *deflater, struct span in, char *out, size_t room, size_t *size)
{
    z_stream *stream = &deflater->stream;
    if (in.size > UINT_MAX)
        return false;
    deflateReset(stream);
    stream->next_in = (Bytef *)in.data; /* zlib only reads from it */
    stream->avail_in = (uInt)in.size;
    stream->next_out = (Bytef *)out;
    stream->avail_out = clipped(room);
    if (deflate(stream, Z_SYNC_FLUSH) != Z_OK || stream->avail_in > 0 || stream->avail_out == 0)
        return false; /* no room left may mean that the flush is not whole */
    *size = (size_t)stream->total_out - sizeof tail;
    assert(memcmp(out + *size, tail, sizeof tail) == 0);
    return true;
}

/*
 * Feeds some bytes to the end. A block that says that it is the last is allowed (RFC 7692 7.2.3.4): what follows
 * it is a new stream, though one that may not refer back beyond it, which no known sender does.
 */
static enum inflate_result feed(z_stream *stream, struct span in, bool *ended)
{
    stream->next_in = (Bytef *)in.data; /* zlib only reads from it */
    stream->avail_in = (uInt)in.size;
    *ended = false;
    while (stream->avail_in > 0) {
        if (*ended && inflateReset(stream) != Z_OK)
            return INFLATE_CORRUPT;
        int result = inflate(stream, Z_SYNC_FLUSH);
        *ended = result == Z_STREAM_END;
        if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR)
            return INFLATE_CORRUPT;
        if (stream->avail_in > 0 && !*ended)
            return stream->avail_out == 0 ? INFLATE_TOO_LARGE : INFLATE_CORRUPT;
    }
    return INFLATE_OK;
}

/* Whether inflate() stopped between two blocks with no bit left over: zlib.h tells this in data_type. */
static bool between_blocks(const z_stream *stream)
{
    return (stream->data_type & 128) && (stream->data_type & 7) == 0;
}

enum inflate_result inflate_message(struct inflater *inflater, struct span in, char *out, size_t room, size_t *size)
{
    z_stream *stream = &inflater->stream;
    bool ended = false;
    if (in.size == 0 || in.size > UINT_MAX)
        return INFLATE_CORRUPT; /* even an empty message has a byte (7.2.3.6) */
    inflateReset(stream);
    stream->next_out = (Bytef *)out;
    stream->avail_out = clipped(room);
    enum inflate_result result = feed(stream, in, &ended);
    if (result == INFLATE_OK && !ended) { /* some senders leave off the empty block behind a last one */
        result = feed(stream, (struct span){tail, sizeof tail}, &ended);
        if (result == INFLATE_OK && !ended && !between_blocks(stream))
            result = stream->avail_out == 0 ? INFLATE_TOO_LARGE : INFLATE_CORRUPT;
    }
    *size = (size_t)((char *)stream->next_out - out);
    return result;
}
