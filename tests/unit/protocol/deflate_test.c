/*
 * deflate_test: the RFC's own examples, both ways, the bounds, and what a peer may make up. What the inflater is fed
 * beyond it is deflate_fuzz's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "protocol/deflate.h"

static struct deflater deflater;
static struct inflater inflater;

static int setup(void **unused)
{
    (void)unused;
    return deflater_init(&deflater, 15, DEFLATE_LEVEL_DEFAULT) && inflater_init(&inflater) ? 0 : -1;
}

static int teardown(void **unused)
{
    (void)unused;
    deflater_free(&deflater);
    inflater_free(&inflater);
    return 0;
}

static void check_inflates_to(struct span message, const char *expected)
{
    char out[64];
    size_t size = 0;
    assert_int_equal(inflate_message(&inflater, message, out, sizeof out, &size), INFLATE_OK);
    assert_int_equal(size, strlen(expected));
    assert_memory_equal(out, expected, size);
}

#define BYTES(text)    SPAN_LITERAL(text)
#define HELLO_DEFLATED "\xf2\x48\xcd\xc9\xc9\x07\x00"
#define HELLO_FINAL    "\xf3\x48\xcd\xc9\xc9\x07\x00"

/* RFC 7692 7.2.3.1 to 7.2.3.6: one block, no context, stored, BFINAL, two blocks, empty. */
static void test_examples_of_the_rfc(void **unused)
{
    (void)unused;
    check_inflates_to(BYTES(HELLO_DEFLATED), "Hello");
    check_inflates_to(BYTES("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"), "Hello");
    check_inflates_to(BYTES(HELLO_FINAL "\x00"), "Hello");
    check_inflates_to(BYTES("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), "Hello");
    check_inflates_to(BYTES("\x00"), "");
    check_inflates_to(BYTES("\x02\x00"), "");
}

/* Messages whose last block says that it is the last, as RFC 7692 7.2.3.4 allows: also in the middle, and with nothing
 * behind. */
static void test_final_blocks(void **unused)
{
    (void)unused;
    check_inflates_to(BYTES(HELLO_FINAL), "Hello");
    check_inflates_to(BYTES(HELLO_FINAL HELLO_FINAL "\x00"), "HelloHello");
    check_inflates_to(BYTES(HELLO_FINAL HELLO_DEFLATED), "HelloHello");
}

static void check_corrupt(struct span message)
{
    char out[64];
    size_t size = 0;
    assert_int_equal(inflate_message(&inflater, message, out, sizeof out, &size), INFLATE_CORRUPT);
}

static void test_corrupt(void **unused)
{
    (void)unused;
    check_corrupt(SPAN_NONE);
    check_corrupt(BYTES("\xf2\x48\xcd\xc9"));                 /* cut inside a block */
    check_corrupt(BYTES("\x06"));                             /* block type 3 */
    check_corrupt(BYTES("\x00\x05\x00\x00\x00Hello\x00"));    /* a stored block's length without its complement */
    check_corrupt(BYTES("\x00\x05\x00\xfa\xff\x48\x65"));     /* a stored block cut */
    check_corrupt(BYTES("\xcb\x48\xcd\xc9\xc9\x07\x11\x22")); /* garbage behind the end */
    check_inflates_to(BYTES(HELLO_DEFLATED), "Hello");        /* nothing of it is left behind */
}

/* RFC 7692 7.2.1 and 7.2.3.1: what we write is what the RFC writes. */
static void test_deflates_as_the_rfc(void **unused)
{
    (void)unused;
    char out[64];
    size_t size = 0;
    for (int again = 0; again < 2; again++) { /* no context is taken over: the second is as the first (7.2.3.2) */
        assert_true(deflate_message(&deflater, BYTES("Hello"), out, sizeof out, &size));
        assert_int_equal(size, sizeof HELLO_DEFLATED - 1);
        assert_memory_equal(out, HELLO_DEFLATED, size);
    }
    assert_true(deflate_message(&deflater, SPAN_NONE, out, sizeof out, &size)); /* 7.2.3.6 */
    assert_int_equal(size, 1);
    assert_int_equal(out[0], 0);
}

/* Noise that repeats or not: a generator with a seed, so that a failure comes again. */
static void fill(char *bytes, size_t size, uint32_t seed, uint32_t alphabet)
{
    for (size_t at = 0; at < size; at++) {
        seed = seed * 1664525 + 1013904223;
        bytes[at] = (char)((seed >> 16) % alphabet);
    }
}

static void check_both_ways(struct deflater *with, const char *bytes, size_t size)
{
    size_t room = deflate_room(with, size);
    char *out = malloc(room);
    char *back = malloc(size + 1);
    size_t out_size = 0;
    size_t back_size = 0;
    assert_true(deflate_message(with, (struct span){bytes, size}, out, room, &out_size));
    assert_int_equal(inflate_message(&inflater, (struct span){out, out_size}, back, size + 1, &back_size), INFLATE_OK);
    assert_int_equal(back_size, size);
    assert_memory_equal(back, bytes, size);
    if (size > 0) { /* the bound is sharp: room for exactly the message is enough, a byte less is too much */
        assert_int_equal(inflate_message(&inflater, (struct span){out, out_size}, back, size, &back_size), INFLATE_OK);
        assert_int_equal(back_size, size);
    }
    if (size > 1)
        assert_int_equal(inflate_message(&inflater, (struct span){out, out_size}, back, size - 1, &back_size),
                         INFLATE_TOO_LARGE);
    free(back);
    free(out);
}

/* Every window that can be agreed on (RFC 7692 7.1.2), sizes around the powers of two, text and noise. */
static void test_both_ways(void **unused)
{
    (void)unused;
    static char bytes[300000];
    for (int bits = DEFLATE_WINDOW_BITS_MIN; bits <= DEFLATE_WINDOW_BITS_MAX; bits++) {
        struct deflater with;
        assert_true(deflater_init(&with, bits, bits % 2 ? 1 : 9));
        for (uint32_t alphabet = 4; alphabet <= 256; alphabet *= 8) {
            fill(bytes, sizeof bytes, (uint32_t)bits, alphabet);
            for (size_t size = 1; size < sizeof bytes; size = size * 3 + 1)
                check_both_ways(&with, bytes, size);
            check_both_ways(&with, bytes, sizeof bytes);
        }
        check_both_ways(&with, bytes, 0);
        deflater_free(&with);
    }
}

/* RFC 7692 7.1.2.1: with a window of 9 bits nothing refers back further than 512 bytes, so that a window of 9 inflates
 * it. */
static void test_small_window_is_kept(void **unused)
{
    (void)unused;
    static char bytes[8192];
    static char out[16384];
    static char back[8192];
    struct deflater with;
    z_stream small = {0};
    size_t size = 0;
    fill(bytes, sizeof bytes / 2, 7, 256);
    memcpy(bytes + sizeof bytes / 2, bytes, sizeof bytes / 2); /* to deflate it one must look back 4,096 bytes */
    assert_true(deflater_init(&with, 9, 9));
    assert_true(deflate_message(&with, (struct span){bytes, sizeof bytes}, out, sizeof out, &size));
    assert_int_equal(inflateInit2(&small, -9), Z_OK);
    small.next_in = (Bytef *)out;
    small.avail_in = (uInt)size;
    small.next_out = (Bytef *)back;
    small.avail_out = sizeof back;
    assert_int_equal(inflate(&small, Z_SYNC_FLUSH), Z_OK);
    assert_int_equal(small.total_out, sizeof bytes);
    assert_memory_equal(back, bytes, sizeof bytes);
    inflateEnd(&small);
    deflater_free(&with);
}

static void test_no_room(void **unused)
{
    (void)unused;
    char bytes[100];
    char out[200];
    size_t size = 0;
    fill(bytes, sizeof bytes, 1, 256);
    for (size_t room = 0; room <= sizeof bytes; room++) /* noise does not get smaller: "only if it gets smaller" */
        assert_false(deflate_message(&deflater, (struct span){bytes, sizeof bytes}, out, room, &size));
    assert_true(deflate_message(&deflater, (struct span){bytes, sizeof bytes}, out, sizeof out, &size));
}

/* A bomb is stopped at the bound, whatever it would have come to. */
static void test_bomb(void **unused)
{
    (void)unused;
    size_t bytes_size = 16 << 20;
    char *bytes = calloc(1, bytes_size);
    char *out = malloc(1 << 20);
    char back[1000];
    size_t size = 0;
    size_t back_size = 0;
    assert_true(deflate_message(&deflater, (struct span){bytes, bytes_size}, out, 1 << 20, &size));
    assert_true(size < 20000);
    assert_int_equal(inflate_message(&inflater, (struct span){out, size}, back, sizeof back, &back_size),
                     INFLATE_TOO_LARGE);
    assert_int_equal(back_size, sizeof back);
    free(out);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples_of_the_rfc),
        cmocka_unit_test(test_final_blocks),
        cmocka_unit_test(test_corrupt),
        cmocka_unit_test(test_deflates_as_the_rfc),
        cmocka_unit_test(test_both_ways),
        cmocka_unit_test(test_small_window_is_kept),
        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_bomb),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
