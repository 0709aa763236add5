/*
 * wire_fuzz: a message as it comes from a channel of Redis.
 *
 * Checked beside what the sanitizers see: what is read lies within the input, and written again it is the same bytes.
 */
#include "fuzz.h"

#include "cluster/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span input = {(const char *)data, size};
    struct wire wire;
    if (wire_parse(input, &wire)) {
        char header[WIRE_HEADER_SIZE];
        wire_write(&wire, header);
        FUZZ_CHECK(memcmp(header, data, sizeof header) == 0);
        FUZZ_CHECK(wire.topic.data == input.data + WIRE_HEADER_SIZE);
        FUZZ_CHECK(wire.payload.data == wire.topic.data + wire.topic.size);
        FUZZ_CHECK(wire.payload.data + wire.payload.size == input.data + input.size);
    }
    return 0;
}
