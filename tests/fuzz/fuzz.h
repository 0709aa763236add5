/*
 * fuzz: what the fuzz targets share. A target is a function of its input alone: no clock, no randomness, and nothing is
 * kept between two inputs but what zlib needs.
 *
 * Targets of incremental code take from the front of their input how to cut the rest:
 *
 *      offset  size  meaning
 *      0       1     how many sizes follow, mod 8; 0: the rest is one piece
 *      1       0..7  sizes of the pieces less 1, over and over
 *      …             the bytes themselves
 */
#ifndef SHOAL_TESTS_FUZZ_H
#define SHOAL_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "protocol/span.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An assertion that stays in every build. */
#define FUZZ_CHECK(condition)                                                                                          \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                            \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

/* The front byte of the input, which is then shorter; 0 if it is empty. */
static inline uint8_t fuzz_byte(struct span *input)
{
    if (input->size == 0)
        return 0;
    uint8_t byte = (uint8_t)input->data[0];
    *input = (struct span){input->data + 1, input->size - 1};
    return byte;
}

struct fuzz_pieces {
    uint8_t sizes[7];
    uint8_t count;
    uint8_t at;
};

static inline struct fuzz_pieces fuzz_pieces_read(struct span *input)
{
    struct fuzz_pieces pieces = {.count = fuzz_byte(input) % 8};
    for (size_t at = 0; at < pieces.count; at++)
        pieces.sizes[at] = fuzz_byte(input);
    return pieces;
}

/* The size of the next piece, of `left` bytes, at least one. */
static inline size_t fuzz_piece_next(struct fuzz_pieces *pieces, size_t left)
{
    if (pieces->count == 0)
        return left;
    size_t size = (size_t)pieces->sizes[pieces->at] + 1;
    pieces->at = (uint8_t)((pieces->at + 1) % pieces->count);
    return size < left ? size : left;
}

#endif
