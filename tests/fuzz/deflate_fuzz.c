/*
 * deflate_fuzz: inflating what a peer made up, and that what we deflate comes back.
 *
 * The first byte chooses the window and the room; the rest is once taken as a deflated message, once as a plain one.
 */
#include "fuzz.h"

#include "protocol/deflate.h"

#define ROOM 65536

/* Made once: a message only resets them. That nothing leaks from one message into the next is part of what is tested.
 */
static struct deflater deflaters[DEFLATE_WINDOW_BITS_MAX + 1];
static struct inflater inflater;

static void init_once(void)
{
    static bool done;
    if (done)
        return;
    for (int bits = DEFLATE_WINDOW_BITS_MIN; bits <= DEFLATE_WINDOW_BITS_MAX; bits++)
        FUZZ_CHECK(deflater_init(&deflaters[bits], bits, DEFLATE_LEVEL_DEFAULT));
    FUZZ_CHECK(inflater_init(&inflater));
    done = true;
}

static void check_inflate(struct span input, size_t room)
{
    size_t size = 0;
    char *out = malloc(room);
    FUZZ_CHECK(out != NULL);
    enum inflate_result result = inflate_message(&inflater, input, out, room, &size);
    FUZZ_CHECK(size <= room && (result != INFLATE_TOO_LARGE || size == room));
    free(out);
}

static void check_both_ways(struct span input, int bits)
{
    size_t room = deflate_room(&deflaters[bits], input.size);
    size_t size = 0;
    size_t back_size = 0;
    char *out = malloc(room);
    char *back = malloc(input.size + 1);
    FUZZ_CHECK(out != NULL && back != NULL);
    FUZZ_CHECK(deflate_message(&deflaters[bits], input, out, room, &size) && size > 0);
    FUZZ_CHECK(inflate_message(&inflater, (struct span){out, size}, back, input.size + 1, &back_size) == INFLATE_OK);
    FUZZ_CHECK(back_size == input.size && (input.size == 0 || memcmp(back, input.data, input.size) == 0));
    free(out);
    free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span input = {(const char *)data, size};
    uint8_t choice = fuzz_byte(&input);
    init_once();
    check_inflate(input, choice & 0x80 ? ROOM : (size_t)(choice & 0x7F) + 1);
    check_both_ways(input, DEFLATE_WINDOW_BITS_MIN + choice % 7);
    return 0;
}
