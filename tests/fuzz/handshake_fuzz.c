/*
 * handshake_fuzz: any bytes as the answer to a client's handshake, whole and cut in two.
 *
 * Checked beside what the sanitizers see: a head that is taken lies within the bytes, an error has words, and more
 * bytes never take back what was decided.
 */
#include "fuzz.h"

#include "client/handshake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char key[25] = "dGhlIHNhbXBsZSBub25jZQ==";
    struct span bytes = {(const char *)data, size};
    struct span part = {bytes.data, size > 0 ? fuzz_byte(&(struct span){bytes.data, 1}) % size : 0};
    struct handshake_answer first, whole;
    size_t head_first = handshake_answer_read(part, key, false, &first);
    size_t head = handshake_answer_read(bytes, key, true, &whole);
    FUZZ_CHECK(head <= size && head_first <= part.size);
    FUZZ_CHECK(!whole.error || (whole.detail[0] && head == 0));
    FUZZ_CHECK(head_first == 0 || head == head_first);
    FUZZ_CHECK(!first.error || whole.error);
    return 0;
}
