/*
 * http_fuzz: request heads, chunked bodies and the WebSocket handshake.
 *
 * Checked beside what the sanitizers see: the answer does not depend on how the bytes were cut; spans lie in the input;
 * what is written is as long as it was measured.
 */
#include "fuzz.h"

#include "protocol/http.h"
#include "protocol/ws_handshake.h"

#define HEAD_BYTES_MAX 2048
#define BODY_BYTES_MAX 4096

static void check_inside(struct span part, struct span whole)
{
    if (part.size > 0 && part.data[0] == '/' && part.size == 1)
        return; /* the path of "http://host" is a literal */
    FUZZ_CHECK(part.size == 0 || (part.data >= whole.data && part.data + part.size <= whole.data + whole.size));
}

static void check_request(const struct http_request *request, struct span input)
{
    struct span head = {input.data, request->head_size};
    FUZZ_CHECK(request->head_size >= 4 && request->head_size <= input.size && request->head_size <= HEAD_BYTES_MAX);
    FUZZ_CHECK(memcmp(head.data + head.size - 4, "\r\n\r\n", 4) == 0);
    FUZZ_CHECK(!request->chunked || request->content_length == -1);
    FUZZ_CHECK(request->path.size > 0 && request->minor_version <= 9);
    check_inside(request->method_text, head);
    check_inside(request->target, head);
    check_inside(request->path, head);
    check_inside(request->query, head);
    check_inside(request->host, head);
    for (size_t at = 0; at < request->header_count; at++) {
        check_inside(request->headers[at].name, head);
        check_inside(request->headers[at].value, head);
    }
}

static void check_decoding(const struct http_request *request)
{
    char scratch[HEAD_BYTES_MAX];
    size_t size = 0;
    struct span value;
    if (http_percent_decode(request->path, scratch, sizeof scratch, &size))
        FUZZ_CHECK(size <= request->path.size);
    if (http_query_get(request->query, "from", scratch, sizeof scratch, &value) == HTTP_QUERY_FOUND)
        FUZZ_CHECK(value.size <= request->query.size);
}

static void check_handshake(const struct http_request *request)
{
    static const char *const subprotocols[] = {"shoal.v1.json", "shoal.v1.bin", NULL};
    for (int policy = WS_DEFLATE_OFF; policy <= WS_DEFLATE_ANY; policy++) {
        struct ws_handshake handshake;
        char out[512];
        int status = ws_handshake_check(request, subprotocols, (enum ws_deflate_policy)policy, &handshake);
        FUZZ_CHECK(status == 101 || handshake.problem != NULL);
        if (status != 101)
            continue;
        size_t size = ws_handshake_write(&handshake, SPAN_NONE, NULL, 0);
        FUZZ_CHECK(size <= sizeof out && ws_handshake_write(&handshake, SPAN_NONE, out, sizeof out) == size);
        FUZZ_CHECK(policy != WS_DEFLATE_OFF || !handshake.deflate.on);
        FUZZ_CHECK(!handshake.deflate.on || handshake.deflate.server_window_bits >= 9);
    }
}

struct body {
    char bytes[BODY_BYTES_MAX];
    size_t size;
    size_t consumed;
    enum http_parse state;
};

static void decode_body(struct span input, struct fuzz_pieces pieces, struct body *body)
{
    struct http_chunked chunked;
    http_chunked_init(&chunked, BODY_BYTES_MAX);
    *body = (struct body){.state = HTTP_MORE};
    while (body->state == HTTP_MORE && body->consumed < input.size) {
        size_t size = fuzz_piece_next(&pieces, input.size - body->consumed);
        size_t consumed;
        size_t decoded;
        FUZZ_CHECK(size > 0);
        char *copy = malloc(size);
        FUZZ_CHECK(copy != NULL);
        memcpy(copy, input.data + body->consumed, size);
        body->state = http_chunked_feed(&chunked, copy, size, &consumed, &decoded);
        FUZZ_CHECK(consumed <= size && decoded <= consumed && body->size + decoded <= BODY_BYTES_MAX);
        FUZZ_CHECK(body->state != HTTP_MORE || consumed == size);
        memcpy(body->bytes + body->size, copy, decoded);
        body->size += decoded;
        body->consumed += consumed;
        free(copy);
    }
}

static void check_body(struct span input, struct fuzz_pieces pieces)
{
    static struct body cut;
    static struct body whole;
    decode_body(input, pieces, &cut);
    decode_body(input, (struct fuzz_pieces){.count = 0}, &whole);
    FUZZ_CHECK(cut.state == whole.state && cut.size == whole.size && cut.consumed == whole.consumed);
    FUZZ_CHECK(memcmp(cut.bytes, whole.bytes, cut.size) == 0);
}

/* The first answer that is not HTTP_MORE when the bytes come in pieces. */
static enum http_parse parse_pieces(struct span input, struct fuzz_pieces pieces, struct http_request *request)
{
    enum http_parse state = HTTP_MORE;
    for (size_t size = 0; state == HTTP_MORE && size < input.size;) {
        size += fuzz_piece_next(&pieces, input.size - size);
        state = http_request_parse(input.data, size, HEAD_BYTES_MAX, request);
    }
    return state;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span input = {(const char *)data, size};
    struct fuzz_pieces pieces = fuzz_pieces_read(&input);
    struct http_request whole;
    struct http_request cut;
    if (input.size == 0)
        return 0;
    enum http_parse state = http_request_parse(input.data, input.size, HEAD_BYTES_MAX, &whole);
    FUZZ_CHECK(parse_pieces(input, pieces, &cut) == state);
    FUZZ_CHECK(whole.status == cut.status && whole.problem == cut.problem && whole.head_size == cut.head_size);
    FUZZ_CHECK((state == HTTP_BAD) == (whole.status != 0));
    if (state == HTTP_DONE) {
        check_request(&whole, input);
        check_decoding(&whole);
        check_handshake(&whole);
        input = (struct span){input.data + whole.head_size, input.size - whole.head_size};
    }
    check_body(input, pieces); /* also of what is no body: the decoder must stand alone */
    return 0;
}
