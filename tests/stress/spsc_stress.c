/*
 * spsc_stress: one producer and one consumer on a ring, through rings of 4 and of 256 slots and the wrap of the
 * indices.
 *
 * Every envelope arrives once, in order and whole, and so does what it points at: the consumer reads and frees memory
 * that the producer has just written, which the thread sanitizer would see if the ring did not order it.
 */
#include <inttypes.h>

#include "mesh/spsc.h"
#include "stress.h"

#define ITEMS     1000000u
#define SLOTS_MAX 256u

static struct envelope slots[SLOTS_MAX];
static struct spsc ring;
static uint64_t items;

static struct envelope item(uint64_t number)
{
    struct envelope envelope = {
        .kind = TELL_READ,
        .topic = (uint32_t)number,
        .hash = number * 0x9E3779B97F4A7C15u,
        .offset = number,
        .bytes = ~number,
    };
    if (number % 64 == 0) {
        uint64_t *pointed = malloc(sizeof *pointed);
        CHECK(pointed);
        *pointed = number;
        envelope.ticket = (struct ticket *)pointed;
    }
    return envelope;
}

static void check_item(const struct envelope *envelope, uint64_t number)
{
    CHECK_MSG(envelope->offset == number, "%" PRIu64 " instead of %" PRIu64, envelope->offset, number);
    CHECK(envelope->bytes == ~number && envelope->topic == (uint32_t)number);
    CHECK(envelope->hash == number * 0x9E3779B97F4A7C15u && envelope->kind == TELL_READ);
    CHECK((envelope->ticket != NULL) == (number % 64 == 0));
    if (envelope->ticket) {
        CHECK(*(const uint64_t *)envelope->ticket == number);
        free(envelope->ticket);
    }
}

static void *produce(void *argument)
{
    uint32_t random = 1, pushed_full = 0;
    (void)argument;
    for (uint64_t number = 0; number < items; number++) {
        struct envelope envelope = item(number);
        while (!spsc_push(&ring, &envelope)) {
            pushed_full++;
            sched_yield();
        }
        if (stress_random(&random, 1000) == 0) {
            CHECK(spsc_room(&ring) <= ring.mask + 1);
            sched_yield();
        }
    }
    CHECK(ring.full == pushed_full);
    return NULL;
}

static void *consume(void *argument)
{
    uint32_t random = 2;
    (void)argument;
    for (uint64_t number = 0; number < items; number++) {
        const struct envelope *envelope;
        while ((envelope = spsc_peek(&ring)) == NULL) {
            sched_yield();
        }
        check_item(envelope, number);
        spsc_pop(&ring);
        if (stress_random(&random, 1000) == 0) {
            sched_yield();
        }
    }
    CHECK(spsc_peek(&ring) == NULL);
    return NULL;
}

static void run(uint32_t slot_count, uint32_t start)
{
    ring = (struct spsc){.slots = slots, .mask = slot_count - 1, .tail_seen = start, .head_seen = start};
    atomic_store(&ring.head, start);
    atomic_store(&ring.tail, start);
    pthread_t producer = stress_thread(produce, NULL), consumer = stress_thread(consume, NULL);
    stress_join(producer);
    stress_join(consumer);
    printf("%u slots from %u: %" PRIu64 " envelopes in order, %" PRIu64 " times full\n", slot_count, start, items,
           ring.full);
}

static void report(void)
{
    fprintf(stderr, "head %u, tail %u\n", atomic_load(&ring.head), atomic_load(&ring.tail));
}

int main(int count, char **arguments)
{
    items = (uint64_t)ITEMS * stress_scale(count, arguments);
    stress_watch(report);
    run(4, 0);
    run(SLOTS_MAX, 0);
    run(SLOTS_MAX, UINT32_MAX - 1000); /* wraps soon */
    return 0;
}
