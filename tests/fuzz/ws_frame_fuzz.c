/*
 * ws_frame_fuzz: the reader of frames, in both roles.
 *
 * Two readers see the same bytes, one in one piece, one in pieces. Their stories must be equal: the same messages with
 * the same bytes, the same control frames, the same end. Between two pieces an idle reader is replaced by a new one, as
 * the broker does.
 */
#include "fuzz.h"

#include "protocol/utf8.h"
#include "protocol/ws_frame.h"

#define INPUT_BYTES_MAX 65536

/* Everything that happened, in a form that does not depend on pieces. */
struct story {
    char text[4 * INPUT_BYTES_MAX];
    size_t size;
};

static void tell(struct story *story, const char *bytes, size_t size)
{
    FUZZ_CHECK(size <= sizeof story->text - story->size);
    if (size > 0)
        memcpy(story->text + story->size, bytes, size);
    story->size += size;
}

static void tell_data(struct story *story, const struct ws_event *event)
{
    if (event->first) {
        char mark[] = {'[', (char)('0' + event->opcode), event->compressed ? 'c' : ' '};
        tell(story, mark, sizeof mark);
    }
    tell(story, event->data.data, event->data.size);
    if (event->last)
        tell(story, "]", 1);
}

static void tell_event(struct story *story, const struct ws_event *event)
{
    char mark[] = {'<', (char)('0' + event->kind), (char)(event->close_code >> 8), (char)event->close_code};
    if (event->kind == WS_EVENT_NONE)
        return;
    if (event->kind == WS_EVENT_DATA) {
        tell_data(story, event);
        return;
    }
    tell(story, mark, sizeof mark);
    tell(story, event->data.data, event->data.size);
    if (event->problem != NULL)
        tell(story, event->problem, strlen(event->problem));
    FUZZ_CHECK(event->data.size <= WS_CONTROL_PAYLOAD_MAX);
    FUZZ_CHECK(event->kind != WS_EVENT_CLOSE || utf8_valid(event->data.data, event->data.size));
}

struct options {
    enum ws_role role;
    bool deflate;
    uint64_t message_bytes_max;
};

/* Feeds one piece. False: the connection is over. */
static bool feed_piece(struct ws_reader *reader, char *bytes, size_t size, struct story *story)
{
    struct ws_event event = {.kind = WS_EVENT_NONE};
    for (size_t at = 0; at < size && event.kind != WS_EVENT_ERROR && event.kind != WS_EVENT_CLOSE;) {
        size_t taken = ws_reader_feed(reader, bytes + at, size - at, &event);
        FUZZ_CHECK(taken > 0 && taken <= size - at);
        if (event.kind == WS_EVENT_DATA && event.data.size > 0)
            FUZZ_CHECK(event.data.data >= bytes + at && event.data.data + event.data.size <= bytes + at + taken);
        tell_event(story, &event);
        at += taken;
    }
    return event.kind != WS_EVENT_ERROR && event.kind != WS_EVENT_CLOSE;
}

static void feed_all(struct span input, struct fuzz_pieces pieces, const struct options *options, struct story *story)
{
    struct ws_reader reader;
    bool open = true;
    ws_reader_init(&reader, options->role, options->message_bytes_max, options->deflate);
    story->size = 0;
    for (size_t at = 0; open && at < input.size;) {
        size_t size = fuzz_piece_next(&pieces, input.size - at);
        char *copy = malloc(size);
        FUZZ_CHECK(copy != NULL);
        memcpy(copy, input.data + at, size);
        open = feed_piece(&reader, copy, size, story);
        if (open && ws_reader_idle(&reader))
            ws_reader_init(&reader, options->role, options->message_bytes_max, options->deflate);
        free(copy);
        at += size;
    }
}

/* An invalid text is told of as soon as it is seen, which in pieces is after some of it was given: cut both stories
 * there. */
static bool stories_agree(const struct story *whole, const struct story *cut)
{
    static const char problem[] = "The text is not valid UTF-8.";
    size_t tail = sizeof problem - 1 + 4; /* the mark too */
    bool invalid = whole->size >= tail && memcmp(whole->text + whole->size - tail + 4, problem, tail - 4) == 0;
    if (!invalid)
        return whole->size == cut->size && memcmp(whole->text, cut->text, cut->size) == 0;
    return cut->size >= whole->size && memcmp(whole->text, cut->text, whole->size - tail) == 0 &&
           memcmp(whole->text + whole->size - tail, cut->text + cut->size - tail, tail) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct story whole;
    static struct story cut;
    struct span input = {(const char *)data, size < INPUT_BYTES_MAX ? size : INPUT_BYTES_MAX};
    uint8_t flags = fuzz_byte(&input);
    struct options options = {
        .role = flags & 1 ? WS_ROLE_CLIENT : WS_ROLE_SERVER,
        .deflate = flags & 2,
        .message_bytes_max = flags & 4 ? 100 : INPUT_BYTES_MAX,
    };
    struct fuzz_pieces pieces = fuzz_pieces_read(&input);
    feed_all(input, (struct fuzz_pieces){.count = 0}, &options, &whole);
    feed_all(input, pieces, &options, &cut);
    FUZZ_CHECK(stories_agree(&whole, &cut));
    return 0;
}
