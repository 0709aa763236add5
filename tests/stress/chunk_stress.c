/*
 * chunk_stress: a log that one thread writes and others read, as shards do it.
 *
 *   owner: appends, trims, falls silent ── TELL_TAIL with a reference, by a ring of 4 slots ──▶ readers: at their own
 *                                                                                              speed, in their lane
 *
 * Readers check every message: its offset, its payload, and its frame in their lane. Two of them read a lane that the
 * owner does not write, and make it in each chunk that is sealed. Then four threads make one lane of one chunk at the
 * same moment, and share and drop one name. At the end all chunks and names are given back.
 */
#include <inttypes.h>

#include "mesh/name.h"
#include "mesh/spsc.h"
#include "stress.h"
#include "topic/log.h"

#define READERS  4u
#define SLOTS    4u
#define MESSAGES 60000u

struct reader {
    uint32_t number;
    enum lane lane;
    bool sealed_only; /* the owner does not write this lane: a chunk can be read when it is sealed */
    struct spsc ring;
    struct envelope slots[SLOTS];
    struct lane_writer writer;
    struct chunk *chunk; /* reference on the chunk with message `read` + 1, or one before it; NULL: none */
    _Atomic uint64_t read;
    uint64_t tail; /* that it was told of */
    uint64_t lanes_made;
    /* the owner's */
    struct chunk *untold;
};

static struct reader readers[READERS];
static struct name *name;
static uint64_t messages;
static _Atomic uint64_t published;

/* --- what a message is --- */

static struct span payload_of(uint64_t offset, char room[512])
{
    int size = snprintf(room, 512, "message %" PRIu64 " ", offset);
    for (; size < (int)(offset % 400) + 40; size++) {
        room[size] = (char)('a' + (offset + (uint64_t)size) % 26);
    }
    return (struct span){room, (size_t)size};
}

static struct message message_of(uint64_t offset, char room[512])
{
    return (struct message){
        .topic = name_span(name),
        .payload = payload_of(offset, room),
        .kind = PAYLOAD_TEXT,
        .epoch = 9,
        .offset = offset,
        .time_ms = (int64_t)offset,
    };
}

/* --- the owner --- */

static bool tell(struct reader *reader, uint64_t tail)
{
    struct envelope envelope = {.kind = TELL_TAIL, .chunk = reader->untold, .offset = tail};
    if (!reader->untold || !spsc_push(&reader->ring, &envelope)) {
        return !reader->untold;
    }
    reader->untold = NULL;
    return true;
}

static bool tell_all(uint64_t tail)
{
    bool all = true;
    for (uint32_t i = 0; i < READERS; i++) {
        all &= tell(&readers[i], tail);
    }
    return all;
}

/* So that the slowest reader bounds what is kept. */
static uint64_t slowest(void)
{
    uint64_t read = UINT64_MAX;
    for (uint32_t i = 0; i < READERS; i++) {
        uint64_t its = atomic_load(&readers[i].read);
        read = its < read ? its : read;
    }
    return read;
}

static void append(struct log *log, const struct log_limits *limits, struct lane_writer *writer)
{
    char room[512];
    struct message message = message_of(log->tail + 1, room);
    CHECK(log_append(log, limits, LANE_BIT(LANE_RAW) | LANE_BIT(LANE_JSON), writer, 0, &message));
    for (uint32_t i = 0; i < READERS; i++) {
        if (!readers[i].untold) {
            readers[i].untold = chunk_share(log->newest);
        }
    }
    log_trim(log, limits, 0);
}

static void *run_owner(void *argument)
{
    const struct log_limits limits = {.chunk_bytes_max = CHUNK_BYTES_MAX};
    struct lane_writer writer = {0};
    struct log log = {0};
    uint32_t random = 77;
    (void)argument;
    while (log.tail < messages) {
        uint32_t burst = stress_random(&random, 40);
        for (uint32_t i = 0; i <= burst && log.tail < messages; i++) {
            append(&log, &limits, &writer);
        }
        atomic_store(&published, log.tail);
        tell_all(log.tail);
        if (stress_random(&random, 50) == 0) {
            log_release_unread(&log); /* silent for a while */
        }
        while (log.tail > slowest() + 20000) {
            tell_all(log.tail);
            sched_yield();
        }
    }
    struct chunk *end = chunk_create(log.tail + 1, log.bytes, 1, 0, 0, false); /* seals the last, for all lanes */
    CHECK(end);
    chunk_seal(log.newest, end);
    while (!tell_all(log.tail)) {
        sched_yield();
    }
    chunk_drop(log.oldest);
    lane_writer_destroy(&writer);
    return NULL;
}

/* --- a reader --- */

static void take_tells(struct reader *reader)
{
    const struct envelope *told;
    while ((told = spsc_peek(&reader->ring)) != NULL) {
        CHECK(told->offset > reader->tail);
        reader->tail = told->offset;
        if (reader->chunk) {
            chunk_drop(told->chunk); /* the chain leads there */
        } else {
            reader->chunk = told->chunk;
        }
        spsc_pop(&reader->ring);
    }
}

/* The reader's chunk is the one with this offset, or stays where it is: not sealed yet. */
static void go_to(struct reader *reader, uint64_t offset)
{
    struct chunk *next;
    while ((next = chunk_next(reader->chunk)) != NULL && next->base <= offset) {
        chunk_share(next);
        chunk_drop(reader->chunk);
        reader->chunk = next;
    }
}

static bool lane_is_there(struct reader *reader)
{
    const struct chunk *next = chunk_next(reader->chunk);
    if (chunk_lane(reader->chunk, reader->lane)) {
        return true;
    }
    CHECK(reader->sealed_only);
    if (!next) {
        return false;
    }
    uint32_t count = (uint32_t)(next->base - reader->chunk->base);
    CHECK(chunk_lane_make(reader->chunk, reader->lane, count, &reader->writer, name_span(name)));
    reader->lanes_made++;
    return true;
}

static void check_frame(struct reader *reader, uint64_t offset)
{
    char room[512], frame[2048];
    size_t needed;
    uint32_t index = (uint32_t)(offset - reader->chunk->base);
    struct message expected = message_of(offset, room);
    const struct chunk_lane *lane = chunk_lane(reader->chunk, reader->lane);
    uint32_t begin = chunk_begin(lane, index);
    size_t size = lane_write(&reader->writer, reader->lane, &expected, frame, sizeof frame, &needed);
    CHECK_MSG(lane->ends[index] - begin == size && memcmp(lane->bytes + begin, frame, size) == 0,
              "reader %u: message %" PRIu64 " is another one", reader->number, offset);
    struct message found = chunk_message(reader->chunk, index, expected.topic);
    CHECK(found.offset == offset && span_equal(found.payload, expected.payload) && found.time_ms == (int64_t)offset);
}

/* Reads some messages. False: there is nothing that can be read. */
static bool read_some(struct reader *reader, uint32_t most)
{
    uint64_t offset = atomic_load(&reader->read);
    uint64_t before = offset;
    while (most-- > 0 && offset < reader->tail) {
        go_to(reader, offset + 1);
        if (!lane_is_there(reader)) {
            break;
        }
        check_frame(reader, ++offset);
    }
    atomic_store(&reader->read, offset);
    if (offset == reader->tail && reader->chunk && !reader->sealed_only) {
        chunk_drop(reader->chunk); /* up to date: the next tell brings one */
        reader->chunk = NULL;
    }
    return offset > before;
}

static void *run_reader(void *argument)
{
    struct reader *reader = argument;
    uint32_t random = 100 + reader->number;
    while (atomic_load(&reader->read) < messages) {
        if (stress_random(&random, 4) == 0) {
            take_tells(reader);
        }
        if (!read_some(reader, 1 + stress_random(&random, 500)) || stress_random(&random, 20) == 0) {
            take_tells(reader);
            sched_yield();
        }
    }
    chunk_drop(reader->chunk);
    lane_writer_destroy(&reader->writer);
    return NULL;
}

static void report(void)
{
    for (uint32_t i = 0; i < READERS; i++) {
        fprintf(stderr, "reader %u is at %" PRIu64 " of %" PRIu64 "\n", i, atomic_load(&readers[i].read),
                atomic_load(&published));
    }
}

/* --- one lane, made by all at once --- */

static pthread_barrier_t barrier;
static struct chunk *sealed;

static void *make_lane(void *argument)
{
    struct reader *reader = argument;
    struct deflater deflater;
    CHECK(deflater_init(&deflater, DEFLATE_WINDOW_BITS_MAX, DEFLATE_LEVEL_DEFAULT));
    struct lane_writer writer = {.deflater = &deflater, .deflate_bytes_min = 64};
    for (int lane = LANE_JSON; lane < LANE_COUNT; lane++) {
        if (lane == LANE_BIN || lane == LANE_BIN_DEFLATED) {
            continue;
        }
        pthread_barrier_wait(&barrier);
        CHECK(chunk_lane_make(sealed, lane, sealed->count, &writer, name_span(name)));
        const struct chunk_lane *made = chunk_lane(sealed, lane);
        const uint32_t end = made->ends[sealed->count - 1];
        uint64_t sum = reader->number; /* reads all of what won, whoever made it */
        for (uint32_t i = 0; i < end; i++) {
            sum += (uint8_t)made->bytes[i];
        }
        CHECK(sum > end && end <= made->room);
        pthread_barrier_wait(&barrier);
        CHECK(chunk_lane(sealed, lane) == made);
    }
    lane_writer_destroy(&writer);
    deflater_free(&deflater);
    return NULL;
}

static void lanes_at_once(uint32_t rounds)
{
    struct lane_writer writer = {0};
    pthread_t threads[READERS];
    CHECK(pthread_barrier_init(&barrier, NULL, READERS) == 0);
    for (uint32_t round = 0; round < rounds; round++) {
        uint32_t needed;
        char room[512];
        sealed = chunk_create(1, 0, 64, CHUNK_BYTES_MAX, LANE_BIT(LANE_RAW), false);
        struct chunk *next = chunk_create(65, 0, 1, 0, 0, false);
        CHECK(sealed && next);
        for (uint64_t offset = 1; offset <= 64; offset++) {
            struct message message = message_of(offset, room);
            CHECK(chunk_append(sealed, &writer, &message, &needed));
        }
        chunk_seal(sealed, next);
        for (uint32_t i = 0; i < READERS; i++) {
            threads[i] = stress_thread(make_lane, &readers[i]);
        }
        for (uint32_t i = 0; i < READERS; i++) {
            stress_join(threads[i]);
        }
        chunk_drop(sealed);
    }
    pthread_barrier_destroy(&barrier);
    lane_writer_destroy(&writer);
    CHECK(chunk_count_in_use() == 0 && chunk_bytes_in_use() == 0);
}

/* --- references to a name --- */

static void *share_and_drop(void *argument)
{
    struct name *held[16];
    for (uint32_t round = 0; round < *(uint32_t *)argument; round++) {
        for (uint32_t i = 0; i < 16; i++) {
            held[i] = name_share(name);
        }
        for (uint32_t i = 0; i < 16; i++) {
            CHECK(held[i]->size == 3 && memcmp(held[i]->bytes, "a/b", 3) == 0);
            name_drop(held[i]);
        }
    }
    name_drop(name); /* one for each thread, so that any may be the last */
    return NULL;
}

static void names_from_threads(uint32_t rounds)
{
    pthread_t threads[READERS];
    for (uint32_t i = 0; i < READERS; i++) {
        name_share(name);
    }
    for (uint32_t i = 0; i < READERS; i++) {
        threads[i] = stress_thread(share_and_drop, &rounds);
    }
    name_drop(name);
    for (uint32_t i = 0; i < READERS; i++) {
        stress_join(threads[i]);
    }
    CHECK(name_count_in_use() == 0);
}

static void follow_a_log(void)
{
    static const enum lane lanes[READERS] = {LANE_RAW, LANE_JSON, LANE_SSE, LANE_SSE};
    pthread_t threads[READERS];
    for (uint32_t i = 0; i < READERS; i++) {
        readers[i].number = i;
        readers[i].lane = lanes[i];
        readers[i].sealed_only = lanes[i] == LANE_SSE;
        readers[i].ring.slots = readers[i].slots;
        readers[i].ring.mask = SLOTS - 1;
        threads[i] = stress_thread(run_reader, &readers[i]);
    }
    pthread_t owner = stress_thread(run_owner, NULL);
    stress_join(owner);
    for (uint32_t i = 0; i < READERS; i++) {
        stress_join(threads[i]);
        printf("reader %u: %s, %" PRIu64 " messages, made %" PRIu64 " lanes\n", i, lane_name(readers[i].lane),
               atomic_load(&readers[i].read), readers[i].lanes_made);
    }
    CHECK(chunk_count_in_use() == 0 && chunk_bytes_in_use() == 0);
}

int main(int count, char **arguments)
{
    uint32_t scale = stress_scale(count, arguments);
    messages = (uint64_t)MESSAGES * scale;
    name = name_create(SPAN_LITERAL("a/b"));
    CHECK(name);
    stress_watch(report);
    follow_a_log();
    lanes_at_once(50 * scale);
    names_from_threads(2000 * scale);
    printf("all given back\n");
    return 0;
}
